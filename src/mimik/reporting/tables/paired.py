"""Each method against the first one, paired by face and by seed: how much better or worse, and how sure that is.

Faces differ more than methods do, so the intervals of two methods can overlap even where one is better on nearly every
face. Both are therefore resampled together: whole faces, the same ones for both. So are trainings of the same seed
(mimik.reporting.trainings.difference).
"""

from collections.abc import Sequence

from mimik.reporting.measures import MEASURES, Measure, further
from mimik.reporting.plotting import Absent
from mimik.reporting.results import ReportSettings, Result
from mimik.reporting.tables.results import MEASURED
from mimik.reporting.tabular import EMPTY, Cell, Column, Line, Table
from mimik.reporting.trainings import Difference, difference

TITLE = "Paired comparison"
CAPTION = (
    "Difference from the first method on the same test faces. Small: 95 % interval of the difference, over faces where "
    "each method was trained once, over trainings and faces where it was trained several times, paired by seed; then "
    "how many seeds it would take to decide an undecided difference, if it and its spread between seeds stayed as they "
    "are ('not by seeds': it takes more test faces, or the difference is too small). Bold: better, and the interval "
    "over trainings excludes zero. Grey: the interval contains zero."
)
PAGES = frozenset({"comparison"})

ONE = (
    "Where each method was trained once, the interval does not contain the noise of training: nothing is decided, and "
    "how many seeds would decide it cannot be known. `replicates` in params.yaml trains each method several times."
)
"""The note of differences between single trainings."""


def build(results: Sequence[Result], settings: ReportSettings) -> Table | Absent:
    """Rows: every method but the first; columns: the measures that are means over faces."""
    first, *others = results
    measures = {**MEASURES, **further(results)}
    shown = (*MEASURED, *further(results))
    names = [name for name in shown if any(name in other.per_face for other in others) and name in first.per_face]
    found = {other.method: {name: difference(first, other, name) for name in names} for other in others}
    comparable = {method: row for method, row in found.items() if any(row.values())}
    if not comparable:
        return Absent("no two methods were evaluated on the same faces")
    lines = [Line(method, [_cell(row[name], measures[name]) for name in names]) for method, row in comparable.items()]
    columns = [
        Column(name, m.heading, m.direction, m.unit, m.explanation, m.group)
        for name in names
        for m in (measures[name],)
    ]
    trainings = [one.trainings for row in comparable.values() for one in row.values() if one is not None]
    return Table(f"against {first.method}", columns, lines, (ONE,) if 1 in trainings else ())


def _cell(found: Difference | None, measure: Measure) -> Cell:
    if found is None:
        return EMPTY

    def text(number: float) -> str:
        return f"{number * measure.factor:+.{measure.digits}f}".replace("-", "−")

    low, high = found.interval or (found.value, found.value)
    seeds = ""
    if found.trainings > 1 and not found.decided:
        seeds = "not by seeds" if found.seeds is None else f"{found.seeds} seeds"
    better = found.value > 0 if measure.direction == "up" else found.value < 0
    return Cell(
        text(found.value),
        f"{text(low)} to {text(high)}",
        found.value,
        best=found.decided and better,
        muted=low <= 0 <= high,
        below=seeds,
    )
