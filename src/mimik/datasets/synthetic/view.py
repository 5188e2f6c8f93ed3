"""One view of a person: pose, placement in the frame, light, background, noise of the sensor."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float32]

POSE_SPREADS = {"yaw": 0.16, "pitch": 0.09, "roll": 0.05}
"""Standard deviation of the head's rotation in radians: aligned crops turn moderately and tilt little."""

POSE_LIMITS = {"yaw": 0.40, "pitch": 0.22, "roll": 0.13}
"""Largest rotation drawn, in radians."""

LIGHTS = ("day", "evening")
"""Kinds of light, `LIGHTS[0]` where nothing is said. The same view has the same geometry under both."""


def draw_pose(seed: int) -> dict[str, float]:
    """`yaw`, `pitch` and `roll` of a view in degrees, rounded to 4 digits (they are columns of the index).

    Positive yaw turns the nose to the right of the image, positive pitch lowers it, positive roll turns the head
    clockwise as seen in the image.
    """
    random = np.random.default_rng([seed, 2])
    pose = {}
    for name, spread in POSE_SPREADS.items():
        angle = np.clip(random.normal(0, spread), -POSE_LIMITS[name], POSE_LIMITS[name])
        pose[name] = round(float(np.degrees(angle)), 4)
    return pose


@dataclass(frozen=True)
class View:
    """How a person is seen.

    Attributes:
        rotation: float32 (3, 3), head to camera; x right, y down, z to the viewer, in half sides of the frame.
        scale: size of the head relative to the mean.
        shift: (x, y) displacement of the eyes' centre from its mean place in the frame.
        light: float32 (3,) unit vector towards the light in camera coordinates.
        ambient, diffuse, gloss: strength of the three kinds of light.
        tint: float32 (3,) colour of the light.
        background: float32 (2, 3) RGB above and below.
        clouds: float32 (5, 5) standard normal grid of the background's variation.
        gaze: (x, y) displacement of the irises.
        seed: of the sensor's noise.
        grain: its standard deviation, on [0, 1].
    """

    rotation: Vector
    scale: float
    shift: tuple[float, float]
    light: Vector
    ambient: float
    diffuse: float
    gloss: float
    tint: Vector
    background: Vector
    clouds: Vector
    gaze: tuple[float, float]
    seed: int
    grain: float = 0.008

    def noise(self, size: int) -> Vector:
        """The sensor's noise, float32 (size, size, 3)."""
        values = np.random.default_rng([self.seed, 4, size]).standard_normal((size, size, 3), dtype=np.float32)
        values *= np.float32(self.grain)
        return values


def draw_view(seed: int, yaw: float, pitch: float, roll: float, light: str = LIGHTS[0]) -> View:
    """The view of a seed, seen under the pose of the index (degrees) and a kind of light (of `LIGHTS`)."""
    view = _draw_by_day(seed, yaw, pitch, roll)
    return view if light == LIGHTS[0] else _in_the_evening(view)


def _in_the_evening(view: View) -> View:
    """The same view under one warm lamp at the side, in a dark room, by a camera with more noise."""
    x, y, z = (float(part) for part in view.light)
    azimuth, elevation = np.arctan2(x, z), np.arcsin(-y)
    azimuth = np.copysign(0.9 + 0.5 * abs(azimuth), azimuth)
    light = [np.sin(azimuth) * np.cos(elevation), -np.sin(elevation), np.cos(azimuth) * np.cos(elevation)]
    return replace(
        view,
        light=np.array(light, dtype=np.float32),
        ambient=0.45 * view.ambient,
        diffuse=1.3 * view.diffuse,
        tint=view.tint * np.array([1.15, 0.88, 0.58], dtype=np.float32),
        background=view.background * np.float32(0.35),
        grain=3 * view.grain,
    )


def _draw_by_day(seed: int, yaw: float, pitch: float, roll: float) -> View:
    random = np.random.default_rng([seed, 3])
    azimuth, elevation = random.uniform(-1.0, 1.0), random.uniform(-0.1, 0.8)
    light = [np.sin(azimuth) * np.cos(elevation), -np.sin(elevation), np.cos(azimuth) * np.cos(elevation)]
    above = (random.uniform(0.15, 0.85) + random.normal(0, 0.09, 3)).clip(0.05, 0.95)
    below = (above + random.normal(0, 0.05, 3) + random.normal(0, 0.09)).clip(0.03, 0.97)
    return View(
        rotation=rotation_matrix(yaw, pitch, roll),
        scale=float(random.uniform(0.97, 1.05)),
        shift=(float(random.uniform(-0.03, 0.03)), float(random.uniform(-0.03, 0.03))),
        light=np.array(light, dtype=np.float32),
        ambient=float(random.uniform(0.44, 0.60)),
        diffuse=float(random.uniform(0.48, 0.66)),
        gloss=float(random.uniform(0.04, 0.14)),
        tint=(1 + random.normal(0, 0.025, 3)).astype(np.float32),
        background=np.stack([above, below]).astype(np.float32),
        clouds=random.standard_normal((5, 5)).astype(np.float32),
        gaze=(float(random.uniform(-0.022, 0.022)), float(random.uniform(-0.006, 0.008))),
        seed=seed,
    )


def rotation_matrix(yaw: float, pitch: float, roll: float) -> Vector:
    """float32 (3, 3) head-to-camera rotation from degrees: yaw first, then pitch, then roll."""
    (sy, sp, sr), (cy, cp, cr) = np.sin(np.radians([yaw, pitch, roll])), np.cos(np.radians([yaw, pitch, roll]))
    turn = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    nod = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
    tilt = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    matrix: Vector = (tilt @ nod @ turn).astype(np.float32)
    return matrix
