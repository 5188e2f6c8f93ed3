"""What measures images, where its weights are looked for, and why it may be missing."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Extractor:
    """A network that measures images.

    Attributes:
        name: its name in metrics.json.
        sha256: hash of its weights.
        outputs: float32 images (B, 3, S, S) in [-1, 1] -> named tensors with leading axis B, all of one pass.
            Classifier: `logits` (of the C classes, or of the C attributes that are reversed), `features`; Inception:
            `features`, `logits` (B, 1008); reader: `action_units`, `identity`; segmenter: `classes` (uint8
            (B, S, S)); ArcFace (112 px crops) and dlib (150 px crops): `features`.
        action_units: extractor of the action units that a reader was trained on (`FaceStore.action_unit_extractor`);
            None for networks that do not read action units, or if it is unknown.
    """

    name: str
    sha256: str
    outputs: Callable[[Tensor], Mapping[str, Tensor]]
    action_units: str | None = None


@dataclass(frozen=True)
class Places:
    """Where the networks that measure are looked for, and where they compute.

    Attributes:
        folder: searched first; None: there is none.
        mirror: see `mimik.mirror`.
        device: of the networks.
        classifier, reader: folders of networks that were trained here; None: there is none.
        openface: see `mimik.evaluation.openface`; None: there is none.
    """

    folder: Path | str | None = None
    mirror: Path | str | None = None
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    classifier: Path | str | None = None
    reader: Path | str | None = None
    openface: Path | str | None = None


@dataclass(frozen=True)
class Missing:
    """Why something is missing, and what to do about it.

    Attributes:
        reason: becomes the `skipped` of a metric.
        applies: whether the metric applies to such methods at all.
    """

    reason: str
    applies: bool = True

    @property
    def entry(self) -> dict[str, Any]:
        """The entry in metrics.json in place of the metric."""
        return {"skipped": self.reason} if self.applies else {"skipped": self.reason, "applies": False}
