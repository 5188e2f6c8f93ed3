"""A measure by expression or attribute, one bar for each method. Options: `measures`, the first of which that was
measured is shown, each a metric and a part of its entry (`mimik.reporting.results.Result.parts`); `axis`, its name."""

from mimik.reporting.papers.item import Item
from mimik.reporting.plotting import Absent, Drawing, colour, drawing, grouped_bars, style
from mimik.reporting.trainings import told

CAPTION = "{axis} by edit. Whiskers: 95 % intervals. {told}"

LONG = 80
"""Names with more letters than this in total are rotated."""


def draw(item: Item) -> Drawing | Absent:
    """Groups are expressions or attributes, bars methods."""
    measures = [tuple(measure) for measure in item.options["measures"]]
    chosen = next((key for key in measures if any(result.parts(*key) for result in item.results)), None)
    if chosen is None:
        return Absent(f"{', '.join(name for name, _ in measures)} was not measured")
    names = list(dict.fromkeys(name for result in item.results for name in result.classes))
    series = []
    for number, result in enumerate(item.results):
        parts = {
            name: (100 * measured.value, _percent(measured.interval))
            for name, measured in result.parts(*chosen).items()
            if measured.value is not None
        }
        series.append((result.method, colour(number), parts))
    groups = [name for name in names if any(name in parts for _, _, parts in series)]
    ends = [end for _, _, parts in series for value, interval in parts.values() for end in (value, *(interval or ()))]
    with style() as pyplot:
        figure, axis = pyplot.subplots(figsize=(9, 3.1))
        grouped_bars(axis, groups, series, 1 if max(ends) > 2 else 2)
        axis.set_ylabel(item.options["axis"])
        # Accuracies near 100 % would all look alike on an axis from zero; the caption says where it starts.
        start = 10 * (min(ends) // 10) - 10 if min(ends) > 50 else 0.0
        axis.set_ylim(start, max(ends) + 0.14 * (max(ends) - start))
        if sum(map(len, groups)) > LONG:
            axis.set_xticks(range(len(groups)), groups, rotation=40, ha="right", rotation_mode="anchor")
        figure.legend(loc="outside upper right", ncols=len(series))
        begins = f" The axis begins at {start:g}." if start else ""
        return drawing(figure, {"axis": item.options["axis"], "told": told(item.results) + begins}, item.name)


def _percent(interval: tuple[float, float] | None) -> tuple[float, float] | None:
    return None if interval is None else (100 * interval[0], 100 * interval[1])
