"""Where an edit changed the image: mean over the channels of |output - input|, one colour scale for all."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mimik.reporting.mosaics import Cell, Mosaic, Picture, Strip
from mimik.reporting.plotting import Absent, Drawing
from mimik.reporting.results import ReportSettings, Result
from mimik.reporting.shown import choose_rows, true_targets

TITLE = "Where the edit changed the image"
CAPTION = (
    "Mean of |output − input| over the three channels, in grey levels (0 to 255), on one fixed scale for all rows, "
    "methods and pages: black is 0, the lightest colour {maximum} or more. {truth}Dashed frame: target = source, where "
    "nothing should change. {count} test faces, drawn without regard to any score."
)
PAGES = frozenset({"method", "comparison"})

FACES = 3
"""Faces shown: the maps of a few faces say as much as those of many."""


def difference(output: npt.NDArray[np.uint8], source: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Mean over channels of |output - source|, (S, S) in levels of 0 to 255, of two uint8 (S, S, 3) images."""
    change: npt.NDArray[np.float64] = np.abs(output.astype(np.float64) - source.astype(np.float64)).mean(axis=-1)
    return change


def colour_map() -> Picture:
    """uint8 (256, 3): matplotlib's inferno, perceptually uniform and readable in grey."""
    from matplotlib import colormaps

    table: Picture = (colormaps["inferno"](np.arange(256))[:, :3] * 255).round().astype(np.uint8)
    return table


def coloured(change: npt.NDArray[np.float64], maximum: float, table: Picture) -> Picture:
    """uint8 (S, S, 3): `change` from 0 to `maximum` on the colour table; larger values take its last colour."""
    picture: Picture = table[(np.clip(change / maximum, 0, 1) * 255).round().astype(np.int64)]
    return picture


def draw(results: Sequence[Result], settings: ReportSettings) -> Drawing | Absent:
    """One strip of maps per face and method, and one for the true edit where it exists."""
    first = results[0]
    count = max(1, min(FACES, settings.rows, 12 // (len(results) + 1)))
    rows = choose_rows(results, settings.rows, settings.seed, settings.ids)[:count]
    if not rows:
        return Absent("no face was translated by all methods")
    truth = true_targets(first, rows)
    table = colour_map()
    mosaic = Mosaic(["input", *first.classes], first.size, title=f"Differences to the input on {first.dataset}")
    apart = len(results) > 1 or truth is not None
    for order, row in enumerate(rows):
        image = np.asarray(first.store.images[row])
        for number, result in enumerate(results):
            position = result.position_of(row)
            source = int(result.source_labels[position])
            maps = [
                Cell(
                    coloured(difference(np.asarray(made), image), settings.difference_maximum, table),
                    outlined=target == source,
                )
                for target, made in enumerate(result.translations[position])
            ]
            head = Cell(image) if number == 0 else None
            mosaic.strips.append(Strip([head, *maps], result.method, spaced=number == 0 and apart, emphasised=True))
        if truth is not None:
            cells = [
                Cell(coloured(difference(made, image), settings.difference_maximum, table)) for made in truth[order]
            ]
            mosaic.strips.append(Strip([None, *cells], label="true edit"))
    maximum = settings.difference_maximum
    mosaic.scale = (table, ("0", f"{maximum / 2:g}", f"≥ {maximum}"))
    svg, width = mosaic.svg()
    facts = {
        "maximum": settings.difference_maximum,
        "count": len(rows),
        "truth": "Row 'true edit': the same for the rendered ground truth, that is, what a perfect method changes. "
        if truth is not None
        else "",
    }
    return Drawing(svg, width, facts)
