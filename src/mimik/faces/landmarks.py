"""The 68 landmarks of the iBUG 300-W annotation, from one of three sources named in the dataset's options.

`mediapipe`: vertices of the face mesh. `face_alignment`: the network FAN (Bulat and Tzimiropoulos, How far are we
from solving the 2D & 3D Face Alignment problem?, ICCV 2017). `precomputed`: given by the dataset.

All landmarks are (68, 2) float64 in source pixels, x then y, with (0, 0) at the upper left corner of the image.
"""

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mimik import mirror as mirrors
from mimik.errors import UserError
from mimik.storage.files import atomic_path

Landmarks = npt.NDArray[np.float64]

BACKENDS: Sequence[str] = ("mediapipe", "face_alignment", "precomputed")

COLUMN = "landmarks"
"""Column of a dataset's table that holds precomputed landmarks: 136 numbers x0;y0;x1;y1;... in source pixels."""

FAN_WEIGHTS: Mapping[str, tuple[str, str]] = {
    "s3fd-619a316812.pth": (
        "https://www.adrianbulat.com/downloads/python-fan/s3fd-619a316812.pth",
        "619a31681264d3f7f7fc7a16a42cbbe8b23f31a256f75a366e5a1bcd59b33543",
    ),
    "2DFAN4-11f355bf06.pth.tar": (
        "https://www.adrianbulat.com/downloads/python-fan/2DFAN4-11f355bf06.pth.tar",
        "11f355bf0693120222f5955ce3f9dc8fb5763ebb30a47d7906e509490d32e4aa",
    ),
}
"""Files that face-alignment needs (its face detector and the network): where its author publishes them, SHA-256."""


def fetch_fan_weights(mirror: Path | None) -> Path:
    """Put FAN's weights where face-alignment reads them and return that folder, $TORCH_HOME/hub/checkpoints.

    Files of a mirror are linked, or copied where links are impossible; missing ones are downloaded.

    Raises:
        UserError: a file is neither there nor in the mirror, and cannot be downloaded; or it is damaged.
    """
    from torch.hub import get_dir

    folder = Path(get_dir()) / "checkpoints"
    for name, (url, sha256) in FAN_WEIGHTS.items():
        found = mirrors.locate(name, url=url, sha256=sha256, mirror=mirror, destination=folder)
        if found.parent != folder:
            folder.mkdir(parents=True, exist_ok=True)
            _link(found, folder / name)
    return folder


def _link(source: Path, target: Path) -> None:
    """Make `target` the same file as `source`; safe when several processes do it at once."""
    with atomic_path(target) as temporary:
        try:
            os.link(source, temporary)
        except OSError:  # another file system
            shutil.copyfile(source, temporary)


class FanLandmarks:
    """Landmarks by face-alignment's detector (S3FD) and FAN; the largest face is taken."""

    def __init__(self, mirror: Path | None) -> None:
        """Load both networks on the CPU. Raises `UserError` like `fetch_fan_weights`, or without the package."""
        try:
            import face_alignment
        except ImportError as error:
            raise UserError(
                f"landmarks: 'face_alignment' needs the package face-alignment: {error}. Install mimik's "
                "requirements, or choose another of " + ", ".join(BACKENDS) + " in params.yaml."
            ) from error
        fetch_fan_weights(mirror)
        self.version = f"face-alignment {face_alignment.__version__}"
        self._network: Any = face_alignment.FaceAlignment(
            face_alignment.LandmarksType.TWO_D, device="cpu", flip_input=False, compile=False
        )

    def __call__(self, image: npt.NDArray[np.uint8]) -> Landmarks | None:
        """(68, 2) landmarks of the largest face of an image uint8 (H, W, 3), or None without a face."""
        boxes = self._network.face_detector.detect_from_image(image.copy())
        if not len(boxes):
            return None
        largest = max(boxes, key=lambda box: (box[2] - box[0]) * (box[3] - box[1]))
        found = self._network.get_landmarks_from_image(image, detected_faces=[largest])
        # FAN counts from pixel centres, mimik from the image's corner.
        return None if not found else np.asarray(found[0], np.float64) + 0.5


def parse_landmarks(text: str) -> Landmarks:
    """Read (68, 2) landmarks from a table's cell: 136 numbers, separated by semicolons, commas or blanks.

    Raises:
        ValueError: not 136 finite numbers.
    """
    numbers = np.array([float(word) for word in text.replace(";", " ").replace(",", " ").split()])
    if numbers.shape != (136,):
        raise ValueError(f"expected 136 numbers (68 landmarks, x then y), found {len(numbers)}")
    if unknown := int((~np.isfinite(numbers)).sum()):
        raise ValueError(f"expected 136 numbers (68 landmarks, x then y), but {unknown} of them are not finite")
    return numbers.reshape(68, 2)


def packages(landmarks: str, mesh: bool) -> list[str]:
    """Names and versions of the packages whose networks find faces.

    Args:
        landmarks: one of `BACKENDS`.
        mesh: whether the mesh is wanted besides.

    Raises:
        UserError: one is not installed.
    """
    from importlib.metadata import PackageNotFoundError, version

    names = ["face-alignment"] if landmarks == "face_alignment" else []
    if landmarks == "mediapipe" or mesh:
        names.append("mediapipe")
    try:
        return [f"{name} {version(name)}" for name in names]
    except PackageNotFoundError as error:
        raise UserError(
            f"{error.name}: not installed, but it finds the faces. Run `pip install 'mimik[mesh]'`."
        ) from error
