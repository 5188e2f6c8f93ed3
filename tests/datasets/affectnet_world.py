"""Both releases of AffectNet in the making: lists and arrays as the authors have them, images by the caller."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from mimik.datasets.affectnet import CSV_LAYOUT
from tests.datasets.celeba_world import touch

HEADER = "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal"
IMAGES = CSV_LAYOUT[0]
POINTS = ";".join(str(number / 2) for number in range(136))

Photo = Callable[[Path], object]
"""Writes an image's file; its folder may have to be made."""


def line(image: str, code: object, width: int = 90) -> str:
    return f"{image},10,20,{width},90,{POINTS},{code},-2,-2"


class CsvRelease:
    """The CSV release: `add` lists an image in a set and makes its file.

    Of every expression there are `each` images to train on, `train<code><number>.jpg`, and three for validation,
    `val<code><number>.JPG`.
    """

    def __init__(self, raw: Path, photo: Photo = touch, each: int = 20) -> None:
        self.raw, self.photo = raw, photo
        self.lists: dict[str, list[str]] = {"training": [HEADER], "validation": [HEADER]}
        for code in range(8):
            for number in range(each):
                self.add("training", f"{number % 3}/train{code}{number:02d}.jpg", code)
            for number in range(3):
                self.add("validation", f"9/val{code}{number}.JPG", code)

    def add(self, name: str, image: str, code: object, width: int = 90, photo: Photo | None = None) -> None:
        """List an image; its file is made by `photo`, by the release's own where that is None."""
        self.lists[name].append(line(image, code, width))
        path = self.raw / IMAGES / image
        path.parent.mkdir(parents=True, exist_ok=True)
        (photo or self.photo)(path)

    def write(self) -> Path:
        for name, lines in self.lists.items():
            path = self.raw / "Manually_Annotated_file_lists" / f"{name}.csv"
            path.parent.mkdir(exist_ok=True)
            path.write_text("\n".join(lines) + "\n")
        return self.raw


class NpyRelease:
    """The npy release: ids are not contiguous and used in both sets; codes are texts in 0-d arrays.

    Of every expression there are `each` images to train on and three for validation, 1000 * code + 3 * number.
    """

    def __init__(self, raw: Path, photo: Photo = touch, each: int = 20) -> None:
        self.raw, self.photo = raw, photo
        for code in range(8):
            for number in range(each):
                self.add("train_set", str(1000 * code + 3 * number), code)
            for number in range(3):
                self.add("val_set", str(1000 * code + 3 * number), code)

    def add(self, folder: str, stem: str, code: object, photo: Photo | None = None) -> Path:
        """Make an image with its annotation; returns the path of its code."""
        path = self.raw / folder / "images" / f"{stem}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        (photo or self.photo)(path)
        self.annotate(folder, f"{stem}_val", np.array("0.25"))
        self.annotate(folder, f"{stem}_aro", np.array("-0.25"))
        self.annotate(folder, f"{stem}_lnd", np.arange(136) / 2 + int(stem))
        return self.annotate(folder, f"{stem}_exp", np.array(str(code)))

    def annotate(self, folder: str, name: str, value: np.ndarray) -> Path:
        path = self.raw / folder / "annotations" / f"{name}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, value, allow_pickle=False)
        return path


def no_file(path: Path) -> None:
    """For an image that is listed, but is not there."""
