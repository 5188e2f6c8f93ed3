"""What stands behind the face: background, hair at the back, neck, clothes, ears."""

import numpy as np

from mimik.datasets.synthetic.canvas import Canvas, Relief, clouds, edge
from mimik.datasets.synthetic.features import Features
from mimik.datasets.synthetic.identity import Identity
from mimik.datasets.synthetic.surface import Frame, Plane, bump, ramp
from mimik.datasets.synthetic.view import View

_NECK_Z = -0.12
_EAR_Y, _EAR_Z = -0.08, -0.10


def paint_background(canvas: Canvas, frame: Frame, view: View) -> None:
    """A soft gradient between two colours."""
    mix = np.clip(0.5 + 0.5 * frame.y + np.float32(0.35) * clouds(view.clouds, frame.side), 0, 1)
    for channel in range(3):
        above, below = view.background[0, channel], view.background[1, channel]
        canvas.rgb[channel] = above + (below - above) * mix


def paint_neck(canvas: Canvas, frame: Frame, person: Identity, view: View, features: Features) -> None:
    """The neck, a cylinder under the head, and a collar and shoulders in front of it."""
    rows = frame.box((-2, 2), (0.3, 2.0), (-0.4, 0.4))[0]
    box = (rows, slice(0, frame.side))
    place = frame.project(np.array([0, 0.75, _NECK_Z], dtype=np.float32))
    x = (frame.x - place[0]) * np.float32(1 / frame.scale) * np.ones((frame.side, 1), dtype=np.float32)[rows]
    y = (frame.y[rows] - place[1]) * np.float32(1 / frame.scale) + np.float32(0.75)
    y = y + 0 * x
    radius = 0.60 * features.width + 0.16 * ramp(y, 0.85, 1.25)
    inside = radius * radius - x * x
    depth = np.sqrt(np.maximum(inside, 0)) + np.float32(_NECK_Z) - 0.30 * np.maximum(y - 0.7, 0)
    relief = Relief.of(depth, frame)
    # The head keeps the light from the neck; the shadow follows the jaw of this person, not the expression.
    shadow = 0.52 + 0.34 * ramp(y, features.chin - 0.12, features.chin + 0.22)
    light = _light(relief, view) * shadow
    neck = edge(radius - np.abs(x), 1.5 * frame.step) * edge(y - 0.3, 0.05)
    canvas.paint(box, neck, person.skin, light)
    canvas.name(box, neck, "neck")
    canvas.form(box, neck, relief)
    # Clothes: shoulders that rise to the neck, and a round neckline.
    collar = 0.92 + 0.17 * bump(x / (1.20 * radius)) + 0.16 * np.maximum(np.abs(x) - 0.45, 0)
    cover = edge(y - collar, 2 * frame.step)
    drape = np.float32(_NECK_Z) + 0.30 - 0.22 * x * x - 0.10 * np.maximum(1.2 - y, 0)
    relief = Relief.of(drape, frame)
    folds = 1 + 0.05 * np.sin(9 * x + 5 * y) - 0.12 * edge(0.035 - (y - collar), 0.03)
    canvas.paint(box, cover, person.cloth, _light(relief, view) * folds)
    canvas.name(box, cover, "cloth")
    canvas.form(box, cover, relief)


def paint_ears(canvas: Canvas, frame: Frame, person: Identity, view: View, features: Features) -> None:
    """Both ears; the head and the hair are painted over them later."""
    for side, name in ((-1, "l_ear"), (1, "r_ear")):
        centre = np.array([side * features.width * 0.97, _EAR_Y, _EAR_Z], dtype=np.float32)
        box = frame.box(
            (centre[0] - 0.16, centre[0] + 0.16), (_EAR_Y - 0.26, _EAR_Y + 0.26), (_EAR_Z - 0.05, _EAR_Z + 0.05)
        )
        place = frame.project(centre)
        x = (frame.x[:, box[1]] - place[0]) * np.float32(side / frame.scale)
        y = (frame.y[box[0]] - place[1]) * np.float32(1 / frame.scale)
        # Narrower at the lobe, leaning outwards at the top.
        breadth = np.float32(0.098) - 0.045 * ramp(y, -0.05, 0.20)
        r = ((x + 0.22 * y) / breadth) ** 2 + (y * np.float32(1 / 0.19)) ** 2
        cover = edge((1 - r) * 0.05, 1.5 * frame.step)
        rim = bump((np.sqrt(r) - 0.86) / 0.30)
        hollow = bump((x + 0.22 * y - 0.01) / 0.06, (y - 0.01) / 0.12)
        depth = np.float32(centre @ frame.rotation[2]) + 0.10 * np.sqrt(np.maximum(1 - r, 0.02)) - 0.04 * hollow
        relief = Relief.of(depth, frame)
        light = _light(relief, view) * (0.92 + 0.10 * rim - 0.34 * hollow)
        canvas.paint(box, cover, person.skin * np.array([1.0, 0.94, 0.92], dtype=np.float32), light)
        canvas.name(box, cover, name)
        canvas.form(box, cover, relief)


def _light(relief: Relief, view: View) -> Plane:
    lx, ly, lz = (float(part) for part in view.light)
    toward = (lz - relief.slope_x * np.float32(lx) - relief.slope_y * np.float32(ly)) * relief.facing()
    light: Plane = np.float32(view.ambient) + np.float32(view.diffuse) * np.maximum(toward, 0)
    return light
