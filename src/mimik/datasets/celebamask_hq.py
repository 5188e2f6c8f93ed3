"""CelebAMask-HQ (Lee, Liu, Wu, Luo 2020): the 30,000 faces of CelebA-HQ with masks of 18 parts, drawn by hand.

What it holds, and which part of it each paper uses: docs/papers/datasets.md#celebamask-hq.

Layout, at the folder of the archive or in `CelebAMask-HQ/` below it:

    CelebA-HQ-img/<idx>.jpg                                           1024 px, idx from 0
    CelebAMask-HQ-mask-anno/<idx // 2000>/<idx, five digits>_<class>.png   512 px, one for every class that is there
    CelebA-HQ-to-CelebA-mapping.txt, CelebAMask-HQ-attribute-anno.txt

Masks of one face overlap. They are laid over each other in the order of the official g_mask.py, later ones on top, and
numbered like `mimik.labels.SEGMENTATION_CLASSES`. The other order in use, that of face-parsing.PyTorch, gives other
numbers and, where masks overlap, other classes.

Whether the annotation's `l_` means the left of the image or the person's left is found out from the eyes; mimik's
`l_` is the left of the image.
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from mimik.datasets.celeba_lists import (
    HQ_NAME,
    HQ_SIZES,
    HQ_SPLITS,
    IDENTITY_LIST,
    MAPPINGS,
    first_existing,
    hq_notes,
    hq_split,
    list_images,
    read_attributes,
    read_mapping,
    read_values,
    require,
    split_choice,
)
from mimik.datasets.listing import Listing, UnusableError
from mimik.datasets.tree import walk
from mimik.errors import UserError
from mimik.labels import MIRRORED_CLASSES, SEGMENTATION_CLASSES
from mimik.storage.pictures import UnreadableError, decode, read_content

LICENCE = (
    "For non-commercial research and education only. The photographs come from the internet; do not redistribute them."
)
RESTRICTED = True
CITATION = (
    "C.-H. Lee, Z. Liu, L. Wu, P. Luo, MaskGAN: Towards Diverse and Interactive Facial Image Manipulation, Proceedings "
    "of the IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR), 2020."
)
ACCESS = (
    "Get CelebAMask-HQ from https://github.com/switchablenorms/CelebAMask-HQ and unpack it into "
    "data/raw/celebamask_hq/ (a link to another disk will do), so that CelebA-HQ-img/, CelebAMask-HQ-mask-anno/, "
    "CelebA-HQ-to-CelebA-mapping.txt and CelebAMask-HQ-attribute-anno.txt are there."
)

OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "split": {
        "description": "official or secgan",
        "default": "official",
        "meaning": "The rule of g_partition.py, 24,183 / 2,993 / 2,824, or that of SeCGAN.",
    }
}
"""What an entry of this dataset may set besides the options of every dataset, for docs/options.md."""

MERGING_ORDER: Sequence[str] = SEGMENTATION_CLASSES[1:]
"""Classes in the order in which g_mask.py lays them over each other."""

SIDE = "annotated_left"
"""Column of the index: whose left the annotation's `l_` means, `image` or `person`."""

SEEN = 200
"""Most faces, evenly spread, whose eyes are looked at to find that out."""

AGREEMENT = 0.8
"""Share of them that has to agree."""

_IMAGES, _MASKS = "CelebA-HQ-img", "CelebAMask-HQ-mask-anno"
_ATTRIBUTES = "CelebAMask-HQ-attribute-anno.txt"
_ROOT = "CelebAMask-HQ"
_PER_FOLDER = 2000
_FILE = re.compile(r"(\d{5})_([a-z_]+)\.png")


def check(raw: Path, options: Mapping[str, Any], mirror: Path | None) -> None:
    """Check options and lists. Raises `UserError` that says what is missing or damaged."""
    split_choice(options, "celebamask_hq", HQ_SPLITS)
    parts = _parts(raw, options)
    read_attributes(raw / parts["attributes"], HQ_NAME)
    read_mapping(raw / parts["mapping"])


def training_faces(options: Mapping[str, Any]) -> int | None:
    """Images of the split `train` in the complete set; None where they are drawn (`per_class`)."""
    return None if options.get("per_class") else HQ_SIZES[split_choice(options, "celebamask_hq", HQ_SPLITS)][0]


def fetch(raw: Path, options: Mapping[str, Any], mirror: Path | None) -> None:
    """Nothing to fetch: CelebAMask-HQ is downloaded by hand. Raises `UserError` when it is not there."""
    _parts(raw, options)


def index(raw: Path, options: Mapping[str, Any], seed: int) -> Listing:
    """List the usable images.

    Options:
        classes: default not_smiling, smiling.
        split: `official` (default; the rule of g_partition.py; 24,183, 2,993 and 2,824 images) or `secgan` (28,000,
            500 and 1,500 by the number of the image).
        per_class: most images of a class in each split; default: all.
        masks: with "annotation" an image without any mask is left out, and the table has the column `SIDE`.

    Raises:
        UserError: a part is missing or damaged, an option is unusable, a split is empty, or it cannot be found out
            which side of a face the annotation calls left.
    """
    split = split_choice(options, "celebamask_hq", HQ_SPLITS)
    parts = _parts(raw, options)
    attributes = read_attributes(raw / parts["attributes"], HQ_NAME)
    origins = read_mapping(raw / parts["mapping"])
    splits: dict[str, str] = {}
    excuses: dict[str, str] = {}
    for name in attributes.table.index.tolist():
        assigned = hq_split(split, name, origins)
        if assigned is None:
            excuses[name] = f"not in {PurePosixPath(parts['mapping']).name}, so its split is not known"
        else:
            splits[name] = assigned
    notes = hq_notes(split, attributes.table.index.tolist(), origins)
    further: dict[str, str] = {}
    if "masks" in parts:
        annotated, strange = _annotated(raw / parts["masks"])
        if not annotated and (masks := [path for path in strange if _FILE.fullmatch(path.rpartition("/")[2])]):
            number = int(masks[0].rpartition("/")[2][:5])
            sought = raw / parts["masks"] / str(number // _PER_FOLDER) / masks[0].rpartition("/")[2]
            raise UserError(
                f"{raw / parts['masks']}: no mask is in the expected place. The first was expected at {sought}; the "
                f"nearest match is {masks[0]}. Expected folders 0 to 14 with the masks of {_PER_FOLDER:,} faces each."
            )
        for name in attributes.table.index.tolist():
            number = int(Path(name).stem)
            if number not in annotated:
                excuses.setdefault(name, f"not annotated: no {_MASKS}/{number // _PER_FOLDER}/{number:05d}_*.png")
        both = sorted(number for number, classes in annotated.items() if {"l_eye", "r_eye"} <= classes)
        side, note = _annotated_left(raw / parts["masks"], both)
        further[SIDE] = side
        notes.append(note)
        if strange:
            notes.append(
                f"{len(strange):,} files below {_MASKS} are not named <idx // 2000>/<idx>_<class>.png and were not "
                f"read; the first is {strange[0]}"
            )
    identity_list = first_existing(raw, (IDENTITY_LIST, f"{_ROOT}/{IDENTITY_LIST}"))
    persons = read_values(raw / identity_list) if identity_list else {}
    return list_images(
        "celebamask_hq",
        raw,
        parts["images"],
        attributes,
        lambda names: splits,
        options,
        seed,
        excuses=excuses,
        identities={name: persons.get(origin.name, "") for name, origin in origins.items()},
        further=further,
        notes=notes,
    )


def mask_files(raw: Path, row: Mapping[str, Any]) -> list[Path]:
    """The files that `mask` reads for a row of the index, in the order of merging."""
    source = PurePosixPath(row["source"])
    number = int(source.stem)
    folder = raw / source.parent.parent / _MASKS / str(number // _PER_FOLDER)
    return [file for name in MERGING_ORDER if (file := folder / f"{number:05d}_{name}.png").is_file()]


def mask(raw: Path, row: Mapping[str, Any]) -> npt.NDArray[np.uint8]:
    """Annotated mask of a row of the index, whose option `masks` was "annotation".

    A class without a file is absent. Sides follow the column `SIDE`.

    Returns:
        uint8 (H, W), a class of `SEGMENTATION_CLASSES`; it covers the whole image, commonly at half its size.

    Raises:
        UnusableError: no mask, an unreadable one, masks of different sizes, or this face's eyes lie on the other sides
            than those of the other faces.
    """
    merged: npt.NDArray[np.uint8] | None = None
    centres: dict[str, float] = {}
    for file in mask_files(raw, row):
        name = file.stem[6:]
        drawn = _read(file)
        if merged is None:
            merged = np.zeros(drawn.shape, np.uint8)
        if drawn.shape != merged.shape:
            raise UnusableError(f"{file.name} is {_size(drawn)} px, another mask of this face {_size(merged)}")
        if name in ("l_eye", "r_eye") and drawn.any():
            centres[name] = _centre(drawn)
        merged[drawn] = SEGMENTATION_CLASSES.index(name)
    if merged is None:
        raise UnusableError("not annotated: there is no mask file")
    sides = row[SIDE]
    if len(centres) == 2 and _left(centres["l_eye"], centres["r_eye"]) != sides:
        raise UnusableError("left and right eye are annotated the other way round from the other faces")
    if sides == "person":
        merged = np.array(MIRRORED_CLASSES, np.uint8)[merged]
    return merged


def _parts(raw: Path, options: Mapping[str, Any]) -> dict[str, str]:
    """Paths (relative to `raw`) of the parts that are needed."""
    wanted: dict[str, tuple[str, ...]] = {"images": (_IMAGES,), "mapping": MAPPINGS[:1], "attributes": (_ATTRIBUTES,)}
    if options.get("masks") == "annotation":
        wanted["masks"] = (_MASKS,)
    root = f"{_ROOT}/" if not (raw / _IMAGES).exists() and (raw / _ROOT / _IMAGES).exists() else ""
    return require(raw, {key: tuple(root + path for path in paths) for key, paths in wanted.items()}, ACCESS)


def _annotated(folder: Path) -> tuple[dict[int, set[str]], list[str]]:
    """Classes that have a file, by the number of the face; and files that are none of these."""
    annotated: dict[int, set[str]] = defaultdict(set)
    strange = []
    for below, entries in walk(folder):
        for entry in entries:
            match = _FILE.fullmatch(entry.name)
            if match and match[2] in MERGING_ORDER and below == f"{int(match[1]) // _PER_FOLDER}/":
                annotated[int(match[1])].add(match[2])
            else:
                strange.append(below + entry.name)
    return annotated, sorted(strange)


def _annotated_left(folder: Path, numbers: Sequence[int]) -> tuple[str, str]:
    """Whose left `l_eye` lies on, `image` or `person`, and a sentence about it.

    Args:
        folder: of the masks.
        numbers: faces with masks of both eyes, ascending.
    """
    positions = sorted(set(np.linspace(0, len(numbers) - 1, SEEN).astype(int))) if numbers else []
    votes = []
    for number in (numbers[position] for position in positions):
        stem = folder / str(number // _PER_FOLDER) / f"{number:05d}"
        try:
            left, right = (_read(stem.with_name(f"{stem.name}_{name}.png")) for name in ("l_eye", "r_eye"))
        except UnusableError:
            continue  # told when the face is prepared
        if left.any() and right.any():
            votes.append(_left(_centre(left), _centre(right)))
    if not votes:
        raise UserError(
            f"{folder}: no face has readable masks of l_eye and r_eye, so it is not known which side the annotation "
            "calls left. Get the annotation again, or set `masks: mesh`."
        )
    side = max(("image", "person"), key=votes.count)
    told = f"l_eye lies to the left of r_eye in {votes.count('image')} of {len(votes)} annotated faces examined"
    if votes.count(side) < AGREEMENT * len(votes):
        raise UserError(
            f"{folder}: {told}, which does not settle which side is called left. Get the annotation again, or set "
            "`masks: mesh`."
        )
    return side, f"{told}: left in the annotation is the {side}'s left"


def _left(left_eye: float, right_eye: float) -> str:
    """Whose left an annotation means in which the eyes have these x."""
    return "image" if left_eye < right_eye else "person"


def _centre(drawn: npt.NDArray[np.bool_]) -> float:
    """Mean x of a part that is not empty, pixels."""
    return float(np.average(np.arange(drawn.shape[1]), weights=drawn.sum(axis=0)))


def _size(array: npt.NDArray[Any]) -> str:
    return f"{array.shape[1]} x {array.shape[0]}"


def _read(file: Path) -> npt.NDArray[np.bool_]:
    """bool (H, W) where a part was drawn. Raises `UnusableError`."""
    try:
        # By brightness, not by number: in some copies white is another entry of a palette than 255.
        return np.asarray(decode(read_content(file)).convert("L")) > 127
    except (UnreadableError, ValueError) as error:  # a mode that cannot become grey
        raise UnusableError(f"{file.name} cannot be read: {error}") from error
