"""Expression preservation error: how often a class appears in translations to another one.

Figure 3b of Bodur et al. (hier_seg) shows it without defining it. Here it follows the interpretation in
docs/papers/metrics.md#expression-preservation-error: the false positive rate of class e over all translations to a
target other than e.
"""

import numpy as np
import numpy.typing as npt

from mimik.evaluation.measurements import Entry, Measurements
from mimik.evaluation.places import Extractor, Missing
from mimik.statistics import bootstrap

NAMES = ("preservation_error", "preservation_error_copy", "preservation_error_truth")
NEEDS_EXPRESSIONS = True
PROTOCOL = (
    "False positive rate of a class over the {subject} to other targets (target = source included), mean over the "
    "classes."
)
HIGHER_IS_BETTER = dict.fromkeys(NAMES, False)
UNIT = dict.fromkeys(NAMES, "%")
FORMAT = dict.fromkeys(NAMES, "{:.1%}")


def compute(measurements: Measurements) -> dict[str, Entry]:
    """The entries of metrics.json, with `per_class`: of the translations, of copies, of the true targets."""
    classifier = measurements.classifier
    if isinstance(classifier, Missing):
        return dict.fromkeys(NAMES, classifier.entry)
    return {
        f"preservation_error{ending}": logits.entry
        if isinstance(logits, Missing)
        else _entry(measurements, classifier, subject, logits.argmax(-1))
        for ending, (subject, logits) in measurements.with_baselines(classifier, "logits").items()
    }


def _entry(measurements: Measurements, classifier: Extractor, subject: str, predicted: npt.NDArray[np.int64]) -> Entry:
    positives, chances = false_positives(predicted, measurements.classified_pairs)
    kept = measurements.kept_classes
    positives, chances = positives[:, kept], chances[:, kept]
    if not chances.any():
        return {"skipped": "there is no translation to another class to measure."}
    value, interval = bootstrap.mean_interval(positives, chances, measurements.weights)
    names = np.array(measurements.classes)[kept]
    per_class = {
        str(name): float(wrong / tried)
        for name, wrong, tried in zip(names, positives.sum(0), chances.sum(0), strict=True)
        if tried
    }
    number = int(measurements.classified_pairs.sum())
    protocol = measurements.filtered(PROTOCOL.format(subject=subject))
    return measurements.entry(value, interval, number, classifier, protocol, per_class=per_class)


def false_positives(
    predicted: npt.NDArray[np.int64], keep: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Per image and class e: how many kept translations to another target were predicted as e, and how many there are.

    Args:
        predicted: (N, C) class predicted for the translation to target 0 to C-1.
        keep: (N, C) the pairs that count.

    Returns:
        (N, C) twice; their quotient of sums over N is the false positive rate.
    """
    classes = predicted.shape[1]
    said = (predicted[:, :, None] == np.arange(classes)) & keep[:, :, None]
    elsewhere = ~np.eye(classes, dtype=np.bool_)
    positives = (said & elsewhere).sum(1).astype(np.float64)
    chances = (keep[:, :, None] & elsewhere).sum(1).astype(np.float64)
    return positives, chances
