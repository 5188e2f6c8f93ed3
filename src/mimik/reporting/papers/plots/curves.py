"""Learning curves of several methods over each other. Options: `terms`, columns of history.csv, one panel each;
`labels`, a name for each method in order."""

import numpy as np

from mimik.reporting.figures.loss_curves import smoothed, thinned
from mimik.reporting.papers.item import Item
from mimik.reporting.plotting import Absent, Drawing, colour, drawing, style

CAPTION = (
    "Losses in training by step: {terms}. Thin: every training as logged; thick: its centred moving average over "
    "{window} % of the logged rows."
)


def draw(item: Item) -> Drawing | Absent:
    """One panel for each term; one colour for each method, a line for each of its trainings."""
    terms, labels = item.options["terms"], item.options["labels"]
    there = [
        term for term in terms if any(result.history is not None and term in result.history for result in item.results)
    ]
    if not there:
        return Absent(f"history.csv has none of {', '.join(terms)}")
    with style() as pyplot:
        figure, axes = pyplot.subplots(1, len(there), figsize=(5.4 * len(there), 3.2), squeeze=False)
        for axis, term in zip(axes[0], there, strict=True):
            for position, result in zip(item.positions, item.results, strict=True):
                for number, training in enumerate(result.trainings):
                    history = training.history
                    if history is None or term not in history:
                        continue
                    logged = history[["step", term]].dropna().to_numpy(dtype=np.float64)
                    steps, values = thinned(logged[:, 0], logged[:, 1])
                    tint, label = colour(position), labels[position] if number == 0 else None
                    axis.plot(steps, values, color=tint, linewidth=0.6, alpha=0.25)
                    axis.plot(steps, smoothed(values, item.settings.smoothing), color=tint, label=label)
            axis.set_title(term)
            axis.set_xlabel("step")
            axis.set_yscale("log")
        axes[0, -1].legend()
        facts = {"terms": ", ".join(there), "window": f"{100 * item.settings.smoothing:g}"}
        return drawing(figure, facts, item.name)
