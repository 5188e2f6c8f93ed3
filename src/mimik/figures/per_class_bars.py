"""Every expression by itself: accuracy of the edits towards it, and how often it shows where it was not asked for."""

from collections.abc import Sequence
from typing import Any

from mimik.plotting import GROUND, INK, Absent, Drawing, colour, drawing, style
from mimik.results import Measured, ReportSettings, Result

TITLE = "Expression by expression"
CAPTION = (
    "Share of the edits towards each expression that the independent classifier reads as that expression{error}. "
    "{methods}. Whiskers: bootstrap 95 % intervals where they were measured."
)
PAGES = frozenset({"method", "comparison"})

PANELS: Sequence[tuple[str, str]] = (
    ("eea_per_class", "Editing accuracy (EEA), % · higher is better"),
    ("preservation_error_per_class", "Preservation error, % · lower is better"),
)


def per_class(result: Result, name: str) -> dict[str, Measured]:
    """The metric by class, from `<name>` or from the `per_class` part of the metric without that ending."""
    found = result.per_class(name)
    if found:
        return found
    whole = result.record["metrics"].get(name.removesuffix("_per_class"))
    parts = whole.get("per_class") if isinstance(whole, dict) else None
    if not isinstance(parts, dict):
        return {}
    return {str(key): Measured(float(value), None, "", whole) for key, value in parts.items() if value is not None}


def draw(results: Sequence[Result], settings: ReportSettings) -> Drawing | Absent:
    """One panel per measure; groups of bars are classes, bars are methods."""
    classes = results[0].classes
    panels = [(name, label) for name, label in PANELS if any(per_class(result, name) for result in results)]
    if not panels:
        return Absent("no measure was taken class by class")
    with style() as pyplot:
        figure, axes = pyplot.subplots(len(panels), 1, figsize=(12.4, 2.35 * len(panels)), squeeze=False)
        for axis, (name, label) in zip(axes[:, 0], panels, strict=True):
            _bars(axis, results, classes, name)
            axis.set_title(label)
            axis.set_xticks(range(len(classes)), classes)
            axis.tick_params(axis="x", labelcolor=INK, labelsize=9)
            axis.set_xlim(-0.6, len(classes) - 0.4)
            axis.grid(axis="x", visible=False)
            if name.startswith("eea"):
                axis.set_ylim(0, 108)
                axis.set_yticks([0, 25, 50, 75, 100])
        if len(results) > 1:
            handles, names = axes[0, 0].get_legend_handles_labels()
            figure.legend(handles, names, loc="outside upper right", ncols=len(names))
        error = (
            "; below, how often an edit towards another expression is read as this one"
            if any(name.startswith("preservation") for name, _ in panels)
            else ""
        )
        named = "Bars from left to right: " + ", ".join(result.method for result in results)
        return drawing(figure, {"error": error, "methods": named}, TITLE)


def _bars(axis: Any, results: Sequence[Result], classes: Sequence[str], name: str) -> None:
    width = 0.74 / len(results)
    for index, result in enumerate(results):
        values = per_class(result, name)
        for position, label in enumerate(classes):
            if label not in values:
                continue
            measured = values[label]
            assert measured.value is not None  # per_class leaves out what has no value
            height = 100 * measured.value
            x = position + (index - (len(results) - 1) / 2) * width
            first = label == next(iter(values))
            axis.bar(
                x,
                height,
                width * 0.92,
                color=colour(index),
                edgecolor=GROUND,
                linewidth=0.6,
                label=result.method if first else None,
            )
            top = height
            if measured.interval is not None:
                low, high = (100 * end for end in measured.interval)
                axis.plot([x, x], [low, high], color=INK, linewidth=1.1, zorder=3)
                top = max(top, high)
            if len(results) <= 4:
                axis.annotate(
                    f"{height:.0f}" if name.startswith("eea") else f"{height:.1f}",
                    (x, top),
                    xytext=(0, 2),
                    textcoords="offset points",
                    ha="center",
                    va="bottom",
                    fontsize=7.5,
                )
