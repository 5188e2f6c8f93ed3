"""A z-buffer: triangles seen along the z axis -> which triangle each pixel shows, and where in it.

Orthographic projection, pixel centres at half-integers: every triangle is cut into spans of pixels, one per row, and
the nearest of the pixels on each spot wins. The loops are in `mimik.faces.compiled`.
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
        ValueError: a coordinate is not finite, or a triangle has a corner that does not exist.
    """
    from mimik.faces import compiled

    points, triangles = np.ascontiguousarray(points, np.float64), np.ascontiguousarray(triangles, np.int32)
    if not np.isfinite(points).all():
        raise ValueError("cannot rasterise a mesh with coordinates that are not finite")
    if triangles.size and not (triangles.min() >= 0 and triangles.max() < len(points)):  # compiled loops do not look
        raise ValueError(f"a triangle has a corner that is none of the {len(points)} points")
    return Raster(*compiled.rasterise(points, triangles, size, cull, EDGE))


def interpolate(raster: Raster, triangles: Array, attributes: Array) -> npt.NDArray[np.float32]:
    """Values of the vertices spread over the pixels.

    Args:
        raster: from `rasterise`, of the same `triangles`.
        triangles: int (T, 3).
        attributes: (V, C) one row per vertex.

    Returns:
        (P, C), for the pixels that show a triangle, in the order of `np.nonzero(raster.covered)`.
    """
    from mimik.faces import compiled

    mixed: npt.NDArray[np.float32] = compiled.interpolate(
        raster.triangle,
        raster.weights,
        np.ascontiguousarray(triangles, np.int32),
        np.ascontiguousarray(attributes, np.float32),
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
    from mimik.faces import compiled

    picture: npt.NDArray[np.uint8] = compiled.encode_depth(
        np.ascontiguousarray(depth, np.float32), raster.triangle, far, near - far
    )
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
    from mimik.faces import compiled

    picture: npt.NDArray[np.uint8] = compiled.encode_normals(np.ascontiguousarray(normals, np.float32), raster.triangle)
    return picture
