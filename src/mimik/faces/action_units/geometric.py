"""Action units from the shape of the face mesh, for datasets that OpenFace has not seen. They are not OpenFace's.

The mesh is turned and scaled into the head's own frame; places of landmarks and distances between them are measured
there (`measures`), and a linear map takes them to intensities. The map was fitted on rendered faces whose action units
are known (`mimik.faces.reconstruction.calibration`; benchmarks/face_mesh.py fits it again and reports how good it is)
and is stored in geometric.json beside this file. One picture without the person's neutral face distinguishes a high
brow from a raised one only as far as people differ less than expressions do; units that show in wrinkles rather than in
shape stay uncertain.

Measures are the same for a mirrored face: left and right are averaged, and how much the corners of the mouth differ is
taken without its sign.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mimik.errors import UserError
from mimik.faces.mesh import topology
from mimik.faces.mesh.mesher import head_axes
from mimik.labels import ACTION_UNITS
from mimik.storage.files import digest, read_json

Array = npt.NDArray[np.float64]

NAME = "geometric"
COEFFICIENTS = Path(__file__).with_suffix(".json")


def _pairs() -> dict[int, int]:
    """Vertices on the left of the image that are measured, and the right ones in their place in a mirrored face."""
    lips = (topology.OUTER_LIP_UPPER, topology.OUTER_LIP_LOWER, topology.INNER_LIP_UPPER, topology.INNER_LIP_LOWER)
    lines: list[tuple[Sequence[int], Sequence[int]]] = [
        (topology.LEFT_BROW, topology.RIGHT_BROW),
        (topology.LEFT_EYE_UPPER, topology.RIGHT_EYE_UPPER),
        (topology.LEFT_EYE_LOWER, topology.RIGHT_EYE_LOWER),
        (topology.NOSE_LEFT[1:-1], topology.NOSE_RIGHT[1:-1]),
        (topology.LIP_CORNER_LEFT, topology.LIP_CORNER_RIGHT),
        *((line[:5], line[:5:-1]) for line in lips),
        (topology.IBUG_68[:8], topology.IBUG_68[16:8:-1]),
    ]
    return {left: right for one, other in lines for left, right in zip(one, other, strict=True)}


PAIRS = _pairs()

MIDDLE: Sequence[int] = (
    *(10, 151, 9, 8, 168, 6, 197, 195, 5, 4, 1, 2, 164),  # forehead to the base of the nose
    *(0, 11, 12, 13, 14, 15, 16, 17, 18, 200, 199, 175, 152),  # lips and chin
)
"""Vertices on the midline."""

DISTANCES: Sequence[tuple[int, int]] = (
    *((159, 145), (160, 144), (158, 153), (161, 163), (157, 154)),  # between the lids
    *((13, 14), (81, 178), (80, 88)),  # between the lips
    *((0, 13), (37, 82), (14, 17), (84, 87)),  # across the lips
    *((2, 0), (61, 291), (17, 152)),  # nose to lip, mouth's width, lip to chin
)

UNEVEN: Sequence[int] = (61, 78, 40, 91, 57)
"""Vertices round a corner of the mouth whose left and right are compared."""

_OTHERS = PAIRS | {vertex: vertex for vertex in MIDDLE} | {291: 61, 57: 287}

NAMES: Sequence[str] = (
    *(f"{axis} {vertex}" for vertex in PAIRS for axis in ("side", "height", "front")),
    *(f"{axis} {vertex}" for vertex in MIDDLE for axis in ("height", "front")),
    *(f"distance {a} {b}" for a, b in DISTANCES),
    *(f"uneven {axis} {vertex}" for vertex in UNEVEN for axis in ("side", "height")),
)
"""What `measures` gives, in its order; numbers are vertices on the left side of the image, or on the midline."""


def in_head(mesh: npt.NDArray[Any]) -> Array:
    """The mesh in its head's frame.

    Args:
        mesh: (V, 3) x right, y down, z to the viewer, on one scale.

    Returns:
        (V, 3) x to the image's right, y up, z out of the face; origin: the mean of the four eye corners, unit: the
        distance between the outer two.

    Raises:
        ValueError: the outer eye corners coincide, or a coordinate is not finite.
    """
    points = np.asarray(mesh, np.float64) * (1.0, -1.0, 1.0)
    unit = float(np.linalg.norm(points[263] - points[33]))
    if not np.isfinite(points).all() or unit < 1e-9:
        raise ValueError("the mesh has no finite points or no distance between the eyes")
    origin = points[[33, 133, 362, 263]].mean(axis=0)
    placed: Array = (points - origin) @ head_axes(mesh).T / unit
    return placed


def measures(mesh: npt.NDArray[Any]) -> Array:
    """The measures of a mesh, float64 (len(NAMES),), in the units of `in_head`; see `NAMES`.

    Args:
        mesh: (V, 3), V >= 468, x right, y down, z to the viewer, on one scale.

    Raises:
        ValueError: see `in_head`.
    """
    placed = in_head(mesh)
    left, right = list(PAIRS), list(PAIRS.values())
    mirrored = placed[right] * (-1.0, 1.0, 1.0)
    pairs = (placed[left] + mirrored) / 2
    distances = [
        (np.linalg.norm(placed[a] - placed[b]) + np.linalg.norm(placed[_OTHERS[a]] - placed[_OTHERS[b]])) / 2
        for a, b in DISTANCES
    ]
    uneven = placed[list(UNEVEN), :2] - placed[[_OTHERS[vertex] for vertex in UNEVEN], :2] * (-1.0, 1.0)
    return np.concatenate([pairs.ravel(), placed[list(MIDDLE), 1:].ravel(), distances, np.abs(uneven).ravel()])


@dataclass(frozen=True)
class Estimator:
    """A linear map from measures to action units.

    Attributes:
        mean, scale: (F,) of the measures; they are standardised first.
        weights: (F, 17). offset: (17,).
        version: of the map; goes into manifests.
    """

    mean: Array
    scale: Array
    weights: Array
    offset: Array
    version: str

    def __call__(self, measured: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Measures (..., F) -> intensities float32 (..., 17) in [0, 1], in the order of `labels.ACTION_UNITS`."""
        units = ((np.asarray(measured) - self.mean) / self.scale) @ self.weights + self.offset
        return units.clip(0.0, 1.0).astype(np.float32)


@cache
def estimator(path: Path = COEFFICIENTS) -> Estimator:
    """The stored map. Raises `UserError` when the file is missing or was not made for these measures."""
    stored = read_json(path)
    if stored["measures"] != list(NAMES) or stored["action_units"] != list(ACTION_UNITS):
        raise UserError(
            f"{path}: was made for other measures than mimik takes now. Run `python benchmarks/face_mesh.py "
            "--calibrate`."
        )
    return Estimator(
        np.array(stored["mean"]),
        np.array(stored["scale"]),
        np.array(stored["weights"]),
        np.array(stored["offset"]),
        digest(stored)[:8],
    )


def version(mesh_version: str) -> str:
    """Version of the whole extractor: the map, and the package that finds the mesh (`FaceMesher.version`)."""
    return f"{estimator().version}, {mesh_version}"
