"""The input of the metrics: translations, sources, ground truth, and the outputs of each extractor, computed once.

A `Measurements` object is passed to `compute` of every metric. Its views are computed when a metric first needs them
and shared by the others; so are networks opened. Images stay in memory maps and per-image features go to a scratch
folder, so memory use does not grow with the test set.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from tqdm import tqdm

from mimik.components.conditions import Reversal
from mimik.evaluation.extractors import open_classifier, open_geometric, open_reader
from mimik.evaluation.places import Extractor, Missing, Places
from mimik.faces.action_units.geometric import NAME as GEOMETRIC
from mimik.faces.prepared.store import FaceStore
from mimik.statistics import bootstrap
from mimik.storage.arrays import reserved_array
from mimik.training.batches import to_tensor

Array = npt.NDArray[Any]
Labels = npt.NDArray[np.int64]
Entry = dict[str, Any]


@dataclass(frozen=True)
class ClassFilter:
    """Restriction of the classification metrics to some classes (the six-class rule of AffectNet tables).

    Attributes:
        classes: names of the classes to keep.
        apply: `both` restricts sources and targets, `target` only the targets.
    """

    classes: tuple[str, ...]
    apply: Literal["both", "target"] = "both"


@dataclass(frozen=True)
class EvaluationSettings:
    """The `evaluation` slice of params.yaml.

    Attributes:
        metrics: the modules to run, in the order of metrics.json: names of `mimik.evaluation.metrics`, or (with a dot)
            of other packages.
        class_filter: which classes count for accuracy, EEA, its per-class table, confusion and preservation error.
        bootstrap: number of resamples for the confidence intervals.
        seed: seed of resamples and kernel-distance subsets; always the `seed` of params.yaml.
        kid_subsets: number of subsets for the kernel distances.
        kid_subset_size: maximum number of images per subset (fewer if there are fewer images).
        batch_size: images per call of an extractor.
    """

    metrics: tuple[str, ...]
    class_filter: ClassFilter | None = None
    bootstrap: int = 1000
    seed: int = 0
    kid_subsets: int = 100
    kid_subset_size: int = 1000
    batch_size: int = 128

    def __post_init__(self) -> None:
        for name in ("bootstrap", "kid_subsets", "kid_subset_size", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")


@dataclass(frozen=True)
class PerFace:
    """The contribution of every source image to a mean, for paired comparisons of methods on the same faces.

    Attributes:
        sums: (N, G) sum of its values in every group of `bootstrap.grouped_mean`.
        counts: (N, G) number of these values.
    """

    sums: Array
    counts: Array


PER_FACE = "per_face"
"""Key under which an entry carries its `PerFace` until the evaluation writes it to a separate file."""


PRINTED = "printed"
"""Key of metrics.json under which an entry of a metric of another package says how it is printed."""


class Rows:
    """Some rows of a memory-mapped array, in any order, read slice by slice."""

    def __init__(self, array: Array, rows: Labels) -> None:
        self.array, self.rows = array, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, part: slice) -> Array:
        selected: Array = self.array[self.rows[part]]
        return selected


@dataclass
class Measurements:
    """All data on one method's translations. N test images, C classes, S pixels.

    Attributes:
        translations: uint8 (N, C, S, S, 3), see mimik.evaluation.translation.
        cycle: the translations edited back to the source class, or why there are none.
        store: the prepared dataset.
        rows: int64 (N,) row of the store of each translated image.
        settings: see `EvaluationSettings`.
        scratch: an empty folder for features; its contents are not needed afterwards.
        segmenter_before, segmenter_after: the pre-trained segmenter, and the same one after end-to-end training.
        attributes: names of the C attributes that the translations reverse; empty if the targets are classes.
        segmented: the dataset that the segmenters were trained on, at the size they were trained at; None: `store`.
        reversal: what happens to the others then, see `mimik.components.conditions.ConditionConfig`.
        places: where the networks are that `classifier`, `reader` and `opened` open.
        published: the networks that `opened` has opened.
    """

    translations: Array
    cycle: Array | Missing
    store: FaceStore
    rows: Labels
    settings: EvaluationSettings
    scratch: Path
    segmenter_before: Extractor | Missing
    segmenter_after: Extractor | Missing
    attributes: tuple[str, ...] = ()
    segmented: FaceStore | None = None
    reversal: Reversal = "alone"
    places: Places = field(default_factory=Places)
    published: dict[Callable[[Places], Extractor | Missing], Extractor | Missing] = field(default_factory=dict)

    TESTED: ClassVar[str] = "Test split"
    """What the images are, for the protocol of every entry."""

    def lacking(self, what: str, reason: str) -> Missing:
        """The `Missing` for measurements without `what`.

        masks, landmarks, truth, truth_action_units, action_units, classifier, reader.
        """
        return Missing(reason)

    @cached_property
    def classifier(self) -> Extractor | Missing:
        """The judge: a classifier of the C classes, or of the attributes that are reversed."""
        if self.places.classifier is None:
            kind, option = ("attribute", "attribute_classifier") if self.attributes else ("expression", "classifier")
            return self.lacking("classifier", f"name an {kind} classifier for this scale in params.yaml (`{option}`).")
        return open_classifier(self.places.classifier, self.store, self.attributes, self.places.device)

    @cached_property
    def reader(self) -> Extractor | Missing:
        """The network that reads action units and identities from rendered faces."""
        if self.places.reader is None:
            advice = "name a face reader for this scale in params.yaml (`reader`); it needs a rendered dataset."
            return self.lacking("reader", advice)
        return open_reader(self.places.reader, self.places.device)

    @cached_property
    def geometric(self) -> Extractor | Missing:
        """What estimates action units from the face mesh, for datasets whose own are from there."""
        return open_geometric(self.store)

    def opened(self, opener: Callable[[Places], Extractor | Missing]) -> Extractor | Missing:
        """A network that others published, by its function of `mimik.evaluation.extractors`; opened once."""
        if opener not in self.published:
            self.published[opener] = opener(self.places)
        return self.published[opener]

    @property
    def classes(self) -> list[str]:
        """Names of the C classes, or of the reversed attributes."""
        return list(self.attributes) or self.store.classes

    @property
    def size(self) -> int:
        """S."""
        return self.store.size

    @cached_property
    def labels(self) -> Labels:
        """int64 (N,) source class of every translated image; -1 if attributes are reversed: no target is the source."""
        if self.attributes:
            return np.full(len(self.rows), -1)
        labels: Labels = self.store.labels()[self.rows]
        return labels

    @cached_property
    def other(self) -> npt.NDArray[np.bool_]:
        """bool (N, C): the pairs whose target is not the source class."""
        other: npt.NDArray[np.bool_] = self.labels[:, None] != np.arange(len(self.classes))[None]
        return other

    @cached_property
    def real_rows(self) -> Labels:
        """Rows of the whole test split: the real set of accuracy, Fréchet and kernel distances and mIoU."""
        return self.store.rows("test")

    @property
    def sources(self) -> Rows:
        """The N source images, uint8 (N, S, S, 3)."""
        return Rows(self.store.images, self.rows)

    @property
    def reals(self) -> Rows:
        """The real test images, uint8 (R, S, S, 3)."""
        return Rows(self.store.images, self.real_rows)

    @property
    def masked(self) -> FaceStore:
        """The dataset by whose masks the segmenter is measured: the one that it was trained on."""
        return self.store if self.segmented is None else self.segmented

    @property
    def truth(self) -> Rows | Missing:
        """The true targets of the N images, uint8 (N, C, S, S, 3), including those of the source's own class."""
        return self._true("truth", self.store.truth)

    @property
    def action_unit_reader(self) -> Extractor | Missing:
        """What reads action units of the same kind as the dataset's own: two extractors are never mixed.

        The face reader on rendered faces; on photographs the estimate from the face mesh, if the dataset's own are.
        """
        if (self.store.action_unit_extractor or "").partition(" ")[0] == GEOMETRIC:
            return self.geometric
        if isinstance(self.reader, Missing) or self.reader.action_units == self.store.action_unit_extractor:
            return self.reader
        return Missing(
            f"the reader {self.reader.name} was trained on action units of '{self.reader.action_units}', but those of "
            f"{self.store.directory} are from '{self.store.action_unit_extractor}'. Train a reader on this dataset."
        )

    @property
    def true_action_units(self) -> Rows | Missing:
        """Action units of the true targets, float32 (N, C, 17)."""
        return self._true("truth_action_units", self.store.truth_action_units)

    def _true(self, what: str, array: Array | None) -> Rows | Missing:
        if self.attributes:
            return Missing("true target images exist only for expressions, but this method reverses attributes.")
        if array is None:
            return self.lacking(
                what,
                f"only datasets with ground truth (synthetic) have true target images; {self.store.directory} has none "
                f"at {self.size} px.",
            )
        return Rows(array, self.store.truth_positions(self.rows))

    @cached_property
    def weights(self) -> npt.NDArray[np.float64]:
        """Bootstrap weights (resamples, N)."""
        return bootstrap.resamples(len(self.rows), self.settings.bootstrap, self.settings.seed)

    @cached_property
    def kept_classes(self) -> npt.NDArray[np.bool_]:
        """bool (C,): the targets that the class filter keeps."""
        chosen = self.settings.class_filter
        return np.array([chosen is None or name in chosen.classes for name in self.classes])

    @cached_property
    def classified_pairs(self) -> npt.NDArray[np.bool_]:
        """bool (N, C): the pairs that the class filter keeps, target = source included."""
        return self.kept_sources(self.labels)[:, None] & self.kept_classes[None]

    def filtered(self, protocol: str) -> str:
        """The protocol of a classification metric, with the classes that the class filter keeps."""
        chosen = self.settings.class_filter
        if chosen is None:
            return protocol
        who = "sources and targets" if chosen.apply == "both" else "targets"
        return f"{protocol} Only {', '.join(chosen.classes)} as {who}."

    def kept_sources(self, labels: Labels) -> npt.NDArray[np.bool_]:
        """bool like `labels`: the images that the class filter keeps; those of unknown class only without a filter."""
        chosen = self.settings.class_filter
        if chosen is None or chosen.apply == "target":
            return np.ones(len(labels), dtype=np.bool_)
        kept: npt.NDArray[np.bool_] = (labels >= 0) & self.kept_classes[labels]
        return kept

    def batches(self, number: int, what: str, size: int | None = None) -> Iterator[slice]:
        """Slices that cover range(number), under a progress bar."""
        size = size or self.settings.batch_size
        # On the line of the bar over all metrics: jobs that write to logs show whole lines.
        with tqdm(total=number, unit="image", desc=what, leave=False, delay=1, position=0) as progress:
            for start in range(0, number, size):
                stop = min(start + size, number)
                yield slice(start, stop)
                progress.update(stop - start)

    def of_reals(self, extractor: Extractor) -> dict[str, Array]:
        """Outputs (R, ...) of the real test images."""
        return self._once(extractor, "real", self.reals, (len(self.real_rows),))

    def of_masked(self, extractor: Extractor) -> dict[str, Array]:
        """Outputs (R, ...) of the test images of `masked`."""
        rows = self.masked.rows("test")
        return self._once(extractor, "masked", Rows(self.masked.images, rows), (len(rows),))

    def of_sources(self, extractor: Extractor) -> dict[str, Array]:
        """Outputs (N, ...) of the source images: those of the real ones, not computed again."""
        positions = np.searchsorted(self.real_rows, self.rows)
        return {key: value[positions] for key, value in self.of_reals(extractor).items()}

    def of_translations(self, extractor: Extractor) -> dict[str, Array]:
        """Outputs (N, C, ...) of the translations."""
        return self._once(extractor, "translated", flat(self.translations), self.translations.shape[:2])

    def of_truth(self, extractor: Extractor) -> dict[str, Array] | Missing:
        """Outputs (N, C, ...) of the true targets."""
        truth, classes = self.truth, len(self.classes)
        if isinstance(truth, Missing):
            return truth
        pairs = truth.rows[:, None] * classes + np.arange(classes)
        return self._once(extractor, "truth", Rows(flat(truth.array), pairs.ravel()), pairs.shape)

    def with_baselines(self, extractor: Extractor, output: str) -> dict[str, tuple[str, Array | Missing]]:
        """An output (N, C, ...) of the translations, of the copied inputs and of the true targets.

        Returns:
            By suffix of the metric's name ("", "_copy", "_truth"): a name for the images, and their output.
        """
        translated = self.of_translations(extractor)[output]
        copied = self.of_sources(extractor)[output][:, None]
        true = self.of_truth(extractor)
        return {
            "": ("translations", translated),
            "_copy": ("unedited input images", np.broadcast_to(copied, translated.shape)),
            "_truth": ("true target images", true if isinstance(true, Missing) else true[output]),
        }

    @cached_property
    def _outputs(self) -> dict[tuple[str, str, str], dict[str, Array]]:
        return {}

    def _once(
        self, extractor: Extractor, what: str, images: Array | Rows, leading: tuple[int, ...]
    ) -> dict[str, Array]:
        key = (extractor.name, extractor.sha256, what)
        if key not in self._outputs:
            self._outputs[key] = self._extract(extractor, what, images, leading)
        return self._outputs[key]

    def _extract(
        self, extractor: Extractor, what: str, images: Array | Rows, leading: tuple[int, ...]
    ) -> dict[str, Array]:
        """Outputs (*leading, ...) of uint8 images (M, S, S, 3), float32 where floating, memory-mapped from scratch."""
        arrays: dict[str, Array] = {}
        with torch.inference_mode():
            for part in self.batches(len(images), f"{extractor.name}: {what}"):
                for key, value in extractor.outputs(to_tensor(np.array(images[part]))).items():
                    measured = value.float().cpu().numpy() if value.is_floating_point() else value.cpu().numpy()
                    if key not in arrays:
                        path = self.scratch / f"{len(self._outputs)}-{what}-{key}.npy"
                        arrays[key] = reserved_array(path, (len(images), *measured.shape[1:]), measured.dtype)
                    arrays[key][part] = measured
        return {key: array.reshape(*leading, *array.shape[1:]) for key, array in arrays.items()}

    def per_image(self, what: str, function: Callable[[slice], Array]) -> Array:
        """Compute something for every source image and its C pictures, a few images at a time.

        Args:
            what: label of the progress bar.
            function: slice of b images -> (b, ...).

        Returns:
            (N, ...).
        """
        size = max(1, self.settings.batch_size // len(self.classes))
        values: Array = np.concatenate([function(part) for part in self.batches(len(self.rows), what, size)])
        return values

    def mean_entry(
        self,
        values: Array,
        keep: npt.NDArray[np.bool_],
        extractor: Extractor | None,
        protocol: str,
        *,
        macro: bool = False,
        **extra: Any,
    ) -> Entry:
        """Entry of metrics.json for a mean over pairs, with its bootstrap interval and, beside it, its `PerFace`.

        Args:
            values: (N, C) or (N, 1); NaN only where `keep` is False.
            keep: bool of the same shape: the pairs that count.
            extractor: the network that measured the values, None if there was none.
            protocol: the metric's own sentence.
            macro: mean of the columns' means instead of the mean of all.
            extra: further keys.
        """
        if not keep.any():
            return {"skipped": "there is no pair of a test image and a target to measure."}
        sums = np.where(keep, values, 0.0).astype(np.float64)
        counts = keep.astype(np.float64)
        if not macro:
            sums, counts = sums.sum(1, keepdims=True), counts.sum(1, keepdims=True)
        value, interval = bootstrap.mean_interval(sums, counts, self.weights)
        entry = self.entry(value, interval, int(keep.sum()), extractor, protocol, **extra)
        return {**entry, PER_FACE: PerFace(sums, counts)}

    def entry(
        self,
        value: Any,
        ci: Any,
        number: int,
        extractor: Extractor | None,
        protocol: str,
        tested: str | None = None,
        **extra: Any,
    ) -> Entry:
        """Entry of metrics.json, with its keys in the order in which they are written.

        `tested` says what was measured, where that is not the test images of this dataset at this size.
        """
        limited = (
            "" if len(self.rows) == len(self.real_rows) else f" {len(self.rows)} of {len(self.real_rows)} test images."
        )
        tested = tested or f"{self.TESTED}, {self.size} px, uint8.{limited}"
        return {
            "value": value,
            "ci": ci,
            "n": number,
            "extractor": extractor.name if extractor else None,
            "extractor_sha256": extractor.sha256 if extractor else None,
            "protocol": f"{protocol} {tested}",
            **extra,
        }


def flat(images: Array) -> Array:
    """(N, C, S, S, 3) -> (N * C, S, S, 3), a view."""
    return images.reshape(-1, *images.shape[2:])


def unit_tensor(images: Array) -> Tensor:
    """uint8 (B, S, S, 3) -> float32 (B, 3, S, S) in [0, 1]."""
    return torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).float() / 255
