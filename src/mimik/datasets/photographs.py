"""What indexes of photographs share: lists, headers, ids, byte duplicates, options, seeded splits."""

import csv
import hashlib
import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from mimik.datasets.listing import INDEX_COLUMNS, SPLITS, Listing, Total
from mimik.errors import UserError
from mimik.files import file_sha256
from mimik.pictures import DAMAGED, open_picture, readable_endings

FAULT = "listing"
"""Quarantine stage of an image whose file or annotation is at fault."""

EXCLUDED = "selection"
"""Quarantine stage of a sound image that the dataset's options leave out."""

UNKNOWN = ""
"""Value of `expression` and `identity` where nothing is known."""


def read_list(
    path: Path, columns: Sequence[str], *, header_optional: bool = False, keep: Sequence[str] | None = None
) -> pd.DataFrame:
    """Read a CSV with a header, every value as the string that is written there.

    Args:
        path: the file, UTF-8 with or without byte order mark.
        columns: columns that must be there.
        header_optional: a file whose first field is not the name of the first column has no header, and exactly
            `columns`.
        keep: columns to keep in memory; None keeps all.

    Raises:
        UserError: no such file, not UTF-8, a row with more or fewer fields than the header, or a column is
            missing.
    """
    wanted = f"a UTF-8 CSV with the columns {', '.join(columns)}"
    try:
        with path.open(encoding="utf-8-sig", newline="") as opened:
            reader = csv.reader(opened, skipinitialspace=True)
            header = next(reader, [])
            first = []
            if header_optional and header[:1] != list(columns[:1]):
                first, header = [header], list(columns)
            if len(set(header)) != len(header):
                raise UserError(f"{path}: a name occurs twice in the header: {', '.join(header)}. Correct it.")
            missing = [column for column in columns if column not in header]
            if missing:
                raise UserError(
                    f"{path}: the column {missing[0]!r} is missing; expected {', '.join(columns)}, found "
                    f"{', '.join(header)}. Correct the header line."
                )
            names = list(keep or header)
            kept = [header.index(name) for name in names]
            # By column: a list for each of half a million rows would take as much as what stands in them.
            values: list[list[str]] = [[] for _ in kept]
            for row in chain(first, reader):
                if row and len(row) != len(header):
                    raise UserError(
                        f"{path}, line {reader.line_num}: {len(row)} fields, but the header has {len(header)}; "
                        f"expected {wanted}. Correct the line (a comma inside a value needs quotes)."
                    )
                if row:
                    for column, position in zip(values, kept, strict=True):
                        column.append(row[position])
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; expected {wanted}.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read ({error}); expected {wanted}. Correct it.") from error
    return pd.DataFrame(dict(zip(names, values, strict=True)), dtype=str)


def find_images(folder: Path) -> list[str]:
    """Paths (relative to `folder`, with `/`, sorted) of all image files below it, hidden ones left out."""
    found = []
    for directory, subdirectories, names in os.walk(folder, followlinks=True):
        subdirectories[:] = [name for name in subdirectories if not name.startswith(".")]
        below = Path(directory).relative_to(folder)
        found += [(below / name).as_posix() for name in names if is_image_name(name)]
    return sorted(found)


def is_image_name(name: str) -> bool:
    """Whether a bare file name is that of an image: an ending of a format that is read, not hidden.

    What is inside is found out from its header.
    """
    return not name.startswith(".") and PurePosixPath(name).suffix.lower() in readable_endings()


def image_mode(path: Path) -> str | None:
    """Pillow's mode ("L", "RGB", ...) from the header, no pixel decoded; None when it is no image."""
    try:
        with open_picture(path) as image:
            return image.mode
    except DAMAGED:
        return None


def file_fault(path: Path) -> str | None:
    """Why a file that was found cannot be an image, by its header only; None when it may be one."""
    try:
        if not path.stat().st_size:
            return "an empty file"
    except OSError:
        return "a link to a file that is not there"
    return "not a readable image" if image_mode(path) is None else None


def inside(path: str) -> bool:
    """Whether a listed path can only lead below the folder that it is relative to."""
    return not PurePosixPath(path).is_absolute() and ".." not in PurePosixPath(path).parts


def is_file(path: Path) -> bool:
    """Whether a listed path is that of a file; one that no file can have, as a name of 300 letters, is not."""
    try:
        return path.is_file()
    except OSError:
        return False


def printable(text: str) -> str:
    """A text that can be written as UTF-8: bytes of a file's name that cannot become `\\udc..`."""
    return text.encode("utf-8", "backslashreplace").decode()


def as_on_disk(paths: Sequence[str], folder: Path) -> list[str]:
    """Paths of a list as the files below `folder` spell them.

    An accented letter is one character in most lists, and a letter with an accent in the names that some systems
    write (Unicode's forms NFC and NFD). A path without a file is returned as it is.
    """
    if all(path.isascii() for path in paths):
        return list(paths)
    present = find_images(folder)
    exact = set(present)
    spelt: dict[str, str] = {unicodedata.normalize("NFC", path): path for path in present}
    return [path if path in exact else spelt.get(unicodedata.normalize("NFC", path), path) for path in paths]


def identifier(source: str) -> str:
    """Id of an image: its path without the ending, made safe as a file name.

    The same path gives the same id whatever other images there are. A bare name of plain characters that
    ends in `.jpg` is kept; every other path gets a part of its SHA-256, so that `a/b.jpg`, `a_b.png` and
    `a_b.jpg` differ.
    """
    path = PurePosixPath(source)
    if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}\.jpg", source):
        return path.stem
    plain = re.sub(r"[^A-Za-z0-9_-]+", "_", path.with_suffix("").as_posix()).strip("_")
    return f"{plain[-60:]}-{hashlib.sha256(source.encode()).hexdigest()[:8]}".lstrip("-")


def drop_same_bytes(folder: Path, labels: dict[str, str]) -> dict[str, str]:
    """Take files with equal bytes out of `labels`: all but the first, or all of them when their labels differ.

    Args:
        folder: what the names in `labels` are relative to.
        labels: label of each file; changed in place.

    Returns:
        Why each file was taken out.
    """
    dropped: dict[str, str] = {}
    for group in _same_bytes(folder, labels):
        agree = len({labels[name] for name in group}) == 1
        for name in group[1:] if agree else group:
            others = " and ".join(other for other in group if other != name)
            dropped[name] = f"same bytes as {others}" + ("" if agree else ", with another label")
    for name in dropped:
        del labels[name]
    return dropped


def _same_bytes(folder: Path, sources: Iterable[str]) -> list[list[str]]:
    """Groups (two or more, in the given order) of files with equal bytes; only equally long ones are read."""
    by_length: dict[int, list[str]] = defaultdict(list)
    for source in sources:
        by_length[(folder / source).stat().st_size].append(source)
    by_content: dict[str, list[str]] = defaultdict(list)
    for candidates in by_length.values():
        if len(candidates) > 1:
            for source in candidates:
                by_content[file_sha256(folder / source)].append(source)
    return [group for group in by_content.values() if len(group) > 1]


def setting(options: Mapping[str, Any], name: str, key: str) -> str:
    """Where an option stands, for messages: `name` is the module's, which an entry of params.yaml may not share."""
    return f"params.yaml, datasets.{options.get('name', name)}.{key}"


def classes_option(
    options: Mapping[str, Any], name: str, known: Sequence[str] | None = None, default: Sequence[str] = ()
) -> list[str]:
    """The option `classes`: expressions to keep, in the order of their labels; `default` when absent or empty.

    Raises:
        UserError: not a list of at least two different names, or one that is not in `known`.
    """
    classes = options.get("classes") or list(default)
    sound = (
        isinstance(classes, list | tuple)
        and all(isinstance(entry, str) and entry for entry in classes)
        and (known is None or set(classes) <= set(known))
        and len(set(classes)) == len(classes) != 1
    )
    if not sound:
        wanted = "different names" if known is None else f"different ones of {', '.join(known)}"
        raise UserError(f"{setting(options, name, 'classes')}: {classes!r} is not usable; give at least two {wanted}.")
    return list(classes)


def flag_option(options: Mapping[str, Any], key: str, default: bool, name: str) -> bool:
    """A yes-or-no option. Raises `UserError` when it is neither true nor false."""
    value = options.get(key, default)
    if not isinstance(value, bool):
        raise UserError(f"{setting(options, name, key)}: {value!r} is neither true nor false.")
    return value


def split_option(options: Mapping[str, Any], name: str) -> dict[str, float]:
    """The option `split`: share of each split; 0.8, 0.1, 0.1 when it is absent.

    Raises:
        UserError: not positive numbers for train, val and test that add up to 1.
    """
    shares = options.get("split", {"train": 0.8, "val": 0.1, "test": 0.1})
    sound = (
        isinstance(shares, Mapping)
        and set(shares) == set(SPLITS)
        and all(isinstance(share, int | float) and share > 0 for share in shares.values())
        and abs(sum(shares.values()) - 1) < 1e-6
    )
    if not sound:
        raise UserError(
            f"{setting(options, name, 'split')}: {shares!r} is not usable; give positive shares of "
            f"{', '.join(SPLITS)} that add up to 1."
        )
    return {split: float(shares[split]) for split in SPLITS}


def seeded_rank(seed: int, key: Hashable) -> str:
    """A pseudo-random sort key that depends on `seed` and `key` only, on every machine and Python."""
    return hashlib.sha256(f"{seed}:{key}".encode()).hexdigest()


def split_by_group(groups: Sequence[str], labels: Sequence[str], shares: Mapping[str, float], seed: int) -> list[str]:
    """Distribute images over splits so that no group is divided, stratified by the group's majority label.

    Within each stratum the groups come in seeded order, those that the smallest split could not hold first, and
    each goes to the split that lacks the largest part of its share, among those that it does not overfill; when it
    overfills all, to the one that lacks most images.

    Args:
        groups: group of each image (identity; a unique string where it is unknown).
        labels: label of each image.
        shares: share of the images that each split shall get; splits are preferred in this order on ties.
        seed: decides the order.

    Returns:
        The split of each image.
    """
    votes: dict[str, Counter[str]] = defaultdict(Counter)
    for group, label in zip(groups, labels, strict=True):
        votes[group][label] += 1
    strata: dict[str, list[str]] = defaultdict(list)
    for group, counts in votes.items():
        strata[min(counts, key=lambda label: (-counts[label], label))].append(group)
    assigned: dict[str, str] = {}
    for _, members in sorted(strata.items()):
        total = sum(votes[group].total() for group in members)
        target = {split: share * total for split, share in shares.items()}
        filled = dict.fromkeys(shares, 0)
        smallest = min(target.values())
        large = {group for group in members if votes[group].total() > smallest}
        for group in sorted(members, key=lambda group: (group not in large, seeded_rank(seed, group))):
            size = votes[group].total()
            lacking = {split: target[split] - filled[split] for split in shares}
            # Half an image of tolerance: a stratum of five still gives one to val and one to test.
            fitting = [split for split in shares if size <= lacking[split] + 0.5]
            if fitting:
                chosen = max(fitting, key=lambda split: lacking[split] / target[split])
            else:
                chosen = max(shares, key=lambda split: lacking[split])
            assigned[group] = chosen
            filled[chosen] += size
    return [assigned[group] for group in groups]


def make_listing(
    rows: Sequence[Mapping[str, Any]],
    quarantine: Iterable[tuple[str, str, str]],
    layout: str = "",
    totals: Sequence[Total] = (),
) -> Listing:
    """A `Listing` in the order of ids, columns of `INDEX_COLUMNS` first; ids must be unique.

    The quarantine is made `printable`.
    """
    table = pd.DataFrame(list(rows), columns=None if rows else list(INDEX_COLUMNS))
    if table["id"].duplicated().any():
        raise ValueError(f"id {table['id'][table['id'].duplicated()].iloc[0]!r} occurs twice")
    further = [column for column in table.columns if column not in INDEX_COLUMNS]
    ordered = table[[*INDEX_COLUMNS, *further]].sort_values("id", ignore_index=True)
    left_out = sorted((printable(path), stage, printable(reason)) for path, stage, reason in quarantine)
    return Listing(ordered, left_out, layout=layout, totals=totals)


def require_splits(listing: Listing, where: Path) -> Listing:
    """Return `listing` when every split holds an image. Raises `UserError` that says how many there are."""
    counts = {split: int((listing.table["split"] == split).sum()) for split in SPLITS}
    if min(counts.values()) == 0:
        told = ", ".join(f"{split} {count}" for split, count in counts.items())
        reasons = Counter(reason for _, _, reason in listing.quarantine).most_common(3)
        left_out = "; ".join(f"{count} x {reason}" for reason, count in reasons)
        raise UserError(
            f"{where}: a split is empty ({told} images). Add images or change the dataset's options in "
            "params.yaml." + (f" Left out: {left_out}." if left_out else "")
        )
    return listing
