"""What is painted on: colour, label shares, depth and normals of one picture, back to front."""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from mimik.datasets.synthetic.surface import Box, Frame, Plane
from mimik.datasets.synthetic.view import View
from mimik.labels import SEGMENTATION_CLASSES

WHOLE: Box = (slice(None), slice(None))

FAR, NEAR = -1.0, 1.05
"""Camera depths (half sides of the frame, origin in the middle of the head) stored as 1 and 255."""


class Relief:
    """A surface's depth with its slopes, for light and for the depth and normal maps.

    Attributes:
        depth: camera depth, any plane shape. slope_x, slope_y: its derivatives along the frame.
    """

    def __init__(self, depth: Plane, slope_x: Plane, slope_y: Plane) -> None:
        self.depth, self.slope_x, self.slope_y = depth, slope_x, slope_y

    @classmethod
    def of(cls, depth: Plane, frame: Frame, limit: float = 3.0) -> "Relief":
        """From camera depths of neighbouring samples; slopes end at `limit`."""
        per_sample = np.float32(frame.scale / (2 * frame.step))
        slope_x, slope_y = np.empty_like(depth), np.empty_like(depth)
        np.subtract(depth[:, 2:], depth[:, :-2], out=slope_x[:, 1:-1])
        np.subtract(depth[2:], depth[:-2], out=slope_y[1:-1])
        slope_x[:, 0], slope_x[:, -1] = slope_x[:, 1], slope_x[:, -2]
        slope_y[0], slope_y[-1] = slope_y[1], slope_y[-2]
        for slope in (slope_x, slope_y):
            slope *= per_sample
            np.maximum(slope, -limit, out=slope)
            np.minimum(slope, limit, out=slope)
        return cls(depth, slope_x, slope_y)

    def facing(self) -> Plane:
        """Length factor of the normal (-slope_x, -slope_y, 1), its z component."""
        facing: Plane = 1 / np.sqrt(self.slope_x * self.slope_x + self.slope_y * self.slope_y + 1)
        return facing


class Canvas:
    """One picture in the making, painted from back to front at `frame.side` samples.

    Attributes:
        rgb: float32 (3, side, side), linear mix of what was painted.
        shares: by class painted so far, float32 (size, size) share of each pixel's area that it holds; or None.
        depth: camera depth, NaN where no surface is; slope_x, slope_y: its slopes; or None.
    """

    def __init__(self, frame: Frame, labels: bool, relief: bool) -> None:
        self.frame = frame
        side = frame.side
        self.size = side // frame.oversampling
        self.rgb = np.empty((3, side, side), dtype=np.float32)
        self.shares: dict[str, Plane] | None = None
        if labels:
            self.shares = {SEGMENTATION_CLASSES[0]: np.ones((self.size, self.size), dtype=np.float32)}
        self.depth: Plane | None = np.full((side, side), np.nan, dtype=np.float32) if relief else None
        self.slope_x: Plane | None = np.zeros((side, side), dtype=np.float32) if relief else None
        self.slope_y: Plane | None = np.zeros((side, side), dtype=np.float32) if relief else None

    def paint(self, box: Box, coverage: Plane, colour: Plane, shade: Plane | float = 1.0) -> None:
        """Lay `colour` (3,) or (3, h, w), times `shade`, over `box` with `coverage` (0 to 1)."""
        for channel in range(3):
            below = self.rgb[channel][box]
            below += coverage * (colour[channel] * shade - below)

    def name(self, box: Box, coverage: Plane, label: str) -> None:
        """Give `coverage` of every pixel's area in `box` to a segmentation class."""
        if self.shares is None:
            return
        k = self.frame.oversampling
        rows, columns = (
            slice((part.start or 0) // k, (self.frame.side if part.stop is None else part.stop) // k) for part in box
        )
        share = pixel_means(coverage, k)
        left = 1 - share
        for plane in self.shares.values():
            plane[rows, columns] *= left
        if label not in self.shares:
            self.shares[label] = np.zeros((self.size, self.size), dtype=np.float32)
        self.shares[label][rows, columns] += share

    def form(self, box: Box, coverage: Plane, relief: Relief) -> None:
        """Put a surface where it covers at least half of a sample."""
        if self.depth is None or self.slope_x is None or self.slope_y is None:
            return
        covered = coverage > 0.5
        np.copyto(self.depth[box], relief.depth * np.float32(self.frame.scale), where=covered)
        np.copyto(self.slope_x[box], relief.slope_x, where=covered)
        np.copyto(self.slope_y[box], relief.slope_y, where=covered)

    def labels(self) -> npt.NDArray[np.uint8]:
        """uint8 (size, size): the class with the largest share of each pixel's area."""
        if self.shares is None:
            raise ValueError("the canvas was made without labels")
        winner = np.zeros((self.size, self.size), dtype=np.uint8)
        largest = np.zeros((self.size, self.size), dtype=np.float32)
        for label, share in self.shares.items():
            larger = share > largest
            np.copyto(winner, np.uint8(SEGMENTATION_CLASSES.index(label)), where=larger)
            np.maximum(largest, share, out=largest)
        return winner

    def picture(self, view: View) -> npt.NDArray[np.uint8]:
        """uint8 (size, size, 3): pixel means under the light's colour, with the sensor's noise."""
        mean = pixel_means(self.rgb, self.frame.oversampling).transpose(1, 2, 0) * view.tint
        mean += view.noise(len(mean))
        picture: npt.NDArray[np.uint8] = (np.clip(mean, 0, 1) * np.float32(255) + np.float32(0.5)).astype(np.uint8)
        return picture

    def depth_and_normals(self) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
        """Depth uint8 (size, size) and normals uint8 (size, size, 3), encoded as in `mimik.faces.prepared.store`."""
        if self.depth is None or self.slope_x is None or self.slope_y is None:
            raise ValueError("the canvas was made without relief")
        k = self.frame.oversampling
        seen = ~np.isnan(self.depth)
        share = pixel_means(seen.astype(np.float32), k)
        solid = share >= 0.5
        weight = 1 / np.maximum(share, 1e-6)
        depth = pixel_means(np.where(seen, self.depth, 0), k) * weight
        code = 1 + 254 * (depth - FAR) / (NEAR - FAR)
        depth_map = np.where(solid, code.clip(1, 255).round(), 0).astype(np.uint8)
        facing = 1 / np.sqrt(self.slope_x**2 + self.slope_y**2 + 1)
        # y points up in the stored normals and down in the frame.
        parts = [-self.slope_x * facing, self.slope_y * facing, facing]
        normal = np.stack([pixel_means(np.where(seen, part, 0), k) for part in parts], axis=-1)
        normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-6)
        normal_map = np.where(solid[..., None], ((normal + 1) * 127.5).round(), 0).astype(np.uint8)
        return depth_map, normal_map


def pixel_means(samples: Plane, oversampling: int) -> Plane:
    """Mean of the samples of every pixel; the last two axes are rows and columns, whole pixels."""
    k = oversampling
    if k == 1:
        return samples
    total = samples[..., 0::k, :].copy()
    for row in range(1, k):
        total += samples[..., row::k, :]
    mean = total[..., 0::k].copy()
    for column in range(1, k):
        mean += total[..., column::k]
    mean *= np.float32(1 / k**2)
    return mean


def clouds(grid: Plane, side: int) -> Plane:
    """Smooth (side, side) plane through the values of a small square grid."""
    weights = _weights(len(grid), side)
    plane: Plane = weights @ grid @ weights.T
    return plane


@lru_cache(maxsize=16)
def _weights(knots: int, side: int) -> Plane:
    places = np.linspace(0, knots - 1, side)
    cell = np.minimum(places.astype(int), knots - 2)
    share = places - cell
    share = share * share * (3 - 2 * share)
    weights = np.zeros((side, knots), dtype=np.float32)
    weights[np.arange(side), cell] = 1 - share
    weights[np.arange(side), cell + 1] += share
    return weights


def edge(distance: Plane, width: float) -> Plane:
    """Coverage of the half plane `distance` > 0 with a soft border of `width`."""
    cover: Plane = distance * np.float32(1 / width)
    cover += np.float32(0.5)
    np.maximum(cover, 0, out=cover)
    np.minimum(cover, 1, out=cover)
    return cover
