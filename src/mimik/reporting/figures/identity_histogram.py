"""How far edits are from their inputs to VGG-Face, as a distribution: depth_guided's figure 4."""

from collections.abc import Sequence

import numpy as np

from mimik.reporting.plotting import WIDTH, Absent, Drawing, colour, drawing, listed, style
from mimik.reporting.results import ReportSettings, Result

TITLE = "Identity to VGG-Face, as a distribution"
CAPTION = (
    "Distance between the VGG-Face features of edit and input, of length 1 each, over all edits to another expression "
    "by {methods}; further left is closer to the person. The dashed lines are the means."
)
PAGES = frozenset({"method", "comparison"})


def draw(results: Sequence[Result], settings: ReportSettings) -> Drawing | Absent:
    """One line for every method that has the histogram."""
    shown = {
        index: (result.method, measured)
        for index, result in enumerate(results)
        if (measured := result.metric("vgg_face")) is not None and measured.value is not None
    }
    if not shown:
        return Absent("the VGG-Face distance was not measured; it needs photographs and its weights (docs/weights.md)")
    with style() as pyplot:
        figure, axis = pyplot.subplots(figsize=(WIDTH, 2.6))
        furthest = 0.0
        for index, (method, measured) in shown.items():
            histogram = measured.entry["histogram"]
            edges, counts = np.array(histogram["edges"]), np.array(histogram["counts"], dtype=np.float64)
            share = counts / counts.sum() / np.diff(edges)
            axis.stairs(share, edges, color=colour(index), linewidth=1.8, label=method)
            furthest = max(furthest, edges[np.flatnonzero(counts)[-1] + 1])
            axis.axvline(measured.value, color=colour(index), linewidth=1.1, linestyle=(0, (4, 3)))
        axis.set_xlabel("distance")
        axis.set_ylabel("density")
        axis.set_xlim(0, furthest)
        axis.set_ylim(bottom=0)
        axis.legend()
        return drawing(figure, {"methods": listed([method for method, _ in shown.values()])}, TITLE)
