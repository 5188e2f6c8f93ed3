"""The prepared dataset on disk: a table and memory-mapped arrays, row for row. Nothing is decoded twice.

data/prepared/<dataset>/
  index.csv        one row per usable face; row i of the table is row i of every array
  quarantine.csv   path, stage, reason: every listed or found image that is not in the index, once
  refused.csv      the faces among these that failed `quality`: path, transform, measures as in index.csv
  manifest.json    sizes, classes, importer, extractors, options, digests of every array and of the whole
  images_<size>.npy    uint8 (N, size, size, 3) RGB
  masks_<size>.npy     uint8 (N, size, size) class of mimik.labels.SEGMENTATION_CLASSES, 255 = unknown
  depth_<size>.npy     uint8 (N, size, size), 0 = no surface, 1 (far) to 255 (near)
  normals_<size>.npy   uint8 (N, size, size, 3), (n + 1) / 2 * 255 with x right, y up, z to the viewer; 0 = none
  landmarks.npy        float32 (N, 68, 2) x then y, as fractions of the crop's side (pixel = fraction * size)
  transforms.npy       float32 (N, 2, 3) source pixel -> fraction of the crop's side; NaN where there is no source image
Rendered datasets with ground truth have the true target of every edit besides, for the T rows of the split `test` in
ascending order and the C classes in theirs: the same face showing that class at mean intensity.
  truth_<size>.npy           uint8 (T, C, size, size, 3) RGB
  truth_action_units.npy     float32 (T, C, 17) intensities in [0, 1] in the order of `labels.ACTION_UNITS`
"""

import hashlib
import os
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mimik.datasets.listing import ATTRIBUTE
from mimik.datasets.listing import INDEX_COLUMNS as INDEX_COLUMNS
from mimik.datasets.listing import SPLITS as SPLITS
from mimik.errors import UserError
from mimik.labels import ACTION_UNITS
from mimik.storage.arrays import read_array, read_table
from mimik.storage.files import canonical, first_line
from mimik.storage.records import command_for, read_record

Array = npt.NDArray[Any]

REFUSED = "refused.csv"

TRANSFORM = ("xx", "xy", "x0", "yx", "yy", "y0")
"""Columns of refused.csv with the rows of the transform: x = xx * column + xy * row + x0, and so on."""

ROWS_AT_ONCE = 10_000
"""Rows of a table that are written as CSV at once for its digest."""

LOOKED_AT, COLOURLESS, GREY_SHARE = 500, 2.0, 0.98
"""To see whether a dataset is grey: number of faces that are looked at, the mean difference between a pixel's channels
(grey levels) below which a face has no colour, and the share of faces that have none."""


class FaceStore:
    """One prepared dataset at one size, read through memory maps.

    Attributes:
        table: index.csv as a DataFrame; `expression` and `identity` are strings, empty where unknown.
        classes: the expression classes of this dataset in order; a label is a position in this list.
        images: uint8 (N, size, size, 3).
        masks, depth, normals: like the module's docstring, or None when the dataset has none.
        truth: uint8 (T, C, size, size, 3) true targets of the test rows, see `truth_positions`, or None.
        truth_action_units: float32 (T, C, 17) their action units, or None.
        action_unit_extractor: name and version of what measured the action units; None when there are none.
        digest: identifies content and parameters of the preparation.
    """

    def __init__(self, directory: Path | str, size: int) -> None:
        """Open `directory` at `size` pixels. Raises `UserError` when a file is missing or does not fit the index."""
        self.directory = Path(directory)
        self.size = size
        path = self.directory / "manifest.json"
        self._remedy = f"Prepare the dataset again: `{command_for(path, 'prepared')}`."
        self.manifest: dict[str, Any] = read_record(path, "prepared", ("sizes", "classes", "digest"))
        if size not in self.manifest["sizes"]:
            raise UserError(
                f"{self.directory}: prepared at {self.manifest['sizes']} px, but {size} px is needed. Add {size} to "
                "the dataset's `sizes` in params.yaml and prepare it again."
            )
        self.table = read_table(
            self.directory / "index.csv",
            self._remedy,
            INDEX_COLUMNS,
            dtype=dict.fromkeys(INDEX_COLUMNS, str),
            keep_default_na=False,
            na_values={},
            float_precision="round_trip",
        )
        self.classes: list[str] = list(self.manifest["classes"])
        images = self._array(f"images_{size}.npy")
        if images is None:
            raise UserError(f"{self.directory / f'images_{size}.npy'}: missing. Prepare the dataset again.")
        self.images: Array = images
        self.masks = self._array(f"masks_{size}.npy")
        self.depth = self._array(f"depth_{size}.npy")
        self.normals = self._array(f"normals_{size}.npy")
        self._landmarks = self._array("landmarks.npy")
        self.truth = self._truth(f"truth_{size}.npy")
        self.truth_action_units = self._truth("truth_action_units.npy")
        self.action_unit_extractor = extractor_of(self.manifest)
        self.digest: str = self.manifest["digest"]

    def _array(self, name: str) -> Array | None:
        path = self.directory / name
        if not path.exists():
            return None
        array = read_array(path, self._remedy)
        if array.shape[:1] != (len(self.table),):
            raise UserError(
                f"{path}: holds {len(array) if array.ndim else 0} rows, but index.csv lists {len(self.table)}. "
                f"{self._remedy}"
            )
        self._check_faces(path, array, array.shape[1:])
        return array

    def _truth(self, name: str) -> Array | None:
        path = self.directory / name
        if not path.exists():
            return None
        array = read_array(path, self._remedy)
        expected = (int((self.table["split"] == "test").sum()), len(self.classes))
        if array.shape[:2] != expected:
            raise UserError(
                f"{path}: holds {array.shape[:2]} faces and classes, but index.csv and manifest.json list {expected} "
                f"for the split 'test'. {self._remedy}"
            )
        self._check_faces(path, array, array.shape[2:])
        return array

    def _check_faces(self, path: Path, array: Array, shape: tuple[int, ...]) -> None:
        """Raise `UserError` when what an array holds of every face is not what its name says."""
        kind = path.stem.removesuffix(f"_{self.size}")
        size = self.size
        expected, dtype = {
            "masks": ((size, size), "u1"),
            "depth": ((size, size), "u1"),
            "landmarks": ((68, 2), "f4"),
            "truth_action_units": ((len(ACTION_UNITS),), "f4"),
        }.get(kind, ((size, size, 3), "u1"))
        if shape != expected or array.dtype != np.dtype(dtype):
            raise UserError(
                f"{path}: holds {array.dtype} {shape} of every face, expected {np.dtype(dtype)} {expected}. "
                f"{self._remedy}"
            )

    def __len__(self) -> int:
        return len(self.table)

    @property
    def name(self) -> str:
        """Name of the dataset: of its folder, as everything made from an entry of params.yaml is stored under it."""
        return self.directory.absolute().name

    @cached_property
    def landmarks(self) -> Array | None:
        """float32 (N, 68, 2) in pixels at `size`, or None; kept once read, as everything else of a face is mapped."""
        return None if self._landmarks is None else np.asarray(self._landmarks) * np.float32(self.size)

    def rows(self, split: str) -> npt.NDArray[np.int64]:
        """Row numbers of a split, ascending. Raises `UserError` when the split is empty."""
        rows: npt.NDArray[np.int64] = np.flatnonzero(self.table["split"].to_numpy() == split).astype(np.int64)
        if not len(rows):
            raise UserError(f"{self.directory / 'index.csv'}: no face is in the split '{split}'.")
        return rows

    def training_rows(self) -> npt.NDArray[np.int64]:
        """Row numbers of the split 'train', in which every class has a face; see `rows`.

        Raises:
            UserError: the split is empty, or a class has no face in it, where there are labels at all. What is trained
                without one learns a class that it has never seen.
        """
        rows = self.rows("train")
        counts = np.bincount(self.labels()[rows] + 1, minlength=len(self.classes) + 1)[1:]
        if counts.any() and not counts.all():
            told = ", ".join(f"{name} {count:,}" for name, count in zip(self.classes, counts, strict=True))
            missing = self.classes[int(counts.argmin())]
            raise UserError(
                f"{self.directory / 'index.csv'}: no face of the class {missing!r} is in the split 'train' ({told}). "
                "See quarantine.csv for what was left out; then add images, or name the classes to keep in the "
                "dataset's `classes`, and prepare it again."
            )
        return rows

    def kind_of_pictures(self) -> dict[str, bool]:
        """What kind of pictures a method learns from here; editing photographs goes by it.

        Returns:
            `grey`: whether at least `GREY_SHARE` of the training faces (at most `LOOKED_AT` are looked at) show no
            colour; `rendered`: whether they were rendered.
        """
        rows = self.training_rows()
        some = self.images[rows[np.unique(np.linspace(0, len(rows) - 1, LOOKED_AT).astype(int))]].astype(np.int16)
        colourless = (some.max(axis=-1) - some.min(axis=-1)).mean(axis=(1, 2)) < COLOURLESS
        grey = bool(colourless.mean() >= GREY_SHARE)
        return {"grey": grey, "rendered": self.manifest.get("source") == "rendered"}

    def truth_positions(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Positions in `truth` of some rows of the table. Raises `ValueError` when one is not of the split 'test'."""
        test = self.rows("test")
        positions = np.searchsorted(test, rows).clip(max=len(test) - 1)
        if (test[positions] != rows).any():
            raise ValueError(f"{self.directory}: not all of the rows {rows} are in the split 'test'")
        return positions.astype(np.int64)

    def quarantine(self) -> pd.DataFrame:
        """quarantine.csv: path, stage, reason, all strings. Raises `UserError` when it is missing."""
        path = self.directory / "quarantine.csv"
        if not path.exists():
            raise UserError(f"{path}: missing. Prepare the dataset again.")
        columns = ["path", "stage", "reason"]
        return read_table(path, self._remedy, columns, dtype=str, keep_default_na=False)[columns]

    def refused(self) -> pd.DataFrame:
        """refused.csv; see the module's docstring. Raises `UserError` when it is missing."""
        path = self.directory / REFUSED
        if not path.exists():
            raise UserError(f"{path}: missing. Prepare the dataset again.")
        return read_table(path, self._remedy, ["path"], dtype={"path": str}, keep_default_na=False, na_values=[""])

    def labels(self) -> npt.NDArray[np.int64]:
        """Class of every row as a position in `classes`; -1 where the expression is unknown."""
        position = {name: index for index, name in enumerate(self.classes)}
        return np.array([position.get(name, -1) for name in self.table["expression"]], dtype=np.int64)

    def action_units(self) -> npt.NDArray[np.float32] | None:
        """float32 (N, 17) intensities in [0, 1] in the order of `labels.ACTION_UNITS`, or None without annotation."""
        if any(name not in self.table for name in ACTION_UNITS):
            return None
        return self._numbers(list(ACTION_UNITS))

    @property
    def attribute_names(self) -> list[str]:
        """Names of the binary attributes, in the order of index.csv."""
        names = map(str, self.table.columns)
        return [name.removeprefix(ATTRIBUTE) for name in names if name.startswith(ATTRIBUTE)]

    def attributes(self) -> npt.NDArray[np.float32] | None:
        """float32 (N, A) of 0 and 1, in the order of `attribute_names`, or None when there are none."""
        columns = [f"{ATTRIBUTE}{name}" for name in self.attribute_names]
        return self._numbers(columns) if columns else None

    def _numbers(self, columns: list[str]) -> npt.NDArray[np.float32]:
        try:
            return self.table[columns].to_numpy(dtype=np.float32)
        except ValueError as error:
            raise UserError(
                f"{self.directory / 'index.csv'}: expected numbers in the columns {columns[0]} to {columns[-1]}, but: "
                f"{first_line(error)}. {self._remedy}"
            ) from error


def prepared_manifest(directory: Path, needs: Iterable[str] = ()) -> dict[str, Any]:
    """manifest.json of a prepared dataset, with the entries `needs` besides those of every one.

    Raises:
        UserError: there is none, or it is damaged; says how to prepare the dataset.
    """
    path = directory / "manifest.json"
    if not path.exists():
        raise UserError(
            f"{path}: no such file, so this dataset is not prepared, or its preparation did not finish. Run "
            f"`mimik data prepare {directory.name}` first."
        )
    return read_record(path, "prepared", ("dataset", "sizes", "classes", "digest", "source", *needs))


def check_outside(output: Path, *inputs: Path) -> None:
    """Raise `UserError` when `output` is, or lies in, a folder of photographs or of a prepared dataset.

    A store's content is versioned as a whole, and pictures added to an archive would be taken for photographs of it.
    """
    real = Path(os.path.realpath(output))
    around = [folder for folder in (real, *real.parents) if folder.exists()]
    for folder in inputs:
        # By what they are on disk, however they are spelt.
        if folder.exists() and any(other.samefile(folder) for other in around):
            raise UserError(
                f"{output}: is in {folder}, which mimik reads and to which nothing may be added. Choose another folder."
            )


def extractor_of(manifest: Mapping[str, Any]) -> str | None:
    """Name and version of the extractor of the action units that a manifest records; None when it records none."""
    record = manifest.get("action_units")
    return None if record is None else f"{record['extractor']} {record['version']}".strip()


def store_digest(table: pd.DataFrame, parameters: dict[str, Any]) -> str:
    """Digest of a preparation: its table (ids, splits, labels, source digests) and its parameters.

    It is `mimik.storage.files.digest` of a dict of `parameters` and `table`, the CSV, whose text is never whole in
    memory.
    """
    content = hashlib.sha256(f'{{"parameters":{canonical(parameters)},"table":"'.encode())
    for start in range(0, max(1, len(table)), ROWS_AT_ONCE):
        text = table.iloc[start : start + ROWS_AT_ONCE].to_csv(index=False, header=start == 0)
        content.update(canonical(text)[1:-1].encode())
    content.update(b'"}')
    return content.hexdigest()
