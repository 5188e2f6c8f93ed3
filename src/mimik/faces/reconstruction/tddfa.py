"""Faces as 3DDFA_V2 sees them: one photograph and its landmarks to a dense surface in the photograph.

Guo et al., "Towards Fast, Accurate and Stable 3D Dense Face Alignment", ECCV 2020, and the GitHub project
cleardusk/3DDFA_V2. A small network estimates 62 parameters of a 3D morphable model of faces: an affine camera (12), the
person's shape (40) and the expression (10). Known deviations from the authors' code: the box of the face is a square
of whole pixels, the one that is cut out, on the way back too; and pixel centres lie at half-integers, where the authors
scale numbers of pixels (at a scale of s, (s - 1) / 2 pixels of the photograph further left and up).

mimik ships neither the weights nor the morphable model, a part of the Basel Face Model, whose terms the user accepts
at its source. The model is given out as pickles. They can run any program when they are read, so they never are:
`CONVERSION`, run once by the user where 3DDFA_V2 itself runs, brings it to arrays.
"""

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mimik import mirror as mirrors
from mimik.datasets.listing import UnusableError
from mimik.errors import UserError
from mimik.storage.files import file_sha256

Array = npt.NDArray[Any]

CHOICE = "3ddfa_v2"
"""Value of `reconstruction` in params.yaml that asks for this."""

WEIGHTS = Path("data/weights")
"""Where the user puts published weights, relative to the project's folder."""

NETWORKS: Mapping[str, str] = {
    "mb1_120x120.pth": "a45a946c6e9b16f8d3cf2e69376da9560a7cf9afae671bebceb7e437a405ea79",
    "mb05_120x120.pth": "f93ed7f1c4c0382b16d7c18480a5f67473c1917a47475a9823924f38aeb27280",
}
"""The weight files of 3DDFA_V2 and their SHA-256; of several that are there the first is used."""

BASIS = "3ddfa_v2.npz"
"""File with the morphable model and the network's scaling of parameters, made by `CONVERSION`."""

CONVERSION = f"""\
import numpy as np
from utils.io import _load
bfm = _load("configs/bfm_noneck_v3.pkl")
norm = _load("configs/param_mean_std_62d_120x120.pkl")
np.savez("{BASIS}", u=bfm["u"], w_shp=bfm["w_shp"], w_exp=bfm["w_exp"], keypoints=bfm["keypoints"],
         tri=_load("configs/tri.pkl").T, mean=norm["mean"], std=norm["std"])
"""
"""Python that makes `BASIS`, for the folder and the environment of 3DDFA_V2."""

_HOW = (
    f"Make it once: clone cleardusk/3DDFA_V2 from GitHub and run there, in its own environment,\n{CONVERSION}"
    f"then put {BASIS} into {WEIGHTS} or the mirror folder."
)

CAMERA, SHAPE, EXPRESSION = 12, 40, 10
"""Numbers of parameters of each kind, in this order."""

SIDE = 120
"""Side of the picture that the network sees, pixels."""

EYES = slice(36, 48)
"""Of the 68 landmarks, the contours of both eyes."""

OPEN = 0.2
"""Least share of the triangles' area, seen from the front, by which front faces must outweigh back faces."""


@dataclass(frozen=True)
class Files:
    """The two files that decide what is seen; equal when their contents are, wherever they lie."""

    network: Path = field(repr=False, compare=False)
    basis: Path = field(repr=False, compare=False)
    network_sha256: str
    basis_sha256: str

    @classmethod
    def find(cls, mirror: Path | None) -> "Files":
        """Look for both in `WEIGHTS`, then in the mirror.

        Raises:
            UserError: one is missing, or the network's is not the published one.
        """
        networks = (mirrors.find(name, mirror, WEIGHTS) for name in NETWORKS)
        network = next((found for found in networks if found is not None), None)
        if network is None:
            raise UserError(
                f"{WEIGHTS / next(iter(NETWORKS))}: not found, but `reconstruction: {CHOICE}` needs it. Get "
                f"{' or '.join(NETWORKS)} from the folder weights/ of cleardusk/3DDFA_V2 on GitHub and put it there or "
                "into the mirror folder."
            )
        expected = NETWORKS[network.name]
        if (sha256 := file_sha256(network)) != expected:
            raise UserError(
                f"{network}: not the file of 3DDFA_V2: its SHA-256 is {sha256}, expected {expected}. Get it again from "
                "the folder weights/ of cleardusk/3DDFA_V2 on GitHub; a file of a few hundred bytes is only a pointer "
                "to it."
            )
        basis = mirrors.find(BASIS, mirror, WEIGHTS)
        if basis is None:
            raise UserError(f"{WEIGHTS / BASIS}: not found, but `reconstruction: {CHOICE}` needs it. {_HOW}")
        return cls(network, basis, sha256, file_sha256(basis))

    def __str__(self) -> str:
        return f"3DDFA_V2 by {self.network} and {self.basis}"

    def record(self) -> dict[str, dict[str, str]]:
        """Names and digests, for a manifest."""
        return {
            "network": {"file": self.network.name, "sha256": self.network_sha256},
            "basis": {"file": self.basis.name, "sha256": self.basis_sha256},
        }


@dataclass(frozen=True)
class Basis:
    """A linear model of the surface of faces, and how the network's numbers are scaled.

    Attributes:
        mean: float32 (3 V,) mean face: x, y, z of each vertex in turn; y up, z towards the viewer.
        modes: float32 (3 V, 50) what one unit of every parameter of shape, then of expression, adds.
        triangles: int32 (T, 3), clockwise on the screen when seen from their outer side.
        landmarks: int64 (68,) vertices at the landmarks of the iBUG 300-W annotation.
        centre, deviation: float32 (62,), the parameters are the network's numbers * deviation + centre.
    """

    mean: npt.NDArray[np.float32]
    modes: npt.NDArray[np.float32]
    triangles: npt.NDArray[np.int32]
    landmarks: npt.NDArray[np.int64]
    centre: npt.NDArray[np.float32]
    deviation: npt.NDArray[np.float32]

    @classmethod
    def load(cls, path: Path) -> "Basis":
        """Read and check the file that `CONVERSION` made.

        Raises:
            UserError: an array is missing, is of another shape, or cannot be what its name says.
        """
        stored = _arrays(path)

        def wrong(name: str, expected: str) -> UserError:
            array = stored[name]
            return UserError(f"{path}: {name}: expected {expected}; found {array.dtype} {array.shape}. {_HOW}")

        for name, array in stored.items():
            if array.dtype.kind not in "fiu" or not np.isfinite(array).all():
                raise wrong(name, "finite numbers")
        mean, triangles, keypoints = stored["u"].ravel(), stored["tri"], stored["keypoints"].ravel()
        length = len(mean)
        if stored["u"].shape not in ((length,), (length, 1)) or length % 3 or not length:
            raise wrong("u", "(3 V,) or (3 V, 1), x, y and z of V vertices")
        for name, columns in (("w_shp", SHAPE), ("w_exp", EXPRESSION)):
            if stored[name].shape != (length, columns):
                raise wrong(name, f"({length}, {columns}), as u has {length} numbers")
        whole = triangles.dtype.kind in "iu" and triangles.ndim == 2 and triangles.shape[1] == 3 and triangles.size > 0
        if not whole or triangles.min() < 0 or triangles.max() >= length // 3:
            raise wrong("tri", f"whole numbers (T, 3) from 0 to {length // 3 - 1}")
        landmarks = keypoints[::3].astype(np.int64) // 3
        of_coordinates = (landmarks[:, None] * 3 + np.arange(3)).ravel()
        if (
            len(keypoints) != 204
            or (keypoints != of_coordinates).any()
            or not 0 <= keypoints.min() <= keypoints.max() < length
        ):
            raise wrong("keypoints", f"places of x, y, z of 68 vertices in u, 204 whole numbers below {length}")
        for name in ("mean", "std"):
            if stored[name].shape != (CAMERA + SHAPE + EXPRESSION,):
                raise wrong(name, f"({CAMERA + SHAPE + EXPRESSION},)")
        if stored["std"].min() < 0:
            raise wrong("std", "no negative numbers")
        return cls(
            mean.astype(np.float32),
            np.concatenate([stored["w_shp"], stored["w_exp"]], axis=1).astype(np.float32),
            _facing_front(mean.reshape(-1, 3), triangles.astype(np.int32), path),
            landmarks,
            stored["mean"].astype(np.float32),
            stored["std"].astype(np.float32),
        )

    def surface(self, parameters: Array) -> npt.NDArray[np.float64]:
        """The face of 62 parameters in the picture that the network sees.

        The camera is a 3 x 4 matrix, row by row, whose rows give x, y and depth. The authors count pixels from 1, and
        y from the lower edge.

        Args:
            parameters: (62,), in their own units.

        Returns:
            (V, 3) pixels: x right, y down, from the upper left corner of the picture, z towards the viewer.
        """
        parameters = np.asarray(parameters, np.float32)
        camera = parameters[:CAMERA].reshape(3, 4).astype(np.float64)
        shaped = (self.mean + self.modes @ parameters[CAMERA:]).reshape(-1, 3).astype(np.float64)
        points = shaped @ camera[:, :3].T + camera[:, 3]
        return np.column_stack([points[:, 0] - 0.5, SIDE + 0.5 - points[:, 1], points[:, 2]])


def _arrays(path: Path) -> dict[str, Array]:
    """The arrays of a basis file, by name."""
    names = ("u", "w_shp", "w_exp", "tri", "keypoints", "mean", "std")
    try:
        with np.load(path, allow_pickle=False) as opened:
            return {name: opened[name] for name in names}
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(
            f"{path}: expected an .npz file of plain arrays {', '.join(names)}, but {error}. {_HOW}"
        ) from error


def _facing_front(points: Array, triangles: npt.NDArray[np.int32], path: Path) -> npt.NDArray[np.int32]:
    """Triangles all turned, if need be, so that the front of the mean face is seen from the front.

    A face's surface ends behind: seen from the front, its front outweighs what is seen of it from inside.
    """
    x, y = points[:, 0][triangles], -points[:, 1][triangles]
    areas = (x[:, 1] - x[:, 0]) * (y[:, 2] - y[:, 0]) - (y[:, 1] - y[:, 0]) * (x[:, 2] - x[:, 0])
    if abs(areas.sum()) <= OPEN * np.abs(areas).sum():
        raise UserError(
            f"{path}: tri does not give a surface of a face when the mean face u is seen from the front. {_HOW}"
        )
    return triangles if areas.sum() > 0 else np.ascontiguousarray(triangles[:, ::-1])


@dataclass(frozen=True)
class Surface:
    """A face in a photograph.

    Attributes:
        points: (V, 3) pixels of the photograph: x right, y down, z towards the viewer from the plane of the eyes.
        landmarks: (68, 2) of the same, in the order of the iBUG 300-W annotation.
    """

    points: npt.NDArray[np.float64]
    landmarks: npt.NDArray[np.float64]


class Tddfa:
    """Network and morphable model; make one per process."""

    def __init__(self, files: Files) -> None:
        """Load both on the CPU. Raises `UserError` like `Basis.load` and `mimik.networks.mobilenet.load`."""
        from mimik.networks import mobilenet

        self.basis = Basis.load(files.basis)
        self._network = mobilenet.load(files.network)

    @property
    def triangles(self) -> npt.NDArray[np.int32]:
        """(T, 3) of every `Surface`, clockwise on the screen when seen from their outer side."""
        return self.basis.triangles

    def __call__(self, image: npt.NDArray[np.uint8], landmarks: Array) -> Surface:
        """Find the surface of one face.

        Args:
            image: uint8 (H, W, 3) RGB.
            landmarks: (68, 2) pixels of the image.

        Raises:
            UnusableError: the network sees no surface that is one.
        """
        left, top, side = face_box(landmarks)
        points = self.basis.surface(self._parameters(cut(image, (left, top, side)))) * (side / SIDE)
        if not np.isfinite(points).all():
            raise UnusableError("3DDFA_V2 returned coordinates that are not finite")
        points += (left, top, 0)
        points[:, 2] -= points[self.basis.landmarks[EYES], 2].mean()
        return Surface(points, points[self.basis.landmarks, :2])

    def _parameters(self, window: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """The 62 parameters of the face in a square window, uint8 (side, side, 3) RGB."""
        import torch
        import torch.nn.functional as F

        # The authors read pictures with OpenCV: blue first, resized without smoothing, in whole levels.
        pixels = torch.from_numpy(np.ascontiguousarray(window[..., ::-1].transpose(2, 0, 1)))[None].float()
        resized = F.interpolate(pixels, (SIDE, SIDE), mode="bilinear", align_corners=False).round()
        with torch.inference_mode():
            seen = self._network((resized - 127.5) / 128)[0].numpy()
        parameters: npt.NDArray[np.float32] = seen * self.basis.deviation + self.basis.centre
        return parameters


def face_box(landmarks: Array) -> tuple[int, int, int]:
    """The square around a face that the network sees: sqrt(2) times the longer extent of its landmarks.

    Args:
        landmarks: (68, 2) pixels.

    Returns:
        left, top and side in whole pixels, side at least 1.
    """
    low, high = landmarks.min(axis=0), landmarks.max(axis=0)
    side = float(np.sqrt(2.0) * (high - low).max())
    left, top = (low + high - side) / 2
    return round(float(left)), round(float(top)), max(1, round(side))


def cut(image: npt.NDArray[np.uint8], box: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
    """Cut a square out of a photograph; black beyond its border.

    Args:
        image: uint8 (H, W, 3).
        box: left, top, side.

    Returns:
        uint8 (side, side, 3).
    """
    left, top, side = box
    window = np.zeros((side, side, 3), np.uint8)
    rows, columns = (slice(max(0, start), max(0, start + side)) for start in (top, left))
    part = image[rows, columns]
    row, column = max(0, -top), max(0, -left)
    window[row : row + part.shape[0], column : column + part.shape[1]] = part
    return window
