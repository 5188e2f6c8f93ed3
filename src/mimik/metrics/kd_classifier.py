"""Kernel distance on the features of the project's own classifier. Not a KID, and never to be read as one."""

from mimik.measurements import Entry, Measurements, Missing
from mimik.metrics.kid import distance_entry

NAMES = ("kd_classifier",)
PROTOCOL = (
    "Unbiased squared MMD with the cubic polynomial kernel on the evaluating classifier's features (not comparable "
    "with a KID), mean over random subsets: real test images against all translations to all targets."
)
HIGHER_IS_BETTER = {"kd_classifier": False}
UNIT = {"kd_classifier": ""}
FORMAT = {"kd_classifier": "{:.3g}"}


def compute(measurements: Measurements) -> dict[str, Entry]:
    """The entry of metrics.json, with `std` over the subsets and `n_real`."""
    if isinstance(measurements.classifier, Missing):
        return {"kd_classifier": {"skipped": measurements.classifier.reason}}
    return {"kd_classifier": distance_entry(measurements, measurements.classifier, PROTOCOL)}
