"""Triplets: a face, a face of another person, and the first edited to the action units of the second."""

import numpy as np

from mimik.reporting.mosaics import Cell, Mosaic, Strip, enlargement_note
from mimik.reporting.papers.item import Item
from mimik.reporting.plotting import Absent, Drawing, listed
from mimik.reporting.shown import edited_alike

CAPTION = (
    "{count} test faces (input) edited by {methods} to the action units of the face beside them (example). {truth}Both "
    "were drawn when the test split was translated, without regard to any score; an example is of another person with "
    "another expression where there is one. {without}{pixels}."
)

TRUTH = "Column 'truth': the input, rendered with the action units of the example. "


def draw(item: Item) -> Drawing | Absent:
    """Columns are the input, the example, the methods and the truth; rows are faces."""
    alike = edited_alike(item.results, "exemplars")
    if alike is None:
        return Absent("no edits to the action units of other faces were stored when the test split was translated")
    first, model, layers = alike.first, alike.edits, alike.layers
    mosaic = Mosaic(["input", "example", *layers], first.size, title=f"Edits by example on {first.dataset}")
    count = min(item.settings.rows, len(model.rows))
    for face, (row, like) in enumerate(zip(model.rows[:count], model.like[:count], strict=True)):
        given = [Cell(np.asarray(first.store.images[one])) for one in (row, like)]
        mosaic.strips.append(Strip([*given, *(Cell(np.asarray(images[face, 0])) for images in layers.values())]))
    svg, width = mosaic.svg()
    facts = {
        "count": count,
        "methods": listed(alike.methods),
        "truth": "" if model.truth is None else TRUTH,
        "without": f"Not shown: {', '.join(alike.without)}, translated without these edits. " if alike.without else "",
        "pixels": enlargement_note(first.size).capitalize(),
    }
    return Drawing(svg, width, facts)
