"""Single action units changed by relative values, negative ones too: one face and unit after the other."""

import numpy as np

from mimik.labels import ACTION_UNIT_NAMES
from mimik.reporting.mosaics import Cell, Mosaic, Strip, enlargement_note
from mimik.reporting.papers.item import Item
from mimik.reporting.plotting import Absent, Drawing, listed
from mimik.reporting.shown import edited_alike

CAPTION = (
    "{faces} edited by {methods}, one action unit at a time: the value above a column is added to its intensity, which "
    "was 0 to 1 before; the others are left unchanged. {truth}{which} among those drawn when the test split was "
    "translated. {without}{pixels}."
)

TRUTH = "Row 'truth': rendered, with the changed intensity, which ends at 0 and at 1. "


def draw(item: Item) -> Drawing | Absent:
    """Columns are the input and the changes, rows the methods and the truth, for one face and unit after the other."""
    alike = edited_alike(item.results, "unit_changes")
    if alike is None:
        return Absent("no changes of single action units were stored when the test split was translated")
    first, model, layers = alike.first, alike.edits, alike.layers
    columns = [f"{level:+g}".replace("-", "−") if level else "0" for level in model.levels]
    mosaic = Mosaic(["input", *columns], first.size, title=f"Changes of single action units on {first.dataset}")
    for face, row in enumerate(model.rows):
        image = np.asarray(first.store.images[row])
        for unit, name in enumerate(model.names):
            for number, (layer, images) in enumerate(layers.items()):
                pictures = [Cell(np.asarray(picture)) for picture in images[face, unit]]
                mosaic.strips.append(
                    Strip(
                        [Cell(image) if number == 0 else None, *pictures],
                        layer,
                        spaced=number == 0,
                        emphasised=layer in alike.methods,
                        heading=f"{name} {ACTION_UNIT_NAMES[name]}" if number == 0 else "",
                    )
                )
    svg, width = mosaic.svg()
    count = len(model.rows)
    facts = {
        "faces": "A test face" if count == 1 else f"{count} test faces",
        "methods": listed(alike.methods),
        "truth": "" if model.truth is None else TRUTH,
        "which": "It is the one showing the least expression"
        if count == 1
        else "The first is the one showing the least expression, the second the one showing the most of these units",
        "without": f"Not shown: {', '.join(alike.without)}, translated without these edits. " if alike.without else "",
        "pixels": enlargement_note(first.size).capitalize(),
    }
    return Drawing(svg, width, facts)
