"""The dense 3D face mesh of a photograph, by MediaPipe's face mesh (offline: its networks come with the package).

The network estimates 478 points: 468 of the surface and 5 per iris, in weak perspective: x and y in the image,
z on the same scale. It comes from one picture and a learned prior of faces, so depth is plausible, not measured.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from math import ceil
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from mimik.console import without_remarks
from mimik.errors import UserError
from mimik.faces.mesh.topology import LEFT_EYE_LOWER, LEFT_EYE_UPPER, RIGHT_EYE_LOWER, RIGHT_EYE_UPPER

PACKAGE = "mediapipe"
SMALL = 160
"""Photographs with a shorter side below this are enlarged before detection, pixels."""

PADDING = (0.0, 0.25, 0.5)
"""Borders tried in turn, in image sides: a face that fills its picture is found once it has some surroundings."""

TILES = (1.0, 0.5, 0.25)
"""Sides of the square tiles in which faces are sought at last, in shorter sides of the picture. The detectors see 128
or 192 pixels of a square around what they are given, and miss faces that are small in it."""

STEP = 0.5
"""Distance of two tiles, in tiles: a face up to half as wide as a tile lies in one of them as a whole."""

SMALLEST_TILE = 150
"""Smaller tiles are not searched, pixels: faces that are missed in larger ones are too small to be edited. Those as
large as the picture is high (or wide) are searched down to `SMALLEST_FACE`."""

SMALLEST_FACE = 30
"""Width of the smallest faces that are found in small pictures, pixels."""

SMALLEST_SHARE = 0.2
"""Width of the smallest faces that are found in tiles, in tiles; of whole heads at about half of it."""

MOST_TILES = 240
"""Tiles of one size that are searched in one picture; in a very long one they do not overlap so much, or at all."""

TILE_SEEN = 384
"""Larger tiles are shrunk to this side before faces are sought in them, pixels."""

AROUND = 2.2
"""Side of the square in which a face that was found in a tile is looked at again, in widths or heights of the face."""

LONGEST = 16_384
"""Longer pictures are shrunk to this before they are searched as a whole, pixels.

mediapipe counts pixels in 16 bits with a sign. Beyond that it does not raise an error but ends the process.
"""

WINDOW = 2048
"""Longer windows that are not the whole picture are shrunk to this, pixels: what is found in them is large."""

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

            face_mesh, self._detection = mediapipe.solutions.face_mesh, mediapipe.solutions.face_detection
        except (ImportError, AttributeError) as error:
            raise UserError(
                f"landmarks: '{PACKAGE}' (and depth, normals and masks of photographs) need mediapipe 0.10.21: "
                f"{error}. Install it with `pip install 'mimik[mesh]'`; releases from 0.10.30 onwards have no face "
                "mesh."
            ) from error
        self.version = f"{PACKAGE} {mediapipe.__version__}"
        with without_remarks():
            self._network = face_mesh.FaceMesh(
                static_image_mode=True, max_num_faces=FACES, refine_landmarks=True, min_detection_confidence=0.5
            )
            # The graph's threads remark on their networks at some time before the first picture is done.
            self._network.process(np.zeros((SMALL, SMALL, 3), np.uint8))
        self._found_one = False
        self._distant: Any = None
        """Detector of small faces, loaded when the first picture needs it."""

    def __call__(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64] | None:
        """Mesh of the main face.

        Args:
            image: uint8 (H, W, 3) RGB.

        Returns:
            (478, 3) in pixels of the image: x right, y down, z towards the viewer; None when no face is found.
        """
        with self._without_remarks():
            for window in _borders(image.shape[0], image.shape[1]):
                if plausible := self._plausible_in(image, window):
                    return max(plausible, key=lambda mesh: _prominence(mesh, image.shape))
            for share in TILES:
                if found := self._tiled(image, share, []):
                    return max(found, key=lambda mesh: _prominence(mesh, image.shape))
            return None

    def every(self, image: npt.NDArray[np.uint8]) -> list[npt.NDArray[np.float64]]:
        """Meshes of all faces, the most prominent first; see `__call__` for the arguments and one mesh.

        The whole picture is searched, then its tiles, in which smaller faces are found; a face that was found
        twice counts once.
        """
        faces: list[npt.NDArray[np.float64]] = []
        with self._without_remarks():
            for window in _borders(image.shape[0], image.shape[1]):
                if not faces:  # borders are for pictures that a single face fills
                    _add(faces, self._plausible_in(image, window))
            for share in TILES:
                self._tiled(image, share, faces)
        return sorted(faces, key=lambda mesh: -_prominence(mesh, image.shape))

    def _without_remarks(self) -> AbstractContextManager[None]:
        """The last part of the graph remarks on itself when the first face is found: until then nothing is shown."""
        return nullcontext() if self._found_one else without_remarks()

    def _plausible_in(
        self, image: npt.NDArray[np.uint8], window: tuple[int, int, int, int]
    ) -> list[npt.NDArray[np.float64]]:
        return [mesh for mesh in self._search(image, *window) if _plausible(mesh, image.shape)]

    def _tiled(
        self, image: npt.NDArray[np.uint8], share: float, faces: list[npt.NDArray[np.float64]]
    ) -> list[npt.NDArray[np.float64]]:
        """Add the faces that are found in tiles of a size to `faces`, which is returned.

        What two detectors propose, that of the mesh and one for small faces, is looked at again in the photograph's own
        pixels, each face in the middle of a square, and counts where its mesh is found there, too.
        """
        height, width = image.shape[:2]
        side = round(share * min(height, width))
        if not _searched(share, side):
            return faces
        factor = max(1.0, side / TILE_SEEN)
        seen = image if factor == 1 else _resized(image, 1 / factor)
        for left, top in _tiles(height, width, side):
            box = [round(value / factor) for value in (left, top, left + side, top + side)]
            for middle, extent in self._proposed(seen[box[1] : box[3], box[0] : box[2]]):
                middle = (middle + box[:2]) * factor
                if any(_holds(mesh, middle) for mesh in faces):
                    continue
                half = extent * factor * AROUND / 2
                window = [round(value) for value in (*(middle - half), *(middle + half))]
                again = self._plausible_in(image, (window[0], window[1], window[2], window[3]))
                # Letters of print pass for faces of a few pixels.
                large = [mesh for mesh in again if np.ptp(mesh[:, :2], axis=0).max() >= SMALLEST_FACE]
                _add(faces, [mesh for mesh in large if _holds(mesh, middle)])
        return faces

    def _proposed(self, tile: npt.NDArray[np.uint8]) -> list[tuple[npt.NDArray[np.float64], float]]:
        """Middle and extent of what may be faces in a tile, in its pixels."""
        height, width = tile.shape[:2]
        found = [
            (mesh[:, :2].mean(axis=0), float(np.ptp(mesh[:, :2], axis=0).max()))
            for mesh in self._search(tile, 0, 0, width, height)
        ]
        if self._distant is None:
            with without_remarks():
                self._distant = self._detection.FaceDetection(min_detection_confidence=0.5, model_selection=1)
                self._distant.process(np.zeros((SMALL, SMALL, 3), np.uint8))
        for face in self._distant.process(np.ascontiguousarray(tile)).detections or []:
            box = face.location_data.relative_bounding_box
            middle = np.array([(box.xmin + box.width / 2) * width, (box.ymin + box.height / 2) * height])
            found.append((middle, max(box.width * width, box.height * height)))
        return found

    def _search(
        self, image: npt.NDArray[np.uint8], left: int, top: int, right: int, bottom: int
    ) -> list[npt.NDArray[np.float64]]:
        """Meshes of all faces in a window, which may reach beyond the image (its border pixels go on there)."""
        height, width = image.shape[:2]
        wide, tall = right - left, bottom - top
        whole = (left, top, right, bottom) == (0, 0, width, height)
        factor = min(max(1.0, SMALL / min(wide, tall)), (LONGEST if whole else WINDOW) / max(wide, tall))
        window = image if whole else image[max(0, top) : max(0, bottom), max(0, left) : max(0, right)]
        if not window.size:
            return []
        if factor < 1:  # before it is given borders, which then are small, too
            window = _resized(window, factor)
        if not whole:
            beyond = [(-top, bottom - height), (-left, right - width)]
            borders = [tuple(max(0, round(pixels * min(1.0, factor))) for pixels in axis) for axis in beyond]
            window = np.pad(window, [*borders, (0, 0)], mode="edge")
        if factor > 1:
            window = _resized(window, factor)
        result: Any = self._network.process(np.ascontiguousarray(window)).multi_face_landmarks
        self._found_one = self._found_one or bool(result)
        scale = np.array([wide, tall, -wide], np.float64)
        return [
            np.array([(point.x, point.y, point.z) for point in face.landmark]) * scale + (left, top, 0.0)
            for face in result or []
        ]

    def close(self) -> None:
        """Free the networks."""
        self._network.close()
        if self._distant is not None:
            self._distant.close()

    def __enter__(self) -> "FaceMesher":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _resized(picture: npt.NDArray[np.uint8], factor: float) -> npt.NDArray[np.uint8]:
    """A picture enlarged by cubic interpolation, or shrunk by area."""
    from PIL import Image

    sides = (max(1, round(picture.shape[1] * factor)), max(1, round(picture.shape[0] * factor)))
    kind = Image.Resampling.BICUBIC if factor > 1 else Image.Resampling.BOX
    return np.asarray(Image.fromarray(np.ascontiguousarray(picture)).resize(sides, kind, reducing_gap=2.0))


def _borders(height: int, width: int) -> Iterator[tuple[int, int, int, int]]:
    """Windows (left, top, right, bottom) that hold the whole picture, with ever wider borders."""
    for share in PADDING:
        across, down = round(share * width), round(share * height)
        yield -across, -down, width + across, height + down


def smallest_face(height: int, width: int) -> int:
    """Width in pixels from which on faces are found in a picture of this size, wherever they are."""
    for share in reversed(TILES):
        side = round(share * min(height, width))
        tiles = list(_tiles(height, width, side)) if _searched(share, side) else []
        if tiles and max(np.diff(sorted({left for left, _ in tiles})), default=0) <= side:
            return max(SMALLEST_FACE, round(SMALLEST_SHARE * side))
    return max(SMALLEST_FACE, round(SMALLEST_SHARE * max(height, width)))


def _searched(share: float, side: int) -> bool:
    """Whether tiles of a share of the picture's shorter side, that many pixels, are searched."""
    return side >= (SMALLEST_TILE if share < 1 else SMALLEST_FACE)


def _tiles(height: int, width: int, side: int) -> Iterator[tuple[int, int]]:
    """Left and top of square tiles that cover a picture evenly; at most `MOST_TILES`, with gaps in a longer one."""
    counts = [1 + ceil((whole - side) / (STEP * side)) for whole in (height, width)]
    while counts[0] * counts[1] > MOST_TILES:
        longer = int(counts[1] >= counts[0])
        counts[longer] = max(counts[longer] - 1, MOST_TILES // counts[1 - longer])
    down, across = (
        np.linspace(0, whole - side, count).astype(int).tolist()
        for whole, count in zip((height, width), counts, strict=True)
    )
    yield from ((left, top) for top in down for left in across)


def _add(faces: list[npt.NDArray[np.float64]], found: list[npt.NDArray[np.float64]]) -> None:
    """Add to `faces` those that were not among them."""
    faces += [mesh for mesh in found if not any(_same(mesh, known) for known in faces)]


def _holds(mesh: npt.NDArray[np.float64], point: npt.NDArray[np.float64]) -> bool:
    """Whether a point lies in the middle of a face: nearer to the mesh's than half its width."""
    return bool(np.linalg.norm(mesh[:, :2].mean(axis=0) - point) < np.ptp(mesh[:, 0]) / 2)


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
