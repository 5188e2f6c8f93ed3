"""Fréchet distance on the features of the project's own classifier. It is not an FID and must not be read as one.

Protocol: docs/papers/metrics.md#feature-distances-of-the-classifier.
"""

from mimik.evaluation.measurements import Entry, Measurements
from mimik.evaluation.metrics.fid import distance_entry
from mimik.evaluation.places import Missing

NAMES = ("fd_classifier", "fd_classifier_copy", "fd_classifier_truth")
PROTOCOL = (
    "Fréchet distance on the evaluating classifier's features (not comparable with an FID): all real test images "
    "against all {subject} to all targets, covariances with N - 1."
)
HIGHER_IS_BETTER = dict.fromkeys(NAMES, False)
UNIT = dict.fromkeys(NAMES, "")
FORMAT = dict.fromkeys(NAMES, "{:.3g}")


def compute(measurements: Measurements) -> dict[str, Entry]:
    """The entries of metrics.json (translations, copies, true targets), with `n_real`."""
    classifier = measurements.classifier
    if isinstance(classifier, Missing):
        return dict.fromkeys(NAMES, classifier.entry)
    return {
        f"fd_classifier{ending}": features.entry
        if isinstance(features, Missing)
        else distance_entry(measurements, classifier, features, PROTOCOL.format(subject=subject))
        for ending, (subject, features) in measurements.with_baselines(classifier, "features").items()
    }
