"""folder: anybody's own photographs, labelled by the folder they lie in or by a CSV.

Folders: `<root>/<class>/**/<image>`; the name of the folder is the class. If there are also folders for the splits,
`<root>/train/<class>/...` or `<root>/<class>/train/...`, these splits are kept. CSV (option `csv`): columns `path`
(relative to `<root>`) and `expression`, and, where known, `identity` (the person), `split` (train, val or test)
and `landmarks` (136 numbers x;y;x;y;..., the 68 points in pixels). Any class names will do; the eight that other
datasets share stand in `mimik.labels.EXPRESSIONS`.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from mimik.datasets.listing import SPLITS, Listing
from mimik.datasets.lists import Listed, composed, inside, read_list
from mimik.datasets.photographs import (
    EXCLUDED,
    FAULT,
    UNKNOWN,
    classes_option,
    drop_same_bytes,
    file_fault,
    identifier,
    make_listing,
    one_spelling,
    printable,
    require_usable,
    setting,
    split_by_group,
    split_option,
)
from mimik.datasets.tree import LINK, Tree, elsewhere, look
from mimik.errors import UserError
from mimik.labels import EXPRESSIONS

LICENCE = "Your responsibility: use photographs of people only as they, or the licence of the photographs, allow."
RESTRICTED = True
CITATION = "None: your own photographs."
ACCESS = (
    "Put your photographs into data/raw/folder/<class>/, one folder for each expression (for instance "
    "data/raw/folder/happiness/photo.jpg), or name another place with `path` under datasets.folder in "
    "params.yaml. A CSV with the columns path and expression can take the place of the folders (option `csv`)."
)

OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "path": {
        "description": "the path of a folder",
        "default": "data/raw/folder",
        "meaning": "Where the photographs are.",
    },
    "csv": {
        "description": "the path of a CSV, or nothing",
        "default": "none",
        "meaning": "A CSV that labels them, relative to that folder or absolute; without one, the "
        "folders are the labels.",
    },
    "split": {
        "description": "{train: SHARE, val: SHARE, test: SHARE}, which add up to 1",
        "default": {"train": 0.8, "val": 0.1, "test": 0.1},
        "meaning": "Shares; split folders and a column `split` of the CSV take precedence.",
    },
}
"""What an entry of this dataset may set besides the options of every dataset, for docs/options.md."""

_COLUMNS = ["path", "expression"]
_FURTHER = ["identity", "split", "landmarks"]

_SPLIT_FOLDER = re.compile(r"(train|training|val|valid|validation|dev|test|testing)([ _-]?(set|data|images|split))?")
_SPLIT_OF = {"train": "train", "training": "train", "test": "test", "testing": "test"}
"""Split of each word; all others are `val`."""

_EXPRESSION_WORDS = frozenset(
    {*EXPRESSIONS, "happy", "sad", "surprised", "fearful", "disgusted", "angry", "contemptuous", "smile", "smiling"}
)
"""Names by which a folder one level too deep is known to be a class's."""


@dataclass
class _Labelled:
    """Images with their labels.

    Attributes:
        table: columns path (unique), expression, identity; split where it is given, "" in rows that are to be drawn;
            landmarks where they are given.
        left_out: why an image has no label.
        classes: class of every image that has one, usable or not, by path.
        layout: in words.
        files: those that may be used.
        notes: sentences about it.
    """

    table: pd.DataFrame
    left_out: dict[str, tuple[str, str]]
    classes: dict[str, str]
    layout: str
    files: frozenset[str]
    notes: list[str] = field(default_factory=list)


def check(raw: Path, options: Mapping[str, Any], mirror: Path | None) -> None:
    """Check that there are labelled images of at least two classes. Raises `UserError`."""
    classes = classes_option(options, "folder")
    split_option(options, "folder")
    root = _root(raw, options)
    tree = _look(root, raw, options)
    labelled = _labelled(root, tree, options)
    _check_classes(labelled.table["expression"], classes, root, tree, options)


def fetch(raw: Path, options: Mapping[str, Any], mirror: Path | None) -> None:
    """Nothing to fetch: the photographs are yours. Raises `UserError` when they are not there."""
    check(raw, options, mirror)


def index(raw: Path, options: Mapping[str, Any], seed: int) -> Listing:
    """List the labelled images.

    Options:
        path: where the images are, when not in `raw`; `source` is then an absolute path.
        csv: a CSV (relative to the images' folder, or absolute) that labels them; default: folders do.
        classes: names to keep, in the order of their labels; default or empty: all there are.
        split: shares of train, val and test; default 0.8, 0.1, 0.1. A column `split` of the CSV and folders of splits
            go first; a split that has no folder is drawn from `train`.

    Without a person's name every photograph counts as another person. Of files with equal bytes the first stays,
    or none when their labels differ.

    Raises:
        UserError: no labelled images, fewer than two classes, an unreadable CSV or one of which no file is there,
            folders that are one level off, or a class or a split would be empty.
    """
    classes = classes_option(options, "folder")
    shares = split_option(options, "folder")
    root = _root(raw, options)
    tree = _look(root, raw, options)
    labelled = _labelled(root, tree, options)
    table, left_out = labelled.table, labelled.left_out
    _check_classes(table["expression"], classes, root, tree, options)
    listed = set(table["path"])
    for path in tree.images:
        if path not in listed and path not in left_out:
            left_out[path] = (FAULT, "no label: not listed in the CSV, or in no class's folder")
    left_out |= {path: (FAULT, reason) for path, reason in tree.unread.items() if path not in listed}
    kept: dict[str, str] = {}
    # A link to nothing is among the images.
    for path, label in zip(table["path"].tolist(), table["expression"].tolist(), strict=True):
        if path not in labelled.files:
            left_out[path] = (FAULT, tree.unread.get(path, "listed, but there is no such image"))
        elif classes and label not in classes:
            left_out[path] = (EXCLUDED, f"class {label} is not among `classes`")
        elif fault := file_fault(root / path):
            left_out[path] = (FAULT, fault)
        else:
            kept[path] = label
    left_out |= {path: (FAULT, reason) for path, reason in drop_same_bytes(root, kept).items()}
    _check_left(set(kept.values()), labelled.classes, left_out, classes, root)

    usable = table[table["path"].isin(kept)]
    splits = _splits(usable, shares, seed)
    prefix = root if options.get("path") else Path()
    rows = [
        {
            "id": identifier(path),
            "split": split,
            "source": (prefix / path).as_posix(),
            "expression": kept[path],
            "identity": identity,
        }
        for path, identity, split in zip(usable["path"], usable["identity"], splits, strict=True)
    ]
    if "landmarks" in usable:
        rows = [row | {"landmarks": points} for row, points in zip(rows, usable["landmarks"], strict=True)]
    start = f"{prefix.as_posix()}/" if options.get("path") else ""
    quarantine = [(start + path, *excuse) for path, excuse in left_out.items()]
    notes = [*labelled.notes, *_divided_persons(rows), *tree.notes()]
    return require_usable(make_listing(rows, quarantine, labelled.layout, notes=notes), root, options)


def _root(raw: Path, options: Mapping[str, Any]) -> Path:
    chosen = options.get("path")
    root = Path(chosen).expanduser().absolute() if chosen else raw
    if not root.is_dir():
        raise UserError(f"{root}: no such folder. {ACCESS}")
    return root


def _look(root: Path, raw: Path, options: Mapping[str, Any]) -> Tree:
    """The photographs' folder without OpenFace's output, which holds pictures too."""
    csv = options.get("openface_csv")
    place = (raw / Path(csv).expanduser()).absolute() if isinstance(csv, str) and csv else None
    return look(root, [] if place is None else [place.as_posix().removeprefix(f"{root.absolute().as_posix()}/")])


def _labelled(root: Path, tree: Tree, options: Mapping[str, Any]) -> _Labelled:
    if options.get("csv"):
        return _from_csv(root / Path(options["csv"]).expanduser(), root, tree, str(options["csv"]))
    return _from_folders(root, tree, options)


def _from_folders(root: Path, tree: Tree, options: Mapping[str, Any]) -> _Labelled:
    # An image right in `root` is in no class's folder.
    every = [path for path in sorted({*tree.images, *tree.unread}) if "/" in path]
    place = _place_of_class(every, root, options)
    splits: dict[str, str] = {}
    classes: dict[str, str] = {}
    left_out: dict[str, tuple[str, str]] = {}
    for path in every:
        parts = path.split("/")
        if printable(path) != path:
            left_out[path] = (FAULT, "the path is not in UTF-8; rename the file or folder")
        if place is None:
            classes[path] = printable(composed(parts[0]))
        elif len(parts) < 3:
            left_out.setdefault(path, (FAULT, "no label: in the folder of a split, but in no class's folder"))
        else:
            classes[path], splits[path] = printable(composed(parts[place])), _split_of(parts[1 - place])
    # A folder that is a link to nothing, or to that of another class, stands for a class, too.
    astray = {path: f"a link to {place}, which is read there" for path, place in tree.links.items() if place}
    astray |= {path: why for path, why in tree.unread.items() if why == LINK}
    astray = {path: why for path, why in astray.items() if "/" not in path}
    classes |= {path: composed(path) for path in astray}
    left_out |= {path: (FAULT, why) for path, why in astray.items()}
    paths = [path for path in tree.images if path in classes and path not in left_out]
    table = pd.DataFrame(
        {"path": paths, "expression": [classes[path] for path in paths], "identity": UNKNOWN}, dtype=str
    )
    if place is None:
        return _Labelled(table, left_out, classes, "one folder for each class", tree.files)
    table["split"] = [splits[path] for path in paths]
    missing = [split for split in SPLITS if split not in set(table["split"])]
    if "train" in missing:
        raise UserError(
            f"{root}: folders of splits ({', '.join(sorted(set(table['split'])))}), but none for train. Add it, or put "
            "one folder for each class there, without splits."
        )
    notes = []
    if missing:
        notes.append(f"no folder for {' and '.join(missing)}: drawn from train, by the shares of `split`.")
        # What is to be drawn stands with an empty split.
        table["split"] = table["split"].replace("train", "")
    layout = f"one folder for each {'split, and in it for each class' if place else 'class, and in it for each split'}"
    return _Labelled(table, left_out, classes, layout, tree.files, notes)


def _split_of(name: str) -> str:
    """The split that a folder is named like; empty when it is none."""
    match = _SPLIT_FOLDER.fullmatch(name.casefold())
    return "" if match is None else _SPLIT_OF.get(match[1], "val")


def _place_of_class(paths: Sequence[str], root: Path, options: Mapping[str, Any]) -> int | None:
    """Which folder of a path names the class where another one names the split: 1, 0; None where none does.

    Raises:
        UserError: only a part of the folders is named like splits, or classes are named one level deeper.
    """
    below: dict[str, set[str]] = defaultdict(set)
    for path in paths:
        parts = path.split("/")
        below[parts[0]].add(parts[1] if len(parts) > 2 else "")
    inner = set().union(*below.values())
    splits = [name for name in below if _split_of(name)]
    if asked := set(classes_option(options, "folder")) & {composed(name) for name in splits}:
        splits = [name for name in splits if composed(name) not in asked]  # a class that is called test, say
    if splits and len(splits) == len(below) and inner != {""}:
        return 1
    if splits and not asked:
        first = next(path for path in paths if path.split("/")[0] == splits[0])
        others = ", ".join(sorted(set(below) - set(splits))[:3])
        beside = f"beside {others}" if others else "with no folder of a class in it"
        raise UserError(
            f"{root}: {first} is in a folder that is named like a split, {beside}. Expected <class>/<image>, or "
            "train/<class>/<image> with only splits as the outer folders. Move it, or name the classes to keep "
            "in `classes`."
        )
    if "" not in inner and len({_split_of(name) for name in inner}) > 1 and all(map(_split_of, inner)):
        return 0
    deeper = {name for name in inner if name.casefold() in _EXPRESSION_WORDS}
    if len(deeper) > 1 and inner == deeper and not any(name.casefold() in _EXPRESSION_WORDS for name in below):
        raise UserError(
            f"{root}: the folders {', '.join(sorted(below)[:3])} would be the classes, but they hold folders that are "
            f"named like expressions ({', '.join(sorted(deeper)[:3])}); the first image is {paths[0]}. Expected "
            f"<class>/<image>: {_deeper_remedy(root, below)}, or label the photographs with a CSV (option `csv`)."
        )
    return None


def _deeper_remedy(root: Path, below: Mapping[str, set[str]]) -> str:
    if len(below) == 1:
        return f"name the inner folder, `path: {root / next(iter(below))}`"
    return "make the expressions the outer folders and the persons the inner ones"


def _from_csv(csv: Path, root: Path, tree: Tree, name: str) -> _Labelled:
    if not csv.exists() and (astray := elsewhere(root, [name])):
        raise UserError(f"{csv}: no such file. {astray}")
    table = read_list(csv, _COLUMNS, keep=[*_COLUMNS, *_FURTHER])
    if "identity" not in table:
        table["identity"] = UNKNOWN
    table = table.apply(lambda column: column.str.strip())
    table["expression"] = [composed(label) for label in table["expression"].tolist()]
    table["identity"] = one_spelling(table["identity"].tolist())
    if "split" in table and not (known := table["split"].isin(SPLITS)).all():
        raise UserError(
            f"{csv}: {table['split'][~known].iloc[0]!r} is not a split; the column `split` must hold one of "
            f"{', '.join(SPLITS)} in every row, or be left out."
        )
    listed = Listed.of(table["path"].tolist(), tree, root, str(csv))
    table["path"] = listed.paths
    table = table.drop_duplicates()
    labels = zip(table["path"].tolist(), table["expression"].tolist(), strict=True)
    classes = {path: label for path, label in labels if label}
    left_out: dict[str, tuple[str, str]] = {}
    for path in table["path"].tolist():
        if not inside(path):
            left_out[path] = (FAULT, "listed with a path that is not below the images' folder")
    for path in table["path"][table["path"].duplicated()].tolist():
        left_out[path] = (FAULT, "listed twice with different labels, persons or splits")
    for path in table["path"][table["expression"] == ""].tolist():
        left_out.setdefault(path, (FAULT, "listed without an expression"))
    table = table[~table["path"].isin(left_out)].reset_index(drop=True)
    notes = [listed.note] if listed.note else []
    return _Labelled(table, left_out, classes, f"labelled by {name}", listed.files, notes)


def _splits(usable: pd.DataFrame, shares: Mapping[str, float], seed: int) -> list[str]:
    """Split of every row: the one that is given, or drawn by person."""
    given: list[str] = usable["split"].tolist() if "split" in usable else [""] * len(usable)
    draw = [position for position, split in enumerate(given) if not split]
    if not draw:
        return given
    free = {split: share for split, share in shares.items() if split not in set(given)}
    free = {split: share / sum(free.values()) for split, share in free.items()}
    paths, labels = usable["path"].tolist(), usable["expression"].tolist()
    # A path is unique; a name with "/" at its front is none, so an unknown person is a group of its own.
    people = [name or f"/{path}" for name, path in zip(usable["identity"].tolist(), paths, strict=True)]
    drawn = split_by_group([people[row] for row in draw], [labels[row] for row in draw], free, seed)
    for position, split in zip(draw, drawn, strict=True):
        given[position] = split
    return given


def _divided_persons(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A sentence on persons that a given split divides."""
    splits: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        if row["identity"]:
            splits[row["identity"]].add(row["split"])
    divided = sorted(person for person, found in splits.items() if len(found) > 1)
    if not divided:
        return []
    told = f"{divided[0]} in {' and '.join(sorted(splits[divided[0]]))}"
    return [
        f"{len(divided):,} of {len(splits):,} persons are in more than one split ({told}): results on faces seen in "
        "training are too good."
    ]


def _check_classes(
    expressions: pd.Series, classes: list[str], root: Path, tree: Tree, options: Mapping[str, Any]
) -> None:
    """Raise `UserError` unless there are two classes, spelt in one way, and all of `classes`."""
    found = sorted(set(expressions))
    told = f"found {', '.join(found)}" if found else "found none"
    if unread := tree.unread_by_ending():
        told += f"; not read: {unread}"
    if missing := [name for name in classes if name not in found]:
        raise UserError(
            f"{root}: no image of the class {missing[0]!r}, which is requested in "
            f"{setting(options, 'folder', 'classes')}; {told}. Correct the spelling, or remove the class."
        )
    if len(found) < 2:
        raise UserError(
            f"{root}: labelled images of at least two classes are needed; {told}. {_one_deeper(root, tree)}{ACCESS}"
        )
    spelt = Counter(name.casefold() for name in found)
    if alike := [name for name in found if spelt[name.casefold()] > 1]:
        raise UserError(f"{root}: the classes {', '.join(alike)} differ only in capitalisation. Use one spelling.")


def _one_deeper(root: Path, tree: Tree) -> str:
    """What to do when everything lies in one folder, and that in several, or right in `root`."""
    if tree.images and not any("/" in path for path in tree.images):
        return (
            f"{len(tree.images):,} images are directly in {root}, the first is {tree.images[0]}, and not in the folder "
            "of a class: expected <class>/<image>. "
        )
    outer = {path.split("/")[0] for path in tree.images}
    inner = {parts[1] for path in tree.images if len(parts := path.split("/")) > 2}
    if len(outer) != 1 or len(inner) < 2:
        return ""
    (name,) = outer
    named = ", ".join(sorted(inner)[:3]) + (", ..." if len(inner) > 3 else "")
    place = root / name
    return f"One level deeper, in {place}, are {named}: if these are classes or splits, set `path: {place}`. "


def _check_left(
    kept: set[str],
    of_path: Mapping[str, str],
    left_out: Mapping[str, tuple[str, str]],
    classes: Sequence[str],
    root: Path,
) -> None:
    """Raise `UserError` when every image of a class was left out: the class would vanish without a word."""
    lost: dict[str, list[str]] = defaultdict(list)
    for path, name in of_path.items():
        if name not in kept and (not classes or name in classes):
            lost[name].append(path)
    if not lost:
        return
    name, paths = min(lost.items())
    reasons: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        reasons[left_out[path][1]].append(path)
    told = "; ".join(
        f"{len(some):,} x {reason} ({some[0]})"
        for reason, some in sorted(reasons.items(), key=lambda item: -len(item[1]))[:3]
    )
    raise UserError(
        f"{root}: none of the {len(paths):,} images of the class {name!r} can be used: {told}. Convert or replace "
        "them, or name the other classes in `classes`, so that this one is left out on purpose."
    )
