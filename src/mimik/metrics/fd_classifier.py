"""Fréchet distance on the features of the project's own classifier. Not an FID, and never to be read as one."""

from mimik.measurements import Entry, Measurements, Missing
from mimik.metrics.fid import distance_entry

NAMES = ("fd_classifier",)
PROTOCOL = (
    "Fréchet distance of the evaluating classifier's features (not comparable with an FID): all real test images "
    "against all translations to all targets, covariances with N - 1."
)
HIGHER_IS_BETTER = {"fd_classifier": False}
UNIT = {"fd_classifier": ""}
FORMAT = {"fd_classifier": "{:.3g}"}


def compute(measurements: Measurements) -> dict[str, Entry]:
    """The entry of metrics.json, with `per_target_mean` and `n_real`."""
    if isinstance(measurements.classifier, Missing):
        return {"fd_classifier": {"skipped": measurements.classifier.reason}}
    return {"fd_classifier": distance_entry(measurements, measurements.classifier, PROTOCOL)}
