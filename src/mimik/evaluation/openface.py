"""Action units that OpenFace 2 reads from a method's edits: the folder of pictures and of the CSV files about them.

    data/openface/<dataset>/<method>/
        edits.json                        which translations the pictures are
        <target>/<id>.png, <id>.csv       every edit, and beside it what OpenFace wrote about it
        faces/<id>.png, <id>.csv          the same of the unedited faces

`mimik export --edits` writes the pictures. OpenFace is a program of its own, which the user runs on each of the folders
(docs/papers/metrics.md#ed-by-openface).
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mimik.evaluation.measurements import Measurements
from mimik.evaluation.places import Missing
from mimik.evaluation.submission import FACES, output_of
from mimik.faces.action_units import openface
from mimik.faces.action_units.extractors import CONFIDENCE
from mimik.storage.files import read_json

EDITS = "edits.json"

COMMAND = 'for folder in {}/*/; do FaceLandmarkImg -fdir "$folder" -aus -out_dir "$folder"; done'
"""Runs OpenFace on such a folder: its option -fdir does not look into folders."""

Units = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Read:
    """What OpenFace has read. N faces, C targets.

    Attributes:
        edits: intensities in [0, 1] (N, C, 17) in the order of `labels.ACTION_UNITS`; NaN where it found no face.
        faces: of the unedited faces (N, 17), or why they are unknown.
        sha256: of the CSV files.
    """

    edits: Units
    faces: Units | Missing
    sha256: str


def content_digest(images: npt.NDArray[np.uint8]) -> str:
    """SHA-256 of translations uint8 (N, C, S, S, 3), which may be a memory map."""
    content = hashlib.sha256(repr(images.shape).encode())
    for row in images:
        content.update(np.ascontiguousarray(row).tobytes())
    return content.hexdigest()


def read_edits(measurements: Measurements) -> Read | Missing:
    """What OpenFace has read from the edits that are measured, by the confidence of the dataset's own action units.

    Raises:
        UserError: a CSV file cannot be used.
    """
    folder, store = measurements.places.openface, measurements.store
    if folder is None or not (Path(folder) / EDITS).exists():
        return Missing(f"OpenFace has not read these edits: `mimik export MODEL --edits {folder or 'DIR'}`.")
    folder = Path(folder)
    remedy = f"Delete {folder} and export the edits again."
    told: Any = read_json(folder / EDITS, remedy)
    if not isinstance(told, dict) or told.get("images") != content_digest(measurements.translations):
        return Missing(f"the pictures in {folder} are those of other translations. {remedy}")
    identifiers = store.table["id"].iloc[measurements.rows].tolist()
    targets = [target for target in measurements.classes if not any((folder / target).glob("*.csv"))]
    if targets:
        return Missing(f"OpenFace's CSV files of {', '.join(targets)} are missing. Run `{COMMAND.format(folder)}`.")
    readings = openface.read(folder, store.manifest.get("options", {}).get("openface_confidence", CONFIDENCE))
    pictures = [output_of(target, identifier) for identifier in identifiers for target in measurements.classes]
    units = openface.match(readings, pictures).units
    faces: Units | Missing = Missing(f"OpenFace's CSV files of {folder / FACES} are missing.")
    if any((folder / FACES).glob("*.csv")):
        faces = openface.match(readings, [output_of(FACES, identifier) for identifier in identifiers]).units
    return Read(units.reshape(len(identifiers), len(measurements.classes), -1), faces, readings.sha256)
