"""Every expression by itself: accuracy of the edits towards it, and how often it shows where it was not asked for."""

from collections.abc import Mapping, Sequence

from mimik.plotting import ROW, SERIES, WIDTH, Absent, Drawing, colour, drawing, grouped_bars, style, tinted_values
from mimik.results import ReportSettings, Result

TITLE = "Expression by expression"
CAPTION = (
    "Above: share of the edits towards each expression that the independent classifier reads as that expression. "
    "Below: how often an edit towards another expression is read as this one. {reading}"
)
PAGES = frozenset({"method", "comparison"})

PANELS: Mapping[tuple[str, str], tuple[str, int]] = {
    ("eea_per_class", ""): ("Editing accuracy (EEA), % (higher is better)", 0),
    ("preservation_error", "per_class"): ("Preservation error, % (lower is better)", 1),
}
"""Metric and part of its entry -> heading of the panel, decimals."""


def draw(results: Sequence[Result], settings: ReportSettings) -> Drawing | Absent:
    """One panel per measure; groups of bars are classes, bars are methods. Many methods: a table of numbers instead."""
    panels = {key: shown for key, shown in PANELS.items() if any(result.parts(*key) for result in results)}
    if not panels:
        return Absent("no measure was taken class by class")
    crowded = len(results) > len(SERIES)
    height = 0.6 + ROW * len(results) if crowded else 2.35
    with style() as pyplot:
        figure, axes = pyplot.subplots(len(panels), 1, figsize=(WIDTH, height * len(panels)), squeeze=False)
        figure.get_layout_engine().set(h_pad=0.12)
        for axis, (key, (label, digits)) in zip(axes[:, 0], panels.items(), strict=True):
            series = [(result.method, colour(n), _percent(result, key)) for n, result in enumerate(results)]
            axis.set_title(label)
            if crowded:
                tinted_values(axis, results[0].classes, series, digits)
                continue
            grouped_bars(axis, results[0].classes, series, digits)
            if key[0].startswith("eea"):
                axis.set_ylim(0, 112)
                axis.set_yticks([0, 25, 50, 75, 100])
        if 1 < len(results) <= len(SERIES):
            handles, names = axes[0, 0].get_legend_handles_labels()
            figure.legend(handles, names, loc="outside upper right", ncols=len(names))
        order = ", ".join(result.method for result in results)
        reading = f"Bars from left to right: {order}. Whiskers: bootstrap 95 % intervals, where they were taken."
        return drawing(figure, {"reading": "The higher a value, the deeper its cell." if crowded else reading}, TITLE)


def _percent(result: Result, key: tuple[str, str]) -> dict[str, tuple[float, tuple[float, float] | None]]:
    shown = {}
    for name, measured in result.parts(*key).items():
        assert measured.value is not None  # `parts` leaves out what has no value
        interval = measured.interval
        shown[name] = (100 * measured.value, None if interval is None else (100 * interval[0], 100 * interval[1]))
    return shown
