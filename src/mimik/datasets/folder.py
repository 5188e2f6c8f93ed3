"""folder: anybody's own photographs, labelled by the folder they lie in or by a CSV.

Folders: `<root>/<class>/**/<image>`; the name of the folder is the class. CSV (option `csv`): columns `path`
(relative to `<root>`) and `expression`, and, where known, `identity` (the person), `split` (train, val or test)
and `landmarks` (136 numbers x;y;x;y;..., the 68 points in pixels). Any class names will do; the eight that other
datasets share stand in `mimik.labels.EXPRESSIONS`.
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from mimik.datasets.listing import SPLITS, Listing
from mimik.datasets.photographs import (
    EXCLUDED,
    FAULT,
    UNKNOWN,
    as_on_disk,
    classes_option,
    drop_same_bytes,
    file_fault,
    find_images,
    identifier,
    inside,
    make_listing,
    printable,
    read_list,
    require_splits,
    setting,
    split_by_group,
    split_option,
)
from mimik.errors import UserError

LICENCE = "Yours to know: use photographs of people only as they, or the licence of the photographs, allow."
RESTRICTED = True
CITATION = "None: your own photographs."
ACCESS = (
    "Put your photographs into data/raw/folder/<class>/, one folder for each expression (for instance "
    "data/raw/folder/happiness/photo.jpg), or name another place with `path` under datasets.folder in "
    "params.yaml. Instead of folders a CSV with the columns path and expression will do (option `csv`)."
)

_COLUMNS = ["path", "expression"]


def check(raw: Path, options: Mapping[str, Any], mirror: Path | None) -> None:
    """Check that there are labelled images of at least two classes. Raises `UserError`."""
    classes = classes_option(options, "folder")
    split_option(options, "folder")
    labelled, _ = _labelled(_root(raw, options), options)
    _check_classes(labelled["expression"], classes, _root(raw, options), options)


def fetch(raw: Path, options: Mapping[str, Any], mirror: Path | None) -> None:
    """Nothing to fetch: the photographs are yours. Raises `UserError` when they are not there."""
    check(raw, options, mirror)


def index(raw: Path, options: Mapping[str, Any], seed: int) -> Listing:
    """List the labelled images.

    Options:
        path: where the images are, when not in `raw`; `source` is then an absolute path.
        csv: a CSV (relative to the images' folder, or absolute) that labels them; default: folders do.
        classes: names to keep, in the order of their labels; default or empty: all there are.
        split: shares of train, val and test; default 0.8, 0.1, 0.1. A column `split` of the CSV goes first.

    Without a person's name every photograph counts as another person. Of files with equal bytes the first stays,
    or none when their labels differ.

    Raises:
        UserError: no labelled images, fewer than two classes, an unreadable CSV, or a split would be empty.
    """
    classes = classes_option(options, "folder")
    shares = split_option(options, "folder")
    root = _root(raw, options)
    labelled, left_out = _labelled(root, options)
    _check_classes(labelled["expression"], classes, root, options)
    present = set(find_images(root))
    for path in sorted(present - set(labelled["path"]) - left_out.keys()):
        left_out[path] = (FAULT, "no label: not listed in the CSV, or in no class's folder")
    kept: dict[str, str] = {}
    for path, label in zip(labelled["path"], labelled["expression"], strict=True):
        if path not in present:
            left_out[path] = (FAULT, "listed, but there is no such image")
        elif classes and label not in classes:
            left_out[path] = (EXCLUDED, f"class {label} is not among `classes`")
        elif fault := file_fault(root / path):
            left_out[path] = (FAULT, fault)
        else:
            kept[path] = label
    left_out |= {path: (FAULT, reason) for path, reason in drop_same_bytes(root, kept).items()}

    usable = labelled[labelled["path"].isin(kept)]
    if "split" in labelled:
        splits = list(usable["split"])
    else:
        # A path is unique; a name with "/" at its front is none, so an unknown person is a group of its own.
        people = zip(usable["identity"], usable["path"], strict=True)
        groups = [identity or f"/{path}" for identity, path in people]
        splits = split_by_group(groups, list(usable["expression"]), shares, seed)
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
    quarantine = [((prefix / path).as_posix(), *excuse) for path, excuse in left_out.items()]
    layout = f"labelled by {options['csv']}" if options.get("csv") else "one folder for each class"
    return require_splits(make_listing(rows, quarantine, layout), root)


def _root(raw: Path, options: Mapping[str, Any]) -> Path:
    chosen = options.get("path")
    root = Path(chosen).expanduser().absolute() if chosen else raw
    if not root.is_dir():
        raise UserError(f"{root}: no such folder. {ACCESS}")
    return root


def _labelled(root: Path, options: Mapping[str, Any]) -> tuple[pd.DataFrame, dict[str, tuple[str, str]]]:
    """Columns path (unique), expression, identity and, where given, split; and which images cannot have a label."""
    if options.get("csv"):
        return _from_csv(root / Path(options["csv"]).expanduser(), root)
    # An image right in `root` is in no class's folder.
    found = [path for path in find_images(root) if "/" in path]
    paths = [path for path in found if printable(path) == path]
    expressions = [PurePosixPath(path).parts[0] for path in paths]
    left_out = dict.fromkeys(set(found) - set(paths), (FAULT, "the path is not in UTF-8; rename the file or folder"))
    return pd.DataFrame({"path": paths, "expression": expressions, "identity": UNKNOWN}, dtype=str), left_out


def _from_csv(csv: Path, root: Path) -> tuple[pd.DataFrame, dict[str, tuple[str, str]]]:
    table = read_list(csv, _COLUMNS)
    if "identity" not in table:
        table["identity"] = UNKNOWN
    table = table[[*_COLUMNS, "identity", *(name for name in ("split", "landmarks") if name in table)]]
    table = table.apply(lambda column: column.str.strip())
    if "split" in table and not (known := table["split"].isin(SPLITS)).all():
        raise UserError(
            f"{csv}: {table['split'][~known].iloc[0]!r} is no split; the column `split` holds one of "
            f"{', '.join(SPLITS)} in every row, or is left out."
        )
    left_out: dict[str, tuple[str, str]] = {}
    table["path"] = as_on_disk([PurePosixPath(path).as_posix() for path in table["path"]], root)
    for path in table["path"]:
        if not inside(path):
            left_out[path] = (FAULT, "listed with a path that is not one below the images' folder")
    table = table.drop_duplicates()
    for path in table["path"][table["path"].duplicated()]:
        left_out[path] = (FAULT, "listed twice with different labels, persons or splits")
    for path in table["path"][table["expression"] == ""]:
        left_out.setdefault(path, (FAULT, "listed without an expression"))
    return table[~table["path"].isin(left_out)].reset_index(drop=True), left_out


def _check_classes(expressions: pd.Series, classes: list[str], root: Path, options: Mapping[str, Any]) -> None:
    """Raise `UserError` unless there are two classes, spelt in one way, and all of `classes`."""
    found = sorted(set(expressions))
    told = f"found {', '.join(found)}" if found else "found none"
    if missing := [name for name in classes if name not in found]:
        raise UserError(
            f"{root}: no image of the class {missing[0]!r}, which is asked for in "
            f"{setting(options, 'folder', 'classes')}; {told}. Correct the spelling, or take the class out."
        )
    if len(found) < 2:
        raise UserError(f"{root}: labelled images of at least two classes are needed; {told}. {ACCESS}")
    spelt = Counter(name.lower() for name in found)
    if alike := [name for name in found if spelt[name.lower()] > 1]:
        raise UserError(f"{root}: the classes {', '.join(alike)} differ in capitals only. Give them one spelling.")
