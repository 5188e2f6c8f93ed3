"""Eyes, brows, glasses."""

from dataclasses import dataclass

import numpy as np

from mimik.datasets.synthetic.canvas import Canvas, edge
from mimik.datasets.synthetic.features import EYE_Y, Features, brow_height
from mimik.datasets.synthetic.identity import Identity
from mimik.datasets.synthetic.surface import Box, Frame, Plane, Skin, bump, limit, ramp
from mimik.datasets.synthetic.view import View

_WHITE = np.array([0.95, 0.93, 0.91], dtype=np.float32)
_LASH = np.array([0.06, 0.045, 0.04], dtype=np.float32)


def lid_profile(along: Plane) -> Plane:
    """Shape of the upper lid at `along` in [-1, 1], 1 at the pupil and 0 at the corners; the lower lid's is 1 - a^2."""
    open_: Plane = np.maximum(1 - along * along, 0)
    return 0.55 * open_ + 0.45 * np.sqrt(open_)


def paint_eyes(
    canvas: Canvas, frame: Frame, person: Identity, view: View, f: Features, skin: Skin, light: Plane
) -> None:
    """Both eyes with lids and lashes, then both brows."""
    step = frame.step
    for side, sign in enumerate((-1, 1)):
        box = frame.box(
            _ordered(sign * (f.eye_x - f.eye_width - 0.05), sign * (f.eye_x + f.eye_width + 0.05)),
            (EYE_Y - 0.20, EYE_Y + 0.15),
            (0.3, 0.85),
        )
        x = skin.x[box] * np.float32(sign) - np.float32(f.eye_x)
        y = skin.y[box] - np.float32(EYE_Y) + np.float32(f.eye_tilt) * x
        lit = light[box]
        along = x * np.float32(1 / f.eye_width)
        open_ = np.maximum(1 - along * along, 0)
        lid = lid_profile(along)
        here = edge(1 - np.abs(along), 1.5 * step / f.eye_width)
        above, below = y + np.float32(f.lid_upper[side]) * lid, np.float32(f.lid_lower[side]) * open_ - y
        eye = np.minimum(edge(above, 1.3 * step), edge(below, 1.3 * step)) * here
        wide_open = max(f.lid_upper[side] / person.traits["eye_height"] - 1, 0.0)
        crease = bump((y + np.float32(1.08 * f.lid_upper[side] + 0.034) * lid) / 0.026) * here
        canvas.paint(
            box, crease * np.float32(0.36 * max(1 - 1.1 * wide_open, 0.2)), person.skin * np.float32(0.35), lit
        )
        # Eyeball, iris, pupil, the light's reflection.
        gaze = view.gaze[0] * sign
        ix, iy = x - np.float32(gaze), y - np.float32(view.gaze[1] - 0.006)
        r2 = (ix * ix + iy * iy) * np.float32(1 / f.iris**2)
        iris, pupil = edge(1 - r2, 0.34), edge(0.20 - r2, 0.14)
        dim = min(0.35 + 0.65 * (view.ambient + 0.6 * view.diffuse), 1.1)
        ball = (0.70 + 0.30 * ramp(above, 0.0, 0.05)) * (0.84 + 0.16 * open_)
        glow = (0.72 + 6.0 * limit(iy, -0.03, 0.05)) * (1 - 0.55 * edge(r2 - 0.72, 0.25))
        shine = bump((ix - np.float32(0.02 * sign * np.sign(view.light[0]))) / 0.022, (iy + 0.020) / 0.022)
        colour = np.empty((3, *x.shape), dtype=np.float32)
        for channel in range(3):
            plane = ball * _WHITE[channel]
            plane += iris * (np.float32(person.iris[channel] * 1.1) * glow - plane)
            plane *= 1 - 0.92 * pupil
            colour[channel] = plane * np.float32(dim) + 0.9 * shine
        canvas.paint(box, eye, colour)
        canvas.name(box, eye * skin.coverage[box], ("l_eye", "r_eye")[side])
        lash = bump(above / 0.030) * edge(1.06 - np.abs(along), 0.12) * (0.66 + 0.28 * along)
        canvas.paint(box, limit(lash, 0, 1), _LASH + person.skin * np.float32(0.06))
        lower = bump(below / 0.020) * here * np.float32(0.30)
        canvas.paint(box, lower, person.skin * np.float32(0.28), lit)
    for side, sign in enumerate((-1, 1)):
        box = frame.box(
            _ordered(sign * (f.brow_from - 0.06), sign * (f.brow_to + 0.06)), (EYE_Y - 0.42, EYE_Y + 0.0), (0.3, 0.85)
        )
        x, y = skin.x[box] * np.float32(sign), skin.y[box]
        along = (x - np.float32(f.brow_from)) * np.float32(1 / (f.brow_to - f.brow_from))
        line = np.float32(EYE_Y) - brow_height(limit(along, -0.1, 1.1), f, side)
        inside = limit(along, 0, 1)
        half = np.float32(f.brow_thickness) * (0.90 + 0.55 * inside - 1.05 * inside * inside)
        ends = edge(along + 0.01, 0.10) * edge(1.01 - along, 0.08)
        brow = edge(half - np.abs(y - line), 1.7 * step) * ends
        hairs = 0.88 + 0.05 * np.sin(x * 110 + (y - line) * 70)
        canvas.paint(box, brow * hairs, person.brow, 0.55 + 0.5 * light[box])
        canvas.name(box, brow * skin.coverage[box], ("l_brow", "r_brow")[side])


@dataclass(frozen=True)
class Glasses:
    """Glasses as seen in a box of the frame: coverage of the wires, of the lenses, and of the lenses' reflection."""

    box: Box
    wires: Plane
    lenses: Plane
    shine: Plane


def see_glasses(frame: Frame, person: Identity, skin: Skin) -> Glasses:
    """Rims, bridge, temples and lenses of a person who wears glasses."""
    t = person.traits
    middle = t["eye_x"] + 0.01
    radius = min(0.205, middle - 0.055)
    box = frame.box((-0.72, 0.72), (EYE_Y - 0.25, EYE_Y + 0.25), (-0.1, 0.95))
    x, y = np.abs(skin.x[box]), skin.y[box] - np.float32(EYE_Y + 0.015)
    px, py = np.abs(x - np.float32(middle)) * np.float32(1 / radius), np.abs(y) * np.float32(1 / (0.68 * radius))
    # |p|^3 norm: between a circle and a rectangle.
    r = np.cbrt(px * px * px + py * py * py)
    from_rim = np.abs(r - 1) * np.float32(0.9 * radius)
    thick = 0.019
    wire = edge(thick - from_rim, 1.4 * frame.step)
    bridge = edge(0.8 * thick - np.abs(y + 0.035 - 1.2 * x * x), 1.4 * frame.step) * edge(
        np.float32(middle - radius) - x, 1.4 * frame.step
    )
    temple = edge(0.8 * thick - np.abs(y + 0.02), 1.4 * frame.step) * edge(
        x - np.float32(middle + radius), 1.4 * frame.step
    )
    face = skin.coverage[box]
    wires = np.maximum(np.maximum(wire, bridge), temple) * face
    lenses = edge((1 - r) * np.float32(radius), 1.4 * frame.step) * face
    shine = lenses * bump((x - np.float32(middle) + 0.8 * y + 0.05) / 0.07)
    return Glasses(box, wires, lenses, shine)


def name_glasses(canvas: Canvas, glasses: Glasses) -> None:
    """Wires and lenses are `eye_g`; eyes and brows are named later and win, as in CelebAMask-HQ's merged maps."""
    canvas.name(glasses.box, np.maximum(glasses.wires, glasses.lenses), "eye_g")


def paint_glasses(canvas: Canvas, person: Identity, glasses: Glasses, light: Plane) -> None:
    """A faint reflection on the lenses, then the wires."""
    canvas.paint(glasses.box, 0.10 * glasses.shine, np.ones(3, dtype=np.float32))
    canvas.paint(glasses.box, glasses.wires, person.rim, 0.6 + 0.4 * light[glasses.box])


def _ordered(one: float, other: float) -> tuple[float, float]:
    return min(one, other), max(one, other)
