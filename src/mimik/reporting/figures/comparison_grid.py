"""The same test faces edited by every method, one below the other, with the ground truth where it exists."""

from collections.abc import Sequence

import numpy as np

from mimik.reporting.mosaics import Cell, Mosaic, Strip, enlargement_note
from mimik.reporting.plotting import Absent, Drawing, listed
from mimik.reporting.results import ReportSettings, Result
from mimik.reporting.shown import choose_rows, true_targets

TITLE = "The same faces edited by every method"
CAPTION = (
    "{count} faces of the test split and, below each, the edits by {methods}{truth}. Columns: target expressions. "
    "Dashed frame: target = source, so the output should equal the input. The faces were {choice}, without regard to "
    "any score. {pixels}."
)
PAGES = frozenset({"comparison"})

STRIPS = 15
"""Rows of pictures on the page at most; with many methods fewer faces are shown, but at least two."""


def draw(results: Sequence[Result], settings: ReportSettings) -> Drawing | Absent:
    """Grid over all results; columns are the input and the classes."""
    first = results[0]
    count = max(2, min(settings.rows, STRIPS // (len(results) + 1)))
    rows = choose_rows(results, count, settings.seed, settings.ids)
    if not rows:
        return Absent("no face was translated by all methods")
    truth = true_targets(first, rows)
    mosaic = Mosaic(["input", *first.classes], first.size, title=f"Translations of every method on {first.dataset}")
    apart = len(results) > 1 or truth is not None
    for order, row in enumerate(rows):
        for number, result in enumerate(results):
            position = result.position_of(row)
            source = int(result.source_labels[position])
            made = [
                Cell(np.asarray(result.translations[position, target]), outlined=target == source)
                for target in range(len(result.classes))
            ]
            head = Cell(np.asarray(result.store.images[row])) if number == 0 else None
            mosaic.strips.append(Strip([head, *made], result.method, spaced=number == 0 and apart, emphasised=True))
        if truth is not None:
            mosaic.strips.append(Strip([None, *(Cell(image) for image in truth[order])], label="truth"))
    svg, width = mosaic.svg()
    facts = {
        "count": len(rows),
        "methods": listed([result.method for result in results]),
        "truth": ", followed by the true image of the same edit, rendered" if truth is not None else "",
        "choice": "chosen by id in params.yaml" if settings.ids else f"drawn with seed {settings.seed}",
        "pixels": enlargement_note(first.size).capitalize(),
    }
    return Drawing(svg, width, facts)
