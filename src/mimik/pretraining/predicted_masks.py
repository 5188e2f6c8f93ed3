"""Masks of a dataset without annotation, by a segmenter that was trained on another dataset (`masks: segmenter`).

The network sees the aligned faces of a shard in batches, on the processor, at the size that it was trained for. Its
probabilities, brought to the size of each mask, decide: so masks of different sizes fit together as far as their
pixels do. What the network was not taught it does not say: a segmenter trained on masks from the mesh calls hair and
neck `background`, as these masks do (`mimik.faces.masks`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from mimik.errors import UserError
from mimik.labels import IGNORED
from mimik.networks.segmenter import Segmenter, load
from mimik.networks.stored import CONFIG, DIGEST
from mimik.storage.records import read_record
from mimik.training.batches import to_tensor

BATCH = 16
"""Faces that are segmented at once."""


@dataclass(frozen=True)
class PredictedMasks:
    """A trained segmenter as `mimik.faces.masks.MaskPredictor`; it is loaded once in every process.

    Attributes:
        directory: of the segmenter (model.safetensors, config.json).
        confidence: pixels whose class has a lower probability become `IGNORED`; 0 keeps all.
    """

    directory: Path
    confidence: float = 0.0
    modules = ("mimik.pretraining.predicted_masks",)

    def __post_init__(self) -> None:
        if not 0 <= self.confidence < 1:
            raise UserError(f"masks_confidence: expected a number from 0 to below 1, found {self.confidence!r}.")

    @property
    def record(self) -> dict[str, Any]:
        """What the manifest says about it. Raises `UserError` when there is no segmenter in the folder."""
        needs = ("dataset", "name", "image_size", "dataset_digest")
        config = read_record(self.directory / CONFIG, "network", (*needs, DIGEST))
        named = {key: config[key] for key in needs}
        return {**named, "sha256": config[DIGEST], "confidence": self.confidence}

    def __call__(self, images: Mapping[int, npt.NDArray[np.uint8]]) -> dict[int, npt.NDArray[np.uint8]]:
        """Masks of some faces.

        Args:
            images: size -> uint8 (N, size, size, 3); the same faces at every size.

        Returns:
            size -> uint8 (N, size, size): a class of `SEGMENTATION_CLASSES`, or `IGNORED`.

        Raises:
            UserError: the segmenter is missing, or damaged.
        """
        segmenter = _loaded(self.directory)
        side = segmenter.input_size
        shown = images[side if side in images else max(images)]
        parts: dict[int, list[npt.NDArray[np.uint8]]] = {size: [] for size in images}
        with torch.inference_mode():
            for start in range(0, len(shown), BATCH):
                faces = to_tensor(shown[start : start + BATCH])
                probabilities = segmenter(_resized(faces, side)).softmax(1)
                for size in images:
                    certain, chosen = _resized(probabilities, size).max(1)
                    chosen[certain < self.confidence] = IGNORED
                    parts[size].append(chosen.to(torch.uint8).numpy())
        return {size: np.concatenate(found) for size, found in parts.items()}


def _resized(values: torch.Tensor, size: int) -> torch.Tensor:
    """(B, C, H, W) at a size, averaged where that is smaller."""
    if values.shape[-1] == size:
        return values
    return F.interpolate(values, (size, size), mode="bilinear", align_corners=False, antialias=True)


@lru_cache(maxsize=1)
def _loaded(directory: Path) -> Segmenter:
    return load(directory)
