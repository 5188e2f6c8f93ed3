"""The options of a dataset that preparing it reads, checked, and what follows from them: the store's arrays."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mimik.errors import UserError
from mimik.faces.reconstruction import tddfa
from mimik.faces.reconstruction.quality import Quality
from mimik.faces.reconstruction.reconstruct import ANNOTATIONS
from mimik.labels import ACTION_UNITS

CHANNELS: Mapping[str, tuple[int, ...]] = {"images": (3,), "masks": (), "depth": (), "normals": (3,)}
"""Trailing axes of the arrays that exist once per size."""

TRUE_UNITS = "truth_action_units"
"""Name of the array of the true targets' action units."""

MASKS: Sequence[str] = ("mesh", "annotation", "segmenter")
"""Where the masks of photographs come from: the face mesh; the dataset, whose module then offers `mask`; or a segmenter
that was trained on another dataset."""

RECONSTRUCTIONS: Sequence[str] = ("mesh", "released", tddfa.CHOICE)
"""Where the depth of photographs comes from: the face mesh; the dataset, whose module then offers `depth`; 3DDFA_V2,
which gives the normals too."""

MEASURED: Sequence[str] = (
    *("yaw", "pitch", "roll", "eye_distance", "coverage"),
    *("visible_left", "visible_right", "reprojection"),
)
"""Columns that preparing photographs adds to the index, those that are known of any of them (`reconstruct.Face`).

Degrees; pixels of the photograph, 0 to 1; 0 to 1, 0 to 1, distances of the outer eye corners. Where the dataset's index
has a column of that name, the measured one is called `measured_<name>`."""


@dataclass(frozen=True)
class Settings:
    """The options that are read here, checked; see `mimik.faces.prepared.prepare.prepare`."""

    dataset: str
    module: str
    sizes: tuple[int, ...]
    landmarks: str
    annotations: tuple[str, ...]
    grey: bool
    masks: str
    geometric: bool
    """Whether action units are estimated from the mesh."""
    quality: Quality
    reconstruction: str
    truth: tuple[str, ...] = ()
    """Classes whose true targets the test faces get."""
    segmenter: str = ""
    """Digest of the record of the segmenter that makes the masks."""
    model: tddfa.Files | None = None
    """Of 3DDFA_V2, once they are found."""

    @classmethod
    def of(cls, dataset: str, module: str, options: Mapping[str, Any]) -> "Settings":
        """From the entry `dataset` of params.yaml, of `module` in `mimik.datasets`.

        Raises:
            UserError: an option is unusable.
        """
        where = f"params.yaml, datasets.{dataset}"
        sizes = options.get("sizes")
        if not isinstance(sizes, Sequence) or not sizes or any(not isinstance(s, int) or s < 16 for s in sizes):
            raise UserError(f"{where}.sizes: expected a list of sides of at least 16 px, found {sizes!r}.")
        annotations = options.get("annotations", ANNOTATIONS)
        known = (*ANNOTATIONS, "landmarks")
        if isinstance(annotations, str) or any(name not in known for name in annotations):
            raise UserError(f"{where}.annotations: expected a list of {', '.join(known)}; found {annotations!r}.")
        grey = options.get("grey", False)
        if not isinstance(grey, bool):
            raise UserError(f"{where}.grey: expected true or false, found {grey!r}.")
        masks = options.get("masks", MASKS[0])
        if masks not in MASKS:
            raise UserError(f"{where}.masks: expected one of {', '.join(MASKS)}; found {masks!r}.")
        settings = cls(
            dataset,
            module,
            tuple(sorted(set(sizes), reverse=True)),
            str(options.get("landmarks", "mediapipe")),
            tuple(name for name in ANNOTATIONS if name in annotations),
            grey,
            masks,
            options.get("action_units") == "geometric",
            Quality.of(options.get("quality") or {}, f"{where}.quality"),
            str(options.get("reconstruction", RECONSTRUCTIONS[0])),
        )
        if settings.reconstruction not in RECONSTRUCTIONS:
            found = settings.reconstruction
            raise UserError(f"{where}.reconstruction: expected one of {', '.join(RECONSTRUCTIONS)}; found '{found}'.")
        if settings.released and ("depth" not in settings.annotations or "normals" in settings.annotations):
            raise UserError(
                f"{where}.annotations: `reconstruction: released` gives depth, but no normals; found {annotations!r}."
            )
        if settings.dense and "depth" not in settings.annotations:
            raise UserError(
                f"{where}.annotations: `reconstruction: {tddfa.CHOICE}` gives depth, and normals on request; depth has "
                f"to be among the annotations. Found {annotations!r}."
            )
        if settings.quality.asked and not (settings.landmarks == "mediapipe" or settings.meshed or settings.geometric):
            raise UserError(
                f"{where}.quality: every threshold needs the face mesh, which these settings do not compute. Request "
                "depth, normals or masks from the mesh, or landmarks from mediapipe."
            )
        return settings

    @property
    def own_masks(self) -> bool:
        """Whether masks are wanted, and the dataset's own."""
        return "masks" in self.annotations and self.masks == "annotation"

    @property
    def released(self) -> bool:
        """Whether the depth is the dataset's own."""
        return self.reconstruction == "released"

    @property
    def predicted_masks(self) -> bool:
        """Whether masks are wanted, and a segmenter's."""
        return "masks" in self.annotations and self.masks == "segmenter"

    @property
    def dense(self) -> bool:
        """Whether depth and normals are 3DDFA_V2's."""
        return self.reconstruction == tddfa.CHOICE

    @property
    def meshed(self) -> tuple[str, ...]:
        """The annotations that the mesh gives."""
        return tuple(name for name in self.annotations if name != "masks" or self.masks == "mesh")

    @property
    def measured(self) -> tuple[str, ...]:
        """Columns that preparing a photograph adds to the index."""
        return (*MEASURED, *ACTION_UNITS) if self.geometric else tuple(MEASURED)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of one row of every uint8 array of the store."""
        kinds = ("images", *self.annotations)
        return {f"{kind}_{size}": (size, size, *CHANNELS[kind]) for kind in kinds for size in self.sizes}

    def truth_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of one test row of every array of true targets; the pictures are uint8."""
        if not self.truth:
            return {}
        pictures = {f"truth_{size}": (len(self.truth), size, size, 3) for size in self.sizes}
        return pictures | {TRUE_UNITS: (len(self.truth), len(ACTION_UNITS))}

    @property
    def bytes_of_a_face(self) -> int:
        """Bytes of one face in the store, without its true targets."""
        return sum(int(np.prod(shape)) for shape in self.shapes().values()) + 68 * 8 + 24

    def weights(self, rows: pd.DataFrame) -> npt.NDArray[np.int64]:
        """What every row takes: (rows, 2), the pictures that are made for it, and its bytes in the store."""
        own = self.bytes_of_a_face
        truth = sum(int(np.prod(shape)) * np.dtype(dtype(name)).itemsize for name, shape in self.truth_shapes().items())
        tested = (rows["split"] == "test").to_numpy()
        weights: npt.NDArray[np.int64] = np.stack([1 + len(self.truth) * tested, own + truth * tested], 1)
        return weights

    def bytes(self, rows: pd.DataFrame) -> int:
        """Bytes of these faces in the store."""
        return int(self.weights(rows)[:, 1].sum())


def dtype(name: str) -> type[Any]:
    """Of an array of the store."""
    return np.float32 if name in ("landmarks", "transforms", TRUE_UNITS) else np.uint8
