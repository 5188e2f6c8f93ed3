"""The dense 3D face mesh of a photograph, by MediaPipe's face mesh (offline: its networks come with the package).

The network estimates 478 points: 468 of the surface and 5 per iris, in weak perspective: x and y in the image,
z on the same scale. It comes from one picture and a learned prior of faces, so depth is plausible, not measured.
"""

from collections.abc import Iterator
from contextlib import nullcontext
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from mimik.console import without_remarks
from mimik.errors import UserError
from mimik.faces.topology import LEFT_EYE_LOWER, LEFT_EYE_UPPER, RIGHT_EYE_LOWER, RIGHT_EYE_UPPER

PACKAGE = "mediapipe"
SMALL = 160
"""Photographs with a shorter side below this are enlarged before detection, pixels."""

PADDING = (0.0, 0.25, 0.5)
"""Borders tried in turn, in image sides: a face that fills its picture is found once it has some surroundings."""

PARTS = ((0.6, 3), (0.3, 5))
"""Parts of the picture in which faces are sought at last: their sides, in image sides, and how many there are along
each axis, evenly spread. The detector sees 128 x 128 pixels and misses faces that are small in them."""

SMALLEST_PART = 192
"""Parts with a shorter side below this are not searched, pixels."""

LONGEST = 16_384
"""Longer windows are shrunk to this before they are searched, pixels.

mediapipe counts pixels in 16 bits with a sign. Beyond that it does not raise an error but ends the process.
"""

FACES = 4
"""Most faces that are looked at in one photograph; the largest near the middle is taken."""


class FaceMesher:
    """Finds the face mesh in photographs. Use it as a context manager, or call `close`.

    Every call is independent of the calls before it.
    """

    def __init__(self) -> None:
        """Load the networks. Raises `UserError` when mediapipe is not installed."""
        try:
            with without_remarks():
                import mediapipe

            face_mesh = mediapipe.solutions.face_mesh
        except (ImportError, AttributeError) as error:
            raise UserError(
                f"landmarks: '{PACKAGE}' (and depth, normals and masks of photographs) need mediapipe 0.10.21: "
                f"{error}. Install it with `pip install 'mimik[mesh]'`; the releases from 0.10.30 on have no "
                "face mesh."
            ) from error
        self.version = f"{PACKAGE} {mediapipe.__version__}"
        with without_remarks():
            self._network = face_mesh.FaceMesh(
                static_image_mode=True, max_num_faces=FACES, refine_landmarks=True, min_detection_confidence=0.5
            )
            # The graph's threads remark on their networks at some time before the first picture is done.
            self._network.process(np.zeros((SMALL, SMALL, 3), np.uint8))
        self._found_one = False

    def __call__(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64] | None:
        """Mesh of the main face.

        Args:
            image: uint8 (H, W, 3) RGB.

        Returns:
            (478, 3) in pixels of the image: x right, y down, z towards the viewer; None when no face is found.
        """
        for windows in _windows(image.shape[0], image.shape[1]):
            found = [mesh for window in windows for mesh in self._search(image, *window)]
            plausible = [mesh for mesh in found if _plausible(mesh, image.shape)]
            if plausible:
                return max(plausible, key=lambda mesh: _prominence(mesh, image.shape))
        return None

    def every(self, image: npt.NDArray[np.uint8]) -> list[npt.NDArray[np.float64]]:
        """Meshes of all faces, the most prominent first; see `__call__` for the arguments and one mesh.

        The whole picture is searched, then its parts, in which smaller faces are found; a face that was found
        twice counts once.
        """
        faces: list[npt.NDArray[np.float64]] = []
        for windows in _windows(image.shape[0], image.shape[1]):
            if len(windows) == 1 and faces:
                continue  # borders are for pictures that a single face fills
            for window in windows:
                found = [mesh for mesh in self._search(image, *window) if _plausible(mesh, image.shape)]
                faces += [mesh for mesh in found if not any(_same(mesh, known) for known in faces)]
        return sorted(faces, key=lambda mesh: -_prominence(mesh, image.shape))

    def _search(
        self, image: npt.NDArray[np.uint8], left: int, top: int, right: int, bottom: int
    ) -> list[npt.NDArray[np.float64]]:
        """Meshes of all faces in a window, which may reach beyond the image (its border pixels go on there)."""
        height, width = image.shape[:2]
        if (left, top, right, bottom) == (0, 0, width, height):
            window = image
        else:
            rows = np.arange(top, bottom).clip(0, height - 1)
            window = image[rows[:, None], np.arange(left, right).clip(0, width - 1)]
        factor = min(max(1.0, SMALL / min(window.shape[:2])), LONGEST / max(window.shape[:2]))
        if factor != 1:
            from PIL import Image

            sides = (max(1, round(window.shape[1] * factor)), max(1, round(window.shape[0] * factor)))
            window = np.asarray(Image.fromarray(window).resize(sides, Image.Resampling.BICUBIC))
        # The last part of the graph remarks on itself when the first face was found.
        with nullcontext() if self._found_one else without_remarks():
            result: Any = self._network.process(np.ascontiguousarray(window)).multi_face_landmarks
        self._found_one = self._found_one or bool(result)
        scale = np.array([right - left, bottom - top, -(right - left)], np.float64)
        return [
            np.array([(point.x, point.y, point.z) for point in face.landmark]) * scale + (left, top, 0.0)
            for face in result or []
        ]

    def close(self) -> None:
        """Free the networks."""
        self._network.close()

    def __enter__(self) -> "FaceMesher":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _windows(height: int, width: int) -> Iterator[list[tuple[int, int, int, int]]]:
    """Groups of windows (left, top, right, bottom) to search, the likeliest first; one group is searched as a whole."""
    for share in PADDING:
        across, down = round(share * width), round(share * height)
        yield [(-across, -down, width + across, height + down)]
    for share, count in PARTS:
        tall, wide = round(share * height), round(share * width)
        if min(tall, wide) >= SMALLEST_PART:
            lefts, tops = (
                np.linspace(0, whole - part, count).astype(int).tolist()
                for whole, part in ((width, wide), (height, tall))
            )
            yield [(left, top, left + wide, top + tall) for top in tops for left in lefts]


def _eyes(mesh: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    left = mesh[[*LEFT_EYE_UPPER, *LEFT_EYE_LOWER[1:-1]], :2].mean(axis=0)
    right = mesh[[*RIGHT_EYE_UPPER, *RIGHT_EYE_LOWER[1:-1]], :2].mean(axis=0)
    return np.stack([left, right])


def _plausible(mesh: npt.NDArray[np.float64], shape: tuple[int, ...]) -> bool:
    """Whether most of the surface, and the middle between the eyes, lie within the photograph."""
    inside = ((mesh[:, :2] >= 0) & (mesh[:, :2] <= (shape[1], shape[0]))).all(axis=1)
    middle = _eyes(mesh).mean(axis=0)
    return bool(
        np.isfinite(mesh).all()
        and inside.mean() > 0.5
        and (middle >= 0).all()
        and (middle <= (shape[1], shape[0])).all()
    )


def _same(mesh: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> bool:
    """Whether two meshes are of one face: their middles are nearer than half the wider one's width."""
    width = max(float(np.ptp(points[:, 0])) for points in (mesh, other))
    return bool(np.linalg.norm(mesh[:, :2].mean(axis=0) - other[:, :2].mean(axis=0)) < width / 2)


def _prominence(mesh: npt.NDArray[np.float64], shape: tuple[int, ...]) -> float:
    """Size of a face, halved when it lies half an image away from the middle."""
    extent = float(np.ptp(mesh[:, :2], axis=0).max())
    centre = np.array([shape[1], shape[0]]) / 2
    distance = float(np.linalg.norm((mesh[:, :2].mean(axis=0) - centre) / (shape[1], shape[0])))
    return extent / (1.0 + 2.0 * distance)


def head_axes(mesh: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """(3, 3) unit vectors of a head in rows: to the image's right, upright, out of the face.

    Their components are x right, y UP, z to the viewer.

    They come from vertices that expressions do not move: temples and outer eye corners give the sideways axis,
    forehead (10) to the base of the nose (2) the upright one. The latter leans back by `PITCH_ZERO` in a head that
    looks straight ahead.
    """
    points = np.asarray(mesh, np.float64) * (1.0, -1.0, 1.0)
    sideways = np.sum([points[b] - points[a] for a, b in ((127, 356), (234, 454), (33, 263))], axis=0)
    sideways /= np.linalg.norm(sideways)
    upright = points[10] - points[2]
    upright = upright - (upright @ sideways) * sideways
    upright /= np.linalg.norm(upright)
    return np.stack([sideways, upright, np.cross(sideways, upright)])


def pose(mesh: npt.NDArray[Any]) -> tuple[float, float, float]:
    """Head pose of a mesh in degrees: yaw, pitch, roll, all 0 when it looks straight into the camera.

    Yaw is positive when the face turns to the image's right, pitch when it looks up, roll when the head tilts
    clockwise on the screen. See `head_axes`; pitch counts from the lean of an upright frontal head.
    """
    sideways, upright, outwards = head_axes(mesh)
    zero = np.radians(PITCH_ZERO)
    forward = np.cos(zero) * outwards - np.sin(zero) * upright
    yaw = np.degrees(np.arctan2(forward[0], forward[2]))
    pitch = np.degrees(np.arcsin(np.clip(forward[1], -1.0, 1.0)))
    roll = -np.degrees(np.arctan2(sideways[1], np.hypot(sideways[0], sideways[2])))
    return float(yaw), float(pitch), float(roll)


PITCH_ZERO = 3.0
"""Degrees by which the plane through temples, forehead and base of the nose leans back in a head that looks
straight ahead: the median over 2,961 photographs."""
