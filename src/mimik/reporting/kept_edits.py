"""Edits and maps of a few test faces that a translation keeps as pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Continuous:
    """Continuous edits of a few faces (`mimik.evaluation.continuous`).

    Attributes:
        rows: rows of the store, one per face.
        levels: the requested strengths, intensities or changes, in order.
        targets: the target of each face, positions in `Result.classes`; only of `strengths`.
        names: action units, each of which was edited in every face; only of `action_units` and `unit_changes`.
        images: uint8 (faces, levels, S, S, 3), or (faces, names, levels, S, S, 3) if there are names.
        truth: the true edits, of the same shape; None where they are unknown.
        like: the row of the face whose action units each face got; only of `exemplars`.
    """

    rows: Sequence[int]
    levels: Sequence[float]
    targets: Sequence[int]
    names: Sequence[str]
    images: Array
    truth: Array | None
    like: Sequence[int] = ()


@dataclass(frozen=True)
class GuidedMaps:
    """Maps that guides drew of a few faces and their edits (`mimik.evaluation.guided_maps`).

    Attributes:
        rows: rows of the store, one per face.
        targets: the target of each face, positions in `Result.classes`.
        panels: guide, `input` or `edit`, and name of every map, in the order in which they are shown.
        images: uint8 (panels, faces, S, S, 3).
    """

    rows: Sequence[int]
    targets: Sequence[int]
    panels: Sequence[tuple[str, str, str]]
    images: Array
