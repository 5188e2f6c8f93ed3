"""Action units that OpenFace 2 has measured (Baltrusaitis et al., OpenFace 2.0, FG 2018), read from its CSV files.

Columns are found by name, since their order and number depend on OpenFace's flags: the 17 intensities `AU01_r` to
`AU45_r` (0 to 5), `confidence` (0 to 1) and, where it is there, `success` (0 or 1; `FeatureExtraction` writes it,
`FaceLandmarkImg` does not). OpenFace writes a blank before every name but the first; blanks around names and values
do not count. Which image a row belongs to is read in one of two ways:

- a folder: one CSV for every image, named like it, as `FaceLandmarkImg -fdir` writes them;
- a file: one CSV for all images, with a column `image` besides, a file's name or its path in the dataset.
"""

import csv
import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from mimik.datasets.lists import composed
from mimik.datasets.tree import find_annotations
from mimik.errors import UserError
from mimik.labels import ACTION_UNITS
from mimik.storage.pictures import PICTURE_ENDINGS

NAME = "openface"

VERSION = "2"

HIGHEST = 5.0
"""Top of OpenFace's scale of intensities; mimik's is 1."""

IMAGE = "image"
"""Column of a CSV for all images that says which one."""

INTENSITIES: Sequence[str] = tuple(f"{name}_r" for name in ACTION_UNITS)

ENOUGH = 20
"""So many sound rows without any value above 1 are taken for intensities on another scale."""


@dataclass(frozen=True)
class Readings:
    """What OpenFace says about some images. An image is named by its path or name without the ending.

    Attributes:
        units: float32 (17,) intensities in [0, 1] in the order of `labels.ACTION_UNITS`, by image.
        faults: why an image's rows cannot be used, by image.
        sha256: of everything that was read.
    """

    units: Mapping[str, npt.NDArray[np.float32]]
    faults: Mapping[str, str]
    sha256: str


def require(path: Path) -> None:
    """Raise `UserError` that says what to do when there is nothing at `path`."""
    if not path.exists():
        raise UserError(
            f"{path}: no such file or folder; expected OpenFace 2's CSV (one file with a column '{IMAGE}', or a folder "
            "with one file per image). Run OpenFace on the images, or correct the dataset's `openface_csv` in "
            "params.yaml."
        )


def read(path: Path, confidence: float) -> Readings:
    """Read OpenFace's output.

    A row that cannot be used is a fault of its image and no more: a value that is missing or not a number from 0 to 5,
    a confidence below `confidence`, `success` 0, more or fewer fields than the header, several rows for one image. So
    is a damaged file among those of one image each.

    Args:
        path: the CSV for all images (with a column `image`), or the folder of the CSVs of one image each.
        confidence: lowest confidence (0 to 1) of a row that is used.

    Raises:
        UserError: nothing at `path`, no text in UTF-8, a column is missing, no image is named, or the intensities
            are on another scale than 0 to 5.
    """
    require(path)
    content = hashlib.sha256()
    units: dict[str, npt.NDArray[np.float32]] = {}
    faults: dict[str, str] = {}
    rows: Counter[str] = Counter()
    damaged: list[UserError] = []
    for file, image in _files(path):
        content.update(f"{image}\0".encode("utf-8", "surrogateescape"))
        try:
            for line, named, values in _rows(file, image, content):
                rows[named] += 1
                try:
                    units[named] = _intensities(values, confidence)
                except ValueError as error:
                    faults[named] = f"OpenFace's {file.name}, line {line}: {error}"
        except UserError as error:
            if image is None:
                raise
            # One of many files: it costs its image, as a row does.
            damaged.append(error)
            faults[image] = f"OpenFace's {str(error).removeprefix(f'{file.parent}/')}"
            continue
        if image is not None and not rows[image]:
            faults[image] = f"OpenFace's {file.name}: found no face"
    if damaged and len(damaged) == len(faults) and not units:
        raise damaged[0]
    for named, count in rows.items():
        if count > 1:
            faults[named] = f"OpenFace has {count} rows for the image, and it is not known which face is meant"
    sound = {image: found for image, found in units.items() if image not in faults}
    if not rows and not faults:
        raise UserError(f"{path}: names no image. Run OpenFace on the dataset's images.")
    if len(sound) >= ENOUGH and max(float(found.max()) for found in sound.values()) * HIGHEST <= 1:
        raise UserError(
            f"{path}: no intensity of {len(sound)} images is above 1, so they are not on OpenFace's scale of 0 to "
            f"{HIGHEST:g}. Give the CSV as OpenFace wrote it; mimik does the scaling."
        )
    return Readings(sound, faults, content.hexdigest())


def _files(path: Path) -> Iterator[tuple[Path, str | None]]:
    """Files to read, and the image that a file is about where it is about one."""
    if path.is_file():
        yield path, None
        return
    found = find_annotations(path, ".csv")
    if not found:
        raise UserError(f"{path}: contains no CSV; expected one from OpenFace for every image.")
    for image, file in sorted(found.items()):
        yield file, composed(image)


def _rows(file: Path, image: str | None, content: "hashlib._Hash") -> Iterator[tuple[int, str, dict[str, str | None]]]:
    """Line, image and values (None: as many fields as the header are not there) of every row of a CSV."""
    wanted = ["confidence", *INTENSITIES] + ([IMAGE] if image is None else [])

    def text() -> Iterator[str]:
        with file.open("rb") as opened:
            for number, line in enumerate(opened):
                content.update(line)
                yield line.decode("utf-8-sig" if number == 0 else "utf-8")

    try:
        reader = csv.reader(text(), skipinitialspace=True)
        header = [name.strip() for name in next(reader, [])]
        missing = [name for name in wanted if name not in header]
        if missing:
            hint = (
                " FeatureExtraction does not say which image a row belongs to: use FaceLandmarkImg and name its folder "
                f"of CSVs, or add the column '{IMAGE}'."
                if missing == [IMAGE]
                else " Run OpenFace 2 with -aus."
            )
            raise UserError(f"{file}: the column {missing[0]!r} of OpenFace 2's CSV is missing.{hint}")
        columns = {name: header.index(name) for name in (*wanted, "success") if name in header}
        for row in reader:
            if not row:
                continue
            whole = len(row) == len(header)
            named = image
            if named is None:
                place = columns[IMAGE]
                named = _key(row[place].strip()) if place < len(row) else ""
                if not named:
                    raise UserError(f"{file}, line {reader.line_num}: the column '{IMAGE}' is empty. Correct the line.")
            yield (
                reader.line_num,
                named,
                {name: row[place].strip() if whole else None for name, place in columns.items()},
            )
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{file}: cannot be read as a CSV in UTF-8 ({error}). Run OpenFace again.") from error


def _intensities(values: Mapping[str, str | None], confidence: float) -> npt.NDArray[np.float32]:
    """float32 (17,) in [0, 1]. Raises `ValueError` that says what is wrong with the row."""
    success = _number(values, "success", 1.0) if "success" in values else 1.0
    if success == 0:
        raise ValueError("OpenFace reports no success")
    certain = _number(values, "confidence", 1.0)
    if certain < confidence:
        raise ValueError(f"confidence {certain:g} is below {confidence:g}")
    return np.array([_number(values, name, HIGHEST) / HIGHEST for name in INTENSITIES], np.float32)


def _number(values: Mapping[str, str | None], name: str, highest: float) -> float:
    text = values[name]
    if text is None:
        raise ValueError("more or fewer fields than the header")
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not 0 <= number <= highest:  # false for NaN as well
        raise ValueError(f"{name} is {text!r}, expected a number from 0 to {highest:g}")
    return number


def _key(image: str) -> str:
    """An image's path or name without the ending; a dot elsewhere in the name is part of it. Accents are composed."""
    path = PurePosixPath(composed(image.replace("\\", "/")))
    return (path.with_suffix("") if path.suffix.lower() in PICTURE_ENDINGS else path).as_posix() if image else ""


@dataclass(frozen=True)
class Matched:
    """Readings in the order of a dataset's images.

    Attributes:
        units: float32 (N, 17) in [0, 1], NaN in the rows of `faults`.
        faults: why an image has no action units, by its position.
        unused: what OpenFace names and the dataset does not have, sorted.
    """

    units: npt.NDArray[np.float32]
    faults: Mapping[int, str]
    unused: Sequence[str]


def match(readings: Readings, sources: Sequence[str]) -> Matched:
    """Find every image's reading.

    By its path without the ending; else by the longest part of its path, at the end, that OpenFace names, which may be
    the name alone; else by a longer path that ends in the image's, as OpenFace was run in another folder.

    Args:
        readings: from `read`.
        sources: (N,) paths of the images, relative to the dataset's folder or absolute, with `/`.
    """
    known = {*readings.units, *readings.faults}
    by_name: defaultdict[str, list[str]] = defaultdict(list)
    for name in known:
        by_name[name.rpartition("/")[2]].append(name)
    paths = [_key(source) for source in sources]
    units = np.full((len(paths), len(ACTION_UNITS)), np.nan, np.float32)
    faults: dict[int, str] = {}
    claims: defaultdict[str, list[int]] = defaultdict(list)
    used: set[str] = set()
    for position, path in enumerate(paths):
        names = [path] if path in known else _ends(path, by_name.get(path.rpartition("/")[2], ()))
        used.update(names)
        if not names:
            faults[position] = "OpenFace has no row for the image"
        elif len(names) > 1:
            told = " and ".join(sorted(names)[:2])
            faults[position] = f"OpenFace names {told}, and it is not known which of them is the image"
        else:
            claims[names[0]].append(position)
    for name, positions in claims.items():
        for position in positions:
            if paths[position] != name and len(positions) > 1:
                told = f"OpenFace names '{name}', but {len(positions)} images have this name"
                faults[position] = f"{told}: give their paths"
            elif name in readings.faults:
                faults[position] = readings.faults[name]
            else:
                units[position] = readings.units[name]
    return Matched(units, dict(sorted(faults.items())), sorted(known - used))


def _ends(path: str, names: Sequence[str]) -> list[str]:
    """Of names the longest that ends a path, or else all that end in it."""
    shorter = [name for name in names if path == name or path.endswith(f"/{name}")]
    return [max(shorter, key=len)] if shorter else [name for name in names if name.endswith(f"/{path}")]
