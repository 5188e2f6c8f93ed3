"""The head's surface: where a line of sight meets it, and where a point of it appears in the frame.

The head is an ellipsoid whose lower half narrows towards the chin, with a nose, sockets, cheeks and lips raised
on it along the head's own z axis. Lines of sight are parallel. See `features` for the coordinates.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mimik.datasets.synthetic.features import EYE_Y, Features
from mimik.datasets.synthetic.view import View

Plane = npt.NDArray[np.float32]
Box = tuple[slice, slice]

CENTRE_Y = -0.08
"""Height of the head's widest level."""

DEPTH = 0.72
"""Half depth of the head."""

_JAW_FROM, _JAW_TO = 0.30, 0.80
_BLUNT = 0.35
_EYE_Z = 0.66


def limit(values: Plane, low: float, high: float) -> Plane:
    """`numpy.clip` without its overhead, which small planes feel."""
    limited: Plane = np.maximum(values, np.float32(low))
    np.minimum(limited, np.float32(high), out=limited)
    return limited


def ramp(values: Plane, low: float, high: float) -> Plane:
    """Smooth step: 0 below `low`, 1 above `high` (either order), cubic in between."""
    t: Plane = values * np.float32(1 / (high - low))
    t -= np.float32(low / (high - low))
    np.maximum(t, 0, out=t)
    np.minimum(t, 1, out=t)
    square = t * t
    t *= -2
    t += 3
    square *= t
    return square


def bump(x: Plane, y: Plane | None = None) -> Plane:
    """Smooth bump of height 1 that is exactly 0 where x^2 + y^2 >= 1, so that features stay where they belong."""
    t: Plane = x * x
    if y is not None:
        t += y * y
    np.subtract(1, t, out=t)
    np.maximum(t, 0, out=t)
    t *= t
    return t


class Frame:
    """The grid of sample points of one picture, and the pose of the head in it.

    Attributes:
        side: samples along a side. step: their distance in half sides of the frame.
        oversampling: samples along the side of a pixel.
        x, y: float32 (1, side) and (side, 1), place of the samples in [-1, 1].
        rotation: float32 (3, 3), head to camera.
    """

    def __init__(self, size: int, oversampling: int, view: View) -> None:
        side = size * oversampling
        self.side = side
        self.oversampling = oversampling
        self.step = 2.0 / side
        grid = ((np.arange(side, dtype=np.float32) + np.float32(0.5)) * np.float32(self.step) - 1).astype(np.float32)
        self.x, self.y = grid[None, :], grid[:, None]
        self.rotation = view.rotation
        self._rows: list[list[float]] = view.rotation[:2].tolist()
        self.scale = view.scale
        eyes = view.rotation @ np.array([0, EYE_Y, _EYE_Z], dtype=np.float32)
        # Aligned like a face crop: the eyes' centre stands at its place whatever the pose.
        self.offset = (
            float(view.shift[0] - view.scale * eyes[0]),
            float(EYE_Y + view.shift[1] - view.scale * eyes[1]),
        )
        # Sample points in the head's scale, still in camera axes, and turned into head axes (at camera depth 0).
        self.camera_x = (self.x - np.float32(self.offset[0])) * np.float32(1 / self.scale)
        self.camera_y = (self.y - np.float32(self.offset[1])) * np.float32(1 / self.scale)
        self.sight = tuple(float(value) for value in view.rotation[2])

    def lines(self) -> tuple[Plane, Plane, Plane]:
        """Head coordinates of the sample points at camera depth 0; `sight` is the direction to the viewer."""
        r = self.rotation
        return (
            r[0, 0] * self.camera_x + r[1, 0] * self.camera_y,
            r[0, 1] * self.camera_x + r[1, 1] * self.camera_y,
            r[0, 2] * self.camera_x + r[1, 2] * self.camera_y,
        )

    def project(self, points: Plane) -> Plane:
        """Head coordinates (..., 3) to places in the frame (..., 2) in [-1, 1] (beyond when outside)."""
        turned = points @ self.rotation.T
        return turned[..., :2] * np.float32(self.scale) + np.array(self.offset, dtype=np.float32)

    def box(self, x: tuple[float, float], y: tuple[float, float], z: tuple[float, float] = (0.3, 0.75)) -> Box:
        """Rows and columns in which a block of head space can appear: whole pixels, at least one, in the frame."""
        middle = [(low + high) / 2 for low, high in (x, y, z)]
        half = [(high - low) / 2 for low, high in (x, y, z)]
        k, last = self.oversampling, self.side
        ranges = []
        for row, offset in zip(self._rows, self.offset, strict=True):
            centre = offset + self.scale * sum(part * place for part, place in zip(row, middle, strict=True))
            reach = self.scale * sum(abs(part) * size for part, size in zip(row, half, strict=True))
            low = math.floor((centre - reach + 1) * 0.5 * last / k) * k - k
            high = math.ceil((centre + reach + 1) * 0.5 * last / k) * k + k
            low = min(max(low, 0), last - k)
            ranges.append(slice(low, max(min(high, last), low + k)))
        return ranges[1], ranges[0]


@dataclass(frozen=True)
class Head:
    """Sizes of an ellipsoid with a shaped lower half.

    Attributes:
        width, depth: half axes. upper, lower: half heights above and below `centre`.
        taper: share by which the width shrinks at the lower end. square: 0 elliptic to 1 blunt lower end.
        jaw_drop: how far the lower end is pulled down.
        centre: y of the widest level.
        open_below: no lower end: the section stays the same (a curtain of hair).
    """

    width: float
    depth: float
    upper: float
    lower: float
    taper: float = 0.0
    square: float = 0.0
    jaw_drop: float = 0.0
    centre: float = CENTRE_Y
    open_below: bool = False

    def section(self, y: Plane) -> tuple[Plane, Plane, Plane]:
        """1 / width^2 at height `y`, share of the section used up by the height, and that share's slope."""
        t = y - np.float32(self.centre)
        if self.jaw_drop:
            t = t - np.float32(self.jaw_drop) * ramp(y, _JAW_FROM, _JAW_TO)
        up = np.minimum(t, 0) * np.float32(1 / self.upper)
        up2 = up * up
        top = up2 * (np.float32(1 - _BLUNT) + np.float32(_BLUNT) * up2)
        top_slope = up * np.float32(2 / self.upper) * (np.float32(1 - _BLUNT) + np.float32(2 * _BLUNT) * up2)
        if self.open_below:
            inverse = np.full((1, 1), 1 / self.width**2, dtype=np.float32)
            return inverse, top, top_slope
        low = np.maximum(t, 0) * np.float32(1 / self.lower)
        m = np.float32(self.square)
        low2 = low * low
        share = top + low2 * (1 - m + m * low2)
        slope = top_slope + low * (2 * (1 - m) + 4 * m * low2) * np.float32(1 / self.lower)
        inverse = 1 / (np.float32(self.width) * (1 - np.float32(self.taper) * ramp(low, 0.1, 1.05)))
        return inverse * inverse, share, slope

    def meet(self, frame: Frame, rounds: int = 3) -> tuple[Plane, Plane, Plane, Plane, Plane]:
        """Where the lines of sight meet the surface, nearest to the viewer.

        Newton's method on the quadratic that the ellipsoid makes along a line; where a line misses, the point of
        closest approach is given, so that everything stays finite.

        Returns:
            x, y, z (head coordinates), camera depth, and coverage (0 to 1, soft at the outline), each (side, side).
        """
        ox, oy, oz = frame.lines()
        dx, dy, dz = frame.sight
        deep = 1 / self.depth**2
        height = 0.0 if self.open_below else dy * dy / self.lower**2
        a = dx * dx / self.width**2 + dz * dz * deep + height
        s: Plane = np.full((frame.side, frame.side), 0.8 * self.depth, dtype=np.float32)
        reach = s
        for _ in range(rounds):
            x, y, z = ox + s * np.float32(dx), oy + s * np.float32(dy), oz + s * np.float32(dz)
            inverse, share, slope = self.section(y)
            x_part = x * inverse
            value = x_part * x + z * z * np.float32(deep) + share - 1
            rate = 2 * (x_part * np.float32(dx) + z * np.float32(deep * dz)) + slope * np.float32(dy)
            reach = rate * rate - np.float32(4 * a) * value
            s = s + (np.sqrt(np.maximum(reach, 0)) - rate) * np.float32(0.5 / a)
        x, y, z = ox + s * np.float32(dx), oy + s * np.float32(dy), oz + s * np.float32(dz)
        # reach / 4a is 1 - r^2 at the closest approach; half the width turns it into a distance from the outline.
        edge = reach * np.float32(0.125 * self.width / a * frame.scale / frame.step)
        return x, y, z, s, limit(edge + np.float32(0.5), 0, 1)

    def front(self, x: Plane, y: Plane) -> Plane:
        """z of the front surface at head coordinates x, y (0 where there is none)."""
        inverse, share, _ = self.section(y)
        z: Plane = np.float32(self.depth) * np.sqrt(np.maximum(1 - x * x * inverse - share, 0))
        return z


def head_of(features: Features) -> Head:
    """The bare head of a face."""
    f = features
    return Head(f.width, DEPTH, f.crown, f.chin, f.taper, f.square, f.jaw_drop)


def nose_rise(x: Plane, y: Plane, features: Features) -> Plane:
    """How far the nose stands out at head coordinates x, y."""
    t = (y - np.float32(EYE_Y)) * np.float32(1 / (features.nose_tip - EYE_Y))
    along = limit(t, 0, 1)
    side = x / (np.float32(1.55 * features.nose_width) * (np.float32(0.50) + np.float32(0.50) * along))
    profile = ramp(t, -0.5, 0.3) * (0.25 + 0.75 * along) * ramp(t, 1.26, 0.98)
    rise: Plane = np.float32(features.nose_height) * profile * bump(side)
    return rise


@dataclass(frozen=True)
class Skin:
    """The face's surface as seen in the frame, each plane (side, side).

    Attributes:
        x, y: head coordinates of what is seen; features are drawn by them, so they turn with the head.
        depth: camera depth without fine relief. coverage: of the head, 0 to 1.
    """

    x: Plane
    y: Plane
    depth: Plane
    coverage: Plane


def see_head(frame: Frame, features: Features) -> Skin:
    """Head coordinates and depth of what is seen of the head, the nose included."""
    head = head_of(features)
    x, y, _, depth, coverage = head.meet(frame)
    r = frame.rotation
    # A rise h along the head's z axis moves a point by h * r[:2, 2] in the frame; undo that in head x, y.
    shift_x, shift_y = np.linalg.solve(r[:2, :2].astype(np.float64), r[:2, 2].astype(np.float64)).tolist()
    box = frame.box((-0.26, 0.26), (EYE_Y - 0.25, features.nose_tip + 0.14), (0.3, 1.0))
    x0, y0 = x[box], y[box]
    x1, y1 = x0, y0
    rise = nose_rise(x1, y1, features)
    for _ in range(3):
        x1, y1 = x0 - rise * np.float32(shift_x), y0 - rise * np.float32(shift_y)
        rise = nose_rise(x1, y1, features)
    x[box], y[box] = x1, y1
    depth[box] += rise * np.float32(1 / r[2, 2])
    return Skin(x, y, depth, coverage)
