"""An expression classifier with its input size and normalisation: images in [-1, 1] in, class logits out."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from mimik.errors import UserError
from mimik.networks.normalisation import normalise
from mimik.networks.small_classifier import SmallClassifier
from mimik.networks.stored import load_weights, read_network
from mimik.networks.vgg16 import VGG16

KIND = "classifier"


class ExpressionClassifier(nn.Module):
    """VGG-16 or the small network.

    Attributes:
        classes: names of the expressions; a label is a position in this list.
        feature_dim: D of `features`: 4096 (VGG-16) or 128.
        name: the name it was trained under, sha256: digest of its weights; empty for a network that was not loaded.
    """

    def __init__(self, network: VGG16 | SmallClassifier, classes: Sequence[str]) -> None:
        super().__init__()
        self.network = network
        self.classes = list(classes)
        self.feature_dim: int = network.feature_dim
        self.name = ""
        self.sha256 = ""

    def features(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [-1, 1] -> penultimate activations (B, D), float32.

        For VGG-16 images are resized to 224 x 224 bilinearly and normalised with ImageNet's statistics; the small
        network takes them as they are.
        """
        if isinstance(self.network, VGG16):
            size = self.network.input_size
            images = F.interpolate(images, (size, size), mode="bilinear", align_corners=False)
            images = normalise(images, "imagenet")
        return self.network.embed(images).float()

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [-1, 1] -> logits (B, C), float32."""
        return self.classify(self.features(images))

    def classify(self, features: Tensor) -> Tensor:
        """What `features` returned, (B, D) -> logits (B, C), float32."""
        return self.network.classify(features).float()


def build(settings: Mapping[str, Any], classes: Sequence[str]) -> ExpressionClassifier:
    """A freshly initialised classifier.

    Args:
        settings: `network` (`vgg16` or `small`); optional `width` of the small one (32). Other entries are not read.
        classes: names of the expressions.

    Raises:
        UserError: an unknown network.
    """
    if settings["network"] == "vgg16":
        return ExpressionClassifier(VGG16(len(classes)), classes)
    if settings["network"] == "small":
        return ExpressionClassifier(SmallClassifier(len(classes), width=settings.get("width") or 32), classes)
    raise UserError(f"classifiers: network must be `vgg16` or `small`, got {settings['network']!r}.")


def load(directory: Path | str) -> ExpressionClassifier:
    """The trained classifier of a folder (`model.safetensors`, `config.json`), in evaluation mode.

    Raises:
        UserError: a file is missing or damaged, or the weights are not those that the config was written for.
    """
    config, state = read_network(directory, KIND)
    classifier = build(config["architecture"], config["classes"])
    load_weights(classifier, state, directory)
    classifier.name, classifier.sha256 = config["name"], config["model_sha256"]
    return classifier.eval()
