"""How far the whole face mesh leans forwards or backwards where the face does not, seen from the face's symmetry.

The network that finds the mesh places it well in the picture, but takes part of an expression, of a person's shape or
of the light for a nod: all depths then err by a plane, `lean` times the height in the picture. A turned face shows the
error. Of a head with two equal halves, the middle line lies in one plane, across which the pairs of points on the left
and the right are connected. Seen from the side, every point of the middle line is displaced by its depth; what is left
over as a tilt of that line, against the direction in which the pairs lie, is a wrong lean. The same idea recovers
shape from one picture of a symmetric object (Rothwell, Forsyth, Zisserman and Mundy, Extracting Projective Structure
from Single Perspective Views of 3D Point Sets, ICCV 1993).

A face seen from the front shows nothing of that, and none has two equal halves. So the evidence is weighed against
what is expected without it: the mesh exaggerates how far a head looks up or down. `lean` is the mean of both, by how
well the evidence is determined, as seen in how well the halves of this very face agree. The two numbers of that, which
benchmarks/face_mesh.py finds on rendered faces, stand in tilt.json beside this file.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mimik.faces.action_units.geometric import MIDDLE, PAIRS
from mimik.faces.mesh.mesher import pose
from mimik.storage.files import read_json

Array = npt.NDArray[np.float64]

CONSTANTS = Path(__file__).with_suffix(".json")

_LEFT, _RIGHT, _MIDDLE = list(PAIRS), list(PAIRS.values()), list(MIDDLE)


@dataclass(frozen=True)
class Evidence:
    """What one mesh says about its lean.

    Attributes:
        slope: depth per height in the picture that makes the halves agree best; any number where nothing is known.
        information: curvature of the squared disagreement in `slope`, squared units of the mesh; 0: nothing is known.
        disagreement: mean squared disagreement of the halves that is left, in the same units.
        pitch: of the mesh as it is, degrees (`mimik.faces.mesh.mesher.pose`).
    """

    slope: float
    information: float
    disagreement: float
    pitch: float


def evidence(points: npt.NDArray[Any]) -> Evidence:
    """What the symmetry of a mesh says about its lean.

    Least squares over pairs, whose line should have one direction (1, u) in the picture, and the middle line with the
    pairs' middles, x + u y + v (z + slope y) = 0 from their mean. One Gauss-Newton step of `slope` from 0, with the
    best u and v.

    Args:
        points: (V, 3), V >= 468, of an upright face: x right, y down, z towards the viewer, on one scale.

    Raises:
        ValueError: a coordinate is not finite.
    """
    points = np.asarray(points, np.float64)
    if not np.isfinite(points).all():
        raise ValueError("a mesh with coordinates that are not finite has no lean")
    across = points[_RIGHT, :2] - points[_LEFT, :2]
    middles = np.concatenate([(points[_RIGHT] + points[_LEFT]) / 2, points[_MIDDLE]])
    x, y, z = (middles - middles.mean(axis=0)).T
    none = np.zeros(len(across))
    fixed = np.concatenate([across[:, 1], x])
    directions = np.stack([np.concatenate([-across[:, 0], y]), np.concatenate([none, z])], axis=1)
    best = np.linalg.lstsq(directions, -fixed, rcond=None)[0]
    left_over = fixed + directions @ best
    changed = np.concatenate([none, best[1] * y])
    changed -= directions @ np.linalg.lstsq(directions, changed, rcond=None)[0]
    information = float(changed @ changed) / len(across)
    slope = -float(changed @ left_over) / len(across) / information if information > 1e-12 else 0.0
    rest = left_over + changed * slope
    return Evidence(slope, information, float(rest @ rest) / len(across), pose(points)[1])


@dataclass(frozen=True)
class Constants:
    """How evidence is weighed.

    Attributes:
        per_degree: expected lean without evidence, per degree of pitch of the mesh.
        doubt: how much information a squared disagreement of 1 outweighs.
        pitch: smallest and largest pitch of the mesh for which `per_degree` was found; it ends there, degrees.
    """

    per_degree: float
    doubt: float
    pitch: tuple[float, float]

    def lean(self, seen: Evidence) -> float:
        """The lean of a mesh, depth per height in the picture: its depth z is truly z + lean * y."""
        low, high = self.pitch
        expected = self.per_degree * min(max(seen.pitch, low), high)
        doubt = self.doubt * seen.disagreement
        together = seen.information + doubt
        return (seen.information * seen.slope + doubt * expected) / together if together > 0 else expected


@cache
def constants(path: Path = CONSTANTS) -> Constants:
    """The stored constants."""
    stored = read_json(path)
    low, high = stored["pitch"]
    return Constants(stored["per_degree"], stored["doubt"], (low, high))


def lean(points: npt.NDArray[Any]) -> float:
    """Lean of the mesh of an upright face; see `evidence` for `points` and `Constants.lean` for the result."""
    return constants().lean(evidence(points))
