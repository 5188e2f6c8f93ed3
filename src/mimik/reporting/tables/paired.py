"""Each method against the first one on the same faces: how much better or worse, with an interval of the difference.

Faces differ more than methods do, so the intervals of two methods can overlap even where one is better on nearly every
face. Both are therefore resampled together: whole faces, the same ones for both (mimik.statistics.bootstrap).
"""

from collections.abc import Sequence

import numpy as np

from mimik.reporting.measures import MEASURES, Measure, further
from mimik.reporting.plotting import Absent
from mimik.reporting.results import ReportSettings, Result
from mimik.reporting.tables.results import MEASURED
from mimik.reporting.tabular import EMPTY, Cell, Column, Line, Table
from mimik.statistics import bootstrap

TITLE = "Paired comparison"
CAPTION = (
    "Difference from the first method on the same test faces. Small: bootstrap 95 % interval of the difference. Bold: "
    "better, and the interval excludes zero. Grey: the interval contains zero. The interval is over faces, with one "
    "training run per method; further runs of the same methods can differ by more."
)
PAGES = frozenset({"comparison"})


def build(results: Sequence[Result], settings: ReportSettings) -> Table | Absent:
    """Rows: every method but the first; columns: the measures that are means over faces."""
    first, *others = results
    comparable = [
        other
        for other in others
        if (other.dataset, other.scale, other.rows.tolist()) == (first.dataset, first.scale, first.rows.tolist())
    ]
    measures = {**MEASURES, **further(results)}
    shown = (*MEASURED, *further(results))
    names = [name for name in shown if any(name in other.per_face for other in comparable) and name in first.per_face]
    if not names:
        return Absent("no two methods were evaluated on the same faces")
    weights = bootstrap.resamples(len(first.rows), settings.resamples, settings.seed)
    lines = [
        Line(other.method, [_cell(first, other, name, measures[name], weights) for name in names])
        for other in comparable
    ]
    columns = [
        Column(name, m.heading, m.direction, m.unit, m.explanation, m.group)
        for name in names
        for m in (measures[name],)
    ]
    return Table(f"against {first.method}", columns, lines)


def _cell(first: Result, other: Result, name: str, measure: Measure, weights: np.ndarray) -> Cell:
    if name not in other.per_face:
        return EMPTY
    value, low, high = difference(first.per_face[name], other.per_face[name], weights)

    def text(number: float) -> str:
        return f"{number * measure.factor:+.{measure.digits}f}".replace("-", "−")

    sign = 1 if measure.direction == "up" else -1
    return Cell(
        text(value),
        f"{text(low)} to {text(high)}",
        value,
        best=min(sign * low, sign * high) > 0,
        muted=low <= 0 <= high,
    )


def difference(
    first: tuple[np.ndarray, np.ndarray], second: tuple[np.ndarray, np.ndarray], weights: np.ndarray
) -> tuple[float, float, float]:
    """Second minus first mean, and the interval of that difference.

    Args:
        first, second: sums and counts (N, G) of the same faces.
        weights: (R, N) from `bootstrap.resamples`.
    """
    means = [bootstrap.grouped_mean(weights @ sums, weights @ counts) for sums, counts in (first, second)]
    value = float(np.subtract(*(bootstrap.grouped_mean(s.sum(0), c.sum(0)) for s, c in (second, first))))
    low, high = bootstrap.percentile_interval(means[1] - means[0]) or (value, value)
    return value, low, high
