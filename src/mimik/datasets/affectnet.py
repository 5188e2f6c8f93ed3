"""AffectNet (Mollahosseini, Hasani, Mahoor 2017), given out on request: its CSV release and its newer npy release.

What it holds, and which part of it each paper uses: docs/papers/datasets.md#affectnet.

CSV release: uncropped photographs and lists with eleven codes, of which 0 to 7 are expressions. npy release:
224 px crops and one small array per annotation. Which of the two lies at `raw` is found out from its folders.

The official validation set is the test split, as the test set was never released; `val` is held out of the
training set. The training set is balanced as in Bodur et al. (3D Dense Geometry-Guided Facial Expression
Synthesis, section 4): at most `per_class` images of a class, drawn after the unusable ones are gone, so that full
classes stay full. The cap holds for the validation set too, where it matters for small scales only. `sample` draws
training images whatever their class, as Ling et al. do (Toward Fine-grained Facial Expression Manipulation: 200,000).
With `reconstruction: released` the training set is that of AffectNet-D (`mimik.datasets.released_depth`), whose maps
lie in `depth/`: only images with a map are drawn. Its numbers fit the training set; the npy release uses the same names
for other images in its validation set, so no map is looked up for that.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from tqdm import tqdm

from mimik.datasets import released_depth
from mimik.datasets.listing import Listing, Total
from mimik.datasets.lists import Listed, composed, inside, read_list
from mimik.datasets.photographs import (
    EXCLUDED,
    FAULT,
    UNKNOWN,
    classes_option,
    identifier,
    make_listing,
    require_usable,
    seeded_rank,
    setting,
)
from mimik.datasets.released_depth import depth as depth
from mimik.datasets.released_depth import depth_files as depth_files
from mimik.datasets.tree import elsewhere, find_annotations, look
from mimik.errors import UserError
from mimik.labels import EXPRESSIONS

LICENCE = (
    "Available from the authors under a signed agreement, for research only; no redistribution. Lab managers and "
    "professors can request it, students through their advisor."
)
RESTRICTED = True
CITATION = (
    "A. Mollahosseini, B. Hasani, M. H. Mahoor, AffectNet: A Database for Facial Expression, Valence, and Arousal "
    "Computing in the Wild, IEEE Transactions on Affective Computing 10(1), 18-31, 2019."
)
PAGE = "http://mohammadmahoor.com/affectnet/"
CSV_LAYOUT = (
    "Manually_Annotated/Manually_Annotated_Images",
    "Manually_Annotated_file_lists/training.csv",
    "Manually_Annotated_file_lists/validation.csv",
)
NPY_LAYOUT = ("train_set/images", "train_set/annotations", "val_set/images", "val_set/annotations")
ACCESS = (
    f"Request AffectNet at {PAGE} (free of charge for research, after an agreement). Unpack either release into "
    "data/raw/affectnet/ (a link to another disk will do), so that these exist there. CSV release: "
    f"{', '.join(CSV_LAYOUT)}. npy release: {', '.join(NPY_LAYOUT)}."
)

OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "sample": {
        "description": "a whole number above 1, or nothing for all images",
        "default": "none",
        "meaning": "Total number of training images, drawn from what `per_class` leaves.",
    },
    "held_out": {
        "description": "a share above 0 and below 1",
        "default": 0.05,
        "meaning": "Share of the training set that becomes `val`.",
    },
}
"""What an entry of this dataset may set besides the options of every dataset, for docs/options.md."""

CODES = (*EXPRESSIONS, "none", "uncertain", "non-face")
"""Meaning of the codes 0 to 10 of the CSV release; the npy release holds 0 to 7 only."""

_EXPRESSION_CODES = frozenset(map(str, range(len(EXPRESSIONS))))
_GONE = "listed, but there is no such file"

IMAGES: Mapping[str, int] = {
    "neutral": 74_874,
    "happiness": 134_415,
    "sadness": 25_459,
    "surprise": 14_090,
    "fear": 6_378,
    "disgust": 3_803,
    "anger": 24_882,
    "contempt": 3_750,
}
"""Rows of each expression in the list of the training set."""

MAPS = 87_106
"""Depth maps of AffectNet-D."""

TRAINING, VALIDATION = 287_651, 4_000
"""Rows with an expression in the two lists. The npy release has as many images, but for one of the validation set."""

_COLUMNS = [
    "subDirectory_filePath",
    "face_x",
    "face_y",
    "face_width",
    "face_height",
    "facial_landmarks",
    "expression",
    "valence",
    "arousal",
]


@dataclass
class _Found:
    """What a release holds: usable images of each set (source -> expression), and the rest with its reason.

    `landmarks` is filled from the lists of the CSV release, when they are wanted.
    """

    train: dict[str, str] = field(default_factory=dict)
    test: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, tuple[str, str]] = field(default_factory=dict)
    landmarks: dict[str, str] = field(default_factory=dict)
    totals: list[Total] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def check(raw: Path, options: Mapping[str, Any], mirror: Path | None) -> None:
    """Check that one release is at `raw`. Raises `UserError` that says what to obtain and where to put it."""
    _options(options)
    released_depth.check_with_maps(raw, options, lambda: _layout(raw))


def training_faces(options: Mapping[str, Any]) -> int | None:
    """Faces of the split `train` in the complete lists, or of those with a released depth map."""
    classes, per_class, sample, held_out = _options(options)
    if options.get("reconstruction") == "released":
        found = MAPS
    else:
        found = sum(min(IMAGES[name], per_class or IMAGES[name]) for name in classes)
    return round(min(found, sample or found) * (1 - held_out))


def fetch(raw: Path, options: Mapping[str, Any], mirror: Path | None) -> None:
    """Nothing to fetch: AffectNet is given out on request only. Raises `UserError` when it is not there."""
    check(raw, options, mirror)


def index(raw: Path, options: Mapping[str, Any], seed: int) -> Listing:
    """List the usable images.

    Options:
        classes: expressions to keep; default all eight.
        per_class: most images of a class in the training set (with `val`) and in the test set; default: all.
        sample: images of the training set in all (with `val`), drawn from those that `per_class` leaves; default: all.
        held_out: share of the training set that becomes `val`, drawn class by class; default 0.05.
        landmarks: with "precomputed" the table has the column `landmarks`: the 68 points of the release. For the
            CSV release they tell which face of a photograph is meant.
        reconstruction: with "released" the training images are those with a map, and the table has `depth_map`.

    AffectNet names no persons: `identity` is empty.

    Raises:
        UserError: no release at `raw`, or both; an unreadable list; an unusable option; an empty split.
    """
    classes, per_class, sample, held_out = _options(options)
    precomputed = options.get("landmarks") == "precomputed"
    release = _layout(raw)
    found = _from_csv(raw, precomputed) if release == "csv" else _from_npy(raw)
    maps = released_depth.find_maps(raw) if released_depth.wanted(options) else {}
    if maps:
        without = {source for source in found.train if released_depth.name_of(source) not in maps}
        found.left_out |= dict.fromkeys(without, (EXCLUDED, released_depth.NONE))
        found.train = {source: found.train[source] for source in found.train.keys() - without}
    kept_test = _select(found.test, classes, per_class, None, seed, found.left_out)
    kept_train = _select(found.train, classes, per_class, sample, seed, found.left_out)
    splits = dict.fromkeys(kept_test, "test") | _hold_out(kept_train, held_out, seed)
    if precomputed and release == "npy":
        _read_landmarks(raw, splits, found)
    rows = [
        {
            "id": _identifier(source),
            "split": splits[source],
            "source": source,
            "expression": expression,
            "identity": UNKNOWN,
        }
        for source, expression in (kept_train | kept_test).items()
        if not precomputed or source in found.landmarks
    ]
    quarantine = [(source, *excuse) for source, excuse in found.left_out.items()]
    listing = make_listing(rows, quarantine, f"the {release} release", found.totals, found.notes)
    if precomputed:
        # Added here, as a column: they are nine tenths of what an index holds.
        listing.table["landmarks"] = [found.landmarks[source] for source in listing.table["source"]]
    if maps:
        listing = released_depth.with_maps(listing, raw, maps, ("train", "val"), released_depth.AFFECTNET_D)
    return require_usable(listing, raw, options)


def _options(options: Mapping[str, Any]) -> tuple[list[str], int | None, int | None, float]:
    for key in ("per_class", "sample"):
        number = options.get(key)
        if number is not None and (type(number) is not int or number < 2):
            raise UserError(
                f"{setting(options, 'affectnet', key)}: {number!r} is not usable; give a whole number of at least 2, "
                "or nothing for all images."
            )
    held_out = options.get("held_out", 0.05)
    if not isinstance(held_out, float) or not 0 < held_out < 1:
        raise UserError(
            f"{setting(options, 'affectnet', 'held_out')}: {held_out!r} is not usable; give the share of the training "
            "set that becomes the split val, above 0 and below 1."
        )
    classes = classes_option(options, "affectnet", EXPRESSIONS, EXPRESSIONS)
    return classes, options.get("per_class"), options.get("sample"), held_out


def _layout(raw: Path) -> str:
    """Which release lies at `raw`: "csv" or "npy"."""
    present = {
        name: [path for path in layout if (raw / path).exists()]
        for name, layout in (("csv", CSV_LAYOUT), ("npy", NPY_LAYOUT))
    }
    complete = [
        name for name, layout in (("csv", CSV_LAYOUT), ("npy", NPY_LAYOUT)) if len(present[name]) == len(layout)
    ]
    if len(complete) == 1:
        return complete[0]
    if complete:
        raise UserError(f"{raw}: both releases of AffectNet are here. Keep one of them and move the other away.")
    begun = [
        f"Of the {name} release {', '.join(path for path in layout if path not in present[name])} is missing."
        for name, layout in (("csv", CSV_LAYOUT), ("npy", NPY_LAYOUT))
        if present[name]
    ]
    # Of a release that is there in part its own missing parts are looked for, otherwise any.
    layouts = [layout for name, layout in (("csv", CSV_LAYOUT), ("npy", NPY_LAYOUT)) if present[name] or not begun]
    astray = elsewhere(raw, [path for layout in layouts for path in layout if not (raw / path).exists()])
    raise UserError(" ".join(filter(None, [f"{raw}: AffectNet was not found.", *begun, astray, ACCESS])))


def _identifier(source: str) -> str:
    """`train_123` or `val_123` for the npy release, which uses the same numbers in both sets; else by the path."""
    path = PurePosixPath(source)
    if path.parts[0] in ("train_set", "val_set"):
        return f"{path.parts[0].removesuffix('_set')}_{path.stem}"
    return identifier(source)


def _from_csv(raw: Path, landmarks: bool) -> _Found:
    """Read the lists. An image in both lists belongs to the validation set; with two labels, to neither."""
    found = _Found()
    folder = raw / CSV_LAYOUT[0]
    tree = look(folder)
    keep = ["subDirectory_filePath", "face_width", "expression", *(["facial_landmarks"] if landmarks else [])]
    tables = {
        name: read_list(raw / path, _COLUMNS, header_optional=True, keep=keep)
        for name, path in (("train", CSV_LAYOUT[1]), ("test", CSV_LAYOUT[2]))
    }
    listed = Listed.of(
        [path for table in tables.values() for path in table["subDirectory_filePath"].tolist()],
        tree,
        folder,
        f"{raw / CSV_LAYOUT[1]} and {PurePosixPath(CSV_LAYOUT[2]).name}",
    )
    paths = iter(listed.paths)
    codes: dict[str, str] = {}
    clashes: dict[str, set[str]] = defaultdict(set)
    sets: dict[str, str] = {}
    boxless: set[str] = set()
    rows: Counter[str] = Counter()
    for name, table in tables.items():
        images = [next(paths) for _ in range(len(table))]
        if landmarks:
            sources = (f"{CSV_LAYOUT[0]}/{image}" for image in images)
            found.landmarks |= dict(zip(sources, table["facial_landmarks"].tolist(), strict=True))
        for image, code, width in zip(images, table["expression"].tolist(), table["face_width"].tolist(), strict=True):
            code = code.strip()
            if codes.setdefault(image, code) != code:
                clashes[image] |= {codes[image], code}
            sets[image] = name
            rows[name] += code in _EXPRESSION_CODES
            if not _positive(width):
                boxless.add(image)
    for image in sorted({*codes, *tree.images, *tree.unread}):
        source = f"{CSV_LAYOUT[0]}/{image}"
        if image not in codes:
            found.left_out[source] = (FAULT, tree.unread.get(image, "in neither list"))
        elif not inside(image):
            found.left_out[source] = (FAULT, "listed with a path that is not below the images' folder")
        elif image not in listed.files:  # which are those of any ending, as some have odd ones
            found.left_out[source] = (FAULT, _GONE)
        elif image in clashes:
            found.left_out[source] = (FAULT, f"listed with different codes: {', '.join(sorted(clashes[image]))}")
        elif image in boxless:
            found.left_out[source] = (FAULT, "listed without a face box")
        else:
            _file(found, sets[image], source, codes[image])
    gone = sorted(path for path, (_, reason) in found.left_out.items() if reason == _GONE)
    found.totals = [
        Total("training rows with an expression", rows["train"], TRAINING),
        Total("validation rows with an expression", rows["test"], VALIDATION),
        Total("listed files", len(codes) - len(gone), len(codes), gone),
    ]
    found.notes = [*([listed.note] if listed.note else []), *tree.notes()]
    return found


def _from_npy(raw: Path) -> _Found:
    found = _Found()
    for name, folder in (("train", "train_set"), ("test", "val_set")):
        tree = look(raw / folder / "images")
        images: dict[str, str] = {}
        for path in tree.images:
            stem = composed(PurePosixPath(path).stem)
            if images.setdefault(stem, path) != path:
                found.left_out[f"{folder}/images/{path}"] = (FAULT, f"the same number as {images[stem]}")
        for path, reason in tree.unread.items():
            found.left_out[f"{folder}/images/{path}"] = (FAULT, reason)
        annotations = _annotations(raw, folder, "_exp.npy")
        for stem in tqdm(sorted({*images, *annotations}), desc=f"annotations of {folder}", unit="image"):
            source = f"{folder}/images/{images.get(stem, f'{stem}.jpg')}"
            if stem not in images:
                found.left_out[source] = (FAULT, "annotated, but there is no such file")
            elif stem not in annotations:
                found.left_out[source] = (FAULT, f"no annotation {folder}/annotations/{stem}_exp.npy")
            elif (code := _read_code(annotations[stem])) is None:
                found.left_out[source] = (FAULT, f"unreadable annotation {folder}/annotations/{stem}_exp.npy")
            else:
                _file(found, name, source, code)
        found.notes += [f"{folder}: {note}" for note in tree.notes()]
    found.totals = [
        Total("training images with an expression", len(found.train), TRAINING),
        Total("validation images with an expression", len(found.test), VALIDATION - 1),
    ]
    return found


def _annotations(raw: Path, folder: str, ending: str) -> dict[str, Path]:
    """Annotations of one kind of `train_set` or `val_set`, by the number of the image."""
    found = find_annotations(raw / folder / "annotations", ending)
    return {composed(PurePosixPath(path).name): file for path, file in found.items()}


def _read_code(path: Path) -> str | None:
    """The code in a 0-d array, which holds a text in the copies known; None for anything else, pickles included."""
    try:
        value = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError):
        return None
    return str(value.item()).strip() if value.size == 1 else None


def _read_landmarks(raw: Path, sources: Iterable[str], found: _Found) -> None:
    """Enter the 68 points of each image of the npy release; an image without them is left out."""
    files = {folder: _annotations(raw, folder, "_lnd.npy") for folder in ("train_set", "val_set")}
    for source in tqdm(sources, desc="landmarks", unit="image"):
        path = PurePosixPath(source)
        try:
            file = files[path.parts[0]][composed(path.stem)]
            points = np.load(file, allow_pickle=False).astype(np.float64).reshape(136)
        except (KeyError, ValueError, OSError, EOFError):
            name = f"{path.parts[0]}/annotations/{path.stem}_lnd.npy"
            found.left_out[source] = (FAULT, f"missing or unreadable landmarks {name}")
            continue
        found.landmarks[source] = ";".join(f"{number:g}" for number in points)


def _file(found: _Found, name: str, source: str, code: str) -> None:
    """Enter an image under its expression, or among those left out."""
    if not code.isascii() or not code.isdigit() or int(code) >= len(CODES):
        found.left_out[source] = (FAULT, f"unknown code {code!r}")
    elif int(code) >= len(EXPRESSIONS):
        found.left_out[source] = (EXCLUDED, f"labelled {CODES[int(code)]}: no expression")
    else:
        (found.train if name == "train" else found.test)[source] = EXPRESSIONS[int(code)]


def _positive(number: str) -> bool:
    try:
        return float(number) > 0
    except ValueError:
        return False


def _select(
    images: Mapping[str, str],
    classes: list[str],
    per_class: int | None,
    sample: int | None,
    seed: int,
    left_out: dict[str, tuple[str, str]],
) -> dict[str, str]:
    """Images of `classes` in seeded order, at most `per_class` of each and `sample` in all; None is no limit.

    The others are entered into `left_out`.
    """
    kept: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for source in sorted(images, key=lambda source: seeded_rank(seed, source)):
        expression = images[source]
        if expression not in classes:
            left_out[source] = (EXCLUDED, f"expression {expression} is not among `classes`")
        elif per_class is not None and counts[expression] == per_class:
            left_out[source] = (EXCLUDED, f"beyond the {per_class} images of {expression} that `per_class` keeps")
        elif sample is not None and len(kept) == sample:
            left_out[source] = (EXCLUDED, f"beyond the {sample} images that `sample` keeps")
        else:
            counts[expression] += 1
            kept[source] = expression
    return kept


def _hold_out(images: Mapping[str, str], share: float, seed: int) -> dict[str, str]:
    """Split of each image of the training set: `share` of every class, at least one image, becomes `val`."""
    by_class: dict[str, list[str]] = defaultdict(list)
    for source, expression in images.items():
        by_class[expression].append(source)
    splits: dict[str, str] = {}
    for sources in by_class.values():
        held = max(1, round(share * len(sources)))
        # Another key than that of `_select`, whose order decided who is here at all.
        ordered = sorted(sources, key=lambda source: seeded_rank(seed, f"val {source}"))
        splits |= dict.fromkeys(ordered[:held], "val") | dict.fromkeys(ordered[held:], "train")
    return splits
