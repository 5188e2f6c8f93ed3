"""Expression distance (ED): how far the action units of a translation are from those of its target expression.

Ling et al. (relative_au), section 4.2 and table 1: the L2 norm of the difference of the vectors of all action units,
on intensities divided by 5, lower is better; docs/papers/relative_au.md#measurements. There the targets are the action
units of other test faces, and OpenFace reads the outputs. Here the target is the one that a method conditioned on
action units receives for the name of an expression: its mean over the training faces (`mimik.components.conditions`).
All methods are thus measured alike. What measured the dataset's own action units reads the outputs as well
(docs/papers/metrics.md#expression-distance): the face reader where they are rendered, the estimate from the face mesh
where photographs have geometric ones; the entry's `protocol` and `extractor` say which. The spread of the class remains
in the distance: a true target image does not reach zero either (`expression_distance_truth`), nor does it lower the
distance of an unedited input (`expression_distance_copy`).
"""

from typing import Any

import numpy as np

from mimik.components.conditions import stored_class_means
from mimik.evaluation.measurements import Array, Entry, Measurements
from mimik.evaluation.places import Missing

NAMES = ("expression_distance", "expression_distance_copy", "expression_distance_truth")
PROTOCOL = (
    "L2 norm of the difference between the 17 action units (0 to 1) that {reader} reads from the {subject} "
    "and their means over the training faces that show the target expression; target = source excluded.{unread}"
)
NEEDS_EXPRESSIONS = True
HIGHER_IS_BETTER = dict.fromkeys(NAMES, False)
UNIT = dict.fromkeys(NAMES, "")
FORMAT = dict.fromkeys(NAMES, "{:.3f}")


def compute(measurements: Measurements) -> dict[str, Entry]:
    """The three entries of metrics.json; skipped without a reader, action units or, for the last, ground truth.

    On photographs `unread` is the number of pairs that do not count because no face is found in the picture.
    """
    reader = measurements.action_unit_reader
    if isinstance(reader, Missing):
        return dict.fromkeys(NAMES, reader.entry)
    index = measurements.store.directory / "index.csv"
    try:
        means = stored_class_means(measurements.store)
    except ValueError as error:
        return {name: {"skipped": f"{index}: {error}."} for name in NAMES}
    if means is None:
        reason = f"{index} has no action units; set `action_units` of the dataset and prepare it again."
        return dict.fromkeys(NAMES, measurements.lacking("action_units", reason).entry)
    entries: dict[str, Entry] = {}
    geometric = reader is measurements.geometric
    for ending, (subject, seen) in measurements.with_baselines(reader, "action_units").items():
        name = f"expression_distance{ending}"
        if isinstance(seen, Missing):
            entries[name] = seen.entry
            continue
        distances, other = distance(seen, means.numpy()[None]), measurements.other
        read = np.isfinite(distances)  # the face mesh is not found in every picture
        lost = int((other & ~read).sum())
        protocol = PROTOCOL.format(
            reader="the geometric estimate from the face mesh" if geometric else "the reader network",
            subject=subject,
            unread=f" Left out: {lost} of {int(other.sum())} pairs, in which no face is found." if lost else "",
        )
        counted: dict[str, Any] = {"unread": lost} if geometric else {}
        entries[name] = measurements.mean_entry(distances, other & read, reader, protocol, **counted)
    return entries


def distance(seen: Array, wanted: Array) -> Array:
    """L2 norm of the difference over the last axis: (..., K) and (..., K), broadcast -> (...)."""
    norm: Array = np.linalg.norm(seen - wanted, axis=-1)
    return norm
