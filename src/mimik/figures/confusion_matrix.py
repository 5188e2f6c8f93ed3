"""What the independent classifier reads in the edits: target against prediction, in percent of the target."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mimik.plotting import FAINT, INK, SERIES, WIDTH, Absent, Drawing, drawing, style
from mimik.results import ReportSettings, Result

TITLE = "What the classifier reads"
CAPTION = (
    "Rows: the expression that was asked for; columns: the one that the independent classifier reads in the output, in "
    "percent of the row; target = source left out. A perfect method has 100 on the diagonal. Cells below 0.5 % are "
    "left empty."
)
PAGES = frozenset({"method", "comparison"})

ACROSS = 3
"""Matrices beside each other."""


def draw(results: Sequence[Result], settings: ReportSettings) -> Drawing | Absent:
    """One matrix per result that has one."""
    shown = [(result, matrix) for result in results if (matrix := _matrix(result)) is not None]
    if not shown:
        return Absent("metrics.json holds no confusion matrix")
    classes = results[0].classes
    with style() as pyplot:
        down = -(-len(shown) // ACROSS)
        across = min(ACROSS, len(shown))
        side = WIDTH / ACROSS
        figure, axes = pyplot.subplots(down, across, figsize=(side * across, 4.1 * down), squeeze=False)
        for axis in axes.flat[len(shown) :]:
            axis.set_visible(False)
        for axis, (result, matrix) in zip(axes.flat, shown, strict=False):
            percent = 100 * matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1e-12)
            for row in range(len(classes)):
                for column in range(len(classes)):
                    _cell(axis, row, column, float(percent[row, column]))
            axis.set_xlim(-0.5, len(classes) - 0.5)
            axis.set_ylim(len(classes) - 0.5, -0.5)
            axis.set_aspect("equal")
            axis.set_xticks(range(len(classes)), classes, rotation=40, ha="right", rotation_mode="anchor")
            axis.set_yticks(range(len(classes)), classes)
            axis.set_xlabel("read")
            axis.set_ylabel("asked for")
            axis.set_title(result.method)
            axis.grid(visible=False)
            for spine in axis.spines.values():
                spine.set_visible(False)
        return drawing(figure, {}, TITLE)


def _matrix(result: Result) -> npt.NDArray[np.float64] | None:
    entry = result.record["metrics"].get("confusion")
    if not isinstance(entry, dict) or "value" not in entry:
        return None
    matrix = np.array(entry["value"], dtype=np.float64)
    return matrix if matrix.shape == (len(result.classes),) * 2 else None


def _cell(axis: Any, row: int, column: int, percent: float) -> None:
    """A tinted square: blue on the diagonal, orange beside it, opacity by value, so that both grounds work."""
    from matplotlib.patches import Rectangle

    tint = SERIES[0] if row == column else SERIES[1]
    opacity = 0.06 + 0.74 * min(percent, 100) / 100
    axis.add_patch(Rectangle((column - 0.47, row - 0.47), 0.94, 0.94, facecolor=tint, alpha=opacity, linewidth=0))
    if percent >= 0.5:
        number = axis.annotate(
            f"{percent:.0f}",
            (column, row),
            ha="center",
            va="center",
            fontsize=8,
            color="#ffffff" if opacity > 0.5 else INK if row == column or percent >= 5 else FAINT,
        )
        number.set_in_layout(False)  # it lies inside its axes: measuring it would only cost time
