"""A vectorised z-buffer: triangles seen along the z axis -> which triangle each pixel shows, and where in it.

Orthographic projection, pixel centres at half-integers, no loop over triangles: every triangle is cut into spans
of pixels, one per row, all spans are expanded at once, and the nearest of the pixels on each spot wins.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

EDGE = 1e-7
"""Slack in pixels: a pixel centre on an edge belongs to both triangles, so that no crack opens between them."""

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Raster:
    """What each pixel shows.

    Attributes:
        triangle: int32 (S, S), number of the visible triangle, -1 where there is none.
        weights: float32 (P, 3), barycentric weights (sum 1) of the triangle's corners in each of the P pixels
            that show one, in the order of `np.nonzero(covered)`.
    """

    triangle: npt.NDArray[np.int32]
    weights: npt.NDArray[np.float32]

    @property
    def covered(self) -> npt.NDArray[np.bool_]:
        """bool (S, S): pixels that show a triangle."""
        return self.triangle >= 0


def rasterise(points: Array, triangles: Array, size: int, *, cull: bool = True) -> Raster:
    """Render a mesh to `size` x `size` pixels.

    Args:
        points: (V, 3) pixels: x right, y down, z towards the viewer (the largest z is seen).
        triangles: int (T, 3).
        size: side of the square picture, pixels.
        cull: leave out triangles that turn their back, which are counter-clockwise on the screen.

    Raises:
        ValueError: a coordinate is not finite.
    """
    points = np.asarray(points, np.float64)
    if not np.isfinite(points).all():
        raise ValueError("cannot rasterise a mesh with coordinates that are not finite")
    x, y, z = (points[:, axis][triangles] for axis in range(3))  # (T, 3) each
    # Twice the area, positive when clockwise on the screen.
    area = (x[:, 1] - x[:, 0]) * (y[:, 2] - y[:, 0]) - (y[:, 1] - y[:, 0]) * (x[:, 2] - x[:, 0])
    seen = np.flatnonzero(area > 0 if cull else area != 0)
    x, y, z, area = x[seen], y[seen], z[seen], area[seen]

    # Weight k of a point is across[k] * x + down[k] * y + constant[k]: 1 at corner k, 0 on the opposite edge.
    ahead, behind = [1, 2, 0], [2, 0, 1]
    across = (y[:, ahead] - y[:, behind]) / area[:, None]
    down = (x[:, behind] - x[:, ahead]) / area[:, None]
    constant = -across * x[:, behind] - down * y[:, behind]

    first_row = np.ceil(y.min(axis=1) - 0.5 - EDGE).clip(0, size).astype(np.int64)
    last_row = np.floor(y.max(axis=1) - 0.5 + EDGE).clip(-1, size - 1).astype(np.int64)
    span_triangle, span_row = _expand(first_row, last_row)
    start, end = _extent(
        across[span_triangle], down[span_triangle] * (span_row + 0.5)[:, None] + constant[span_triangle]
    )
    first_column = np.ceil(start - 0.5 - EDGE).clip(0, size).astype(np.int64)
    last_column = np.floor(end - 0.5 + EDGE).clip(-1, size - 1).astype(np.int64)
    span, column = _expand(first_column, last_column)
    hit, row = span_triangle[span], span_row[span]

    column_centre, row_centre = column + 0.5, row + 0.5
    weights = np.stack(
        [across[hit, k] * column_centre + down[hit, k] * row_centre + constant[hit, k] for k in range(3)], axis=1
    )
    depth = (weights * z[hit]).sum(axis=1)
    pixel = row * size + column
    nearest = np.full(size * size, -np.inf)
    np.maximum.at(nearest, pixel, depth)
    # Of triangles at exactly the same depth the first of the list wins: hits are in the order of triangles, and
    # of several values given for one element the last is kept.
    winners = np.flatnonzero(depth == nearest[pixel])[::-1]
    winner = np.full(size * size, -1, np.int64)
    winner[pixel[winners]] = winners
    shown = winner[winner >= 0]
    triangle = np.full(size * size, -1, np.int32)
    triangle[winner >= 0] = seen[hit[shown]]
    return Raster(triangle.reshape(size, size), weights[shown].astype(np.float32))


def _expand(first: Array, last: Array) -> tuple[Array, Array]:
    """All integers from `first[i]` to `last[i]`, for every i in turn; which i each belongs to comes first."""
    counts = np.maximum(last - first + 1, 0)
    owner = np.repeat(np.arange(len(counts)), counts)
    steps = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
    return owner, first[owner] + steps


def _extent(slope: Array, intercept: Array) -> tuple[Array, Array]:
    """Smallest and largest x at which all of three lines, slope * x + intercept (N, 3), are not negative."""
    with np.errstate(divide="ignore", invalid="ignore"):
        zero = -intercept / slope
    start = np.where(slope > 0, zero, -np.inf).max(axis=1)
    end = np.where(slope < 0, zero, np.inf).min(axis=1)
    empty = ((slope == 0) & (intercept < -1e-9)).any(axis=1)
    return np.where(empty, np.inf, start), end


def interpolate(raster: Raster, triangles: Array, attributes: Array) -> npt.NDArray[np.float32]:
    """Values of the vertices spread over the pixels.

    Args:
        raster: from `rasterise`, of the same `triangles`.
        triangles: int (T, 3).
        attributes: (V, C) one row per vertex.

    Returns:
        (P, C), for the pixels that show a triangle, in the order of `np.nonzero(raster.covered)`.
    """
    corners = np.asarray(triangles)[raster.triangle[raster.covered]]
    values = np.asarray(attributes, np.float32)
    weights = raster.weights[:, :, None]
    mixed: npt.NDArray[np.float32] = (
        weights[:, 0] * values[corners[:, 0]]
        + weights[:, 1] * values[corners[:, 1]]
        + weights[:, 2] * values[corners[:, 2]]
    )
    return mixed


def encode_depth(depth: Array, raster: Raster, *, far: float, near: float) -> npt.NDArray[np.uint8]:
    """Depth as it is stored: 0 no surface, 1 at `far` or beyond, 255 at `near` or before, linear between.

    Args:
        depth: (P,) of the pixels that show a triangle.
        raster: says which pixels these are.
        far, near: depths of the values 1 and 255.

    Returns:
        uint8 (S, S).
    """
    picture = np.zeros(raster.triangle.shape, np.uint8)
    picture[raster.covered] = (1.0 + 254.0 * (depth - far) / (near - far)).round().clip(1, 255)
    return picture


def encode_normals(normals: Array, raster: Raster) -> npt.NDArray[np.uint8]:
    """Normals as they are stored: (n + 1) / 2 * 255 of the unit vector; 0 where there is no surface.

    A visible point faces the viewer. Interpolated normals near a silhouette may point slightly away; their z
    is raised to 0 before they are brought to unit length.

    Args:
        normals: (P, 3) of any length, for the pixels that show a triangle.
        raster: says which pixels these are.

    Returns:
        uint8 (S, S, 3).
    """
    x, y, z = np.asarray(normals, np.float32).T
    z = np.maximum(z, np.float32(1e-6))
    scale = np.float32(127.5) / np.sqrt(x * x + y * y + z * z)
    picture = np.zeros((*raster.triangle.shape, 3), np.uint8)
    picture[raster.covered] = (np.stack([x * scale, y * scale, z * scale], axis=1) + np.float32(127.5)).round()
    return picture
