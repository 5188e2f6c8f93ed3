"""Accuracy of the evaluating classifier on the real test images: the reference value for EEA.

On AffectNet it is about 60 %. An EEA far above it means that a generator exaggerates what the classifier looks for
(docs/papers/metrics.md#classifier-accuracy).
"""

import numpy as np

from mimik.evaluation.measurements import Entry, Measurements
from mimik.evaluation.places import Missing
from mimik.statistics import bootstrap

NAMES = ("classifier_accuracy",)
NEEDS_EXPRESSIONS = True
PROTOCOL = "Share of the labelled real test images that the evaluating classifier assigns to their class."
HIGHER_IS_BETTER = {"classifier_accuracy": True}
UNIT = {"classifier_accuracy": "%"}
FORMAT = {"classifier_accuracy": "{:.1%}"}


def compute(measurements: Measurements) -> dict[str, Entry]:
    """The entry of metrics.json."""
    classifier = measurements.classifier
    if isinstance(classifier, Missing):
        return {"classifier_accuracy": classifier.entry}
    labels = measurements.store.labels()[measurements.real_rows]
    kept = (labels >= 0) & measurements.kept_sources(labels)
    if not kept.any():
        return {"classifier_accuracy": {"skipped": "no real test image has a known expression of a kept class."}}
    predicted = measurements.of_reals(classifier)["logits"].argmax(1)
    right = (predicted == labels)[kept, None].astype(np.float64)
    settings = measurements.settings
    weights = bootstrap.resamples(len(right), settings.bootstrap, settings.seed)
    value, interval = bootstrap.mean_interval(right, np.ones_like(right), weights)
    return {
        "classifier_accuracy": measurements.entry(
            value, interval, len(right), classifier, measurements.filtered(PROTOCOL)
        )
    }
