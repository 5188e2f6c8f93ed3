"""The losses of training by step: raw as logged, and smoothed."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mimik.reporting.plotting import WIDTH, Absent, Drawing, colour, drawing, style
from mimik.reporting.results import ReportSettings, Result

TITLE = "Training"
CAPTION = (
    "Losses of {method} by step. Thin: as logged in history.csv, where each row is the mean since the previous one; "
    "thick: centred moving average over {window} % of the logged rows. Solid: terms of the generator; dashed: of the "
    "discriminator; dotted: others."
)
PAGES = frozenset({"method"})

POINTS = 400
"""Maximum number of points of a drawn curve; longer histories are averaged in equal bins."""

SUBJECTS: Mapping[str, Sequence[str]] = {
    "Adversarial": ("adv", "real", "fake", "wrong", "match"),
    "Condition": ("cls", "entropy", "state", "interp"),
    "Reconstruction and identity": ("cycle", "self", "triple", "rec", "pix", "per", "noise"),
    "Semantic consistency": ("sc_rgb", "sc_seg"),
    "Probability of augmentation": ("p",),
    "Regularisation": ("gp", "r1", "tv", "smooth", "attention", "change", "anchor"),
}
"""Panels and the names of the terms they show: the last part of a column's name, as losses call their terms."""


def subject(column: str) -> str:
    """Panel of a column `<update>/<term>` or `<update>/<network>/<term>`."""
    term = column.rpartition("/")[2]
    return next((name for name, terms in SUBJECTS.items() if term in terms), "Other terms")


def smoothed(values: npt.NDArray[np.float64], share: float) -> npt.NDArray[np.float64]:
    """Centred moving average over `share` of the points (at least three); at the ends over those that exist."""
    window = max(3, round(share * len(values)) | 1)
    series = pd.Series(values).rolling(window, center=True, min_periods=1).mean()
    average: npt.NDArray[np.float64] = series.to_numpy(dtype=np.float64)
    return average


def thinned(
    steps: npt.NDArray[np.float64], values: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """At most `POINTS` points: means of steps and values over bins of equally many rows."""
    if len(steps) <= POINTS:
        return steps, values
    bins = np.array_split(np.arange(len(steps)), POINTS)
    return np.array([steps[part].mean() for part in bins]), np.array([values[part].mean() for part in bins])


def draw(results: Sequence[Result], settings: ReportSettings) -> Drawing | Absent:
    """One panel per subject; losses of the first result."""
    result = results[0]
    history = result.history
    if history is None:
        return Absent("there is no history.csv")
    panels: dict[str, list[str]] = {}
    for column in history.columns.drop("step"):
        if "/" in column and history[column].notna().sum() > 1:
            panels.setdefault(subject(column), []).append(column)
    if not panels:
        return Absent("history.csv contains fewer than two rows of losses")
    order = [name for name in (*SUBJECTS, "Other terms") if name in panels]
    with style() as pyplot:
        across = min(2, len(order))
        down = -(-len(order) // across)
        figure, axes = pyplot.subplots(down, across, figsize=(WIDTH / 2 * across, 2.9 * down), squeeze=False)
        for axis in axes.flat[len(order) :]:
            axis.set_visible(False)
        for axis, name in zip(axes.flat, order, strict=False):
            for index, column in enumerate(panels[name]):
                _curve(axis, history, column, index, settings.smoothing)
            axis.set_title(name)
            axis.set_xlabel("step")
            axis.legend(loc="upper right", ncols=2 if len(panels[name]) > 4 else 1)
        return drawing(figure, {"method": result.method, "window": f"{100 * settings.smoothing:g}"}, TITLE)


def _curve(axis: Any, history: pd.DataFrame, column: str, index: int, share: float) -> None:
    logged = history[["step", column]].dropna().to_numpy(dtype=np.float64)
    logged = logged[np.isfinite(logged).all(axis=1)]
    steps, values = thinned(logged[:, 0], logged[:, 1])
    update = column.partition("/")[0]
    line = "-" if update == "generator" else "--" if update in ("discriminator", "critic") else ":"
    axis.plot(steps, values, color=colour(index), linewidth=0.7, alpha=0.3)
    axis.plot(steps, smoothed(values, share), line, color=colour(index), linewidth=1.7, label=column)
