"""VGG-16 (Simonyan and Zisserman, ICLR 2015, arXiv 1409.1556, table 1, configuration D).

The classifier of the expression-editing papers. Layer names are those of the usual ImageNet weights file
(vgg16-397923af.pth), which can be loaded as a start; its input is 224 x 224 with ImageNet's normalisation.
With 8 classes 134,293,320 parameters.
"""

from collections.abc import Sequence

from torch import Tensor, nn

CONFIGURATION_D: Sequence[int] = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0)
"""Channels of the 3x3 convolutions; 0 is max-pooling."""


class VGG16(nn.Module):
    """Thirteen convolutions and three fully connected layers, the last of which has the classes."""

    input_size = 224
    feature_dim = 4096

    def __init__(self, classes: int) -> None:
        """Build the network; weights start with He's initialisation (the paper's own N(0, 0.01) does not train from
        scratch at this depth, which is why its authors started from a shallower network)."""
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for width in CONFIGURATION_D:
            if width == 0:
                layers.append(nn.MaxPool2d(2))
                continue
            layers += [nn.Conv2d(channels, width, 3, 1, 1), nn.ReLU(inplace=True)]
            channels = width
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.Linear(512 * 7 * 7, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            nn.Linear(4096, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            nn.Linear(4096, classes),
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def embed(self, images: Tensor) -> Tensor:
        """Normalised images (B, 3, 224, 224) -> (B, 4096): the second fully connected layer after its ReLU."""
        features: Tensor = self.classifier[:5](self.features(images).flatten(1))
        return features

    def classify(self, features: Tensor) -> Tensor:
        """(B, 4096) -> logits (B, C)."""
        logits: Tensor = self.classifier[5:](features)
        return logits

    def load_imagenet(self, state: dict[str, Tensor]) -> None:
        """Take all layers but the last from ImageNet weights. Raises `ValueError` when they do not fit."""
        own = self.state_dict()
        last = ("classifier.6.weight", "classifier.6.bias")
        wanted = {name: value.shape for name, value in own.items() if name not in last}
        given = {name: value.shape for name, value in state.items() if name not in last}
        if wanted != given:
            raise ValueError("names or shapes of the layers are not those of VGG-16")
        self.load_state_dict({**{name: state[name] for name in wanted}, **{name: own[name] for name in last}})
