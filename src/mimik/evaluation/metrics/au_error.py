"""Error of the action units that a network reads from a translation, against those of the true target.

Protocol: docs/papers/metrics.md#action-unit-error. No paper reports it.

For rendered faces only: their target action units are known, and the reader was trained on exact ones. Two baselines
are read by the same network: the input image (nothing edited) and the true target (the reader's own error, which no
method can beat honestly).
"""

import numpy as np

from mimik.evaluation.measurements import Array, Entry, Measurements
from mimik.evaluation.places import Missing
from mimik.labels import ACTION_UNITS

NAMES = ("au_error", "au_error_copy", "au_error_truth")
NEEDS_EXPRESSIONS = True
PROTOCOL = (
    "Mean absolute difference between the 17 action units (0 to 1) that the reader network reads from the {subject} "
    "and those of the true target; target = source excluded."
)
HIGHER_IS_BETTER = dict.fromkeys(NAMES, False)
UNIT = dict.fromkeys(NAMES, "")
FORMAT = dict.fromkeys(NAMES, "{:.4f}")


def compute(measurements: Measurements) -> dict[str, Entry]:
    """The three entries of metrics.json, with `per_action_unit`; skipped without ground truth or reader."""
    units, reader = measurements.true_action_units, measurements.action_unit_reader
    if isinstance(units, Missing):
        return dict.fromkeys(NAMES, units.entry)
    if isinstance(reader, Missing):
        return dict.fromkeys(NAMES, reader.entry)
    wanted, keep = units[:], measurements.other
    return {
        f"au_error{ending}": measurements.mean_entry(
            np.abs(seen - wanted).mean(-1),
            keep,
            reader,
            PROTOCOL.format(subject=subject),
            per_action_unit=_per_unit(seen, wanted, keep),
        )
        for ending, (subject, seen) in measurements.with_baselines(reader, "action_units").items()
        if not isinstance(seen, Missing)
    }


def _per_unit(seen: Array, wanted: Array, keep: Array) -> dict[str, float]:
    errors = np.abs(seen - wanted)[keep].mean(0)
    return {name: float(error) for name, error in zip(ACTION_UNITS, errors, strict=True)}
