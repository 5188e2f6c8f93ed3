"""A vectorised z-buffer: triangles seen along the z axis -> which triangle each pixel shows, and where in it.

Orthographic projection, pixel centres at half-integers, no loop over triangles: triangles of similar extent are
tested together against all pixels of a box of that extent, and the nearest hit of each pixel wins.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

CANDIDATES = 1 << 20
"""Most (triangle, pixel) pairs tested at once; bounds the memory to some 100 MB whatever the mesh."""

EDGE = 1e-9
"""Barycentric slack: a pixel centre on an edge belongs to both triangles, so that no crack opens between them."""


@dataclass(frozen=True)
class Raster:
    """What each pixel shows.

    Attributes:
        triangle: int32 (H, W), number of the visible triangle, -1 where there is none.
        barycentric: float32 (H, W, 3), weights of the triangle's corners (sum 1); 0 where there is none.
    """

    triangle: npt.NDArray[np.int32]
    barycentric: npt.NDArray[np.float32]

    @property
    def covered(self) -> npt.NDArray[np.bool_]:
        """bool (H, W): pixels that show a triangle."""
        return self.triangle >= 0


def rasterise(points: npt.NDArray[Any], triangles: npt.NDArray[Any], size: int, *, cull: bool = True) -> Raster:
    """Render a mesh to `size` x `size` pixels.

    Args:
        points: (V, 3) pixels: x right, y down, z towards the viewer (the largest z is seen).
        triangles: int (T, 3).
        size: side of the square picture, pixels.
        cull: leave out triangles that turn their back, which are counter-clockwise on the screen.

    Raises:
        ValueError: a coordinate is not finite.
    """
    corners = np.asarray(points, np.float64)[triangles]
    if not np.isfinite(corners).all():
        raise ValueError("cannot rasterise a mesh with coordinates that are not finite")
    (x0, y0), (x1, y1), (x2, y2) = (corners[:, corner, :2].T for corner in range(3))
    area = (x1 - x0) * (y2 - y0) - (y1 - y0) * (x2 - x0)  # twice the area, positive when clockwise
    # First and last pixel centre within each triangle's bounds, clipped to the picture.
    low = np.ceil(corners[:, :, :2].min(axis=1) - 0.5).clip(0, size).astype(np.int64)
    high = np.floor(corners[:, :, :2].max(axis=1) - 0.5).clip(-1, size - 1).astype(np.int64)
    extent = (high - low + 1).max(axis=1)
    visible = (high >= low).all(axis=1) & ((area > 0) if cull else (area != 0))

    hits = []
    bucket = np.ceil(np.log2(np.maximum(extent, 1))).astype(np.int64)
    for exponent in np.unique(bucket[visible]):
        side = 1 << int(exponent)
        members = np.flatnonzero(visible & (bucket == exponent))
        step = max(1, CANDIDATES // side**2)
        for start in range(0, len(members), step):
            hits.append(_hits(corners, area, low, high, members[start : start + step], side))

    triangle = np.full(size * size, -1, np.int32)
    barycentric = np.zeros((size * size, 3), np.float32)
    if hits:
        column, row, number, weights, depth = (np.concatenate(parts) for parts in zip(*hits, strict=True))
        pixel = row * size + column
        nearest = np.full(size * size, -np.inf)
        np.maximum.at(nearest, pixel, depth)
        # Of triangles at exactly the same depth (a shared edge) the first of the list wins.
        winners = np.flatnonzero(depth == nearest[pixel])
        winners = winners[np.argsort(-number[winners], kind="stable")]
        triangle[pixel[winners]] = number[winners]
        barycentric[pixel[winners]] = weights[winners]
    return Raster(triangle.reshape(size, size), barycentric.reshape(size, size, 3))


Hits = tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]


def _hits(
    corners: npt.NDArray[np.float64],
    area: npt.NDArray[np.float64],
    low: npt.NDArray[np.int64],
    high: npt.NDArray[np.int64],
    members: npt.NDArray[np.int64],
    side: int,
) -> Hits:
    """Pixels whose centre lies in one of the triangles `members`, none of which is wider than `side` pixels.

    Returns:
        Column, row, triangle, barycentric weights (N, 3) and depth of each hit.
    """
    chosen = corners[members]
    offsets = np.arange(side)
    column = low[members, 0, None] + offsets  # (M, side)
    row = low[members, 1, None] + offsets
    x = column + 0.5
    y = row + 0.5
    # The weight of a corner is affine in x and y: one part from the columns, one from the rows.
    weights = []
    for first, second in ((1, 2), (2, 0)):
        a, b = chosen[:, first], chosen[:, second]
        across = (a[:, 1] - b[:, 1])[:, None] * (x - b[:, :1])
        down = (b[:, 0] - a[:, 0])[:, None] * (y - b[:, 1:2])
        weights.append((down[:, :, None] + across[:, None, :]) / area[members, None, None])
    first_weight, second_weight = weights
    third_weight = 1.0 - first_weight - second_weight
    inside = (first_weight >= -EDGE) & (second_weight >= -EDGE) & (third_weight >= -EDGE)
    inside &= (column <= high[members, 0, None])[:, None, :] & (row <= high[members, 1, None])[:, :, None]
    which, down_by, across_by = np.nonzero(inside)
    weight = np.stack([first_weight[inside], second_weight[inside], third_weight[inside]], axis=1)
    depth = (weight * chosen[which, :, 2]).sum(axis=1)
    return column[which, across_by], row[which, down_by], members[which], weight, depth


def interpolate(raster: Raster, triangles: npt.NDArray[Any], attributes: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Values of the vertices spread over the pixels.

    Args:
        raster: from `rasterise`, of the same `triangles`.
        triangles: int (T, 3).
        attributes: (V, C) one row per vertex.

    Returns:
        (H, W, C); 0 where the raster shows nothing.
    """
    values = np.asarray(attributes, np.float64)
    picture = np.zeros((*raster.triangle.shape, values.shape[1]))
    covered = raster.covered
    corners = values[np.asarray(triangles)[raster.triangle[covered]]]
    picture[covered] = (raster.barycentric[covered][:, :, None] * corners).sum(axis=1)
    return picture


def encode_depth(
    depth: npt.NDArray[Any], covered: npt.NDArray[np.bool_], *, far: float, near: float
) -> npt.NDArray[np.uint8]:
    """Depth as it is stored: 0 no surface, 1 at `far` or beyond, 255 at `near` or before, linear between."""
    scaled = 1.0 + 254.0 * (np.asarray(depth, np.float64) - far) / (near - far)
    return np.where(covered, scaled.round().clip(1, 255), 0).astype(np.uint8)


def encode_normals(normals: npt.NDArray[Any], covered: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """Normals (H, W, 3), any length, as they are stored: (n + 1) / 2 * 255 of the unit vector; 0 = no surface.

    A visible point faces the viewer. Interpolated normals near a silhouette may point slightly away; their z
    is raised to 0 before they are brought to unit length.
    """
    facing = np.array(normals, np.float64)
    facing[..., 2] = np.maximum(facing[..., 2], 1e-6)
    unit = facing / np.linalg.norm(facing, axis=-1, keepdims=True)
    return np.where(covered[..., None], ((unit + 1.0) * 127.5).round(), 0).astype(np.uint8)
