"""The style of all plots, and their SVG, which takes text colour, background and font from the surrounding page."""

import hashlib
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mimik.storage.files import write_text

INK, FAINT, GRID, GROUND = "#1b2026", "#5d6673", "#dfe3e8", "#fffffe"
"""Colours of text, secondary text, grid lines and background. In a page they become CSS variables."""

SERIES: Sequence[str] = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b58900", "#56b4e9", "#7a5fd0", "#8c564b")
"""Colours of methods and terms: Okabe and Ito's palette without yellow and black, which vanish on a white or a dark
background; distinguishable with common colour blindness and readable on both backgrounds."""

MARKERS: Sequence[str] = ("o", "s", "D", "^", "v", "P", "X", "h")
"""A marker for every series, so that nothing depends on colour alone."""

VARIABLES: Mapping[str, str] = {INK: "--ink", FAINT: "--faint", GRID: "--line", GROUND: "--ground"}


@dataclass(frozen=True)
class Drawing:
    """A finished figure.

    Attributes:
        svg: inline SVG; text and background colours are CSS variables that default to those of a light page.
        width: natural width in CSS pixels.
        facts: what the module's CAPTION is filled with (`CAPTION.format(**facts)`).
    """

    svg: str
    width: int
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Absent:
    """A figure or table that cannot be drawn from these results, and why (shown in its place)."""

    reason: str


def colour(index: int) -> str:
    """Colour of the series at `index`; repeats after eight."""
    return SERIES[index % len(SERIES)]


def marker(index: int) -> str:
    """Marker of the series at `index`; repeats after eight."""
    return MARKERS[index % len(MARKERS)]


def listed(methods: Sequence[str]) -> str:
    """Methods in a sentence: by name, or their number if the names would be too long."""
    if len(methods) > len(SERIES):
        return f"{len(methods)} methods"
    return " and ".join(filter(None, [", ".join(methods[:-1]), methods[-1]]))


_PRINTS: ContextVar[list[tuple[bytes, bytes]] | None] = ContextVar("prints", default=None)


@contextmanager
def prints() -> Iterator[list[tuple[bytes, bytes]]]:
    """Whatever `drawing` makes inside is also kept as PNG and PDF, on white: for figures that become files."""
    found: list[tuple[bytes, bytes]] = []
    token = _PRINTS.set(found)
    try:
        yield found
    finally:
        _PRINTS.reset(token)


def saved(figure: Any) -> tuple[bytes, bytes]:
    """A matplotlib figure as PNG and PDF, on white; the same input gives the same bytes."""
    png, pdf = io.BytesIO(), io.BytesIO()
    figure.savefig(png, format="png", dpi=150, facecolor="white", metadata={"Software": None})
    figure.savefig(
        pdf, format="pdf", facecolor="white", metadata={"CreationDate": None, "Creator": None, "Producer": None}
    )
    return png.getvalue(), pdf.getvalue()


WIDTH = 13.8
"""Width of a plot that fills the page, in inches."""


@contextmanager
def style() -> Iterator[Any]:
    """matplotlib.pyplot with mimik's settings; figures opened inside are closed at the end."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as pyplot

    settings: Any = {
        "svg.fonttype": "none",
        "svg.hashsalt": "mimik",
        "font.family": "sans-serif",
        "font.sans-serif": ["DejaVu Sans"],
        "font.size": 9,
        "axes.titlesize": 10,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.labelsize": 9,
        "axes.edgecolor": FAINT,
        "axes.labelcolor": FAINT,
        "axes.titlecolor": INK,
        "axes.linewidth": 0.7,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.facecolor": "none",
        "figure.facecolor": "none",
        "grid.color": GRID,
        "grid.linewidth": 0.7,
        "text.color": INK,
        "xtick.color": FAINT,
        "ytick.color": FAINT,
        "xtick.labelsize": 8.5,
        "ytick.labelsize": 8.5,
        "xtick.major.size": 0,
        "ytick.major.size": 0,
        "legend.frameon": False,
        "legend.fontsize": 8.5,
        "lines.linewidth": 1.8,
        "figure.constrained_layout.use": True,
    }
    before = set(pyplot.get_fignums())
    with matplotlib.rc_context(settings):
        try:
            yield pyplot
        finally:
            for number in set(pyplot.get_fignums()) - before:
                pyplot.close(number)


Series = tuple[str, str, Mapping[str, tuple[float, tuple[float, float] | None]]]
"""Name, colour, and by group a value with its interval or None; a group without a value is left empty."""


def grouped_bars(axis: Any, groups: Sequence[str], series: Sequence[Series], digits: int) -> None:
    """Bars side by side for every group, values on top, whiskers for intervals.

    Args:
        axis: of matplotlib.
        groups: names along the horizontal axis.
        series: the bars of each group.
        digits: decimals of the values on top; they are printed for up to four series.
    """
    width = 0.74 / len(series)
    for index, (name, tint, values) in enumerate(series):
        offset = (index - (len(series) - 1) / 2) * width
        present = [(position, *values[group]) for position, group in enumerate(groups) if group in values]
        xs = [position + offset for position, _, _ in present]
        axis.bar(xs, [value for _, value, _ in present], width * 0.92, color=tint, label=name, linewidth=0)
        for x, (_, value, interval) in zip(xs, present, strict=True):
            if interval is not None:
                axis.plot([x, x], interval, color=INK, linewidth=1.1, zorder=3)
            if len(series) <= 4:
                top = max(value, interval[1]) if interval is not None else value
                place = {"xytext": (0, 2), "textcoords": "offset points", "ha": "center", "va": "bottom"}
                axis.annotate(f"{value:.{digits}f}", (x, top), fontsize=7.5, **place).set_in_layout(False)
    axis.set_xticks(range(len(groups)), groups)
    axis.tick_params(axis="x", labelcolor=INK, labelsize=9)
    axis.set_xlim(-0.6, len(groups) - 0.4)
    axis.grid(axis="x", visible=False)
    axis.margins(y=0.14)


ROW = 0.23
"""Height of a row of `tinted_values` in inches."""


def tinted_values(axis: Any, groups: Sequence[str], series: Sequence[Series], digits: int) -> None:
    """The values of `grouped_bars` as a table, for more series than can be told apart by colour.

    Args:
        axis: of matplotlib; about `ROW` inches high per series.
        groups: names of the columns.
        series: as for `grouped_bars`, one row each; their colours and intervals are not drawn.
        digits: decimals of the values. The closer a value is to the largest one, the stronger its tint.
    """
    largest = max((value for _, _, values in series for value, _ in values.values()), default=0.0)
    for row, (_, _, values) in enumerate(series):
        for column, group in enumerate(groups):
            if group in values:
                value = values[group][0]
                tinted_cell(
                    axis, row, column, SERIES[0], value / largest if largest > 0 else 0.0, f"{value:.{digits}f}"
                )
    square_axes(axis, [name for name, _, _ in series], groups)
    axis.xaxis.tick_top()


def tinted_cell(axis: Any, row: int, column: int, tint: str, share: float, text: str, faint: bool = False) -> None:
    """A cell of a table drawn as a plot: the closer `share` is to 1, the stronger `tint`; works on both backgrounds."""
    from matplotlib.patches import Rectangle

    opacity = 0.06 + 0.74 * min(max(share, 0.0), 1.0)
    axis.add_patch(Rectangle((column - 0.47, row - 0.47), 0.94, 0.94, facecolor=tint, alpha=opacity, linewidth=0))
    if text:
        ink = "#ffffff" if opacity > 0.5 else FAINT if faint else INK
        number = axis.annotate(text, (column, row), ha="center", va="center", fontsize=8, color=ink)
        number.set_in_layout(False)  # it is inside its axes: measuring it would only cost time


def square_axes(axis: Any, rows: Sequence[str], columns: Sequence[str]) -> None:
    """Names beside a table of `tinted_cell`s, and nothing else around it."""
    axis.set_xlim(-0.5, len(columns) - 0.5)
    axis.set_ylim(len(rows) - 0.5, -0.5)
    axis.set_xticks(range(len(columns)), columns)
    axis.set_yticks(range(len(rows)), rows)
    axis.tick_params(labelcolor=INK)
    axis.grid(visible=False)
    for spine in axis.spines.values():
        spine.set_visible(False)


def drawing(figure: Any, facts: Mapping[str, Any], title: str) -> Drawing:
    """Turn a matplotlib figure into inline SVG.

    Every id gets a prefix made from the content, since ids of several plots would clash in one page; text stays
    text in the page's font; `title` is read out by screen readers.
    """
    wanted = _PRINTS.get()
    if wanted is not None:
        wanted.append(saved(figure))
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    # matplotlib's <style> would apply to the whole page; its two settings move to the root element below.
    svg = re.sub(r"<metadata>.*?</metadata>|<defs>\s*<style.*?</style>\s*</defs>", "", svg, flags=re.DOTALL)
    prefix = "p" + hashlib.sha256(svg.encode()).hexdigest()[:8]
    svg = re.sub(r'\bid="', f'id="{prefix}-', svg)
    svg = re.sub(r"url\(#", f"url(#{prefix}-", svg)
    svg = re.sub(r'href="#', f'href="#{prefix}-', svg)
    for plain, variable in VARIABLES.items():
        svg = svg.replace(plain, f"var({variable}, {plain})")
    # The page's font, and it alone: matplotlib names its own in two ways.
    svg = re.sub(r"font-family: [^;\"]*;?", "", svg)
    svg = re.sub(
        r"font: ((?:[\w.]+ )*[\d.]+px) 'DejaVu Sans'(?:, sans-serif)?", r"font: \1 var(--sans, sans-serif)", svg
    )
    width, height = (72 * side for side in figure.get_size_inches())
    svg = re.sub(r'<svg\b[^>]*?viewBox="([^"]*)"[^>]*>', r'<svg viewBox="\1">', svg, count=1, flags=re.DOTALL)
    # One inch is drawn as 96 CSS pixels: text set at 9 pt is then 12 px on the page.
    css_width = round(width * 96 / 72)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" class="plot" role="img" '
        'stroke-linejoin="round" stroke-linecap="butt" '
        f'style="--width:{css_width}px" width="{css_width}" height="{round(height * 96 / 72)}" viewBox='
    )
    svg = svg.replace("<svg viewBox=", head, 1)
    opening = svg.index(">") + 1
    return Drawing(f"{svg[:opening]}<title>{title}</title>{svg[opening:]}", css_width, dict(facts))


def write(finished: Drawing, path: Path | str) -> None:
    """Write a figure to a separate file (SVG, light background, no CSS variables)."""
    svg = re.sub(r"var\(--[a-z]+, (#[0-9a-f]{6})\)", r"\1", finished.svg)
    svg = svg.replace("currentColor", INK)
    svg = svg.replace("<svg ", '<svg font-family="DejaVu Sans, Helvetica, Arial, sans-serif" ', 1)
    write_text(path, '<?xml version="1.0" encoding="utf-8"?>\n' + svg + "\n")
