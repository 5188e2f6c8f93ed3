"""Figures of the pages as PNG and PDF."""

import base64
import io
import re
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import numpy as np

from mimik.reporting.plotting import INK, Absent, Drawing, prints, saved, style
from mimik.storage.pictures import open_picture

PIXELS = 96
"""CSS pixels in an inch."""

NARROWER = 0.82
"""The pages' fonts are narrower than matplotlib's, whose text would not fit beside the pictures at the same size."""


def printed(draw: Callable[[], Drawing | Absent]) -> tuple[Drawing | Absent, bytes, bytes]:
    """Draw a figure and print it.

    Args:
        draw: makes a plot (`mimik.reporting.plotting.drawing`) or a grid of pictures (`mimik.reporting.mosaics`).

    Returns:
        what was drawn, with PNG and PDF of it; both empty where nothing was drawn.
    """
    with prints() as found:
        made = draw()
    if isinstance(made, Absent):
        return made, b"", b""
    return made, *(found[-1] if found else _grid(made.svg))


def _grid(svg: str) -> tuple[bytes, bytes]:
    """PNG and PDF of a grid of pictures, whose SVG consists of pictures, rectangles and text only."""
    root = ElementTree.fromstring(svg)
    width, height = (float(side) for side in root.get("viewBox", "").split()[2:])
    with style() as pyplot:
        figure = pyplot.figure(figsize=(width / PIXELS, height / PIXELS))
        figure.set_layout_engine("none")
        axis = figure.add_axes((0, 0, 1, 1))
        axis.set_xlim(0, width)
        axis.set_ylim(height, 0)
        axis.set_axis_off()
        for element in root.iter():
            _put(axis, element)
        return saved(figure)


def _put(axis: Any, element: ElementTree.Element) -> None:
    from matplotlib.patches import Rectangle

    def number(name: str, default: float = 0.0) -> float:
        return float(element.get(name, default))

    kind, x, y = element.tag.rpartition("}")[2], number("x"), number("y")
    if kind == "image":
        data = base64.b64decode(element.get("href", "").partition(",")[2])
        picture = np.asarray(open_picture(io.BytesIO(data)).convert("RGBA"))
        extent = (x, x + number("width"), y + number("height"), y)
        axis.imshow(picture, extent=extent, aspect="auto", interpolation="nearest", zorder=1)
    elif kind == "rect":
        fill, stroke = element.get("fill", "none"), element.get("stroke", "none")
        rgb = [int(part) / 255 for part in re.findall(r"\d+", fill)] if fill.startswith("rgb") else "none"
        line = (0, (5, 4)) if element.get("stroke-dasharray") else "-"
        edge = INK if stroke == "currentColor" else stroke
        size = (number("width"), number("height"))
        axis.add_patch(Rectangle((x, y), *size, facecolor=rgb, edgecolor=edge, linewidth=0.8, linestyle=line, zorder=2))
    elif kind == "text":
        side = {"middle": "center", "end": "right"}.get(element.get("text-anchor", ""), "left")
        weight = "bold" if element.get("font-weight") == "600" else "normal"
        points = NARROWER * number("font-size", 13) * 72 / PIXELS
        axis.text(x, y, element.text or "", ha=side, va="baseline", fontsize=points, fontweight=weight, color=INK)
