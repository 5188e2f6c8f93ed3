"""A classifier of faces with its input size and normalisation: images in [-1, 1] in, logits out.

It tells the expression (one of several classes) or binary attributes (each by itself).
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from mimik.errors import UserError
from mimik.networks.normalisation import normalise
from mimik.networks.small_classifier import SmallClassifier
from mimik.networks.stgan_classifier import STGANClassifier
from mimik.networks.stored import build_stored, load_weights, read_network
from mimik.networks.vgg16 import VGG16

KIND = "classifier"

Predicts = Literal["expression", "attributes"]


class FaceClassifier(nn.Module):
    """VGG-16, STGAN's classifier or the small network.

    Attributes:
        classes: names of the expressions, a label is a position in this list; or of the attributes.
        predicts: which of the two. The logits of attributes are of sigmoids: a face has those that are above 0.
        feature_dim: D of `features`: 4096 (VGG-16), 512 (STGAN's) or 128.
        name: the name it was trained under, sha256: digest of its weights; empty for a network that was not loaded.
    """

    def __init__(
        self,
        network: VGG16 | STGANClassifier | SmallClassifier,
        classes: Sequence[str],
        predicts: Predicts = "expression",
    ) -> None:
        super().__init__()
        self.network = network
        self.classes = list(classes)
        self.predicts = predicts
        self.feature_dim: int = network.feature_dim
        self.name = ""
        self.sha256 = ""

    def features(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [-1, 1] -> penultimate activations (B, D), float32.

        They are resized bilinearly to the side that the network was made for, 224 (VGG-16, which also gets ImageNet's
        normalisation) or 128 (STGAN's); the small network takes them as they are.
        """
        if not isinstance(self.network, SmallClassifier):
            size = self.network.input_size
            images = F.interpolate(images, (size, size), mode="bilinear", align_corners=False)
        if isinstance(self.network, VGG16):
            images = normalise(images, "imagenet")
        return self.network.embed(images).float()

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [-1, 1] -> logits (B, C), float32."""
        return self.classify(self.features(images))

    def classify(self, features: Tensor) -> Tensor:
        """What `features` returned, (B, D) -> logits (B, C), float32."""
        return self.network.classify(features).float()


def build(settings: Mapping[str, Any], classes: Sequence[str]) -> FaceClassifier:
    """A freshly initialised classifier.

    Args:
        settings: `network` (`vgg16`, `stgan_classifier` or `small`); optional `width` of the small one (32) and
            `predicts` (`expression`, or `attributes`). Other entries are not read.
        classes: names of the expressions, or of the attributes.

    Raises:
        UserError: an unknown network.
    """
    networks: Mapping[str, Callable[[int], VGG16 | STGANClassifier | SmallClassifier]] = {
        "vgg16": VGG16,
        "stgan_classifier": STGANClassifier,
        "small": lambda outputs: SmallClassifier(outputs, width=settings.get("width") or 32),
    }
    if settings["network"] not in networks:
        raise UserError(f"classifiers: network must be one of {', '.join(networks)}, got {settings['network']!r}.")
    network = networks[settings["network"]](len(classes))
    return FaceClassifier(network, classes, settings.get("predicts", "expression"))


def load(directory: Path | str) -> FaceClassifier:
    """The trained classifier of a folder (`model.safetensors`, `config.json`), in evaluation mode.

    Raises:
        UserError: a file is missing or damaged, or the weights are not those that the config was written for.
    """
    config, state = read_network(directory, KIND)
    classifier = build_stored(lambda: build(config["architecture"], config["classes"]), directory)
    load_weights(classifier, state, directory)
    classifier.name, classifier.sha256 = config["name"], config["model_sha256"]
    return classifier.eval()
