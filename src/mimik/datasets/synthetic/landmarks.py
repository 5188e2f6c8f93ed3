"""The 68 landmarks of the iBUG scheme (Sagonas et al., 300 Faces in-the-Wild, ICCVW 2013) on the rendered surface."""

import numpy as np
import numpy.typing as npt

from mimik.datasets.synthetic.eyes import lid_profile
from mimik.datasets.synthetic.features import EYE_Y, Features, brow_height, lip_lines
from mimik.datasets.synthetic.surface import CENTRE_Y, Frame, head_of, nose_rise

Points = npt.NDArray[np.float32]


def place_landmarks(frame: Frame, features: Features) -> Points:
    """float32 (68, 2), x then y as fractions of the frame's side.

    Point 0 is the jaw at the LEFT of the image, as in iBUG. The jaw follows the outline that the viewer sees: on
    the side that is turned away the cheek's outline, not the hidden edge of the jaw.
    """
    inner = np.concatenate([_brows(features), _nose(features), _eyes(features), _mouth(features)])
    head = head_of(features)
    x, y = inner[:, 0], inner[:, 1]
    z = head.front(x, y) + nose_rise(x, y, features)
    places = frame.project(np.stack([x, y, z], axis=1))
    points: Points = ((np.concatenate([_jaw(frame, features), places]) + 1) / 2).astype(np.float32)
    return points


def _jaw(frame: Frame, features: Features) -> Points:
    head = head_of(features)
    turn = np.linspace(0, np.pi, 17)
    low, high = EYE_Y + 0.06, features.chin + CENTRE_Y + features.jaw_drop
    y = (low + (high - low) * np.sin(turn) * 0.985).astype(np.float32)
    inverse, share, _ = head.section(y)
    half = np.sqrt(np.maximum(1 - share, 0) / inverse) * -np.sign(np.cos(turn)).astype(np.float32)
    half[8] = 0
    # On the side that is turned away the widest point of the section, seen along the line of sight, lies behind.
    sight_x, _, sight_z = frame.sight
    left = np.maximum(1 - share, 0)
    norm = np.sqrt(sight_z**2 / inverse + (sight_x * head.depth) ** 2)
    outline_x = np.sign(half) * sight_z / inverse / norm * np.sqrt(left)
    outline_z = -np.sign(half) * sight_x * head.depth**2 / norm * np.sqrt(left)
    turned_away = np.sign(half) * sight_x < 0
    places = np.stack([np.where(turned_away, outline_x, half), y, np.where(turned_away, outline_z, 0)], axis=1)
    return frame.project(places.astype(np.float32))


def _brows(f: Features) -> Points:
    along = np.array([0.97, 0.75, 0.5, 0.25, 0.03], dtype=np.float32)
    points = []
    for side, order in ((0, along), (1, along[::-1])):
        x = f.brow_from + (f.brow_to - f.brow_from) * order
        points.append(np.stack([x * (-1, 1)[side], EYE_Y - brow_height(order, f, side)], axis=1))
    return _joined(points)


def _nose(f: Features) -> Points:
    bridge = [(0.0, EYE_Y + (f.nose_tip - EYE_Y) * share) for share in (0.12, 0.40, 0.68, 0.97)]
    base = [(k * f.nose_width, f.nose_tip + 0.045 - 0.02 * abs(k)) for k in (-0.95, -0.5, 0.0, 0.5, 0.95)]
    return np.array(bridge + base, dtype=np.float32)


def _eyes(f: Features) -> Points:
    points = []
    # Image order: outer corner first on the left eye, inner corner first on the right one.
    for side, sign in ((0, -1.0), (1, 1.0)):
        along = np.array([-0.97, -0.38, 0.38, 0.97, 0.38, -0.38], dtype=np.float32)
        lid = np.array([0, -1, -1, 0, 1, 1], dtype=np.float32)
        x = along * f.eye_width
        rise = np.where(lid < 0, -f.lid_upper[side] * lid_profile(along), f.lid_lower[side] * (1 - along**2))
        y = EYE_Y + np.where(lid == 0, 0, rise) - f.eye_tilt * x * sign
        points.append(np.stack([sign * f.eye_x + x, y], axis=1))
    return _joined(points)


def _mouth(f: Features) -> Points:
    points = []
    for name, places in (
        ("upper_outer", (-0.98, -0.60, -0.26, 0.0, 0.26, 0.60, 0.98)),
        ("lower_outer", (0.64, 0.32, 0.0, -0.32, -0.64)),
        ("upper_inner", (-0.86, -0.40, 0.0, 0.40, 0.86)),
        ("lower_inner", (0.40, 0.0, -0.40)),
    ):
        s = np.array(places, dtype=np.float32)
        right = s > 0
        lines = lip_lines(np.abs(s), np.where(right, f.corner[1], f.corner[0]).astype(np.float32), f)
        y = np.array(getattr(lines, name))
        corners = np.abs(s) > 0.8
        y[corners] = lines.middle[corners]
        points.append(np.stack([s * np.where(right, f.mouth_width[1], f.mouth_width[0]), y], axis=1))
    return _joined(points)


def _joined(parts: list[Points]) -> Points:
    points: Points = np.concatenate(parts).astype(np.float32)
    return points
