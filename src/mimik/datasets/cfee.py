"""CFEE, the Compound Facial Expressions of Emotion database (Du, Tao, Martinez 2014), given out on request.

What it holds, and which part of it each paper uses: docs/papers/datasets.md#cfee.

230 persons show 22 categories each: neutral, the 6 basic emotions and 15 compound ones. How the files of a copy are
named differs, so a CSV says what they are: columns `path` (relative to data/raw/cfee), `label` and `subject`. A
label is one of the categories, in CFEE's words or in those of the other datasets ("happy" and "happiness" are the
same), in any case, with spaces, hyphens or underscores between words. Every subject is in one split.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mimik.datasets.listing import Listing, Total
from mimik.datasets.lists import Listed, inside, read_list
from mimik.datasets.photographs import (
    EXCLUDED,
    FAULT,
    classes_option,
    drop_same_bytes,
    file_fault,
    identifier,
    make_listing,
    one_spelling,
    require_usable,
    setting,
    split_by_group,
    split_option,
)
from mimik.datasets.tree import Tree, look
from mimik.errors import UserError
from mimik.labels import EXPRESSIONS

LICENCE = "Available from the Ohio State University on request, for research only; no redistribution."
RESTRICTED = True
CITATION = (
    "S. Du, Y. Tao, A. M. Martinez, Compound facial expressions of emotion, Proceedings of the National Academy of "
    "Sciences 111(15), E1454-E1462, 2014."
)
ACCESS = (
    "Request CFEE from the Computational Biology and Cognitive Science Lab of the Ohio State University "
    "(https://cbcsl.ece.ohio-state.edu). Put the photographs into data/raw/cfee/, and beside them manifest.csv with "
    "the columns path, label and subject, one row for every photograph."
)

OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "csv": {
        "description": "the path of a CSV",
        "default": "manifest.csv",
        "meaning": "The CSV that lists photographs, labels and subjects, relative to `data/raw/cfee`.",
    },
    "split": {
        "description": "{train: SHARE, val: SHARE, test: SHARE}, which add up to 1",
        "default": {"train": 0.8, "val": 0.1, "test": 0.1},
        "meaning": "Shares of the subjects; a subject is in one split.",
    },
}
"""What an entry of this dataset may set besides the options of every dataset, for docs/options.md."""

BASIC: Sequence[str] = tuple(EXPRESSIONS[:7])
"""Neutral and the six basic emotions."""

COMPOUND: Sequence[str] = (
    "happily_surprised",
    "happily_disgusted",
    "sadly_fearful",
    "sadly_angry",
    "sadly_surprised",
    "sadly_disgusted",
    "fearfully_angry",
    "fearfully_surprised",
    "fearfully_disgusted",
    "angrily_surprised",
    "angrily_disgusted",
    "disgustedly_surprised",
    "appalled",
    "hatred",
    "awed",
)
"""The fifteen compound emotions (Du et al., Table 1)."""

CATEGORIES: Sequence[str] = (*BASIC, *COMPOUND)
SUBJECTS = 230

WORDS: Mapping[str, str] = dict(
    zip(("neutral", "happy", "sad", "surprised", "fearful", "disgusted", "angry"), BASIC, strict=True)
) | dict(zip(CATEGORIES, CATEGORIES, strict=True))
"""Category of each label, spelt in lower case with underscores."""

_COLUMNS = ["path", "label", "subject"]
_GONE = "listed, but there is no such file"


def check(raw: Path, options: Mapping[str, Any], mirror: Path | None) -> None:
    """Check the options, and that the CSV is there and has its columns. Raises `UserError`."""
    _options(options)
    _read(raw, look(raw), options)


def training_faces(options: Mapping[str, Any]) -> int | None:
    """Photographs of the split `train` in the complete set: every subject shows every category once."""
    classes, shares = _options(options)
    return round(SUBJECTS * shares["train"]) * len(classes)


def fetch(raw: Path, options: Mapping[str, Any], mirror: Path | None) -> None:
    """Nothing to fetch: CFEE is given out on request only. Raises `UserError` when it is not there."""
    check(raw, options, mirror)


def index(raw: Path, options: Mapping[str, Any], seed: int) -> Listing:
    """List the usable photographs.

    Options:
        classes: categories to keep, of `CATEGORIES`; default `BASIC`.
        csv: the CSV, relative to `raw`; default manifest.csv.
        split: shares of the subjects that are train, val and test; default 0.8, 0.1, 0.1. A subject is in one split.

    Raises:
        UserError: no CSV, an unreadable one, an unusable option, or an empty split.
    """
    classes, shares = _options(options)
    tree = look(raw)
    csv, rows, files, notes = _read(raw, tree, options)
    listed: dict[str, set[tuple[str, str]]] = {}
    for path, label, subject in rows:
        listed.setdefault(path, set()).add((label, subject))
    sound: dict[str, str] = {}
    subjects: dict[str, str] = {}
    left_out: dict[str, tuple[str, str]] = {}
    for path in sorted({*listed, *tree.images, *tree.unread}):
        fault = _fault(raw, path, files, tree, listed.get(path, set()), csv.name)
        if fault:
            left_out[path] = (FAULT, fault)
        else:
            ((label, subjects[path]),) = listed[path]
            sound[path] = WORDS[_spelt(label)]
    gone = sorted(path for path, (_, reason) in left_out.items() if reason == _GONE)
    totals = [
        Total(f"photographs that {csv.name} lists", len(listed) - len(gone), len(listed), gone),
        Total("photographs", len(sound), SUBJECTS * len(CATEGORIES)),
        Total("subjects", len({subjects[path] for path in sound}), SUBJECTS),
        Total("categories", len(set(sound.values())), len(CATEGORIES), sorted(set(CATEGORIES) - set(sound.values()))),
    ]
    left_out |= {path: (FAULT, reason) for path, reason in drop_same_bytes(raw, sound).items()}
    kept = []
    for path, category in sound.items():
        if category in classes:
            kept.append(path)
        else:
            left_out[path] = (EXCLUDED, f"category {category} is not among `classes`")
    # Shares are those of subjects: every one of them shows every category.
    people = sorted({subjects[path] for path in kept})
    splits = dict(zip(people, split_by_group(people, [""] * len(people), shares, seed), strict=True))
    table = [
        {
            "id": identifier(path),
            "split": splits[subjects[path]],
            "source": path,
            "expression": sound[path],
            "identity": subjects[path],
        }
        for path in kept
    ]
    quarantine = [(path, *excuse) for path, excuse in left_out.items()]
    return require_usable(make_listing(table, quarantine, f"labelled by {csv.name}", totals, notes), raw, options)


def _options(options: Mapping[str, Any]) -> tuple[list[str], dict[str, float]]:
    return classes_option(options, "cfee", CATEGORIES, BASIC), split_option(options, "cfee")


def _read(
    raw: Path, tree: Tree, options: Mapping[str, Any]
) -> tuple[Path, list[tuple[str, str, str]], frozenset[str], tuple[str, ...]]:
    """The CSV, its rows (path, label, subject, without spaces at their ends), files, and what is to be told."""
    name = options.get("csv", "manifest.csv")
    if not isinstance(name, str) or not inside(name):
        raise UserError(
            f"{setting(options, 'cfee', 'csv')}: {name!r} is not usable; give the path of a CSV below data/raw/cfee."
        )
    csv = raw / name
    if not csv.is_file():
        raise UserError(f"{csv}: no such file. {ACCESS}")
    table = read_list(csv, _COLUMNS, keep=_COLUMNS)
    if table.empty:
        raise UserError(f"{csv}: lists no photograph. {ACCESS}")
    listed = Listed.of(table["path"].tolist(), tree, raw, str(csv))
    labels = [label.strip() for label in table["label"].tolist()]
    subjects = one_spelling(subject.strip() for subject in table["subject"].tolist())
    notes = (*([listed.note] if listed.note else []), *tree.notes())
    return csv, list(zip(listed.paths, labels, subjects, strict=True)), listed.files, notes


def _spelt(label: str) -> str:
    return "_".join(label.lower().replace("-", " ").replace("_", " ").split())


def _fault(
    raw: Path, path: str, files: frozenset[str], tree: Tree, entries: set[tuple[str, str]], csv: str
) -> str | None:
    """What is wrong with a photograph or its rows, or None."""
    if not entries:
        return tree.unread.get(path, f"not listed in {csv}")
    if not inside(path):
        return "listed with a path that is not below data/raw/cfee"
    if len(entries) > 1:
        return "listed with different labels or subjects"
    ((label, subject),) = entries
    if _spelt(label) not in WORDS:
        return f"unknown label {label!r}"
    if not subject:
        return "listed without a subject"
    if path not in files:
        return tree.unread.get(path, _GONE)
    return file_fault(raw / path)
