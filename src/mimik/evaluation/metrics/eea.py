"""Expression editing accuracy: how often a classifier sees the target expression in a translation.

Bodur et al. (hier_seg), section 4; Bodur et al. 2021 (depth guidance) call the same measure expression generation
rate, and SeCGAN calls it editing accuracy. Protocol: docs/papers/metrics.md#expression-editing-accuracy.
"""

import numpy as np
import numpy.typing as npt

from mimik.evaluation.measurements import Entry, Measurements
from mimik.evaluation.places import Missing
from mimik.statistics import bootstrap

NAMES = ("eea", "eea_copy", "eea_truth", "eea_with_self", "eea_per_class", "confusion")
NEEDS_EXPRESSIONS = True
PROTOCOL = "Share of {subject} that the evaluating classifier assigns to the target class, mean over the targets"
HIGHER_IS_BETTER = dict.fromkeys(NAMES, True) | {"confusion": None}
UNIT = dict.fromkeys(NAMES, "%") | {"confusion": "translations"}
FORMAT = dict.fromkeys(NAMES, "{:.1%}") | {"confusion": "{:d}"}


def compute(measurements: Measurements) -> dict[str, Entry]:
    """The entries of metrics.json; `eea_copy` and `eea_truth` are the scores of copies and of true targets."""
    classifier = measurements.classifier
    if isinstance(classifier, Missing):
        return dict.fromkeys(NAMES, classifier.entry)
    every = measurements.classified_pairs
    edits = every & measurements.other
    entries: dict[str, Entry] = {}
    for ending, (subject, logits) in measurements.with_baselines(classifier, "logits").items():
        if isinstance(logits, Missing):
            entries[f"eea{ending}"] = logits.entry
            continue
        protocol = measurements.filtered(f"{PROTOCOL.format(subject=subject)}; target = source excluded.")
        entries[f"eea{ending}"] = measurements.mean_entry(
            hits(logits.argmax(-1)), edits, classifier, protocol, macro=True
        )
    predicted = measurements.of_translations(classifier)["logits"].argmax(-1)
    right = hits(predicted)
    including = measurements.filtered(f"{PROTOCOL.format(subject='translations')}; target = source included.")
    table = measurements.filtered("Number of translations by target and predicted class; target = source excluded.")
    return entries | {
        "eea_with_self": measurements.mean_entry(right, every, classifier, including, macro=True),
        "eea_per_class": _per_class(measurements, right, edits),
        "confusion": measurements.entry(
            confusion(predicted, edits, len(measurements.classes)).tolist(),
            None,
            int(edits.sum()),
            classifier,
            table,
            rows="target",
            columns="predicted",
        ),
    }


def hits(predicted: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Classes (N, C) predicted for translations to targets 0 to C-1 -> 1.0 where the target is predicted, else 0.0."""
    right: npt.NDArray[np.float64] = (predicted == np.arange(predicted.shape[1])).astype(np.float64)
    return right


def confusion(predicted: npt.NDArray[np.int64], keep: npt.NDArray[np.bool_], classes: int) -> npt.NDArray[np.int64]:
    """Counts (C, classes): how often target t was predicted as p among the kept pairs.

    Args:
        predicted: (N, C) classes.
        keep: (N, C) the pairs that count.
        classes: number of predictable classes.
    """
    target = np.broadcast_to(np.arange(predicted.shape[1]), predicted.shape)
    table = np.zeros((predicted.shape[1], classes), dtype=np.int64)
    np.add.at(table, (target[keep], predicted[keep]), 1)
    return table


def _per_class(measurements: Measurements, right: npt.NDArray[np.float64], keep: npt.NDArray[np.bool_]) -> Entry:
    assert not isinstance(measurements.classifier, Missing)
    values, intervals = {}, {}
    for target, name in enumerate(measurements.classes):
        if not keep[:, target].any():
            continue
        counts = keep[:, target, None].astype(np.float64)
        values[name], intervals[name] = bootstrap.mean_interval(
            right[:, target, None] * counts, counts, measurements.weights
        )
    protocol = (
        "Share of the translations to each target that the evaluating classifier assigns to it; target = source "
        "excluded."
    )
    number = int(keep.sum())
    return measurements.entry(values, intervals, number, measurements.classifier, measurements.filtered(protocol))
