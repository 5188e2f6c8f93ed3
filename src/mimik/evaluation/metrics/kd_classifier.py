"""Kernel distance on the features of the project's own classifier. It is not a KID and must not be read as one.

Protocol: docs/papers/metrics.md#feature-distances-of-the-classifier.
"""

from mimik.evaluation.measurements import Entry, Measurements
from mimik.evaluation.metrics.kid import distance_entry
from mimik.evaluation.places import Missing

NAMES = ("kd_classifier", "kd_classifier_copy", "kd_classifier_truth")
PROTOCOL = (
    "Unbiased squared MMD with the cubic polynomial kernel on the evaluating classifier's features (not comparable "
    "with a KID), mean over random subsets: real test images against all {subject} to all targets."
)
HIGHER_IS_BETTER = dict.fromkeys(NAMES, False)
UNIT = dict.fromkeys(NAMES, "")
FORMAT = dict.fromkeys(NAMES, "{:.3g}")


def compute(measurements: Measurements) -> dict[str, Entry]:
    """The entries of metrics.json (translations, copies, true targets), with `std` over the subsets and `n_real`."""
    classifier = measurements.classifier
    if isinstance(classifier, Missing):
        return dict.fromkeys(NAMES, classifier.entry)
    return {
        f"kd_classifier{ending}": features.entry
        if isinstance(features, Missing)
        else distance_entry(measurements, classifier, features, PROTOCOL.format(subject=subject))
        for ending, (subject, features) in measurements.with_baselines(classifier, "features").items()
    }
