"""How much an edit changes each region of the face, next to how much the true edit changes there."""

from collections.abc import Mapping, Sequence

from mimik.reporting.measured import Measured
from mimik.reporting.plotting import (
    FAINT,
    ROW,
    SERIES,
    WIDTH,
    Absent,
    Drawing,
    colour,
    drawing,
    grouped_bars,
    style,
    tinted_values,
)
from mimik.reporting.results import ReportSettings, Result

TITLE = "How much changes where"
CAPTION = "Mean absolute change of the pixels in each region of the input, in grey levels (0 to 255). {order} {reading}"
PAGES = frozenset({"method", "comparison"})


def draw(results: Sequence[Result], settings: ReportSettings) -> Drawing | Absent:
    """Groups of bars are regions of the mask, bars are methods and the true edit. Many methods: a table of numbers."""
    found = [(result.method, result.parts("outside_change", "per_region")) for result in results]
    if not any(parts for _, parts in found):
        return Absent("the change was not measured region by region")
    truth = next((parts for result in results if (parts := result.parts("outside_change_truth", "per_region"))), {})
    regions = list(dict.fromkeys(name for _, parts in found for name in parts))
    series = [(method, colour(index), _levels(parts)) for index, (method, parts) in enumerate(found)]
    if truth:
        series.append(("true edit", FAINT, _levels(truth)))
    crowded = len(results) > len(SERIES)
    with style() as pyplot:
        figure, axis = pyplot.subplots(figsize=(WIDTH, 0.6 + ROW * len(series) if crowded else 2.7))
        axis.set_title("Mean absolute change (grey levels, 0 to 255)")
        (tinted_values if crowded else grouped_bars)(axis, [_words(name) for name in regions], series, 1)
        if len(series) > 1 and not crowded:
            axis.legend(loc="upper right", ncols=len(series))
        reading = "Outside eyes, brows, nose and mouth little should change."
        if truth:
            reading = (
                "A faithful edit changes as much as the true one: a smaller change leaves the old expression, a larger "
                "one disturbs what should stay."
            )
        order = f"Bars from left to right: {', '.join(name for name, _, _ in series)}."
        if any(result.further for result in results):
            order += " Whiskers: 95 % intervals over trainings."
        order = "Cells of higher values are tinted more strongly." if crowded else order
        return drawing(figure, {"order": order, "reading": reading}, TITLE)


def _words(name: str) -> str:
    return name.replace("_", " ")


def _levels(parts: Mapping[str, Measured]) -> dict[str, tuple[float, tuple[float, float] | None]]:
    """Values and intervals in grey levels; one training has none, several have one over trainings."""
    return {
        _words(name): (
            255 * m.value,
            None if m.interval is None else (255 * max(m.interval[0], 0.0), 255 * m.interval[1]),
        )
        for name, m in parts.items()
        if m.value is not None
    }
