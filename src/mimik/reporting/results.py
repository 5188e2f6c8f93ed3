"""Reads results, from which tables, figures and the report are made. Only means over trainings are computed here.

    results/<dataset>/<method>/     metrics.json, per_face.safetensors, config.json, history.csv,
                                    translations/{manifest.json, *.npy}
    results/<dataset>/<method>@2/   the same of the second training, see mimik.settings.replicates

`read_result` opens one of these folders; `mimik.reporting.trainings.gather` makes one `Result` of the folders of one
method. What a table or figure is given is gathered: `Result.metric` and `parts` are then means over trainings.

Every reader says what it could not find; a missing optional file is `None`, a missing required one a `UserError`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from safetensors.numpy import load_file

from mimik.errors import UserError
from mimik.faces.prepared.store import FaceStore
from mimik.reporting.kept_edits import Continuous, GuidedMaps
from mimik.reporting.measured import Measured, pooled
from mimik.settings.params import PROTOCOLS
from mimik.settings.scoring import MARK as SUBMITTED
from mimik.statistics import bootstrap
from mimik.statistics.trainings import Interval
from mimik.storage.arrays import read_array, read_table
from mimik.storage.files import first_line
from mimik.storage.records import command_for, read_record

Array = npt.NDArray[Any]

KEPT = ("strengths", "action_units", "unit_changes", "exemplars", "guided_maps")
"""What a translation keeps of a few faces: names of the arrays, and of their entries in the manifest."""

BASELINES: Mapping[str, Sequence[str]] = {
    "Copy the input": ("copy_{}", "{}_copy"),
    "True target": ("{}_truth",),
}
"""Baseline rows of tables, with the patterns that give the name of their value of a metric in metrics.json."""


@dataclass(frozen=True)
class ReportSettings:
    """The section `report` of params.yaml.

    Attributes:
        figures: modules of mimik.reporting.figures, or (names with a dot) of other packages, in page order.
        tables: modules of mimik.reporting.tables, or (names with a dot) of other packages, in page order.
        rows: number of test faces in an image grid.
        seed: seed of the random choice of these faces.
        ids: ids of test faces to show instead of a random choice.
        difference_maximum: top of the colour scale of difference maps, in grey levels (0 to 255).
        resamples: number of bootstrap resamples in paired comparisons and in means over trainings.
        smoothing: share of a loss curve's points covered by the moving average, in (0, 1).
    """

    figures: tuple[str, ...] = (
        "distance_to_truth",
        "comparison_grid",
        "translation_grid",
        "strengths",
        "action_unit_edits",
        "difference_maps",
        "masks_before_after",
        "guided_maps",
        "per_class_bars",
        "identity_histogram",
        "region_change",
        "confusion_matrix",
        "loss_curves",
        "validation",
        "validation_grid",
    )
    tables: tuple[str, ...] = ("results", "paired", "realism", "reconstruction", "settings", "protocols")
    rows: int = 8
    seed: int = 0
    ids: tuple[str, ...] = ()
    difference_maximum: int = 64
    resamples: int = 1000
    smoothing: float = 0.05

    @property
    def draws(self) -> tuple[int, int]:
        """Number and seed of bootstrap resamples of test faces."""
        return self.resamples, self.seed

    def __post_init__(self) -> None:
        if self.rows < 1:
            raise ValueError(f"rows must be at least 1, got {self.rows}")
        if self.resamples < 1:
            raise ValueError(f"resamples must be at least 1, got {self.resamples}")
        if not 1 <= self.difference_maximum <= 255:
            raise ValueError(f"difference_maximum must be in 1..255, got {self.difference_maximum}")
        if not 0 < self.smoothing < 1:
            raise ValueError(f"smoothing must be in (0, 1), got {self.smoothing}")


@dataclass(frozen=True)
class Result:
    """The trainings of one method on one dataset; files are opened on first use.

    `metric`, `parts`, `metrics` and `baseline` are of all trainings: means with an interval over trainings and faces.
    Everything else, pictures above all, is of the first training. `trainings` has each of them alone; how two methods
    differ says `mimik.reporting.trainings.difference`. With one training the two kinds are the same.

    Attributes:
        directory: results/<dataset>/<method>, of the first training.
        store_directory: data/prepared/<dataset>.
        record: metrics.json as a dict, of the first training.
        config: config.json as a dict, of the first training.
        further: the other trainings of the same method, which have the same settings but for the seed and edited the
            same faces (`mimik.reporting.trainings.gather` checks it).
        draws: number of bootstrap resamples and their seed, for intervals over faces of means over trainings.
    """

    directory: Path
    store_directory: Path
    record: Mapping[str, Any]
    config: Mapping[str, Any]
    further: tuple["Result", ...] = ()
    draws: tuple[int, int] = (1000, 0)

    @cached_property
    def trainings(self) -> tuple["Result", ...]:
        """Every training alone, at least one."""
        return (replace(self, further=()), *self.further) if self.further else (self,)

    @property
    def seeds(self) -> list[int]:
        """The seed of every training."""
        return [int(training.record.get("seed", 0)) for training in self.trainings]

    @property
    def dataset(self) -> str:
        """Name of the dataset (file name = params key)."""
        return str(self.record["dataset"])

    @property
    def method(self) -> str:
        """Name of the method or variant (params key)."""
        return str(self.record["method"])

    @property
    def protocol(self) -> str:
        """`published` or `equal`, see `mimik.settings.params.PROTOCOLS`."""
        return str(self.record.get("protocol", PROTOCOLS[0]))

    @property
    def scale(self) -> str:
        """`paper`, `demo`, `smoke` or another scale of params.yaml."""
        return str(self.record["scale"])

    @property
    def submitted(self) -> Mapping[str, Any] | None:
        """`description` and `licence` of a method whose pictures were made elsewhere; None for one trained here."""
        return self.config.get(SUBMITTED)

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """translations/manifest.json."""
        path = self.directory / "translations" / "manifest.json"
        manifest = read_record(path, "translations", ("rows", "source_labels", "classes", "size"))
        labels, classes = manifest["source_labels"], len(manifest["classes"])
        targets = [target for told in self._edits(manifest) for target in told.get("targets", ())]
        if len(labels) != len(manifest["rows"]) or not all(-1 <= label < classes for label in (*labels, *targets)):
            raise UserError(
                f"{path}: expected a label for each of its {len(manifest['rows'])} rows, and labels and targets that "
                f"are positions among its {classes} classes. Translate again: `{command_for(path, 'translations')}`."
            )
        return manifest

    @staticmethod
    def _edits(manifest: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """The manifest's entry on continuous edits."""
        return [manifest[name] for name in KEPT if name in manifest]

    @property
    def classes(self) -> list[str]:
        """Expression classes in the order of the label."""
        return [str(name) for name in self.manifest["classes"]]

    @property
    def size(self) -> int:
        """Side of the translated images in pixels."""
        return int(self.manifest["size"])

    @cached_property
    def rows(self) -> npt.NDArray[np.int64]:
        """Row of the prepared store for every translated face."""
        return np.asarray(self.manifest["rows"], dtype=np.int64)

    @cached_property
    def source_labels(self) -> npt.NDArray[np.int64]:
        """Label of every translated face, -1 where unknown."""
        return np.asarray(self.manifest["source_labels"], dtype=np.int64)

    @cached_property
    def store(self) -> FaceStore:
        """The prepared dataset at the size of the translations."""
        store, manifest = FaceStore(self.store_directory, self.size), self.manifest
        edited = [row for told in self._edits(manifest) for row in told["rows"]]
        self._check_rows(store, [*manifest["rows"], *edited])
        return store

    @cached_property
    def masked(self) -> FaceStore:
        """The dataset whose faces masks.npy shows: the one that the segmenter was trained on. It is prepared beside it.

        Raises:
            UserError: it is not there, or prepared anew since.
        """
        told, store = self.manifest.get("masked"), self.store
        if told is not None and told["dataset"] != store.name:
            store = FaceStore(self.store_directory.parent / told["dataset"], told["size"])
            if store.digest != told["digest"]:
                path = self.directory / "translations" / "manifest.json"
                raise UserError(
                    f"{path}: the masks are of a different preparation of {told['dataset']} than the one now in "
                    f"{store.directory}. Translate again: `{command_for(path, 'translations')}`."
                )
        self._check_rows(store, self.manifest.get("mask_rows", ()))
        return store

    def _check_rows(self, store: FaceStore, rows: Sequence[int]) -> None:
        if not all(0 <= row < len(store) for row in rows):
            path = self.directory / "translations" / "manifest.json"
            raise UserError(
                f"{path}: expected rows of {store.directory}, 0 to {len(store) - 1}. Translate again: "
                f"`{command_for(path, 'translations')}`."
            )

    @cached_property
    def translations(self) -> Array:
        """uint8 (N, C, S, S, 3), memory-mapped: column t is the face edited to class t.

        Raises:
            UserError: the file is missing or does not fit its manifest.
        """
        array = self.optional("images.npy")
        path = self.directory / "translations" / "images.npy"
        if array is None:
            raise UserError(f"{path}: missing. Translate the test split again.")
        expected = (len(self.rows), len(self.classes), self.size, self.size, 3)
        if array.shape != expected or array.dtype != np.uint8:
            raise UserError(
                f"{path}: holds {array.dtype} {array.shape}, but its manifest states uint8 {expected}. "
                "Delete the folder `translations` and make it again."
            )
        return array

    def optional(self, name: str) -> Array | None:
        """An array of translations/, memory-mapped, or None when it does not exist, or was left out and has no rows."""
        path = self.directory / "translations" / name
        if not path.exists():
            return None
        array = read_array(path, f"Delete it and translate again: `{command_for(path, 'translations')}`.")
        return None if array.shape[:1] == (0,) else array

    def continuous(self, name: str) -> Continuous | None:
        """Continuous edits, of the name of their file in translations/; None when there are none.

        Raises:
            UserError: the file does not fit its manifest.
        """
        array, told = self.optional(f"{name}.npy"), self.manifest.get(name)
        if array is None or told is None or not told["rows"]:
            return None
        path = self.directory / "translations" / f"{name}.npy"
        units = [len(told["names"])] if "names" in told else []
        expected = (len(told["rows"]), *units, len(told["levels"]), self.size, self.size, 3)
        fits = array.shape[1:] == expected and array.dtype == np.uint8
        if not fits or len(told.get("like", told["rows"])) != len(told["rows"]):
            raise UserError(
                f"{path}: holds {array.dtype} {array.shape}, but its manifest states uint8 (., {expected}). "
                "Delete the folder `translations` and make it again."
            )
        truth = array[1] if len(array) > 1 else None
        targets, names, like = (told.get(key, ()) for key in ("targets", "names", "like"))
        return Continuous(told["rows"], told["levels"], targets, names, array[0], truth, like)

    def guided_maps(self) -> GuidedMaps | None:
        """Maps that the method's guides drew; None when there are none.

        Raises:
            UserError: the file does not fit its manifest.
        """
        array, told = self.optional("guided_maps.npy"), self.manifest.get("guided_maps")
        if array is None or told is None or not told["panels"]:
            return None
        path = self.directory / "translations" / "guided_maps.npy"
        expected = (len(told["panels"]), len(told["rows"]), self.size, self.size, 3)
        if array.shape != expected or array.dtype != np.uint8 or len(told["targets"]) != len(told["rows"]):
            raise UserError(
                f"{path}: holds {array.dtype} {array.shape}, but its manifest states uint8 {expected}. "
                "Delete the folder `translations` and make it again."
            )
        panels = [(panel["guide"], panel["of"], panel["name"]) for panel in told["panels"]]
        return GuidedMaps(told["rows"], told["targets"], panels, array)

    @cached_property
    def history(self) -> pd.DataFrame | None:
        """history.csv (column `step`, then `<update>/<term>`), or None."""
        path = self.directory / "history.csv"
        if not path.exists():
            return None
        table = read_table(path, f"Train the method again: `{command_for(path, 'method')}`.")
        if "step" not in table:
            raise UserError(f"{path}: has no column `step`. Train the method again.")
        return table

    @cached_property
    def per_face(self) -> dict[str, tuple[Array, Array]]:
        """By metric: sums and counts (N, G) of every translated face; empty when the file does not exist.

        Raises:
            UserError: the file is damaged.
        """
        path = self.directory / "per_face.safetensors"
        if not path.exists():
            return {}
        remedy = f"Evaluate the method again: `{command_for(path, 'metrics')}`."
        try:
            arrays = load_file(path)
        except Exception as error:
            raise UserError(f"{path}: expected safetensors, but: {first_line(error)}. {remedy}") from error
        names = [name.removesuffix("/sums") for name in arrays if name.endswith("/sums")]
        pairs = {name: (arrays[f"{name}/sums"], arrays.get(f"{name}/counts")) for name in names}
        found = {name: (sums, counts) for name, (sums, counts) in pairs.items() if counts is not None}
        if found.keys() != pairs.keys() or any(
            sums.ndim != 2 or sums.shape != counts.shape or len(sums) != len(self.rows)
            for sums, counts in found.values()
        ):
            raise UserError(
                f"{path}: expected sums and counts (faces, groups) of {len(self.rows)} faces for every metric. {remedy}"
            )
        return found

    @property
    def metrics(self) -> dict[str, Measured]:
        """The scalar metrics by name, in the order of metrics.json, those that were skipped too; see `parts`."""
        measured = {name: self.metric(name) for name in self.record["metrics"]}
        return {name: metric for name, metric in measured.items() if metric is not None}

    def metric(self, name: str) -> Measured | None:
        """A scalar metric, or None when metrics.json does not have it or it is not a scalar.

        Of several trainings it is their mean. Where `per_face` has the metric, whole faces are drawn again, the same
        for all trainings; else the interval over faces is the mean of the trainings'.
        """
        if not self.further:
            return self._metric(name)
        return pooled([one._metric(name) for one in self.trainings], self._over_faces(name))

    def _over_faces(self, name: str) -> Interval | None:
        """Interval over faces of the mean over trainings; None where a training has no values by face."""
        found = [one.per_face.get(name) for one in self.trainings]
        arrays = [pair for pair in found if pair is not None]
        if len(arrays) < len(found):
            return None
        weights = face_draws(len(self.rows), *self.draws)
        means = [bootstrap.grouped_mean(weights @ sums, weights @ counts) for sums, counts in arrays]
        interval = bootstrap.percentile_interval(np.mean(means, axis=0))
        return None if interval is None else (interval[0], interval[1])

    def _metric(self, name: str) -> Measured | None:
        """A scalar metric of the first training."""
        entry = self.record["metrics"].get(name)
        if not isinstance(entry, Mapping):
            return None
        if "skipped" in entry:
            return Measured(None, None, str(entry["skipped"]), entry)
        value = entry.get("value")
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            return None
        return Measured(float(value), _interval(entry.get("ci")), "", entry)

    def parts(self, name: str, part: str = "") -> dict[str, Measured]:
        """The parts of a metric by name; empty when metrics.json does not have it.

        Args:
            name: the metric.
            part: key of its entry that contains the parts (`per_class`, `per_region`), or "" when they are in its
                `value`, and their intervals in its `ci`.
        """
        if not self.further:
            return self._parts(name, part)
        found = [one._parts(name, part) for one in self.trainings]
        means = {key: pooled([parts.get(key) for parts in found]) for key in found[0]}
        return {key: mean for key, mean in means.items() if mean is not None and mean.value is not None}

    def _parts(self, name: str, part: str) -> dict[str, Measured]:
        """The parts of a metric of the first training."""
        entry = self.record["metrics"].get(name)
        pieces = entry.get(part or "value") if isinstance(entry, Mapping) else None
        if not isinstance(pieces, Mapping):
            return {}
        intervals = entry.get("ci") if not part else None
        intervals = intervals if isinstance(intervals, Mapping) else {}
        return {
            str(key): Measured(float(value), _interval(intervals.get(key)), "", entry)
            for key, value in pieces.items()
            if isinstance(value, int | float) and not isinstance(value, bool)
        }

    def baseline(self, baseline: str, name: str) -> Measured | None:
        """The score of a baseline (a key of `BASELINES`) in a metric, or None when it was not measured."""
        found = (self.metric(pattern.format(name)) for pattern in BASELINES[baseline])
        return next((measured for measured in found if measured is not None and measured.value is not None), None)

    def position_of(self, row: int) -> int:
        """Position in the translations of a row of the store. Raises `ValueError` when it was not translated."""
        found = np.flatnonzero(self.rows == row)
        if not len(found):
            raise ValueError(f"{self.directory}: row {row} of the store was not translated")
        return int(found[0])


@lru_cache(maxsize=4)
def face_draws(faces: int, number: int, seed: int) -> npt.NDArray[np.float64]:
    """`mimik.statistics.bootstrap.resamples`, drawn once for all that use it. Not to be changed in place."""
    return bootstrap.resamples(faces, number, seed)


def _interval(value: Any) -> tuple[float, float] | None:
    if isinstance(value, Sequence) and len(value) == 2 and all(isinstance(end, int | float) for end in value):
        return float(value[0]), float(value[1])
    return None


def read_result(directory: Path | str, store_directory: Path | str | None = None) -> Result:
    """Open the result directory of an evaluated method.

    Args:
        directory: results/<dataset>/<method>.
        store_directory: the prepared dataset; None for data/prepared/<dataset> beside `results`. It is opened
            only when `Result.store` is used.

    Raises:
        UserError: metrics.json or config.json is missing, not JSON, or lacks what identifies the result.
    """
    directory = Path(directory)
    record = read_record(directory / "metrics.json", "metrics", ("dataset", "method", "scale", "metrics"))
    if store_directory is None:
        project = directory.resolve().parent.parent.parent
        store_directory = project / "data" / "prepared" / record["dataset"]
    return Result(directory, Path(store_directory), record, read_record(directory / "config.json", "method"))
