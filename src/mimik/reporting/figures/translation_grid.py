"""The translation grid: one row per input, one column per target expression, the true target below where it exists."""

from collections.abc import Sequence

import numpy as np

from mimik.reporting.mosaics import Cell, Mosaic, Strip, enlargement_note
from mimik.reporting.plotting import Absent, Drawing
from mimik.reporting.results import ReportSettings, Result
from mimik.reporting.shown import choose_rows, true_targets

TITLE = "Translations"
CAPTION = (
    "{count} faces of the test split, each edited to every target expression by {method}. {truth}"
    "Dashed frame: target = source, so the output should equal the input. The faces were {choice}, without regard to "
    "any score. {pixels}."
)
PAGES = frozenset({"method"})


def draw(results: Sequence[Result], settings: ReportSettings) -> Drawing | Absent:
    """Grid of the first result: columns are the input and its classes; `settings.rows` faces."""
    result = results[0]
    rows = choose_rows([result], settings.rows, settings.seed, settings.ids)
    truth = true_targets(result, rows)
    mosaic = Mosaic(
        ["input", *result.classes], result.size, title=f"Translations of {result.method} on {result.dataset}"
    )
    for order, row in enumerate(rows):
        position = result.position_of(row)
        source = int(result.source_labels[position])
        made = [
            Cell(np.asarray(result.translations[position, target]), outlined=target == source)
            for target in range(len(result.classes))
        ]
        name = result.method if truth is not None else (result.classes[source] if source >= 0 else "")
        mosaic.strips.append(
            Strip(
                [Cell(np.asarray(result.store.images[row])), *made],
                label=name,
                spaced=truth is not None,
                emphasised=True,
            )
        )
        if truth is not None:
            mosaic.strips.append(Strip([None, *(Cell(image) for image in truth[order])], label="truth"))
    svg, width = mosaic.svg()
    facts = {
        "count": len(rows),
        "method": result.method,
        "truth": "Below each: the true image of the same edit, rendered. " if truth is not None else "",
        "choice": "chosen by id in params.yaml" if settings.ids else f"drawn with seed {settings.seed}",
        "pixels": enlargement_note(result.size).capitalize(),
    }
    return Drawing(svg, width, facts)
