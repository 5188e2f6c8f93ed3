"""Measures over a setting that methods differ in. Options: `x`, its values in the order of the methods; `label`;
`panels`, lists of metrics; `alternatives`, for each panel whether only the first metric that was measured is shown."""

from typing import Any

from mimik.reporting.measures import MEASURES, Measure
from mimik.reporting.papers.item import Item
from mimik.reporting.plotting import Absent, Drawing, colour, drawing, marker, style
from mimik.reporting.results import Result
from mimik.reporting.trainings import told

CAPTION = "{measures} over the {label}. Bars: 95 % intervals. {told}"


def draw(item: Item) -> Drawing | Absent:
    """One panel for each list of metrics, one line for each metric."""
    xs = [item.options["x"][position] for position in item.positions]
    panels = []
    for names, alternative in zip(item.options["panels"], item.options["alternatives"], strict=True):
        known = [name for name in names if any(_value(result, name) is not None for result in item.results)]
        panels.append(known[:1] if alternative else known)
    panels = [names for names in panels if names]
    if len(xs) < 2:
        return Absent(f"fewer than two of its {len(item.options['x'])} points have a result")
    if not panels:
        return Absent("none of its metrics was measured")
    places = list(range(len(item.options["x"])))
    with style() as pyplot:
        figure, axes = pyplot.subplots(1, len(panels), figsize=(1.2 + 4.2 * len(panels), 3.2), squeeze=False)
        for axis, names in zip(axes[0], panels, strict=True):
            for index, name in enumerate(names):
                _line(axis, item, name, index, len(names))
            # Equal distances: the values of a sweep grow by factors, and may begin with zero.
            axis.set_xticks(places, [f"{x:g}" for x in item.options["x"]])
            axis.set_xlim(-0.4, len(places) - 0.6)
            axis.set_xlabel(item.options["label"])
            measure = MEASURES.get(names[0], Measure(names[0], "", ""))
            heading = "mIoU" if all(name.startswith("miou") for name in names) else measure.heading
            axis.set_ylabel(f"{heading}, {measure.unit}" if measure.unit else heading)
            if len(names) > 1:
                axis.legend()
        measures = ", ".join(MEASURES[name].heading if name in MEASURES else name for names in panels for name in names)
        absent = len(item.options["x"]) - len(xs)
        left = f" {absent} of the {len(item.options['x'])} points have no result." if absent else ""
        facts = {"measures": measures, "label": item.options["label"], "told": told(item.results) + left}
        return drawing(figure, facts, item.name)


def _value(result: Result, name: str) -> float | None:
    found = result.metric(name)
    return None if found is None else found.value


def _line(axis: Any, item: Item, name: str, index: int, lines: int) -> None:
    factor = MEASURES[name].factor if name in MEASURES else 1.0
    points = [
        (position + 0.06 * (index - (lines - 1) / 2), found.value * factor, found.interval)
        for position, result in sorted(zip(item.positions, item.results, strict=True), key=lambda pair: pair[0])
        if (found := result.metric(name)) is not None and found.value is not None
    ]
    heading = MEASURES[name].heading if name in MEASURES else name
    where, values = [point[0] for point in points], [point[1] for point in points]
    axis.plot(where, values, color=colour(index), marker=marker(index), label=heading)
    for x, _, interval in points:
        if interval is not None:
            axis.plot([x, x], [factor * end for end in interval], color=colour(index), linewidth=1.1)
