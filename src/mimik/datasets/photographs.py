"""What indexes of photographs share: headers, ids, byte duplicates, options, seeded splits, what must be left over."""

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from mimik.datasets.listing import INDEX_COLUMNS, SPLITS, Listing, Total
from mimik.datasets.lists import composed
from mimik.datasets.tree import LINK
from mimik.errors import UserError
from mimik.storage.files import file_sha256
from mimik.storage.pictures import DAMAGED, ENDINGS, UnreadableError, format_of, not_read, open_picture

FAULT = "listing"
"""Quarantine stage of an image whose file or annotation is at fault."""

EXCLUDED = "selection"
"""Quarantine stage of a sound image that the dataset's options leave out."""

UNKNOWN = ""
"""Value of `expression` and `identity` where nothing is known."""


def image_mode(path: Path) -> str | None:
    """Pillow's mode ("L", "RGB", ...) from the header, no pixel decoded; None when it is no image."""
    try:
        with open_picture(path) as image:
            return image.mode
    except UnreadableError:
        return None
    except DAMAGED:
        return None


def file_fault(path: Path) -> str | None:
    """Why a file that was found cannot be an image, by its header only; None when it may be one."""
    try:
        if not path.stat().st_size:
            return "an empty file"
    except OSError:
        return LINK
    try:
        open_picture(path).close()
    except UnreadableError as error:
        return str(error)
    except DAMAGED:
        return _not_read(path)
    return None


def _not_read(path: Path) -> str:
    """Why a file that is no picture by any format that is read is none."""
    try:
        with path.open("rb") as opened:
            kind = format_of(opened.read(32))
    except OSError as error:
        return f"the file cannot be read: {error.strerror}"
    # Telephones and programs that save "as JPEG" leave such files.
    unread = None if kind is None else not_read(f"picture{ENDINGS[kind][0]}")
    return "not a readable image" if unread is None else f"a {kind} picture inside: {unread}"


def printable(text: str) -> str:
    """A text that can be written as UTF-8: bytes of a file's name that cannot become `\\udc..`."""
    return text.encode("utf-8", "backslashreplace").decode()


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

    Accented letters are composed, as those of labels are (`lists.composed`).

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
    return [composed(name) for name in classes]


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


def one_spelling(names: Iterable[str]) -> list[str]:
    """Names of persons, each as it was first written: capitals and the forms of accents do not make two of one."""
    first: dict[str, str] = {}
    return [first.setdefault(composed(name).casefold(), composed(name)) for name in names]


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
    notes: Iterable[str] = (),
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
    return Listing(ordered, left_out, layout=layout, totals=totals, notes=tuple(map(printable, notes)))


def require_usable(listing: Listing, where: Path, options: Mapping[str, Any], every: Iterable[str] = ()) -> Listing:
    """Return `listing` when what is left of it can be trained on; see `require_faces`.

    Args:
        listing: after everything that cannot be used, or is not wanted, was left out.
        where: the archive, for the message.
        options: of the dataset; each of its `classes` must have an image.
        every: classes besides that must, those of the archive where `classes` is empty.

    Raises:
        UserError: a class or a split has no image to use.
    """
    asked = [composed(name) for name in options.get("classes") or ()]
    require_faces(listing.table, listing.quarantine, where, [*asked, *every])
    return listing


def gaps(table: pd.DataFrame) -> list[str]:
    """A sentence on each split in which a class has no row: it can be trained, but it is not measured in full."""
    shown = sorted(set(table["expression"]) - {UNKNOWN})
    told = []
    for split in SPLITS:
        there = set(table["expression"][table["split"] == split])
        if missing := [name for name in shown if name not in there]:
            told.append(
                f"the split {split} has no image of {', '.join(missing)}, so edits of these classes are not measured"
            )
    return told


def require_faces(
    table: pd.DataFrame,
    left_out: Sequence[tuple[str, str, str]],
    where: Path | str,
    classes: Iterable[str] = (),
    things: str = "images",
) -> None:
    """Raise `UserError` unless every split has a row, and every class one in `train`.

    The conditions are the same when an archive is listed, when OpenFace's measures were joined, and when faces were
    aligned: every one of these steps may leave out a whole class. Rows without any label need no class.

    Args:
        table: with the columns split and expression.
        left_out: path, stage and reason of what is not in it.
        where: what the message is about.
        classes: that must be there, besides those of the table.
        things: what rows are, for the message.
    """
    counts = {split: int((table["split"] == split).sum()) for split in SPLITS}
    reasons = Counter(reason for _, _, reason in left_out).most_common(3)
    told = " Left out: " + "; ".join(f"{count:,} x {reason}" for reason, count in reasons) + "." if reasons else ""
    if min(counts.values()) == 0:
        numbers = ", ".join(f"{split} {count:,}" for split, count in counts.items())
        raise UserError(
            f"{where}: a split is empty ({numbers} {things}). Add images or change the dataset's options in "
            f"params.yaml.{told}"
        )
    shown = set(table["expression"]) - {UNKNOWN}
    wanted = dict.fromkeys([*classes, *sorted(shown)])
    trained = Counter(table["expression"][table["split"] == "train"])
    if missing := [name for name in wanted if not trained[name]]:
        numbers = ", ".join(f"{name} {trained[name]:,}" for name in wanted)
        raise UserError(
            f"{where}: no {things} of the class {missing[0]!r} are left in the split train ({numbers}). Add or repair "
            f"some, or name the classes to keep in the dataset's `classes` in params.yaml.{told}"
        )
    if len(shown) == 1:
        raise UserError(
            f"{where}: only one class is left, {next(iter(shown))} ({len(table):,} {things}); two are needed because "
            f"edits lead from one to another. Add or repair images of other classes.{told}"
        )
