"""The metrics on arrays from any method. `import mimik` provides `evaluate`."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from mimik.evaluation.evaluate import measure, metric_modules
from mimik.evaluation.measurements import PER_FACE, EvaluationSettings, Measurements
from mimik.evaluation.places import Extractor, Missing, Places
from mimik.faces.prepared.store import FaceStore
from mimik.settings.modules import names
from mimik.storage.arrays import check_pictures
from mimik.training.devices import chosen_device

Picture = npt.NDArray[np.uint8]

NOT_HERE = "arrays contain no {}; `mimik evaluate` measures this on a prepared dataset."
"""Why a metric is skipped whose input is no argument of `evaluate`."""

LACKING: Mapping[str, str] = {
    "truth": "no `truth` was given.",
    "masks": "no `masks` were given.",
    "landmarks": "no `landmarks` were given.",
    "classifier": "no `classifier` was given.",
    "reader": "no `reader` was given.",
    "truth_action_units": NOT_HERE.format("action units of the true targets"),
    "action_units": NOT_HERE.format("action units of training faces"),
}


class GivenFaces(FaceStore):
    """Arrays in the form of a prepared dataset that consists of a test split only."""

    def __init__(
        self,
        images: Picture,
        labels: npt.NDArray[np.int64],
        classes: Sequence[str],
        truth: Picture | None,
        masks: Picture | None,
        landmarks: npt.NDArray[np.float32] | None,
    ) -> None:
        """Arguments as for `evaluate`, checked."""
        self.directory, self.size = Path("the arrays"), images.shape[1]
        self.classes = list(classes)
        self.table = pd.DataFrame({"split": "test", "expression": [classes[label] for label in labels]})
        self.images, self.truth, self.masks, self._landmarks = images, truth, masks, landmarks
        self.depth = self.normals = self.truth_action_units = self.action_unit_extractor = None


class GivenMeasurements(Measurements):
    """Measurements of arrays, with protocols that say so."""

    TESTED: ClassVar[str] = "Arrays"

    @property
    def action_unit_reader(self) -> Extractor | Missing:
        """The reader: arrays contain no action units that could be of another kind than its own."""
        return self.reader

    def lacking(self, what: str, reason: str) -> Missing:
        """The reason for a metric that lacks `what`: it was not given."""
        return Missing(LACKING[what])


def evaluate(
    edits: Picture,
    sources: Picture,
    labels: Sequence[str] | npt.ArrayLike,
    classes: Sequence[str],
    *,
    truth: Picture | None = None,
    cycle: Picture | None = None,
    masks: Picture | None = None,
    landmarks: npt.ArrayLike | None = None,
    classifier: Path | str | None = None,
    reader: Path | str | None = None,
    weights: Path | str | None = None,
    metrics: Sequence[str] | None = None,
    bootstrap: int = 1000,
    seed: int = 0,
    batch_size: int = 128,
    device: torch.device | str | None = None,
) -> dict[str, dict[str, Any]]:
    """Measure the edits of any method with the modules that produce metrics.json.

    Each of the N faces is edited to all C classes, including its own: reconstruction is measured on that edit. The
    sources also serve as the real images of Fréchet and kernel distances.

    Args:
        edits: uint8 (N, C, S, S, 3) RGB; `edits[i, t]` is face i edited to class t.
        sources: uint8 (N, S, S, 3), the unedited faces.
        labels: the class that each source shows, by name or as a position in `classes` (N,).
        classes: names of the C expressions.
        truth: uint8 (N, C, S, S, 3), the true image of every edit, if known.
        cycle: uint8 (N, C, S, S, 3), every edit edited back to the class of its source.
        masks: uint8 (N, S, S), class of every pixel of the sources, positions in
            `mimik.labels.SEGMENTATION_CLASSES`, 255 where unknown.
        landmarks: (N, 68, 2) of the sources, x then y, as fractions of the side.
        classifier: folder of a classifier trained on `classes`, data/pretrained/<dataset>/classifier/<name>.
        reader: folder of a face reader, which is for rendered faces: data/pretrained/<dataset>/reader/<name>.
        weights: folder with the weights of published networks (docs/weights.md#networks-that-measure). dlib's (ACD)
            may be there or in the package that mimik's extra `judges` installs.
        metrics: modules of `mimik.evaluation.metrics`; None runs all.
        bootstrap: resamples for the confidence intervals.
        seed: seed of the resamples and of the subsets of kernel distances.
        batch_size: images per call of a network.
        device: device of the networks, see `mimik.load`.

    Returns:
        the entries of metrics.json by name: `value`, `ci`, `n`, `extractor`, `protocol` and more, or `skipped` with the
        reason.

    Raises:
        TypeError: pictures are not uint8 arrays.
        ValueError: arrays do not fit each other, a label is unknown, or a number is out of range.
        mimik.UserError: a metric is unknown, or a network is missing or was trained on other classes.
    """
    settings = EvaluationSettings(
        tuple(names("metrics") if metrics is None else metrics), None, bootstrap, seed, batch_size=batch_size
    )
    modules = metric_modules(settings.metrics)
    check_pictures("sources", sources, ("N", "S", "S", 3))
    count, size = sources.shape[:2]
    if not count or sources.shape[2] != size or not classes:
        raise ValueError(f"sources: expected square pictures of at least one face, and classes; got {sources.shape}")
    if len(set(classes)) < len(classes):
        raise ValueError(f"classes: expected names, each once, got {', '.join(classes)}")
    pairs = (count, len(classes), size, size, 3)
    for name, pictures in (("edits", edits), ("truth", truth), ("cycle", cycle)):
        if pictures is not None or name == "edits":
            check_pictures(name, pictures, pairs)
    if masks is not None:
        check_pictures("masks", masks, (count, size, size))
    points = None if landmarks is None else np.asarray(landmarks, dtype=np.float32)
    if points is not None and (points.shape != (count, 68, 2) or not np.isfinite(points).all()):
        raise ValueError(f"landmarks: expected finite ({count}, 68, 2), got {points.shape}")
    faces = GivenFaces(sources, _positions(labels, classes, count), classes, truth, masks, points)
    no_segmenter = Missing("pictures say nothing about a segmenter; `mimik evaluate` measures that of a method.")
    with tempfile.TemporaryDirectory(prefix="mimik-") as scratch:
        measurements = GivenMeasurements(
            translations=edits,
            cycle=Missing("no `cycle` was given.") if cycle is None else cycle,
            store=faces,
            rows=np.arange(count),
            settings=settings,
            scratch=Path(scratch),
            segmenter_before=no_segmenter,
            segmenter_after=no_segmenter,
            places=Places(weights, None, chosen_device(device), classifier, reader),
        )
        entries = measure(measurements, modules)
    return {name: {key: part for key, part in entry.items() if key != PER_FACE} for name, entry in entries.items()}


def _positions(labels: Sequence[str] | npt.ArrayLike, classes: Sequence[str], count: int) -> npt.NDArray[np.int64]:
    """int64 (N,) positions in `classes`. Raises `ValueError` unless there is a known class for each face."""
    given = np.asarray(labels)
    known = ", ".join(classes)
    if given.shape != (count,):
        raise ValueError(f"labels: expected one for each of {count} sources, got {given.shape}")
    if given.dtype.kind == "U":
        if unknown := sorted(set(given.tolist()) - set(classes)):
            raise ValueError(f"labels: {', '.join(unknown)} is not among the classes {known}")
        return np.array([list(classes).index(name) for name in given.tolist()], dtype=np.int64)
    if given.dtype.kind not in "iu" or given.min() < 0 or given.max() >= len(classes):
        raise ValueError(f"labels: expected names, or positions 0 to {len(classes) - 1}, of the classes {known}")
    return given.astype(np.int64)
