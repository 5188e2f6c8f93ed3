"""open_faces: the open photo set muxspace/facial_expressions, pinned to one commit.

What it holds: docs/papers/datasets.md#open_faces.

Layout: `images/*.jpg`, `data/legend.csv` (user.id, image, emotion), an unlabelled `test/`. Decisions:

- Labels are lower-cased (the case is mixed). `data/500_picts_satz.csv`, another annotator's list that agrees
  with the legend for half of its images only, is never read.
- An image that is listed twice with one label counts once; with two labels it is left out. Of files with
  equal bytes (the same photo under two names) the first name stays, or none when their labels differ.
- Nearly all images are greyscale crops of Labeled Faces in the Wild; the coloured rest are small film stills
  that hold most of `disgust`, so that colour would give the class away: `include_rgb` is false by default.
- Every person is in one split. LFW's names are `<person>_<4 digits>.jpg`, the film stills'
  `<person>_<digits>.jpg`; for other names the person is not known.
"""

import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mimik.datasets.listing import Listing, Total
from mimik.datasets.lists import Listed, read_list
from mimik.datasets.photographs import (
    EXCLUDED,
    FAULT,
    UNKNOWN,
    classes_option,
    drop_same_bytes,
    flag_option,
    identifier,
    image_mode,
    make_listing,
    require_usable,
    split_by_group,
    split_option,
)
from mimik.datasets.tree import find_images, left_by_programs, look
from mimik.errors import NotFetchedError, UserError
from mimik.labels import EXPRESSIONS
from mimik.mirror import extract, find, locate

COMMIT = "5fb9c13afac07c55eae8d25eb6b50af344ad60c9"
FOLDER = f"facial_expressions-{COMMIT}"
ARCHIVE = f"{FOLDER}.tar.gz"
URL = f"https://github.com/muxspace/facial_expressions/archive/{COMMIT}.tar.gz"

LICENCE = (
    "The repository carries the Apache License 2.0, which cannot license the photographs themselves: most come from "
    "Labeled Faces in the Wild (press photographs), the rest are film stills. Use them locally for research; do not "
    "redistribute them."
)
RESTRICTED = True
CITATION = (
    f"muxspace/facial_expressions, https://github.com/muxspace/facial_expressions, commit {COMMIT}, 2016. "
    "G. B. Huang, M. Ramesh, T. Berg, E. Learned-Miller, Labeled Faces in the Wild: A Database for Studying "
    "Face Recognition in Unconstrained Environments, University of Massachusetts, Amherst, Technical Report "
    "07-49, 2007."
)
ACCESS = (
    f"Downloaded from {URL} (about 250 MB). Without a network: put the archive, named {ARCHIVE}, into a "
    "folder and name that folder with `--config mirror=FOLDER`, or put it into data/raw/open_faces/."
)

OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "include_rgb": {
        "description": "true or false",
        "default": False,
        "meaning": "Also use the small coloured film stills.",
    },
    "split": {
        "description": "{train: SHARE, val: SHARE, test: SHARE}, which add up to 1",
        "default": {"train": 0.8, "val": 0.1, "test": 0.1},
        "meaning": "Shares; a person's photographs stay together.",
    },
}
"""What an entry of this dataset may set besides the options of every dataset, for docs/options.md."""

CLASSES = ("neutral", "happiness", "surprise", "anger", "sadness")
"""Classes with enough images to train on; disgust is coloured stills here, fear and contempt are rare."""

PHOTOGRAPHS, LISTED = 13_718, 13_682
"""Files in images/ and different names in data/legend.csv at that commit."""

_PERSON = re.compile(r"(.+)_\d+\.jpg")


def check(raw: Path, options: Mapping[str, Any], mirror: Path | None) -> None:
    """Check options and mirror; the images themselves may still have to be fetched. Raises `UserError`."""
    _options(options)
    if _root(raw) is None:
        find(ARCHIVE, mirror, raw)


def fetch(raw: Path, options: Mapping[str, Any], mirror: Path | None) -> None:
    """Unpack the archive of the mirror, or of GitHub, to `raw / FOLDER`; nothing to do when it is there.

    Its SHA-256 is not known: GitHub makes such archives anew, and their bytes are not promised to stay.

    Raises:
        UserError: no archive to be had, or it is damaged or another one.
    """
    if _root(raw) is not None:
        return
    archive = locate(ARCHIVE, url=URL, sha256=None, mirror=mirror, destination=raw)
    extract(archive, raw / FOLDER, top=FOLDER, max_bytes=4 << 30, max_files=100_000)
    if _root(raw) is None:
        raise UserError(
            f"{archive}: unpacked to {raw / FOLDER}, but images/ and data/legend.csv are not in it. This is "
            f"another archive; delete both and get the right one from {URL}."
        )


def index(raw: Path, options: Mapping[str, Any], seed: int) -> Listing:
    """List the usable images.

    Options:
        classes: expressions to keep; default `CLASSES`.
        include_rgb: also take the coloured film stills; default false.
        split: shares of train, val and test; default 0.8, 0.1, 0.1.

    Raises:
        NotFetchedError: nothing at `raw`.
        UserError: the legend is unreadable, an option is unusable, or a split is empty.
    """
    classes, include_rgb, shares = _options(options)
    root = _root(raw)
    if root is None:
        raise NotFetchedError(f"{raw}: images/ and data/legend.csv of {FOLDER} were not found. {ACCESS}")
    tree = look(root / "images")
    legend = read_list(root / "data" / "legend.csv", ["image", "emotion"], keep=["image", "emotion"])
    names_listed = Listed.of(legend["image"].tolist(), tree, root / "images", str(root / "data" / "legend.csv"))
    listed: dict[str, set[str]] = defaultdict(set)
    for name, label in zip(names_listed.paths, legend["emotion"].tolist(), strict=True):
        listed[name].add(label.strip().lower())
    found = {*tree.images, *(names_listed.files & listed.keys())}
    left_out: dict[str, tuple[str, str]] = {}
    kept: dict[str, str] = {}
    for name in sorted(listed.keys() | found | tree.unread.keys()):
        excuse = _excuse(root / "images" / name, listed.get(name, set()), name in found, classes, include_rgb)
        if name not in found and name in tree.unread:
            excuse = (FAULT, tree.unread[name])
        if excuse is None:
            (kept[name],) = listed[name]
        else:
            left_out[name] = excuse
    for name, reason in drop_same_bytes(root / "images", kept).items():
        left_out[name] = (FAULT, reason)

    names = list(kept)
    people = [match.group(1) if (match := _PERSON.fullmatch(name)) else UNKNOWN for name in names]
    # `/` cannot occur in a person's name, so an unknown person is a group of its own.
    groups = [person or f"/{name}" for person, name in zip(people, names, strict=True)]
    splits = split_by_group(groups, [kept[name] for name in names], shares, seed)
    prefix = root.relative_to(raw)
    rows = [
        {
            "id": identifier(name),
            "split": split,
            "source": (prefix / "images" / name).as_posix(),
            "expression": kept[name],
            "identity": person,
        }
        for name, person, split in zip(names, people, splits, strict=True)
    ]
    quarantine = [((prefix / "images" / name).as_posix(), *excuse) for name, excuse in left_out.items()]
    quarantine += [
        ((prefix / "test" / name).as_posix(), EXCLUDED, "no label: in the folder test/")
        for name in find_images(root / "test")
    ]
    totals = [Total("photographs", len(found), PHOTOGRAPHS), Total("listed photographs", len(listed), LISTED)]
    notes = [*([names_listed.note] if names_listed.note else []), *tree.notes()]
    return require_usable(make_listing(rows, quarantine, totals=totals, notes=notes), root, options)


def _options(options: Mapping[str, Any]) -> tuple[list[str], bool, dict[str, float]]:
    classes = classes_option(options, "open_faces", EXPRESSIONS, CLASSES)
    return (
        classes,
        flag_option(options, "include_rgb", False, "open_faces"),
        split_option(options, "open_faces"),
    )


def _root(raw: Path) -> Path | None:
    """The folder with images/ and data/: unpacked by `fetch`, or a clone put at `raw` or, under any name, into it."""
    within = sorted(path for path in raw.iterdir() if not left_by_programs(path.name)) if raw.is_dir() else []
    for root in (raw / FOLDER, raw, *within):
        if (root / "images").is_dir() and (root / "data" / "legend.csv").is_file():
            return root
    return None


def _excuse(
    path: Path, labels: set[str], exists: bool, classes: list[str], include_rgb: bool
) -> tuple[str, str] | None:
    """Stage and reason why an image is left out, or None."""
    if not exists:
        return FAULT, "listed in data/legend.csv, but there is no such file"
    if not labels:
        return FAULT, "not listed in data/legend.csv"
    if len(labels) > 1:
        return FAULT, f"listed with different labels: {', '.join(sorted(labels))}"
    (label,) = labels
    if label not in EXPRESSIONS:
        return FAULT, f"unknown label {label!r}"
    if label not in classes:
        return EXCLUDED, f"expression {label} is not among `classes`"
    mode = image_mode(path)
    if mode is None:
        return FAULT, "not a readable image"
    if mode != "L" and not include_rgb:
        return EXCLUDED, f"coloured ({mode}), and `include_rgb` is false"
    return None
