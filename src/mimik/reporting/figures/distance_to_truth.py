"""The main figure where the truth is known: how close each method comes to the true edit, against copying the input."""

from collections.abc import Sequence
from typing import Any

from mimik.reporting.measured import Measured
from mimik.reporting.plotting import FAINT, GROUND, INK, WIDTH, Absent, Drawing, colour, drawing, listed, marker, style
from mimik.reporting.results import ReportSettings, Result
from mimik.reporting.trainings import told

TITLE = "Distance to the true edit"
CAPTION = (
    "Further right is better. Dots: {methods}; bars: 95 % intervals. {told} The dashed line is the "
    "score of doing nothing, that is, of returning the input unchanged: a method to the left of it does more harm than "
    "good. 'Changed pixels' are those that the true edit changes by more than 8/255 in any channel."
)
PAGES = frozenset({"method", "comparison"})

COPY = "Copy the input"
"""The baseline that is drawn as a line."""

PANELS: Sequence[tuple[str, str]] = (
    ("truth_psnr_changed", "PSNR over changed pixels (dB)"),
    ("truth_psnr", "PSNR over the whole face (dB)"),
    ("truth_ssim", "SSIM over the whole face"),
)


def draw(results: Sequence[Result], settings: ReportSettings) -> Drawing | Absent:
    """One panel per measure, one line per method, the copying baseline as a dashed line."""
    panels = [(name, label) for name, label in PANELS if any(_value(result, name) for result in results)]
    if not panels:
        return Absent("the true image of an edit is not known for this dataset")
    names = [result.method for result in results]
    with style() as pyplot:
        height = 1.05 + 0.34 * len(results)
        figure, axes = pyplot.subplots(1, len(panels), figsize=(WIDTH, height), sharey=True, squeeze=False)
        for axis, (name, label) in zip(axes[0], panels, strict=True):
            _panel(axis, results, name)
            axis.set_title(label)
            axis.margins(x=0.18)
            axis.set_ylim(len(results) - 0.4, -0.75)
            axis.set_yticks(range(len(results)), names)
            axis.grid(axis="y", visible=False)
            axis.spines["left"].set_visible(False)
            axis.tick_params(axis="y", labelcolor=INK, labelsize=9)
        figure.get_layout_engine().set(wspace=0.05)
        return drawing(figure, {"methods": listed(names), "told": told(results)}, TITLE)


def _panel(axis: Any, results: Sequence[Result], name: str) -> None:
    baseline = next((found for result in results if (found := result.baseline(COPY, name))), None)
    if baseline is not None and baseline.value is not None:
        axis.axvline(baseline.value, color=FAINT, linewidth=1.1, linestyle=(0, (4, 3)), zorder=1)
        values = [found.value for result in results if (found := _value(result, name)) and found.value is not None]
        rightmost = baseline.value >= max(values, default=baseline.value)
        axis.annotate(
            COPY.lower(),
            (baseline.value, -0.72),
            xytext=(-4, 0) if rightmost else (4, 0),
            ha="right" if rightmost else "left",
            textcoords="offset points",
            color=FAINT,
            fontsize=8,
            va="top",
        )
    for index, result in enumerate(results):
        measured = _value(result, name)
        if measured is None or measured.value is None:
            continue
        if measured.interval is not None:
            axis.plot(measured.interval, [index, index], color=colour(index), linewidth=2.4, zorder=2)
        axis.plot(
            measured.value,
            index,
            marker(index),
            color=colour(index),
            markersize=8,
            markeredgecolor=GROUND,
            markeredgewidth=1.2,
            zorder=3,
        )
        axis.annotate(
            f"{measured.value:.3f}" if name.endswith("ssim") else f"{measured.value:.2f}",
            (measured.value, index),
            xytext=(0, -9),
            textcoords="offset points",
            ha="center",
            va="top",
            fontsize=8,
        )


def _value(result: Result, name: str) -> Measured | None:
    measured = result.metric(name)
    return measured if measured is not None and measured.value is not None else None
