"""The face mesh as a surface: which vertices form triangles, and which facial part a triangle belongs to.

The mesh is MediaPipe's Face Mesh (Kartynnik et al., Real-time Facial Surface Geometry from Monocular Video on
Mobile GPUs, 2019): 468 vertices, and 10 iris points that are not part of the surface. The package publishes
its edges only; the triangles follow from them. The eye openings and the mouth are holes there; here they are
closed, because their pixels belong to the face.

All vertex lists name `left` what lies on the left side of the image (the person's right), like `mimik.labels`.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from mimik.labels import SEGMENTATION_CLASSES

VERTICES = 468
"""Vertices of the surface; the detector's further points are the irises."""

LEFT_EYE_UPPER: Sequence[int] = (33, 246, 161, 160, 159, 158, 157, 173, 133)
LEFT_EYE_LOWER: Sequence[int] = (33, 7, 163, 144, 145, 153, 154, 155, 133)
RIGHT_EYE_UPPER: Sequence[int] = (263, 466, 388, 387, 386, 385, 384, 398, 362)
RIGHT_EYE_LOWER: Sequence[int] = (263, 249, 390, 373, 374, 380, 381, 382, 362)
INNER_LIP_UPPER: Sequence[int] = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308)
INNER_LIP_LOWER: Sequence[int] = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308)
OUTER_LIP_UPPER: Sequence[int] = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291)
OUTER_LIP_LOWER: Sequence[int] = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291)
LIP_CORNER_LEFT: Sequence[int] = (61, 76, 62, 78)
LIP_CORNER_RIGHT: Sequence[int] = (291, 306, 292, 308)
LEFT_BROW: Sequence[int] = (70, 63, 105, 66, 107, 55, 65, 52, 53, 46)
RIGHT_BROW: Sequence[int] = (300, 293, 334, 296, 336, 285, 295, 282, 283, 276)
NOSE_LEFT: Sequence[int] = (168, 193, 245, 188, 174, 217, 209, 49, 102, 64, 98, 97, 2)
NOSE_RIGHT: Sequence[int] = (168, 417, 465, 412, 399, 437, 429, 279, 331, 294, 327, 326, 2)

IBUG_68: Sequence[int] = (
    *(127, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 356),  # jaw
    *(70, 63, 105, 66, 107),  # left brow
    *(336, 296, 334, 293, 300),  # right brow
    *(168, 197, 5, 4),  # bridge to tip of the nose
    *(98, 97, 2, 326, 327),  # base of the nose
    *(33, 160, 158, 133, 153, 144),  # left eye, outer corner first
    *(362, 385, 387, 263, 373, 380),  # right eye, inner corner first
    *(61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181),  # outer lips
    *(78, 81, 13, 311, 308, 402, 14, 178),  # inner lips
)
"""Vertex that stands for each of the 68 points of the iBUG 300-W annotation, in its order.

Inner face: the vertex on the same anatomical spot. Jaw: 17 vertices of the mesh's outline, symmetric, evenly
spread from eye height over the chin (152); iBUG's jaw points lie on the visible contour of a turned head,
these on the surface.
"""


OUTLINE: Sequence[int] = (
    *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377),
    *(152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
)
"""Vertices round the whole surface, from the middle of the forehead (10) over the right to the chin (152) and back."""


@dataclass(frozen=True)
class Topology:
    """Triangles of the closed mesh.

    Attributes:
        triangles: int32 (T, 3) vertices, clockwise on the screen (x right, y down) when seen from the front.
        classes: uint8 (T,) class of `mimik.labels.SEGMENTATION_CLASSES` of each triangle.
    """

    triangles: npt.NDArray[np.int32]
    classes: npt.NDArray[np.uint8]


@cache
def topology() -> Topology:
    """The mesh's triangles and their parts, derived from the edges that mediapipe publishes."""
    from mediapipe.python.solutions.face_mesh_connections import FACEMESH_TESSELATION

    surface = _triangles(FACEMESH_TESSELATION)
    left_eye = _strip(LEFT_EYE_UPPER, LEFT_EYE_LOWER)
    right_eye = _strip(RIGHT_EYE_UPPER, RIGHT_EYE_LOWER)
    mouth = _strip(INNER_LIP_UPPER, INNER_LIP_LOWER)
    triangles = _oriented(surface + left_eye + right_eye + mouth)

    part_of = {frozenset(triangle): "l_eye" for triangle in left_eye}
    part_of |= {frozenset(triangle): "r_eye" for triangle in right_eye}
    part_of |= {frozenset(triangle): "mouth" for triangle in mouth}
    upper_lip = [*OUTER_LIP_UPPER, *LIP_CORNER_RIGHT[1:], *INNER_LIP_UPPER[-2::-1], *LIP_CORNER_LEFT[-2::-1]]
    lower_lip = [*OUTER_LIP_LOWER, *LIP_CORNER_RIGHT[1:], *INNER_LIP_LOWER[-2::-1], *LIP_CORNER_LEFT[-2::-1]]
    loops: list[tuple[str, Sequence[int]]] = [
        ("u_lip", upper_lip),
        ("l_lip", lower_lip),
        ("l_brow", [*LEFT_BROW, LEFT_BROW[0]]),
        ("r_brow", [*RIGHT_BROW, RIGHT_BROW[0]]),
        ("nose", [*NOSE_LEFT, *NOSE_RIGHT[-2::-1]]),
    ]
    for name, loop in loops:
        part_of |= {frozenset(triangle): name for triangle in _inside(surface, loop)}
    index = {name: position for position, name in enumerate(SEGMENTATION_CLASSES)}
    classes = [index[part_of.get(frozenset(triangle), "skin")] for triangle in triangles]
    return Topology(np.array(triangles, np.int32), np.array(classes, np.uint8))


Triangle = tuple[int, int, int]


def _triangles(edges: Iterable[tuple[int, int]]) -> list[Triangle]:
    """Triangles of a surface from its edges.

    Every triangle is a clique of three vertices. A clique that is no triangle (three vertices around a single
    one) is recognised by its edges: each of them already has two triangles, one on either side.
    """
    neighbours: defaultdict[int, set[int]] = defaultdict(set)
    for a, b in edges:
        neighbours[a].add(b)
        neighbours[b].add(a)
    cliques = sorted(
        (a, b, c) for a in neighbours for b in neighbours[a] for c in neighbours[a] & neighbours[b] if a < b < c
    )
    uses = Counter(edge for triangle in cliques for edge in combinations(triangle, 2))
    return [triangle for triangle in cliques if any(uses[edge] < 3 for edge in combinations(triangle, 2))]


def _strip(upper: Sequence[int], lower: Sequence[int]) -> list[Triangle]:
    """Triangles between two lines of vertices that share their first and last one."""
    triangles = [(upper[0], upper[1], lower[1]), (upper[-2], upper[-1], lower[-2])]
    for (u0, l0), (u1, l1) in pairwise(zip(upper[1:-1], lower[1:-1], strict=True)):
        triangles += [(u0, u1, l0), (u1, l1, l0)]
    return triangles


def _oriented(triangles: Sequence[Triangle]) -> list[Triangle]:
    """The same triangles, all clockwise on the screen in a frontal face.

    Neighbours run through their common edge in opposite directions, so one known triangle settles all others.
    The known one is the bridge of the nose: 168 lies above 6, and 122 to the left of both.
    """
    by_edge: defaultdict[frozenset[int], list[int]] = defaultdict(list)
    for number, triangle in enumerate(triangles):
        for edge in combinations(triangle, 2):
            by_edge[frozenset(edge)].append(number)
    known = next(number for number, triangle in enumerate(triangles) if {168, 6, 122} == set(triangle))
    oriented: dict[int, Triangle] = {known: (168, 6, 122)}
    front = [known]
    while front:
        a, b, c = oriented[front.pop()]
        for start, end in ((a, b), (b, c), (c, a)):
            for number in by_edge[frozenset((start, end))]:
                if number not in oriented:
                    (third,) = set(triangles[number]) - {start, end}
                    oriented[number] = (end, start, third)
                    front.append(number)
    return [oriented[number] for number in range(len(triangles))]


def _inside(triangles: Sequence[Triangle], loop: Sequence[int]) -> list[Triangle]:
    """Triangles enclosed by a closed line of mesh edges: the smaller of the two sides of the line.

    Raises `ValueError` when the line is not closed or does not run along edges.
    """
    border = {frozenset(edge) for edge in pairwise(loop)}
    by_edge: defaultdict[frozenset[int], list[int]] = defaultdict(list)
    for number, triangle in enumerate(triangles):
        for edge in combinations(triangle, 2):
            by_edge[frozenset(edge)].append(number)
    missing = [sorted(edge) for edge in border if edge not in by_edge]
    if missing or loop[0] != loop[-1]:
        raise ValueError(f"not a closed line of mesh edges: {list(loop)}; no edges: {missing}")
    sides: list[list[int]] = []
    unseen = set(range(len(triangles)))
    while unseen:
        front = [unseen.pop()]
        side = list(front)
        while front:
            for edge in combinations(triangles[front.pop()], 2):
                if frozenset(edge) not in border:
                    reached = [number for number in by_edge[frozenset(edge)] if number in unseen]
                    unseen.difference_update(reached)
                    front += reached
                    side += reached
        sides.append(side)
    outside = max(sides, key=len)
    return [triangles[number] for side in sides if side is not outside for number in side]


def vertex_normals(points: npt.NDArray[Any], triangles: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Unit normals of the vertices: the mean of the adjacent triangles' normals, weighted by their area.

    Args:
        points: (V, 3) with x right, y down (pixels or fractions) and z towards the viewer.
        triangles: (T, 3), clockwise on the screen when seen from their outer side.

    Returns:
        (V, 3) with x right, y UP, z towards the viewer; vertices without area get (0, 0, 1).
    """
    corners = np.asarray(points, np.float64)[triangles] * (1.0, -1.0, 1.0)
    # With y up, clockwise triangles have their normal behind them: swap the factors of the cross product.
    faces = np.cross(corners[:, 2] - corners[:, 0], corners[:, 1] - corners[:, 0])
    normals = np.stack(
        [np.bincount(triangles.ravel(), np.repeat(faces[:, axis], 3), minlength=len(points)) for axis in range(3)],
        axis=1,
    )
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    return np.where(length > 1e-12, normals / np.maximum(length, 1e-12), (0.0, 0.0, 1.0))
