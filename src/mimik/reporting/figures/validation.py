"""What validations while training measured on faces of `val`, by step (`mimik.training.validation`)."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from mimik.reporting.plotting import FAINT, INK, WIDTH, Absent, Drawing, colour, drawing, marker, style
from mimik.reporting.results import ReportSettings, Result
from mimik.reporting.validations import not_validated, read_validation

TITLE = "Validation while training"
CAPTION = (
    "Edits of faces of the split 'val' at steps of the training, measured by the classifier {judge}; no test face is "
    "used. Score: the mean of the mean relative distance and of the share that is not recognised; smaller is better. "
    "Thick: mean over the classes; thin: single classes. Relative distance: kernel distance between edits to a "
    "class and real faces of it, as a share of that of the unedited faces; 0 is a real face, 1 no edit. {rule} It is "
    "step {best} (upright line); the result has the generator of step {kept}."
)
PAGES = frozenset({"method"})

PANELS: Mapping[str, str] = {
    "Score": "score",
    "Relative kernel distance": "relative_distance",
    "Expression editing accuracy": "eea_per_class",
    "Change outside the parts": "outside_change",
}
"""Measures by the title of their panel."""


def draw(results: Sequence[Result], settings: ReportSettings) -> Drawing | Absent:
    """One panel for each measure; validations of the first result."""
    result = results[0]
    record = read_validation(result)
    if record is None:
        return not_validated(result)
    entries = record["entries"]
    shown = {title: name for title, name in PANELS.items() if name in entries[0]}
    steps = [entry["step"] for entry in entries]
    with style() as pyplot:
        figure, axes = pyplot.subplots(2, 2, figsize=(WIDTH, 6.0), squeeze=False)
        for axis in axes.flat[len(shown) :]:
            axis.set_axis_off()
        for axis, (title, measure) in zip(axes.flat, shown.items(), strict=False):
            values = [entry[measure] for entry in entries]
            by_class = isinstance(values[0], Mapping)
            for index, name in enumerate(values[0] if by_class else ()):
                _line(axis, steps, [value[name] for value in values], colour(index), 0.9, name)
            means = [fmean(value.values()) for value in values] if by_class else values
            _line(axis, steps, means, INK, 2.2, "mean")
            axis.axvline(record["best"], color=FAINT, linewidth=1, linestyle=":")
            axis.set_title(title)
            axis.set_xlabel("step")
            if by_class:
                axis.legend(loc="best", ncols=2)
        facts = {name: record[name] for name in ("judge", "rule", "best", "kept")}
        return drawing(figure, facts, TITLE)


def _line(axis: Any, steps: Sequence[int], values: Sequence[float], tint: str, width: float, label: str) -> None:
    axis.plot(steps, values, color=tint, linewidth=width, marker=marker(0), markersize=2.5, label=label)
