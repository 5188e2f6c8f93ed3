"""What the independent classifier predicts for the edits: target against prediction, in percent of the target."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mimik.reporting.plotting import SERIES, WIDTH, Absent, Drawing, drawing, square_axes, style, tinted_cell
from mimik.reporting.results import ReportSettings, Result

TITLE = "What the classifier predicts"
CAPTION = (
    "Rows: target expression; columns: the expression that the independent classifier predicts for the output, in "
    "percent of the row; target = source excluded. A perfect method has 100 on the diagonal. Cells below 0.5 % are "
    "left empty."
)
PAGES = frozenset({"method", "comparison"})

ACROSS, CROWDED = 3, 4
"""Matrices side by side: for a few methods, and for more than two rows of them."""


def draw(results: Sequence[Result], settings: ReportSettings) -> Drawing | Absent:
    """One matrix per result that has one: blue on the diagonal, orange beside it."""
    shown = [(result, matrix) for result in results if (matrix := _matrix(result)) is not None]
    if not shown:
        return Absent("metrics.json contains no confusion matrix")
    classes = results[0].classes
    with style() as pyplot:
        wide = ACROSS if len(shown) <= 2 * ACROSS else CROWDED
        down = -(-len(shown) // wide)
        across = min(wide, len(shown))
        side = WIDTH / wide
        figure, axes = pyplot.subplots(down, across, figsize=(side * across, 0.89 * side * down), squeeze=False)
        for axis in axes.flat[len(shown) :]:
            axis.set_visible(False)
        for axis, (result, matrix) in zip(axes.flat, shown, strict=False):
            percent = 100 * matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1e-12)
            for row in range(len(classes)):
                for column in range(len(classes)):
                    value = float(percent[row, column])
                    tint, text = SERIES[0] if row == column else SERIES[1], f"{value:.0f}" if value >= 0.5 else ""
                    tinted_cell(axis, row, column, tint, value / 100, text, faint=row != column and value < 5)
            square_axes(axis, classes, classes)
            axis.set_aspect("equal")
            axis.set_xticks(range(len(classes)), classes, rotation=40, ha="right", rotation_mode="anchor")
            axis.set_xlabel("read")
            axis.set_ylabel("asked for")
            axis.set_title(result.method)
        return drawing(figure, {}, TITLE)


def _matrix(result: Result) -> npt.NDArray[np.float64] | None:
    entry = result.record["metrics"].get("confusion")
    if not isinstance(entry, dict) or "value" not in entry:
        return None
    matrix = np.array(entry["value"], dtype=np.float64)
    return matrix if matrix.shape == (len(result.classes),) * 2 else None
