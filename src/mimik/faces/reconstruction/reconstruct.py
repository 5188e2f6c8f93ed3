"""One photograph -> one prepared face: landmarks, aligned crops, depth, normals, part masks, pose, action units."""

from collections.abc import Container, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mimik.datasets.listing import UnusableError
from mimik.errors import UserError
from mimik.faces import alignment
from mimik.faces.action_units import geometric
from mimik.faces.landmarks import BACKENDS, FanLandmarks
from mimik.faces.masks import part_mask
from mimik.faces.mesh.mesher import FaceMesher, pose
from mimik.faces.mesh.rasterise import Raster, encode_depth, encode_normals, interpolate, rasterise
from mimik.faces.mesh.topology import IBUG_68, VERTICES, topology, vertex_normals
from mimik.faces.reconstruction import quality, tilt
from mimik.faces.reconstruction.released import check_fit
from mimik.faces.reconstruction.tddfa import Files, Tddfa

Array = npt.NDArray[Any]

ANNOTATIONS: Sequence[str] = ("depth", "normals", "masks")

DEPTH_FAR, DEPTH_NEAR = -0.45, 0.40
"""Depths stored as 1 and 255, in crop sides in front of the plane of the eye centres.

The crop is scaled by the face, so the same value means the same depth, relative to the face, in every picture.
The tip of the nose of a frontal face lies near 0.2, the temples near -0.3; the cheek of a profile near 0.35.
"""

SMALLEST_EYES = 4.0
"""Faces whose eyes are closer than this in the photograph are rejected, pixels."""

SMALLEST_COVERAGE = 1 / 3
"""Crops of which the photograph covers less than this share are rejected."""


@dataclass(frozen=True)
class Face:
    """A prepared face.

    Attributes:
        images: size -> uint8 (size, size, 3).
        depth, normals, masks: size -> arrays encoded like `mimik.faces.prepared.store`; empty when not wanted.
        landmarks: float32 (68, 2), fractions of the crop's side.
        transform: float32 (2, 3), source pixel -> fraction of the crop's side.
        pose: yaw, pitch, roll in degrees (see `mimik.faces.mesh.mesher.pose`); None without a mesh.
        eye_distance: distance of the eye centres in the photograph, pixels.
        coverage: share of the crop that the photograph covers, 0 to 1.
        action_units: float32 (17,) in [0, 1] by `mimik.faces.action_units.geometric`; None when not wanted.
        visible: shares of the left and the right half that are visible (`quality.visible_shares`); None without a mesh.
        reprojection: distance of the mesh from the landmarks (`quality.reprojection`), infinite when a second look
            found no mesh; None without a mesh, or when the landmarks are the mesh's and no second look was wanted.
            With 3DDFA_V2 never None: its surface's distance, or the mesh's if that is larger.
    """

    images: dict[int, npt.NDArray[np.uint8]]
    depth: dict[int, npt.NDArray[np.uint8]]
    normals: dict[int, npt.NDArray[np.uint8]]
    masks: dict[int, npt.NDArray[np.uint8]]
    landmarks: npt.NDArray[np.float32]
    transform: npt.NDArray[np.float32]
    pose: tuple[float, float, float] | None
    eye_distance: float
    coverage: float
    action_units: npt.NDArray[np.float32] | None = None
    visible: tuple[float, float] | None = None
    reprojection: float | None = None

    @property
    def measured(self) -> dict[str, float]:
        """What `mimik.faces.prepared.settings.MEASURED` names; NaN where it is not known."""
        yaw, pitch, roll = self.pose or (np.nan,) * 3
        left, right = self.visible or (np.nan,) * 2
        return {
            "yaw": yaw,
            "pitch": pitch,
            "roll": roll,
            "eye_distance": self.eye_distance,
            "coverage": self.coverage,
            "visible_left": left,
            "visible_right": right,
            "reprojection": np.nan if self.reprojection is None else self.reprojection,
        }


@dataclass(frozen=True)
class Rejected:
    """A photograph that cannot be used: the stage that gave up, and why."""

    stage: str
    reason: str


class Reconstructor:
    """Turns photographs into prepared faces. Holds the networks; make one per process."""

    def __init__(
        self,
        sizes: Sequence[int],
        landmarks: str = "mediapipe",
        annotations: Sequence[str] = ANNOTATIONS,
        mirror: Path | None = None,
        action_units: bool = False,
        second_look: bool = False,
        model: Files | None = None,
    ) -> None:
        """Load what is needed.

        Args:
            sizes: sides of the crops, pixels.
            landmarks: one of `mimik.faces.landmarks.BACKENDS`.
            annotations: any of `ANNOTATIONS`; they need the mesh, whatever finds the landmarks.
            mirror: folder with weights, searched before any URL.
            action_units: estimate them from the mesh (`mimik.faces.action_units.geometric`).
            second_look: find the mesh anew in the aligned crop where it gives the landmarks too, and compare both.
            model: take depth, which must be wanted, and normals from 3DDFA_V2; None for those of the mesh.

        Raises:
            UserError: a setting is unknown, or a package or file is missing.
        """
        if landmarks not in BACKENDS:
            raise UserError(f"landmarks: '{landmarks}' is unknown; choose one of {', '.join(BACKENDS)}.")
        if unknown := [name for name in annotations if name not in ANNOTATIONS]:
            raise UserError(f"annotations: {unknown} are unknown; choose from {', '.join(ANNOTATIONS)}.")
        if not sizes or any(size < 16 for size in sizes):
            raise UserError(f"sizes: expected one or more sides of at least 16 px, found {list(sizes)}.")
        self.sizes = sorted(set(sizes), reverse=True)
        self.backend = landmarks
        self.annotations = tuple(annotations)
        self._mesher = FaceMesher() if landmarks == "mediapipe" or annotations or action_units else None
        self._second_look = second_look
        self._tddfa = Tddfa(model) if model is not None else None
        # The mesh's depth is what the other is compared with; its normals are not needed.
        self._of_mesh = [name for name in annotations if model is None or name != "normals"]
        self._estimator = geometric.estimator() if action_units else None
        self._fan = FanLandmarks(mirror) if landmarks == "face_alignment" else None

    @property
    def versions(self) -> list[str]:
        """Names and versions of the packages whose networks are used."""
        return [tool.version for tool in (self._fan, self._mesher) if tool is not None]

    def __call__(self, image: npt.NDArray[np.uint8], landmarks: Array | None = None) -> Face | Rejected:
        """Prepare one photograph.

        Args:
            image: uint8 (H, W, 3) RGB.
            landmarks: (68, 2) source pixels; needed when, and used only when, the backend is `precomputed`.
        """
        mesh: Array | None = None
        if self.backend == "mediapipe":
            assert self._mesher is not None
            mesh = self._mesher(image)
            points = None if mesh is None else mesh[list(IBUG_68), :2]
        elif self.backend == "face_alignment":
            assert self._fan is not None
            points = self._fan(image)
        else:
            points = landmarks
            if points is None:
                return Rejected("landmarks", "the dataset has no landmarks for this image")
        if points is None:
            return Rejected("landmarks", "no face found")

        try:
            transform = alignment.alignment(points)
        except ValueError:
            return Rejected("alignment", "the landmarks coincide or are not numbers")
        eyes = alignment.five_points(points)[:2]
        eye_distance = float(np.linalg.norm(eyes[1] - eyes[0]))
        if eye_distance < SMALLEST_EYES:
            return Rejected("alignment", f"the face is too small: {eye_distance:.1f} px between the eyes")
        outside = {size: alignment.outside_source(transform, image.shape, size) for size in self.sizes}
        inside = {size: distance == 0 for size, distance in outside.items()}
        coverage = float(inside[self.sizes[0]].mean())
        if coverage < SMALLEST_COVERAGE:
            return Rejected("alignment", f"only {coverage:.0%} of the aligned face is within the image")

        images = alignment.crops(image, transform, self.sizes, outside[self.sizes[0]])
        largest = images[self.sizes[0]]
        error: float | None = None
        if mesh is None and self._mesher is not None:
            # Landmarks came from elsewhere: the mesh is sought where they say that the face is.
            mesh = self._mesh_of_crop(largest, transform)
            if mesh is None:
                return Rejected("mesh", "landmarks are known, but no face mesh was found there")
            error = quality.reprojection(mesh[list(IBUG_68), :2], points)
        elif mesh is not None and self._second_look:
            again = self._mesh_of_crop(largest, transform)
            error = np.inf if again is None else quality.reprojection(again[list(IBUG_68), :2], points)
        annotated, visible = ({}, None) if mesh is None else self._annotate(mesh, transform, inside)
        if self._tddfa is not None:
            try:
                dense = self._tddfa(image, points)
                annotated |= self._dense_maps(dense.points, self._tddfa.triangles, transform, annotated["depth"])
            except UnusableError as reason:
                return Rejected("reconstruction", str(reason))
            error = max(quality.reprojection(dense.landmarks, points), error or 0.0)
        units = None if self._estimator is None or mesh is None else self._estimator(geometric.measures(mesh))
        return Face(
            images=images,
            depth=annotated.get("depth", {}),
            normals=annotated.get("normals", {}),
            masks=annotated.get("masks", {}),
            landmarks=alignment.apply(transform, points).astype(np.float32),
            transform=transform.astype(np.float32),
            pose=None if mesh is None else pose(mesh),
            eye_distance=eye_distance,
            coverage=coverage,
            action_units=units,
            visible=visible,
            reprojection=error,
        )

    def _mesh_of_crop(self, crop: npt.NDArray[np.uint8], transform: Array) -> Array | None:
        """The mesh found in an aligned crop, in pixels of the photograph."""
        assert self._mesher is not None
        mesh = self._mesher(crop)
        if mesh is None:
            return None
        planar = alignment.apply(alignment.inverse(transform), mesh[:, :2] / len(crop))
        return np.column_stack([planar, mesh[:, 2] / len(crop) / alignment.scale_of(transform)])

    def _annotate(
        self, mesh: Array, transform: Array, inside: dict[int, npt.NDArray[np.bool_]]
    ) -> tuple[dict[str, dict[int, npt.NDArray[np.uint8]]], tuple[float, float]]:
        """Depth, normals and masks that are the mesh's at all sizes, and how much of both halves is visible."""
        surface = topology()
        points = in_crop(mesh, transform)
        points[:, 2] += tilt.lean(points) * points[:, 1]
        depth = points[:, 2] = points[:, 2] - points[list(IBUG_68[36:48]), 2].mean()
        normals = vertex_normals(points, surface.triangles)
        made: dict[str, dict[int, npt.NDArray[np.uint8]]] = {name: {} for name in self._of_mesh}
        visible: tuple[float, float] | None = None
        for size in self.sizes:
            raster = rasterise(points * size, surface.triangles, size)
            visible = visible or quality.visible_shares(points, surface.triangles, raster, inside[size])
            if not made:
                break
            if "masks" in made:
                made["masks"][size] = part_mask(raster, surface.classes, inside[size])
            for name, picture in surface_maps(raster, surface.triangles, depth, normals, made).items():
                made[name][size] = picture
        assert visible is not None
        return made, visible

    def _dense_maps(
        self, points: Array, triangles: Array, transform: Array, mesh_depth: dict[int, npt.NDArray[np.uint8]]
    ) -> dict[str, dict[int, npt.NDArray[np.uint8]]]:
        """Those of depth and normals that are wanted, of a surface in pixels of the photograph, at all sizes.

        Raises `UnusableError` when the depth cannot be of the face whose mesh has `mesh_depth`.
        """
        points = alignment.apply_solid(transform, points)
        normals = vertex_normals(points, triangles)
        made: dict[str, dict[int, npt.NDArray[np.uint8]]] = {
            name: {} for name in ("depth", "normals") if name in self.annotations
        }
        for size in self.sizes:
            raster = rasterise(points * size, triangles, size)
            for name, picture in surface_maps(raster, triangles, points[:, 2], normals, made).items():
                made[name][size] = picture
        check_fit(made["depth"][self.sizes[0]], mesh_depth[self.sizes[0]])
        return made


def surface_maps(
    raster: Raster, triangles: Array, depth: Array, normals: Array, wanted: Container[str]
) -> dict[str, npt.NDArray[np.uint8]]:
    """Those of depth and normals of a surface that are wanted, as they are stored (`mimik.faces.prepared.store`).

    Args:
        raster: of the surface in the aligned crop, S pixels a side.
        triangles: (T, 3).
        depth: (V,) crop sides in front of the eyes.
        normals: (V, 3) x right, y up, z towards the viewer.
        wanted: `depth`, `normals`; other names are passed over.

    Returns:
        uint8 (S, S) and (S, S, 3) by name.
    """
    values = interpolate(raster, triangles, np.column_stack([depth, normals]))
    made = {}
    if "depth" in wanted:
        made["depth"] = encode_depth(values[:, 0], raster, far=DEPTH_FAR, near=DEPTH_NEAR)
    if "normals" in wanted:
        made["normals"] = encode_normals(values[:, 1:], raster)
    return made


def in_crop(mesh: Array, transform: Array) -> npt.NDArray[np.float64]:
    """The surface of a mesh in the aligned crop, as the network sees it.

    Args:
        mesh: (V, 3) source pixels, V >= 468: x right, y down, z towards the viewer.
        transform: (2, 3), source pixel -> fraction of the crop's side.

    Returns:
        (468, 3) fractions of the crop's side, with the same axes.
    """
    return alignment.apply_solid(transform, mesh[:VERTICES])
