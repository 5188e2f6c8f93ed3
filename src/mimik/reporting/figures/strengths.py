"""Edits by strength: one face and expression after the other, from the unchanged face to beyond the full edit."""

from collections.abc import Sequence

import numpy as np

from mimik.reporting.mosaics import Cell, Mosaic, Strip, enlargement_note
from mimik.reporting.plotting import Absent, Drawing, listed
from mimik.reporting.results import ReportSettings, Result
from mimik.reporting.shown import edited_alike

TITLE = "Edits by strength"
CAPTION = (
    "{count} test faces, each edited by {methods} at several strengths: 0 requests the unchanged face, 1 the full "
    "edit, larger values exaggerate it. {truth}The faces were drawn when the test split was translated, without regard "
    "to any score. {without}{pixels}."
)
PAGES = frozenset({"method", "comparison"})

TRUTH = "Row 'truth': rendered, with the action units moved the same share of the way to those of the true target. "

STRIPS = 16
"""Rows of pictures on the page at most; with many methods fewer faces are shown, but at least two."""


def draw(results: Sequence[Result], settings: ReportSettings) -> Drawing | Absent:
    """Columns are the input and the strengths, rows the methods and the truth, for one face after the other."""
    alike = edited_alike(results, "strengths")
    if alike is None:
        return Absent("no edits at several strengths were stored when the test split was translated")
    first, model, layers = alike.first, alike.edits, alike.layers
    lines = len(layers)
    count = min(settings.rows, len(model.rows), max(2, STRIPS // lines))
    mosaic = Mosaic(
        ["input", *(f"{level:g}" for level in model.levels)], first.size, title=f"Edits by strength on {first.dataset}"
    )
    for face, (row, target) in enumerate(zip(model.rows[:count], model.targets[:count], strict=True)):
        source = int(first.source_labels[first.position_of(row)])
        arrow = f"{first.classes[source]} → " if source >= 0 else ""
        for number, (name, images) in enumerate(layers.items()):
            mosaic.strips.append(
                Strip(
                    [
                        Cell(np.asarray(first.store.images[row])) if number == 0 else None,
                        *(Cell(np.asarray(image)) for image in images[face]),
                    ],
                    name,
                    spaced=number == 0,
                    emphasised=name in alike.methods,
                    heading=f"{arrow}{first.classes[target]}" if number == 0 else "",
                )
            )
    svg, width = mosaic.svg()
    facts = {
        "count": count,
        "methods": listed(alike.methods),
        "truth": "" if model.truth is None else TRUTH,
        "without": f"Not shown: {', '.join(alike.without)}, translated without these edits. " if alike.without else "",
        "pixels": enlargement_note(first.size).capitalize(),
    }
    return Drawing(svg, width, facts)
