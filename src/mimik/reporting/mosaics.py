"""Grids of face images with labels, as one SVG: pixels embedded losslessly, text left as text.

The labels take the page's font and colour, so that a grid reads well on a light and on a dark page.
"""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

import numpy as np
import numpy.typing as npt
from PIL import Image

Picture = npt.NDArray[np.uint8]

DISPLAYED = 128
"""Side of a face on the page in CSS pixels at full width: smaller images are enlarged up to it."""

GAP = 4
"""Pixels between two cells."""

LONG = 20
"""Rows that fit on a screen and a half; in longer grids the column names are repeated above every group of rows."""


def enlargement(size: int) -> int:
    """Whole factor by which images of `size` pixels are enlarged (each pixel repeated, nothing interpolated)."""
    return max(1, DISPLAYED // size)


def enlargement_note(size: int) -> str:
    """Caption text that says how the pixels are shown."""
    factor = enlargement(size)
    if factor > 1:
        return f"{size} px images, each pixel repeated {factor}×{factor} times; no interpolation"
    return f"{size} px images" + (f", shown at {DISPLAYED} px" if size > DISPLAYED else "")


@dataclass(frozen=True)
class Cell:
    """One cell of a grid. `outlined` draws a thin frame around it (the caption explains it)."""

    image: Picture
    outlined: bool = False


@dataclass(frozen=True)
class Strip:
    """One row of a grid: cells from left to right (None leaves a gap), a label at the left, room above it.

    A `heading` is set above the row, left-aligned with its pictures.
    """

    cells: Sequence[Cell | None]
    label: str = ""
    spaced: bool = False
    emphasised: bool = False
    heading: str = ""


@dataclass
class Mosaic:
    """A grid: names of the columns and the rows. `size` is the side of every image in pixels.

    `separated` columns are followed by a wider gap (inputs, as opposed to outputs). `legend` names colours below the
    grid; `scale` draws a colour table (uint8 (256, 3)) below it with labels at even distances.
    """

    columns: Sequence[str]
    size: int
    strips: list[Strip] = field(default_factory=list)
    separated: Sequence[int] = (0,)
    title: str = ""
    legend: Sequence[tuple[str, tuple[int, int, int]]] = ()
    scale: tuple[Picture, Sequence[str]] | None = None

    def svg(self) -> tuple[str, int]:
        """The grid as inline SVG and its natural width in CSS pixels."""
        factor = enlargement(self.size)
        cell = self.size * factor
        scale = min(1.0, DISPLAYED / cell)
        shown = cell * scale
        label_width = 14 + 7.2 * max((len(strip.label) for strip in self.strips), default=0)
        label_width = label_width if any(strip.label for strip in self.strips) else 0.0
        lefts: list[float] = []
        x = label_width
        for column in range(len(self.columns)):
            lefts.append(x)
            x += shown + (14 if column in self.separated else GAP)
        width = lefts[-1] + shown
        middles = [left + shown / 2 for left in lefts]
        parts, y = _heads(self.columns, middles, 0.0)
        for index, strip in enumerate(self.strips):
            if strip.spaced and index:
                y += 14
                if len(self.strips) > LONG:
                    again, y = _heads(self.columns, middles, y)
                    parts += again
            if strip.heading:
                y += 8 if index == 0 or len(self.strips) > LONG else 0  # not close to the names of the columns
                parts.append(
                    f'<text x="{label_width:.1f}" y="{y + 14:.1f}" font-weight="600">{escape(strip.heading)}</text>'
                )
                y += 22
            canvas, present = _compose(strip, lefts, label_width, cell, factor, scale)
            if present:
                parts.append(
                    f'<image x="{label_width:.1f}" y="{y:.1f}" width="{canvas.shape[1] * scale:.1f}" '
                    f'height="{shown:.1f}" preserveAspectRatio="none" href="{data_uri(canvas)}"/>'
                )
            for left, item in zip(lefts, strip.cells, strict=True):
                if item is not None and item.outlined:
                    parts.append(_frame(left + 4, y + 4, shown - 8))
            if strip.label:
                weight = ' font-weight="600"' if strip.emphasised else ""
                parts.append(
                    f'<text x="{label_width - 12:.1f}" y="{y + shown / 2 + 4:.1f}" text-anchor="end"{weight}>'
                    f"{escape(strip.label)}</text>"
                )
            y += shown + GAP
        y -= GAP
        if self.legend:
            drawn, y = _legend(self.legend, label_width, width, y)
            parts.append(drawn)
        if self.scale is not None:
            drawn, y = _scale(*self.scale, width, y)
            parts.append(drawn)
        height = y
        svg = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.1f} {height:.1f}" width="{width:.0f}" '
            f'height="{height:.0f}" style="--width:{width:.0f}px" class="mosaic" role="img" '
            f'font-size="13" fill="currentColor">'
            f"<title>{escape(self.title)}</title>{''.join(parts)}</svg>"
        )
        return svg, round(width)


def _heads(columns: Sequence[str], middles: Sequence[float], y: float) -> tuple[list[str], float]:
    """Names of the columns below `y`. Returns the SVG and the new lower edge."""
    if not any(columns):
        return [], y
    return [
        f'<text x="{middle:.1f}" y="{y + 14:.1f}" text-anchor="middle" class="column">{escape(name)}</text>'
        for middle, name in zip(middles, columns, strict=True)
    ], y + 22


def _frame(x: float, y: float, side: float) -> str:
    """A square of white dashes on a thin dark line, which shows on any picture."""
    place = f'x="{x:.1f}" y="{y:.1f}" width="{side:.1f}" height="{side:.1f}" fill="none"'
    return (
        f'<rect {place} stroke="#000" stroke-opacity=".55" stroke-width="1.5"/>'
        f'<rect {place} stroke="#fff" stroke-width="1.5" stroke-dasharray="5 4"/>'
    )


def _compose(
    strip: Strip, lefts: Sequence[float], origin: float, cell: int, factor: int, scale: float
) -> tuple[Picture, bool]:
    """One row of cells as RGBA on a transparent ground, so that one image per row is embedded and not one per cell."""
    width = round((lefts[-1] - origin) / scale) + cell
    canvas = np.zeros((cell, width, 4), dtype=np.uint8)
    present = False
    for left, item in zip(lefts, strip.cells, strict=True):
        if item is None:
            continue
        present = True
        start = round((left - origin) / scale)
        enlarged = np.repeat(np.repeat(item.image, factor, axis=0), factor, axis=1)
        canvas[:, start : start + cell, :3] = enlarged
        canvas[:, start : start + cell, 3] = 255
    return canvas, present


def _legend(
    entries: Sequence[tuple[str, tuple[int, int, int]]], left: float, width: float, y: float
) -> tuple[str, float]:
    """Swatches with names, in lines that end before `width`. Returns the SVG and the new lower edge."""
    parts: list[str] = []
    x, y = left, y + 18
    for name, (red, green, blue) in entries:
        room = 26 + 7.4 * len(name)
        if x > left and x + room > width:
            x, y = left, y + 20
        parts.append(
            f'<rect x="{x:.0f}" y="{y:.0f}" width="12" height="12" rx="2" fill="rgb({red},{green},{blue})" '
            'stroke="currentColor" stroke-opacity=".25"/>'
            f'<text x="{x + 17:.0f}" y="{y + 10.5:.1f}" font-size="12">{escape(name)}</text>'
        )
        x += room
    return "".join(parts), y + 16


def _scale(table: Picture, words: Sequence[str], width: float, y: float) -> tuple[str, float]:
    """A colour table as a bar at the right. Returns the SVG and the new lower edge."""
    length = min(360.0, width)
    left, top = width - length, y + 16
    bar = np.repeat(table[None, :, :], 4, axis=0)
    parts = [
        f'<image x="{left:.1f}" y="{top:.1f}" width="{length:.1f}" height="10" preserveAspectRatio="none" '
        f'href="{data_uri(bar, lossless=True)}"/>'
    ]
    for index, word in enumerate(words):
        anchor = "start" if index == 0 else "end" if index == len(words) - 1 else "middle"
        x = left + length * index / (len(words) - 1)
        parts.append(
            f'<text x="{x:.1f}" y="{top + 25:.1f}" text-anchor="{anchor}" font-size="12">{escape(word)}</text>'
        )
    return "".join(parts), top + 30


def data_uri(image: Picture, lossless: bool | None = None) -> str:
    """A uint8 RGB(A) image as a WebP data URI: lossless up to 128 px high, visually lossless (quality 92) above."""
    lossless = image.shape[0] <= DISPLAYED if lossless is None else lossless
    buffer = io.BytesIO()
    picture = Image.fromarray(image)
    if lossless:
        # The fastest effort: 25 times as fast as the default for a third more bytes.
        picture.save(buffer, "WEBP", lossless=True, quality=30, method=0)
    else:
        picture.save(buffer, "WEBP", quality=92, method=3)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
