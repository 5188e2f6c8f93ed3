"""ACD and same person: is the edited face still the input's person to a network from outside, dlib's?

Ling et al. (relative_au), table 1, average content distance: the L2 distance of the 128 numbers in which dlib's
face-recognition network describes a face, input against edit; docs/papers/metrics.md#acd. `same_person` is the share of
edits within the distance at which dlib's documentation takes two photographs for one person.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from mimik.evaluation.crops import identity_distances
from mimik.evaluation.extractors import open_dlib
from mimik.evaluation.measurements import Array, Entry, Measurements
from mimik.evaluation.places import Missing
from mimik.networks.dlib_face import LANDMARKS, SAME_PERSON, SIDE, TEMPLATE
from mimik.statistics import bootstrap

NAMES = ("acd", "same_person")
VECTORS = "128-dimensional dlib descriptors of the inputs and the translations"
CROPPED = f"both images cropped to {SIDE} px by the input's landmarks; target = source excluded."
PROTOCOL = f"L2 distance of the {VECTORS}, {CROPPED}"
PROTOCOLS = {
    "acd": PROTOCOL,
    "same_person": f"Share of translations whose L2 distance of the {VECTORS} is at most {SAME_PERSON}, {CROPPED}",
}
NEEDS = "dlib"
HIGHER_IS_BETTER = {"acd": False, "same_person": True}
UNIT = {"acd": "", "same_person": "%"}
FORMAT = {"acd": "{:.3f}", "same_person": "{:.1%}"}

RENDERED = (
    "dlib's network knows photographs and takes most pairs of different rendered people for one; `identity_loss` "
    "measures rendered faces."
)


def compute(measurements: Measurements) -> dict[str, Entry]:
    """The two entries of metrics.json, with `per_class` and `ci_per_class` by target; photographs only."""
    if not isinstance(measurements.truth, Missing):
        return dict.fromkeys(NAMES, Missing(RENDERED, applies=False).entry)
    network, store = measurements.opened(open_dlib), measurements.store
    if isinstance(network, Missing):
        return dict.fromkeys(NAMES, network.entry)
    if store.landmarks is None:
        reason = f"{store.directory} has no landmarks, which the aligned crops need; prepare it with landmarks."
        return dict.fromkeys(NAMES, measurements.lacking("landmarks", reason).entry)
    points = store.landmarks[measurements.rows][:, LANDMARKS]
    distances = identity_distances(measurements, network, points, TEMPLATE, SIDE, euclidean)
    values = {"acd": distances, "same_person": (distances <= SAME_PERSON).astype(np.float64)}
    return {
        name: measurements.mean_entry(
            values[name], measurements.other, network, PROTOCOLS[name], **_per_class(measurements, values[name])
        )
        for name in NAMES
    }


def euclidean(first: Array, second: Array) -> npt.NDArray[np.float64]:
    """L2 norm of the difference of vectors (..., D), broadcast -> (...)."""
    norm: npt.NDArray[np.float64] = np.linalg.norm(first.astype(np.float64) - second.astype(np.float64), axis=-1)
    return norm


def _per_class(measurements: Measurements, values: Array) -> dict[str, Any]:
    """Mean and interval of (N, C) values for each target that another class is translated to."""
    means, intervals = {}, {}
    for target, name in enumerate(measurements.classes):
        counts = measurements.other[:, target, None].astype(np.float64)
        if counts.any():
            means[name], intervals[name] = bootstrap.mean_interval(
                values[:, target, None] * counts, counts, measurements.weights
            )
    return {"per_class": means, "ci_per_class": intervals}
