"""Triplets: a face, a face of another person, and the first edited to the action units of the second."""

import numpy as np

from mimik.reporting.kept_edits import Continuous
from mimik.reporting.mosaics import Cell, Mosaic, Strip, enlargement_note
from mimik.reporting.papers.item import Item
from mimik.reporting.plotting import Absent, Drawing, listed

CAPTION = (
    "{count} test faces (input) edited by {methods} to the action units of the face beside them (example). {truth}Both "
    "were drawn when the test split was translated, without regard to any score; an example is of another person with "
    "another expression where there is one. {without}{pixels}."
)

TRUTH = "Column 'truth': the input, rendered with the action units of the example. "


def draw(item: Item) -> Drawing | Absent:
    """Columns are the input, the example, the methods and the truth; rows are faces."""
    made = {result.method: found for result in item.results if (found := result.continuous("exemplars")) is not None}
    if not made:
        return Absent("no edits to the action units of other faces were stored when the test split was translated")
    first = next(result for result in item.results if result.method in made)
    model = made[first.method]
    shown = {method: found for method, found in made.items() if _asked(found) == _asked(model)}
    layers = {method: found.images for method, found in shown.items()}
    if model.truth is not None:
        layers["truth"] = model.truth
    mosaic = Mosaic(["input", "example", *layers], first.size, title=f"Edits by example on {first.dataset}")
    count = min(item.settings.rows, len(model.rows))
    for face, (row, like) in enumerate(zip(model.rows[:count], model.like[:count], strict=True)):
        given = [Cell(np.asarray(first.store.images[one])) for one in (row, like)]
        mosaic.strips.append(Strip([*given, *(Cell(np.asarray(images[face, 0])) for images in layers.values())]))
    svg, width = mosaic.svg()
    left_out = [result.method for result in item.results if result.method not in shown]
    facts = {
        "count": count,
        "methods": listed([*shown]),
        "truth": "" if model.truth is None else TRUTH,
        "without": f"Not shown: {', '.join(left_out)}, translated without these edits. " if left_out else "",
        "pixels": enlargement_note(first.size).capitalize(),
    }
    return Drawing(svg, width, facts)


def _asked(edits: Continuous) -> tuple[object, ...]:
    return tuple(edits.rows), tuple(edits.like)
