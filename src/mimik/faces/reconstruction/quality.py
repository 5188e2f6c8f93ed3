"""Whether a reconstructed face is good enough: measures of it, and the thresholds of params.yaml that they must keep.

They take the place of a person who looks through thousands of reconstructions and takes out the bad ones (Bodur et al.,
3D Dense Geometry-Guided Facial Expression Synthesis by Adversarial Learning, WACV 2021, section 3.1). A face that
fails goes to the quarantine with its figures; `mimik data describe` shows it.

What these measures do not see: hands, hair or sunglasses in front of a face, under which the mesh goes on.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from mimik.errors import UserError
from mimik.faces.mesh.mesher import head_axes
from mimik.faces.mesh.rasterise import Raster

Array = npt.NDArray[Any]

INNER = slice(17, 68)
"""The 68 landmarks without the jaw, whose points on a turned head mean something else on the mesh."""

EYE_CORNERS = 36, 45
"""Landmarks at the outer corners of the eyes."""


@dataclass(frozen=True)
class Quality:
    """Thresholds; None: not asked for. All of them need the mesh.

    Attributes:
        yaw, pitch, roll: largest turn of the head in either direction, degrees (`mimik.faces.mesh.mesher.pose`).
        visibility: smallest share of the surface of either half of the face that must be visible, 0 to 1.
        reprojection: largest distance of the mesh from the landmarks in the picture (`reprojection`).
    """

    yaw: float | None = None
    pitch: float | None = None
    roll: float | None = None
    visibility: float | None = None
    reprojection: float | None = None

    @classmethod
    def of(cls, options: Any, where: str) -> "Quality":
        """From the group `quality` of a dataset; `where` names that group for messages.

        Raises:
            UserError: an unknown threshold, or one that is no number in its range.
        """
        names = [field.name for field in fields(cls)]
        if not isinstance(options, Mapping) or any(name not in names for name in options):
            raise UserError(f"{where}: expected a group of {', '.join(names)}; found {options!r}.")
        for name, value in options.items():
            number = isinstance(value, int | float) and not isinstance(value, bool)
            highest = 1.0 if name == "visibility" else float("inf") if name == "reprojection" else 180.0
            if value is not None and not (number and 0 < value <= highest):
                at_most = f", at most {highest:g}" if highest < float("inf") else ""
                raise UserError(f"{where}.{name}: expected a number above 0{at_most}, or nothing; found {value!r}.")
        return cls(**{name: None if value is None else float(value) for name, value in options.items()})

    @property
    def asked(self) -> bool:
        """Whether there is any threshold."""
        return self != Quality()

    def fault(self, measured: Mapping[str, float]) -> str:
        """What is wrong with a face, with figures and thresholds; empty when nothing is.

        Args:
            measured: yaw, pitch, roll, visible_left, visible_right and, where it is asked for, reprojection.
        """
        faults = []
        for name in ("yaw", "pitch", "roll"):
            limit = getattr(self, name)
            if limit is not None and not abs(measured[name]) <= limit:
                faults.append(f"{name} {measured[name]:+.1f}°, limit {limit:g}°")
        for side in ("left", "right"):
            share = measured[f"visible_{side}"]
            if self.visibility is not None and not share >= self.visibility:
                faults.append(f"{share:.0%} of the {side} half visible, at least {self.visibility:.0%} required")
        if self.reprojection is not None and not measured["reprojection"] <= self.reprojection:
            error = measured["reprojection"]
            found = f"{error:.3f}" if np.isfinite(error) else "unknown because no mesh was found in the aligned face"
            faults.append(f"reprojection error {found}, limit {self.reprojection:g}")
        return "; ".join(faults)


def reprojection(first: Array, second: Array) -> float:
    """Root mean square distance of two sets of landmarks of one face, jaw left out, in distances of the eye corners.

    Args:
        first, second: (68, 2) in the same picture; the distance of the outer eye corners is `second`'s.
    """
    apart = np.asarray(first, np.float64)[INNER] - np.asarray(second, np.float64)[INNER]
    unit = np.linalg.norm(np.subtract(*np.asarray(second, np.float64)[list(EYE_CORNERS)]))
    return float(np.sqrt((apart**2).sum(axis=1).mean()) / unit)


def visible_shares(
    points: Array, triangles: Array, raster: Raster, inside: npt.NDArray[np.bool_]
) -> tuple[float, float]:
    """Shares of the surface of the left and of the right half of a face that the photograph shows, 0 to 1.

    A part is not shown when it turns away from the camera, lies behind another part, or beyond the photograph's edge.
    Left and right are those of the image in a frontal face; the halves meet in the plane through the middle of the
    eyes across the head's sideways axis.

    Args:
        points: (V, 3) fractions of the crop's side: x right, y down, z towards the viewer.
        triangles: (T, 3).
        raster: of these points and triangles in the crop, S pixels a side.
        inside: (S, S) pixels of the crop that lie within the photograph.
    """
    corners = np.asarray(points, np.float64)[triangles]
    vectors = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = np.linalg.norm(vectors, axis=1) / 2
    on_screen = np.abs(vectors[:, 2]) / 2 * len(inside) ** 2  # pixels
    pixels = np.bincount(raster.triangle[raster.covered & inside], minlength=len(triangles))
    seen = np.divide(pixels * area, on_screen, out=np.zeros(len(triangles)), where=on_screen > 0)
    eyes = np.asarray(points, np.float64)[[33, 133, 362, 263]].mean(axis=0)
    right = ((corners.mean(axis=1) - eyes) * (1.0, -1.0, 1.0)) @ head_axes(points)[0] > 0
    left_share, right_share = (min(1.0, float(seen[half].sum() / area[half].sum())) for half in (~right, right))
    return left_share, right_share
