"""VGG-Face distance: how far the edit is from the input to a network that names people, as mean and histogram.

Bodur et al. (depth_guided), figure 4: L2 distance of VGG-Face features, shown as a distribution; neither layer nor
normalisation is named. Here: fc7, of length 1. Protocol: docs/papers/metrics.md#vgg-face-distance.
"""

import numpy as np
import numpy.typing as npt

from mimik.evaluation.extractors import open_vgg_face
from mimik.evaluation.measurements import Array, Entry, Measurements
from mimik.evaluation.places import Missing

NAMES = ("vgg_face",)
PROTOCOL = (
    "L2 distance of the 4096-d fc7 features of VGG-Face, each of length 1, of the inputs and the translations, the "
    "whole aligned face resized to 224 px by Pillow's bilinear filter; target = source excluded."
)
NEEDS = "vgg_face"
HIGHER_IS_BETTER = {"vgg_face": False}
UNIT = {"vgg_face": ""}
FORMAT = {"vgg_face": "{:.3f}"}

EDGES = np.linspace(0.0, float(np.sqrt(2.0)), 41)
"""Of the histogram's bins: features behind a ReLU are not negative, so lengths of 1 are at most √2 apart."""

RENDERED = "VGG-Face knows photographs; `identity_loss` measures rendered faces."


def compute(measurements: Measurements) -> dict[str, Entry]:
    """The entry of metrics.json, with `histogram` (`edges`, `counts` of pairs); photographs only."""
    if not isinstance(measurements.truth, Missing):
        return {"vgg_face": Missing(RENDERED, applies=False).entry}
    network = measurements.opened(open_vgg_face)
    if isinstance(network, Missing):
        return {"vgg_face": network.entry}
    sources = measurements.of_sources(network)["features"]
    values = unit_distance(sources[:, None], measurements.of_translations(network)["features"])
    counts, _ = np.histogram(values[measurements.other].clip(max=EDGES[-1]), EDGES)
    histogram = {"edges": EDGES.tolist(), "counts": counts.tolist()}
    return {
        "vgg_face": measurements.mean_entry(values, measurements.other, network, PROTOCOL, histogram=histogram),
    }


def unit_distance(first: Array, second: Array) -> npt.NDArray[np.float64]:
    """L2 distance of vectors (..., D), broadcast, each divided by its length -> (...)."""
    a, b = (_unit(x.astype(np.float64)) for x in (first, second))
    distance: npt.NDArray[np.float64] = np.linalg.norm(a - b, axis=-1)
    return distance


def _unit(vectors: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    # Features behind a ReLU may all be zero.
    lengths = np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), np.finfo(np.float64).tiny)
    unit: npt.NDArray[np.float64] = vectors / lengths
    return unit
