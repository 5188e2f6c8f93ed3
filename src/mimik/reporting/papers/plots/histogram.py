"""How a metric is distributed over the test faces, one line for each method. Options: `metric`, one with values by
face."""

import numpy as np

from mimik.reporting.measures import MEASURES, Measure
from mimik.reporting.papers.item import Item
from mimik.reporting.plotting import Absent, Drawing, colour, drawing, style
from mimik.reporting.trainings import told

CAPTION = (
    "{heading}, mean of all edits of a face, over {faces} test faces (first training of each method): share of the "
    "faces in each of {bins} equal intervals. Dashed: the mean. {told}"
)

BINS = 30


def draw(item: Item) -> Drawing | Absent:
    """Outlines of histograms with common bins."""
    name = item.options["metric"]
    measure = MEASURES.get(name, Measure(name, "", ""))
    values = {}
    for result in item.results:
        if name in result.per_face:
            sums, counts = result.per_face[name]
            with np.errstate(invalid="ignore", divide="ignore"):
                each = sums.sum(1) / counts.sum(1)
            values[result.method] = measure.factor * each[np.isfinite(each)]
    if not values:
        return Absent(f"{name} has no values by face")
    edges = np.histogram_bin_edges(np.concatenate(list(values.values())), BINS)
    with style() as pyplot:
        figure, axis = pyplot.subplots(figsize=(7, 3.2))
        for index, (method, each) in enumerate(values.items()):
            share = np.histogram(each, edges)[0] / len(each)
            axis.stairs(share, edges, fill=True, color=colour(index), alpha=0.2)
            axis.stairs(share, edges, color=colour(index), linewidth=1.6, label=method)
            axis.axvline(each.mean(), color=colour(index), linestyle="--", linewidth=1.2)
        axis.set_xlabel(f"{measure.heading}, {measure.unit}".rstrip(", "))
        axis.set_ylabel("share of the faces")
        axis.legend()
        facts = {
            "heading": measure.heading,
            "faces": max(map(len, values.values())),
            "bins": BINS,
            "told": told(item.results),
        }
        return drawing(figure, facts, item.name)
