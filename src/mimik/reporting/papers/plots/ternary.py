"""A metric over three weights with a constant sum. Options: `metric`; `corners`, their names; `weights`, three numbers
for each method in order."""

from mimik.reporting.measures import MEASURES
from mimik.reporting.papers.item import Item
from mimik.reporting.plotting import FAINT, INK, Absent, Drawing, drawing, style
from mimik.reporting.trainings import told

CAPTION = (
    "{heading} over the weights of the losses ({corners}), each point a training with these weights; the corner of a "
    "name is where its weight is all. Below each number: its 95 % interval. {told} {open}"
)

HEIGHT = 3**0.5 / 2


def draw(item: Item) -> Drawing | Absent:
    """A triangle of points with their values."""
    name, corners = item.options["metric"], item.options["corners"]
    measure = MEASURES[name]
    points = []
    for position, result in zip(item.positions, item.results, strict=True):
        found = result.metric(name)
        if found is not None and found.value is not None:
            weights = item.options["weights"][position]
            _, second, third = (part / sum(weights) for part in weights)
            value = measure.factor * found.value
            points.append((second + third / 2, third * HEIGHT, value, found.interval))
    if len(points) < 2:
        return Absent(f"fewer than two of its {len(item.options['weights'])} points have a result")
    values = [value for _, _, value, _ in points]
    low, high = min(values), max(values)
    half = 0.5 * 10.0**-measure.digits  # equal values have a colour too
    with style() as pyplot:
        figure, axis = pyplot.subplots(figsize=(7.2, 6.2))
        axis.plot([0, 1, 0.5, 0], [0, 0, HEIGHT, 0], color=FAINT, linewidth=1)
        for step in (0.2, 0.4, 0.6, 0.8):
            for ends in (
                ((step / 2, step * HEIGHT), (1 - step / 2, step * HEIGHT)),
                ((step, 0), (0.5 + step / 2, (1 - step) * HEIGHT)),
                ((1 - step, 0), ((1 - step) / 2, (1 - step) * HEIGHT)),
            ):
                axis.plot(*zip(*ends, strict=True), color=FAINT, linewidth=0.5, alpha=0.4)
        drawn = axis.scatter(
            [x for x, *_ in points],
            [y for _, y, *_ in points],
            c=values,
            s=170,
            cmap="viridis",
            zorder=3,
            vmin=low - half,
            vmax=high + half,
        )
        for x, y, value, interval in points:
            text = f"{value:.{measure.digits}f}"
            if interval is not None:
                text += "\n" + " to ".join(f"{measure.factor * end:.{measure.digits}f}" for end in interval)
            axis.annotate(
                text, (x, y), (0, -10), textcoords="offset points", ha="center", va="top", fontsize=7.5, color=INK
            )
        for text, (x, y), side in zip(
            corners, ((0, -0.03), (1, -0.03), (0.5, HEIGHT + 0.03)), ("top", "top", "bottom"), strict=True
        ):
            axis.text(x, y, f"{text} alone", ha="center", va=side, fontsize=9.5, fontweight="bold", color=INK)
        axis.set_aspect("equal")
        axis.set_axis_off()
        axis.set_xlim(-0.12, 1.12)
        axis.set_ylim(-0.14, HEIGHT + 0.1)
        figure.colorbar(drawn, ax=axis, shrink=0.6, label=f"{measure.heading}, {measure.unit}".rstrip(", "))
        absent = len(item.options["weights"]) - len(points)
        facts = {
            "heading": measure.heading,
            "corners": ", ".join(corners),
            "told": told(item.results),
            "open": f"{absent} of the {len(item.options['weights'])} points have no result." if absent else "",
        }
        return drawing(figure, facts, item.name)
