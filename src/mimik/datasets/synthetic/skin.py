"""The skin of the face: relief, folds, light, colour, nostrils."""

import numpy as np

from mimik.datasets.synthetic.canvas import WHOLE, Canvas, Relief, clouds, edge
from mimik.datasets.synthetic.features import EYE_Y, Features, brow_height
from mimik.datasets.synthetic.identity import Identity
from mimik.datasets.synthetic.surface import Frame, Plane, Skin, bump, limit, ramp
from mimik.datasets.synthetic.view import View


def paint_skin(
    canvas: Canvas, frame: Frame, person: Identity, view: View, features: Features, skin: Skin, shadow: Plane | None
) -> Plane:
    """Paint the bare face.

    Args:
        shadow: share of the light that the hair lets through, (side, side), or None without hair.

    Returns:
        the light on it, (side, side): colour times light is what a matt patch of skin would look like.
    """
    height = skin.depth.copy()
    shade = np.ones_like(height)
    _sockets(frame, features, skin, height, shade)
    _nose(frame, features, skin, height, shade)
    _cheeks(frame, features, skin, height, shade)
    _lips_and_chin(frame, features, skin, height, shade)
    _upper_folds(frame, features, skin, height, shade)
    relief = Relief.of(height, frame)
    facing = relief.facing()
    lx, ly, lz = (float(part) for part in view.light)
    toward = (lz - relief.slope_x * np.float32(lx) - relief.slope_y * np.float32(ly)) * facing
    light = np.maximum(toward, 0) * np.float32(view.diffuse) + np.float32(view.ambient)
    if shadow is not None:
        light *= shadow
    # Skin at the outline faces away from everything: darker, which rounds the head off.
    light *= shade * (0.70 + 0.30 * np.minimum(facing * 2.2, 1))
    norm = 1 / float(np.sqrt(lx * lx + ly * ly + (lz + 1) ** 2))
    mirror = ((lz + 1) - relief.slope_x * np.float32(lx) - relief.slope_y * np.float32(ly)) * facing
    mirror = np.maximum(mirror * np.float32(norm), 0)
    mirror *= mirror
    mirror *= mirror
    mirror *= mirror
    mirror *= mirror
    gloss = mirror * np.float32(view.gloss)
    tone = 1 + np.float32(0.03) * clouds(person.texture, frame.side)
    colour = np.stack([tone * channel for channel in person.skin])
    _blush(frame, features, skin, colour)
    if person.beard:
        _beard(frame, person, features, skin, colour)
    colour *= light
    colour += gloss
    canvas.paint(WHOLE, skin.coverage, colour)
    canvas.name(WHOLE, skin.coverage, "skin")
    canvas.form(WHOLE, skin.coverage, relief)
    _nostrils(canvas, frame, person, features, skin, light)
    return light


def _sockets(frame: Frame, f: Features, skin: Skin, height: Plane, shade: Plane) -> None:
    for side, sign in enumerate((-1, 1)):
        box = _side_box(frame, sign, (f.eye_x - 0.30, f.eye_x + 0.30), (EYE_Y - 0.42, EYE_Y + 0.24))
        x = skin.x[box] * np.float32(sign) - np.float32(f.eye_x)
        y = skin.y[box] - np.float32(EYE_Y)
        height[box] -= 0.085 * bump(x / 0.27, (y + 0.02) / 0.19)
        height[box] += 0.055 * bump(x / (1.15 * f.eye_width), y / 0.11)
        along = (x + np.float32(f.eye_x - f.brow_from)) / np.float32(f.brow_to - f.brow_from)
        brow = y + brow_height(limit(along, 0, 1), f, side)
        height[box] += 0.035 * bump(brow / 0.13, (along - 0.4) / 0.75)
        shade[box] *= 1 - 0.20 * bump(x / 0.22, (y + 0.075) / 0.10)
        # The lower lid, pushed up by AU06 and AU07, makes a bag below the eye.
        bag = bump(x / f.eye_width, (y - f.lid_lower[side] - 0.035) / 0.032)
        shade[box] *= 1 - (0.08 + 0.26 * f.squint[side]) * bag


def _nose(frame: Frame, f: Features, skin: Skin, height: Plane, shade: Plane) -> None:
    box = frame.box((-0.28, 0.28), (EYE_Y - 0.2, f.nose_tip + 0.16), (0.3, 1.0))
    x, y = np.abs(skin.x[box]), skin.y[box]
    wing = bump((x - np.float32(0.74 * f.nose_width)) / (0.62 * f.nose_width), (y - (f.nose_tip - 0.01)) / 0.085)
    height[box] += 0.045 * wing
    crease = bump((x - np.float32(1.32 * f.nose_width)) / 0.035, (y - f.nose_tip) / 0.08)
    shade[box] *= 1 - 0.20 * crease
    shade[box] *= 1 - 0.24 * bump(x / (1.5 * f.nose_width), (y - (f.nose_tip + 0.075)) / 0.05)
    side = bump((x - np.float32(0.105)) / 0.07, (y - (EYE_Y + 0.06)) / 0.20)
    shade[box] *= 1 - 0.10 * side
    if f.nose_wrinkle > 0.05:
        area = bump(x / 0.13, (y - (EYE_Y + 0.05)) / 0.13)
        wave = np.cos((y - 0.35 * x) * np.float32(2 * np.pi / 0.062))
        height[box] += np.float32(0.010 * f.nose_wrinkle) * area * wave
        shade[box] *= 1 - np.float32(0.20 * f.nose_wrinkle) * area * (0.5 - 0.5 * wave)


def _cheeks(frame: Frame, f: Features, skin: Skin, height: Plane, shade: Plane) -> None:
    for side, sign in enumerate((-1, 1)):
        box = _side_box(frame, sign, (0.02, 0.62), (EYE_Y - 0.12, f.mouth_y + 0.25))
        x, y = skin.x[box] * np.float32(sign), skin.y[box]
        lift = f.cheek_raise[side]
        top = bump((x - np.float32(f.eye_x + 0.06)) / 0.30, (y - (EYE_Y + 0.30 - 0.07 * lift)) / 0.24)
        height[box] += np.float32(f.cheek + 0.055 * lift) * top
        # Nasolabial fold: an arc from above the wing of the nose, out around the corner of the mouth.
        start_x, start_y = 1.22 * f.nose_width, f.nose_tip - 0.05
        end_x, end_y = f.mouth_width[side] + 0.055, f.mouth_y + f.corner[side] + 0.07
        t = (y - np.float32(start_y)) * np.float32(1 / (end_y - start_y))
        inside = limit(t, 0, 1)
        arc = np.float32(start_x) + np.float32(end_x - start_x) * inside * (1.45 - 0.45 * inside)
        away = x - arc
        # Deepest below the wing, fading out at both ends.
        fade = bump((t - 0.42) / 0.68)
        fold = fade * bump(away / 0.055)
        strength = f.fold[side]
        height[box] += np.float32(0.022 * strength) * fade * bump((away - 0.06) / 0.10)
        shade[box] *= 1 - np.float32(0.30 * strength) * fold
        if f.crow[side] > 0.05:
            cx, cy = x - np.float32(f.eye_x + f.eye_width + 0.07), y - np.float32(EYE_Y)
            rays = np.cos((cy - 0.02) / (0.12 + np.maximum(cx + 0.05, 0)) * 14)
            area = bump(cx / 0.075, cy / 0.09)
            shade[box] *= 1 - np.float32(0.20 * f.crow[side]) * area * np.maximum(rays, 0)
    if f.dimple > 0.05:
        at = f.mouth_width[1] + 0.035, f.mouth_y + f.corner[1] - 0.005
        box = _side_box(frame, 1, (at[0] - 0.12, at[0] + 0.12), (at[1] - 0.14, at[1] + 0.14))
        x, y = skin.x[box] - np.float32(at[0]), skin.y[box] - np.float32(at[1])
        hollow = bump((x + 0.25 * y) / 0.048, y / 0.105)
        height[box] -= np.float32(0.020 * f.dimple) * bump(x / 0.09, y / 0.12)
        shade[box] *= 1 - np.float32(0.50 * f.dimple) * hollow


def _lips_and_chin(frame: Frame, f: Features, skin: Skin, height: Plane, shade: Plane) -> None:
    below = f.mouth_y + f.gap_lower + f.lower_lip
    box = frame.box((-0.40, 0.40), (f.nose_tip, f.chin + f.jaw_drop + 0.1), (0.1, 0.85))
    x, y = skin.x[box], skin.y[box]
    wide = max(f.mouth_width)
    height[box] += 0.055 * bump(x / (1.35 * wide), (y - (f.mouth_y + below) / 2) / (0.13 + 0.7 * (below - f.mouth_y)))
    height[box] -= 0.014 * bump(x / 0.05, (y - (f.nose_tip + 0.13)) / 0.09)
    groove = bump(x / (0.9 * wide), (y - (below + 0.045)) / 0.045)
    height[box] -= 0.030 * groove
    shade[box] *= 1 - (0.24 + 0.10 * f.pout) * groove
    chin = 0.5 * (below + 0.05) + 0.5 * (f.chin + f.jaw_drop - 0.10)
    height[box] += np.float32(0.045 + 0.040 * f.pout) * bump(x / 0.24, (y - (chin + 0.03)) / 0.15)
    if f.pout > 0.05:
        # The chin boss pushed up (AU17) puckers the skin.
        pucker = np.cos(x * 95) * np.cos(y * 80)
        shade[box] *= 1 - np.float32(0.07 * f.pout) * bump(x / 0.15, (y - chin) / 0.08) * (1 - pucker)


def _upper_folds(frame: Frame, f: Features, skin: Skin, height: Plane, shade: Plane) -> None:
    if f.forehead > 0.05:
        box = frame.box((-0.45, 0.45), (EYE_Y - 0.56, EYE_Y - 0.12), (0.3, 0.75))
        x, y = skin.x[box], skin.y[box]
        area = bump(x / 0.44, (y - (EYE_Y - 0.37)) / 0.17)
        wave = np.cos((y + 0.10 * x * x) * np.float32(2 * np.pi / 0.085))
        height[box] += np.float32(0.006 * f.forehead) * area * wave
        shade[box] *= 1 - np.float32(0.15 * f.forehead) * area * (0.5 - 0.5 * wave)
    if f.frown > 0.05:
        box = frame.box((-0.14, 0.14), (EYE_Y - 0.34, EYE_Y + 0.04), (0.4, 0.9))
        x, y = np.abs(skin.x[box]), skin.y[box]
        crease = bump((x - 0.042) / 0.026, (y - (EYE_Y - 0.13)) / 0.12)
        height[box] -= np.float32(0.014 * f.frown) * crease
        shade[box] *= 1 - np.float32(0.36 * f.frown) * crease


def _blush(frame: Frame, f: Features, skin: Skin, colour: Plane) -> None:
    for sign in (-1, 1):
        box = _side_box(frame, sign, (0.05, 0.60), (EYE_Y + 0.05, EYE_Y + 0.52))
        x, y = skin.x[box] * np.float32(sign), skin.y[box]
        red = bump((x - np.float32(f.eye_x + 0.07)) / 0.24, (y - (EYE_Y + 0.28)) / 0.20)
        for channel, change in enumerate((0.02, -0.035, -0.028)):
            colour[channel][box] += np.float32(change) * red
    box = frame.box((-0.2, 0.2), (f.nose_tip - 0.18, f.nose_tip + 0.14), (0.5, 1.0))
    red = bump(skin.x[box] / 0.17, (skin.y[box] - f.nose_tip) / 0.13)
    for channel, change in enumerate((0.015, -0.03, -0.025)):
        colour[channel][box] += np.float32(change) * red


def _beard(frame: Frame, person: Identity, f: Features, skin: Skin, colour: Plane) -> None:
    box = frame.box((-0.72, 0.72), (-0.1, 1.2), (-0.4, 0.8))
    x, y = np.abs(skin.x[box]), skin.y[box]
    across = x * np.float32(1 / f.width)
    # Along the jaw up to the ears, over the lip, free around the mouth's corners and on the cheeks.
    line = np.float32(f.nose_tip + 0.16) - 0.34 * ramp(across, 0.55, 0.92)
    here = ramp(y - line, -0.05, 0.20)
    lip = 1 - bump(x / (1.05 * max(f.mouth_width)), (y - (f.mouth_y + 0.05)) / 0.12) * 0.8
    moustache = bump(x / (1.1 * max(f.mouth_width)), (y - (f.mouth_y - 0.085)) / 0.06)
    density = np.float32(person.beard) * np.maximum(here * lip, 0.8 * moustache)
    for channel in range(3):
        skin_here = colour[channel][box]
        skin_here += density * (np.float32(person.hair[channel] * 1.2) - skin_here)


def _nostrils(canvas: Canvas, frame: Frame, person: Identity, f: Features, skin: Skin, light: Plane) -> None:
    box = frame.box((-0.28, 0.28), (EYE_Y - 0.05, f.nose_tip + 0.16), (0.3, 1.0))
    x, y = np.abs(skin.x[box]), skin.y[box]
    hole = bump((x - np.float32(0.52 * f.nose_width)) / (0.42 * f.nose_width), (y - (f.nose_tip + 0.036)) / 0.034)
    canvas.paint(box, 0.85 * hole, person.skin * np.float32(0.20), light[box])
    t = (y - np.float32(EYE_Y)) * np.float32(1 / (f.nose_tip - EYE_Y))
    half = np.float32(0.055) + np.float32(1.22 * f.nose_width - 0.055) * ramp(t, 0.25, 1.0)
    area = np.minimum(edge(half - x, 1.5 * frame.step), edge(t - 0.12, 0.05))
    area = np.minimum(area, edge(np.float32(f.nose_tip + 0.065) - 0.25 * x - y, 1.5 * frame.step))
    canvas.name(box, area * skin.coverage[box], "nose")


def _side_box(frame: Frame, sign: int, x: tuple[float, float], y: tuple[float, float]) -> tuple[slice, slice]:
    near, far = sorted((sign * x[0], sign * x[1]))
    return frame.box((near, far), y, (0.1, 0.85))
