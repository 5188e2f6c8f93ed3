"""Measures by edit: for each expression, the accuracy of edits to it and how often it appears in edits to others; for
each attribute, the accuracy of edits that reverse it and how much of the other attributes they keep.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from mimik.reporting.plotting import (
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
from mimik.reporting.trainings import told

TITLE = "Edit by edit"
CAPTION = "{panels} {reading}"
PAGES = frozenset({"method", "comparison"})


class Panel(NamedTuple):
    """How a measure is shown: heading, decimals, explanation, and whether its axis covers all of 0 to 100 %."""

    heading: str
    digits: int
    explanation: str
    whole: bool


PANELS: Mapping[tuple[str, str], Panel] = {
    ("eea_per_class", ""): Panel(
        "Editing accuracy (EEA), % (higher is better)",
        0,
        "Editing accuracy: share of the edits to each expression that the independent classifier labels as that "
        "expression.",
        True,
    ),
    ("preservation_error", "per_class"): Panel(
        "Preservation error, % (lower is better)",
        1,
        "Preservation error: how often an edit to another expression is classified as this one.",
        False,
    ),
    ("same_person", "per_class"): Panel(
        "Same person, % (higher is better)",
        0,
        "Same person: share of the edits to each expression or attribute that dlib's network takes for the input's "
        "person.",
        True,
    ),
    ("attribute_accuracy_per_attribute", ""): Panel(
        "Attribute accuracy, % (higher is better)",
        0,
        "Attribute accuracy: share of the edits that reverse each attribute in which the independent classifier sees "
        "it reversed.",
        True,
    ),
    ("attribute_preservation_per_attribute", ""): Panel(
        "Other attributes kept, % (higher is better)",
        0,
        "Others kept: share of the other attributes for which the classifier predicts the same in these edits as in "
        "the input.",
        True,
    ),
}
"""By metric and part of its entry."""

LONG = 80
"""Names with more letters than this in total are rotated."""


def draw(results: Sequence[Result], settings: ReportSettings) -> Drawing | Absent:
    """One panel per measure; groups are its classes or attributes, bars methods. Many methods: a table of numbers."""
    panels = {key: shown for key, shown in PANELS.items() if any(result.parts(*key) for result in results)}
    if not panels:
        return Absent("no measure was broken down by class")
    groups = {key: _groups(results, key) for key in panels}
    aslant = any(sum(map(len, names)) > LONG for names in groups.values())
    crowded = len(results) > len(SERIES)
    height = (0.6 + ROW * len(results) if crowded else 2.35) + 0.9 * aslant
    with style() as pyplot:
        figure, axes = pyplot.subplots(len(panels), 1, figsize=(WIDTH, height * len(panels)), squeeze=False)
        figure.get_layout_engine().set(h_pad=0.12)
        for axis, (key, panel) in zip(axes[:, 0], panels.items(), strict=True):
            series = [(result.method, colour(n), _percent(result, key)) for n, result in enumerate(results)]
            axis.set_title(panel.heading)
            if crowded:
                tinted_values(axis, groups[key], series, panel.digits)
            else:
                grouped_bars(axis, groups[key], series, panel.digits)
            if aslant:
                side = "left" if crowded else "right"  # names stand above a table, below bars
                axis.set_xticks(range(len(groups[key])), groups[key], rotation=40, ha=side, rotation_mode="anchor")
            if panel.whole and not crowded:
                axis.set_ylim(0, 112)
                axis.set_yticks([0, 25, 50, 75, 100])
        if 1 < len(results) <= len(SERIES):
            handles, labels = axes[0, 0].get_legend_handles_labels()
            figure.legend(handles, labels, loc="outside upper right", ncols=len(labels))
        order = ", ".join(result.method for result in results)
        bars = f"Bars from left to right: {order}. Whiskers: 95 % intervals, where available."
        facts = {
            "panels": " ".join(panel.explanation for panel in panels.values()),
            "reading": f"{'Cells of higher values are tinted more strongly.' if crowded else bars} {told(results)}",
        }
        return drawing(figure, facts, TITLE)


def _groups(results: Sequence[Result], key: tuple[str, str]) -> list[str]:
    """The classes or attributes of one measure, in the order of the edits; these can differ between methods."""
    return list(dict.fromkeys(name for result in results for name in result.classes if name in result.parts(*key)))


def _percent(result: Result, key: tuple[str, str]) -> dict[str, tuple[float, tuple[float, float] | None]]:
    shown = {}
    for name, measured in result.parts(*key).items():
        assert measured.value is not None  # `parts` leaves out what has no value
        interval = measured.interval
        # Over few trainings it can reach beyond what a share can be.
        ends = None if interval is None else (100 * max(interval[0], 0.0), 100 * min(interval[1], 1.0))
        shown[name] = (100 * measured.value, ends)
    return shown
