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
from mimik.settings.external import is_external
from mimik.settings.outside import named_in_file

KIND = "classifier"

Predicts = Literal["expression", "attributes"]


class FaceClassifier(nn.Module):
    """VGG-16, STGAN's classifier, the small network or one of another package.

    Attributes:
        classes: names of the expressions, a label is a position in this list; or of the attributes.
        predicts: which of the two. The logits of attributes are of sigmoids: a face has those that are above 0.
        feature_dim: D of `features`: 4096 (VGG-16), 512 (STGAN's) or 128.
        name: the name it was trained under, sha256: digest of its weights; empty for a network that was not loaded.
    """

    def __init__(
        self,
        network: Any,
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
        normalisation) or 128 (STGAN's); the small network, and any other without an `input_size`, takes them as they
        are.
        """
        size = getattr(self.network, "input_size", None)
        if size is not None:
            images = F.interpolate(images, (size, size), mode="bilinear", align_corners=False)
        if isinstance(self.network, VGG16):
            images = normalise(images, "imagenet")
        embedded: Tensor = self.network.embed(images).float()
        return embedded

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [-1, 1] -> logits (B, C), float32."""
        return self.classify(self.features(images))

    def classify(self, features: Tensor) -> Tensor:
        """What `features` returned, (B, D) -> logits (B, C), float32."""
        logits: Tensor = self.network.classify(features).float()
        return logits


def build(settings: Mapping[str, Any], classes: Sequence[str]) -> FaceClassifier:
    """A freshly initialised classifier.

    Args:
        settings: `network` (`vgg16`, `stgan_classifier`, `small`, or with a dot a module of another package, the
            `Network` of which has `feature_dim`, `embed` and `classify` like these); optional `width` of the small one
            (32) and `predicts` (`expression`, or `attributes`). Other entries are not read.
        classes: names of the expressions, or of the attributes.

    Raises:
        UserError: an unknown network, or one of another package that params.yaml does not name.
    """
    networks: dict[str, Callable[[int], nn.Module]] = {
        "vgg16": VGG16,
        "stgan_classifier": STGANClassifier,
        "small": lambda outputs: SmallClassifier(outputs, width=settings.get("width") or 32),
    }
    kind = settings["network"]
    if is_external(kind):
        module = named_in_file("networks", kind, "classifiers: network")
        networks[kind] = lambda outputs: module.Network(outputs, settings.get("width"))
    if kind not in networks:
        raise UserError(f"classifiers: network must be {', '.join(networks)} or PACKAGE.MODULE, got {kind!r}.")
    network = networks[kind](len(classes))
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
