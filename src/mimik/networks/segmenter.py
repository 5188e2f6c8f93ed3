"""A face parser with its input normalisation: images in [-1, 1] in, class logits of every pixel out.

BiSeNet takes ImageNet's mean and deviation, U-Net 0.5 and 0.5 (identity on [-1, 1]), as their authors' code does.
Everything is differentiable, so that a generator's losses reach the segmenter and, through it, the image.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from mimik.errors import UserError
from mimik.labels import SEGMENTATION_CLASSES
from mimik.networks.bisenet import BiSeNet
from mimik.networks.normalisation import Normalisation, normalise
from mimik.networks.stored import build_stored, load_weights, read_network
from mimik.networks.unet import UNet
from mimik.settings.external import is_external
from mimik.settings.outside import named_in_file

KIND = "segmenter"

_PUBLISHED_WIDTH = {"bisenet": 64, "unet": 16}


class Segmenter(nn.Module):
    """A parsing network with its normalisation.

    Attributes:
        num_classes: C.
        normalisation: `imagenet` or `half`.
        input_size: side of the images that it is trained for, pixels. Other sizes work, less well.
        sha256: digest of the weights it was loaded with; empty for a network that was not loaded.
        name: the name it was trained under; empty likewise.
        settings: what `build` makes the same architecture from; JSON-able.
    """

    def __init__(
        self,
        network: nn.Module,
        num_classes: int,
        normalisation: Normalisation,
        input_size: int,
        *,
        upscale: int = 1,
    ) -> None:
        """Wrap a network.

        Args:
            network: a BiSeNet, a UNet or another network of `num_classes` classes that takes and gives what UNet does.
            num_classes: C.
            normalisation: of the network's input.
            input_size: see the class.
            upscale: images are enlarged by this factor first (bilinearly): BiSeNet's finest features have an eighth of
                the size, 8 x 8 for a face of 64 px. Logits keep the size of the images.
        """
        super().__init__()
        self.network = network
        self.num_classes = num_classes
        self.normalisation: Normalisation = normalisation
        self.input_size = input_size
        self.upscale = upscale
        self.sha256 = ""
        self.name = ""
        self.settings: dict[str, Any] = {}
        self._frozen = False

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [-1, 1] -> logits (B, C, H, W) of the main head, float32 under autocast as well."""
        enlarged = self._prepare(images)
        if isinstance(self.network, BiSeNet):
            logits: Tensor = self.network(enlarged, (images.shape[2], images.shape[3]))
            return logits
        return self._reduce(self.network(enlarged), images)

    def all_logits(self, images: Tensor) -> list[Tensor]:
        """Logits (B, C, H, W) of every head, the main one first: three for BiSeNet, one for U-Net."""
        if isinstance(self.network, BiSeNet):
            return self.network.all_logits(self._prepare(images), (images.shape[2], images.shape[3]))
        return [self(images)]

    def freeze_batch_norm(self) -> None:
        """Use and keep the running statistics from now on, also in training mode; affine weights still train."""
        self._frozen = True
        self.train(self.training)

    def train(self, mode: bool = True) -> "Segmenter":
        """Like `nn.Module.train`, but frozen batch normalisation stays in evaluation mode."""
        super().train(mode)
        if self._frozen:
            for module in self.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        return self

    def _prepare(self, images: Tensor) -> Tensor:
        images = normalise(images, self.normalisation)
        if self.upscale > 1:
            images = F.interpolate(images, scale_factor=self.upscale, mode="bilinear", align_corners=False)
        return images

    def _reduce(self, logits: Tensor, images: Tensor) -> Tensor:
        if self.upscale == 1:
            return logits
        return F.interpolate(logits, images.shape[2:], mode="bilinear", align_corners=False)


def build(settings: Mapping[str, Any]) -> Segmenter:
    """A freshly initialised segmenter of the 19 classes of `mimik.labels.SEGMENTATION_CLASSES`.

    Args:
        settings: `network` (`bisenet`, `unet`, or with a dot a module of another package, the `Network` of which sees
            images in [-1, 1]); `image_size`; optional `width` (channels of the first layer: 64 of BiSeNet, 16 of U-Net
            as published) and `upscale` (1). Other entries are not read.

    Raises:
        UserError: an unknown network, or one of another package that params.yaml does not name.
    """
    classes = len(SEGMENTATION_CLASSES)
    size, upscale = int(settings["image_size"]), int(settings.get("upscale") or 1)
    kind = settings["network"]
    if is_external(kind):
        chosen = settings.get("width")
        network = named_in_file("networks", kind, "segmenters: network").Network(classes, chosen)
        segmenter = Segmenter(network, classes, "half", size, upscale=upscale)
        segmenter.settings = {"network": kind, "image_size": size, "width": chosen, "upscale": upscale}
        return segmenter
    width = int(settings.get("width") or _PUBLISHED_WIDTH.get(kind, 0))
    if kind == "bisenet":
        segmenter = Segmenter(BiSeNet(classes, width=width), classes, "imagenet", size, upscale=upscale)
    elif kind == "unet":
        segmenter = Segmenter(UNet(classes, base=width), classes, "half", size, upscale=upscale)
    else:
        raise UserError(f"segmenters: network must be `bisenet`, `unet` or PACKAGE.MODULE, got {kind!r}.")
    segmenter.settings = {"network": kind, "image_size": size, "width": width, "upscale": upscale}
    return segmenter


def load(directory: Path | str) -> Segmenter:
    """The trained segmenter of a folder (`model.safetensors`, `config.json`), in evaluation mode.

    Raises:
        UserError: a file is missing or damaged, or the weights are not those that the config was written for.
    """
    config, state = read_network(directory, KIND)
    if config["classes"] != list(SEGMENTATION_CLASSES):
        raise UserError(
            f"{Path(directory) / 'config.json'}: trained for other segmentation classes than this version of mimik "
            "uses. Train the segmenter again."
        )
    segmenter = build_stored(lambda: build(config["architecture"]), directory)
    load_weights(segmenter, state, directory)
    segmenter.sha256, segmenter.name = config["model_sha256"], config["name"]
    return segmenter.eval()
