"""Intersection over union of the segmenter, before and after it was trained together with the generator.

Bodur et al. (hier_seg), table 2. Protocol: docs/papers/metrics.md#segmentation-miou, with all 19 classes, background
included; a class that is neither present nor predicted in the whole set has no IoU. Measured on the test split of the
dataset that the segmenter was trained on, which the entries name; it may be another than the one that is translated.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mimik.evaluation.measurements import Array, Entry, Measurements
from mimik.evaluation.places import Extractor, Missing
from mimik.labels import IGNORED, PARTS, SEGMENTATION_CLASSES, class_indices
from mimik.statistics import bootstrap
from mimik.statistics.confusion import confusion_matrix, intersection_over_union

NAMES = ("miou_before", "miou_after")
PROTOCOL = (
    "Mean intersection over union over the 19 classes (background included), from one confusion matrix over all pixels "
    "of known class in the real test images of the dataset that the segmenter was trained on, segmenter {when} "
    "end-to-end training."
)
HIGHER_IS_BETTER = dict.fromkeys(NAMES, True)
UNIT = dict.fromkeys(NAMES, "%")
FORMAT = dict.fromkeys(NAMES, "{:.1%}")


def compute(measurements: Measurements) -> dict[str, Entry]:
    """The two entries of metrics.json, skipped without segmenter or masks.

    Beside `per_class` and `per_part` they hold the `dataset` that they were measured on and its `dataset_digest`.
    """
    segmenters = {"miou_before": measurements.segmenter_before, "miou_after": measurements.segmenter_after}
    return {name: _entry(measurements, name, segmenter) for name, segmenter in segmenters.items()}


def _entry(measurements: Measurements, name: str, segmenter: Extractor | Missing) -> Entry:
    settings = measurements.settings
    if isinstance(segmenter, Missing):
        return segmenter.entry
    store = measurements.masked
    if store.masks is None:
        return {"skipped": f"{store.directory} has no masks at {store.size} px; prepare the dataset with masks."}
    rows = store.rows("test")
    predicted = measurements.of_masked(segmenter)["classes"]
    matrices = per_image_confusion(predicted, store.masks, rows)
    total = matrices.sum(0)
    value, per_class = intersection_over_union(total)
    if np.isnan(value):
        return {"skipped": "no pixel of the test masks has a known class."}
    weights = bootstrap.resamples(len(matrices), settings.bootstrap, settings.seed)
    interval = bootstrap.statistic_interval(matrices, _mean_iou, weights)
    return measurements.entry(
        value,
        interval,
        len(matrices),
        segmenter,
        PROTOCOL.format(when=name.removeprefix("miou_")),
        f"Test split of {store.name}, {store.size} px, uint8.",
        dataset=store.name,
        dataset_digest=store.digest,
        per_class=_named(SEGMENTATION_CLASSES, per_class),
        per_part=_named(list(PARTS), part_ious(total)),
    )


def per_image_confusion(predicted: Array, masks: Array, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Confusion matrices int64 (R, 19, 19), truth by prediction.

    Args:
        predicted: uint8 (R, S, S) classes of the rows in turn.
        masks: uint8 (any number, S, S) true classes of the whole store, 255 = unknown.
        rows: int64 (R,).
    """
    classes = len(SEGMENTATION_CLASSES)
    return np.stack(
        [confusion_matrix(predicted[index], masks[row], classes, IGNORED) for index, row in enumerate(rows)]
    )


def part_ious(confusion: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """IoU of the four local parts of hier_seg, each the union of its classes: (19, 19) counts -> (4,)."""
    group = np.zeros((len(PARTS) + 1, len(confusion)), dtype=np.int64)
    group[0] = 1
    for index, classes in enumerate(PARTS.values(), start=1):
        group[0, class_indices(classes)] = 0
        group[index, class_indices(classes)] = 1
    return intersection_over_union(group @ confusion @ group.T)[1][1:]


def _mean_iou(confusions: Array) -> Array:
    counts = confusions.round().astype(np.int64)
    return np.array([intersection_over_union(table)[0] for table in counts])


def _named(names: Sequence[str], scores: npt.NDArray[np.float64]) -> dict[str, float]:
    return {str(name): float(score) for name, score in zip(names, scores, strict=True) if not np.isnan(score)}
