"""Edits of single action units: every unit at several intensities, or at the highest one to compare several methods."""

from collections.abc import Sequence

import numpy as np

from mimik.labels import ACTION_UNIT_NAMES
from mimik.reporting.mosaics import Cell, Mosaic, Strip, enlargement_note
from mimik.reporting.plotting import Absent, Drawing, listed
from mimik.reporting.results import ReportSettings, Result
from mimik.reporting.shown import edited_alike

TITLE = "Single action units"
CAPTION = (
    "{faces} edited by {methods}, one action unit at a time: it is set to the intensity {asked}, the others are left "
    "unchanged. {truth}{units}{which} expression among those drawn when the test split was translated. "
    "{without}{pixels}."
)
PAGES = frozenset({"method", "comparison"})

STRIPS = 16
"""Rows of pictures on the page at most, but at least one face."""


def draw(results: Sequence[Result], settings: ReportSettings) -> Drawing | Absent:
    """One result: columns are intensities, rows units. Several: columns are units, rows methods, for every face."""
    alike = edited_alike(results, "action_units")
    if alike is None:
        return Absent(
            f"{results[0].method} is not conditioned on action units"
            if len(results) == 1
            else "no method is conditioned on action units"
        )
    first, model, layers = alike.first, alike.edits, alike.layers
    alone = len(results) == 1
    lines = len(layers) * (len(model.names) if alone else 1)
    count = min(len(model.rows), max(1, STRIPS // lines))
    steps = [f"{level:g}" for level in model.levels]
    mosaic = Mosaic(
        ["input", *(steps if alone else model.names)], first.size, title=f"Single action units on {first.dataset}"
    )
    for face, row in enumerate(model.rows[:count]):
        image = np.asarray(first.store.images[row])
        for unit, name in enumerate(model.names) if alone else [(None, "")]:
            for number, (layer, images) in enumerate(layers.items()):
                pictures = images[face, unit] if unit is not None else images[face, :, -1]
                mosaic.strips.append(
                    Strip(
                        [Cell(image) if number == 0 else None, *(Cell(np.asarray(picture)) for picture in pictures)],
                        layer,
                        spaced=number == 0,
                        emphasised=layer in alike.methods,
                        heading=f"{name} {ACTION_UNIT_NAMES[name]}" if name and number == 0 else "",
                    )
                )
    svg, width = mosaic.svg()
    others = ", ".join(alike.otherwise)
    facts = {
        "faces": "A test face" if count == 1 else f"{count} test faces",
        "methods": listed(alike.methods),
        "asked": "above its column" if alone else steps[-1],
        "truth": "" if model.truth is None else "Row 'truth': the same edit of the same face, rendered. ",
        "units": "" if alone else f"{', '.join(f'{name} is {ACTION_UNIT_NAMES[name]}' for name in model.names)}. ",
        "which": "It is the one showing the least" if count == 1 else f"They are the {count} showing the least",
        "without": f"Not shown: {others}, translated with other settings. " if others else "",
        "pixels": enlargement_note(first.size).capitalize(),
    }
    return Drawing(svg, width, facts)
