"""Precision, recall, density and coverage on the features of the project's own classifier, under names of their own.

For machines without Inception's weights and for rendered faces. Protocol:
docs/papers/metrics.md#feature-distances-of-the-classifier.
"""

from mimik.evaluation.measurements import Entry, Measurements
from mimik.evaluation.metrics.precision_recall import NAMES as KINDS
from mimik.evaluation.metrics.precision_recall import entries
from mimik.evaluation.places import Missing

ENDINGS = ("", "_copy", "_truth")
NAMES = tuple(f"{kind}_classifier{ending}" for ending in ENDINGS for kind in KINDS)
PROTOCOL = "the evaluating classifier's features (not comparable with the same on Inception's)"
HIGHER_IS_BETTER = dict.fromkeys(NAMES, True)
UNIT = dict.fromkeys(NAMES, "")
FORMAT = dict.fromkeys(NAMES, "{:.3f}")


def compute(measurements: Measurements) -> dict[str, Entry]:
    """The entries of metrics.json (translations, copies, true targets), as those of `precision_recall`."""
    classifier = measurements.classifier
    if isinstance(classifier, Missing):
        return dict.fromkeys(NAMES, classifier.entry)
    found: dict[str, Entry] = {}
    for ending, (subject, features) in measurements.with_baselines(classifier, "features").items():
        made = (
            dict.fromkeys(KINDS, features.entry)
            if isinstance(features, Missing)
            else entries(measurements, classifier, features, PROTOCOL, subject)
        )
        found |= {f"{kind}_classifier{ending}": entry for kind, entry in made.items()}
    return found
