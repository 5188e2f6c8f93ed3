"""Expression distance by OpenFace, which reads the edits as it has read the photographs of the dataset.

Ling et al. (relative_au), table 1; docs/papers/metrics.md#ed-by-openface. The same measure as `expression_distance`
with another reader, and therefore another entry: two readers disagree about what an intensity is, so that their
distances cannot be compared.
"""

import numpy as np

from mimik.components.conditions import stored_class_means
from mimik.evaluation.measurements import Entry, Measurements
from mimik.evaluation.metrics.expression_distance import distance
from mimik.evaluation.openface import read_edits
from mimik.evaluation.places import Extractor, Missing
from mimik.faces.action_units import openface

NAMES = ("expression_distance_openface", "expression_distance_openface_copy")
PROTOCOL = (
    "L2 norm of the difference between the 17 action units (0 to 1) that OpenFace reads from the {subject} and their "
    "means over the training faces that show the target expression, read by OpenFace too; target = source excluded. "
    "Left out: {lost} of {all} pairs, in which OpenFace finds no face or is not sure of it."
)
NEEDS_EXPRESSIONS = True
HIGHER_IS_BETTER = dict.fromkeys(NAMES, False)
UNIT = dict.fromkeys(NAMES, "")
FORMAT = dict.fromkeys(NAMES, "{:.3f}")

OTHERS = "the dataset's own action units are not by OpenFace ({told}), so OpenFace's cannot be compared with them."
RENDERED = "OpenFace reads photographs; `expression_distance` measures rendered faces."


def compute(measurements: Measurements) -> dict[str, Entry]:
    """The two entries of metrics.json; `unread` is the number of pairs that do not count."""
    store = measurements.store
    if not isinstance(measurements.truth, Missing):
        return dict.fromkeys(NAMES, Missing(RENDERED, applies=False).entry)
    told = store.action_unit_extractor
    if (told or "").partition(" ")[0] != openface.NAME:
        return dict.fromkeys(NAMES, Missing(OTHERS.format(told=told or "unknown"), applies=False).entry)
    try:
        means = stored_class_means(store)
    except ValueError as error:
        return dict.fromkeys(NAMES, Missing(f"{store.directory / 'index.csv'}: {error}.").entry)
    assert means is not None  # a store that names an extractor has action units
    read = read_edits(measurements)
    if isinstance(read, Missing):
        return dict.fromkeys(NAMES, read.entry)
    extractor = Extractor(told or "", read.sha256, lambda images: {})
    entries: dict[str, Entry] = {}
    subjects = {"": ("translations", read.edits), "_copy": ("unedited input images", read.faces)}
    for ending, (subject, units) in subjects.items():
        if isinstance(units, Missing):
            entries[f"{NAMES[0]}{ending}"] = units.entry
            continue
        seen = units if units.ndim == 3 else np.broadcast_to(units[:, None], read.edits.shape)
        distances, other = distance(seen, means.numpy()[None]), measurements.other
        found = np.isfinite(distances)
        lost = int((other & ~found).sum())
        protocol = PROTOCOL.format(subject=subject, lost=lost, all=int(other.sum()))
        entries[f"{NAMES[0]}{ending}"] = measurements.mean_entry(
            distances, other & found, extractor, protocol, unread=lost
        )
    return entries
