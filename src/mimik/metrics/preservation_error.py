"""Expression preservation error: how often a class appears in translations to another one.

Figure 3b of Bodur et al. (hier_seg) shows it without defining it; this is the reading of papers/spec/metrics.md 2: the
false positive rate of class e over all translations to a target other than e.
"""

import numpy as np
import numpy.typing as npt

from mimik import bootstrap
from mimik.measurements import Entry, Measurements, Missing

NAMES = ("preservation_error",)
PROTOCOL = (
    "False positive rate of a class over the translations to other targets (target = source included), mean over the "
    "classes."
)
HIGHER_IS_BETTER = {"preservation_error": False}
UNIT = {"preservation_error": "%"}
FORMAT = {"preservation_error": "{:.1%}"}


def compute(measurements: Measurements) -> dict[str, Entry]:
    """The entry of metrics.json, with `per_class`."""
    classifier = measurements.classifier
    if isinstance(classifier, Missing):
        return {"preservation_error": {"skipped": classifier.reason}}
    predicted = measurements.of_translations(classifier)["logits"].argmax(-1)
    positives, chances = false_positives(predicted, measurements.classified_pairs)
    kept = measurements.kept_classes
    positives, chances = positives[:, kept], chances[:, kept]
    if not chances.any():
        return {"preservation_error": {"skipped": "no translation to another class is left to measure."}}
    value, interval = bootstrap.mean_interval(positives, chances, measurements.weights)
    names = np.array(measurements.classes)[kept]
    per_class = {
        str(name): float(wrong / tried)
        for name, wrong, tried in zip(names, positives.sum(0), chances.sum(0), strict=True)
        if tried
    }
    number = int(measurements.classified_pairs.sum())
    protocol = measurements.filtered(PROTOCOL)
    return {
        "preservation_error": measurements.entry(value, interval, number, classifier, protocol, per_class=per_class)
    }


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
