"""Lists that label photographs: reading them, and finding the files that they name.

A list is written by hand, by a program, or on another system. So a path may have backslashes, begin with the whole path
of the photographs' folder, or spell an accented letter otherwise than the file's name (Unicode's forms NFC and NFD).
`Listed` recognises these. Anything else that is one level off is reported with the nearest file, not guessed.
"""

import csv
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path, PurePosixPath

import pandas as pd

from mimik.datasets.tree import Tree, left_by_programs, nearest
from mimik.errors import UserError

NAMES = 12
"""Most names of columns that a message repeats."""


def read_list(
    path: Path, columns: Sequence[str], *, header_optional: bool = False, keep: Sequence[str] | None = None
) -> pd.DataFrame:
    """Read a CSV with a header, every value as the string that is written there.

    Args:
        path: the file, UTF-8 with or without byte order mark.
        columns: columns that must be there.
        header_optional: a file whose first field is not the name of the first column has no header, and exactly
            `columns`.
        keep: columns to keep in memory, those of them that are there; None keeps all.

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
            places = {name: place for place, name in enumerate(header)}
            if len(places) != len(header):
                twice = next(name for place, name in enumerate(header) if places[name] != place)
                raise UserError(f"{path}: the name {twice!r} occurs twice in the header. Correct it.")
            if missing := [column for column in columns if column not in places]:
                found = ", ".join(header[:NAMES]) + (", ..." if len(header) > NAMES else "")
                other = next((mark for mark in ";\t|" if len(header) == 1 and mark in header[0]), None)
                hint = (
                    "Correct the header line." if other is None else f"Separate the fields with commas, not {other!r}."
                )
                raise UserError(
                    f"{path}: the column {missing[0]!r} is missing; expected {', '.join(columns)}, found "
                    f"{found[:400] or 'nothing'}. {hint}"
                )
            names = [name for name in keep if name in places] if keep else header
            kept = [places[name] for name in names]
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


def composed(text: str) -> str:
    """A name with its accented letters in Unicode's form NFC, by which two spellings of one name are equal."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def inside(path: str) -> bool:
    """Whether a listed path can only lead below the folder that it is relative to."""
    return not path.startswith("/") and not (".." in path and ".." in path.split("/"))


def is_file(path: Path) -> bool:
    """Whether a listed path is that of a file; one that no file can have, as a name of 300 letters, is not."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


@dataclass(frozen=True)
class Listed:
    """The files of a list.

    Attributes:
        paths: of every row, as the files below the folder are spelt; a path without a file as it is listed.
        note: a sentence about files that are not there, the first of them with what is nearest; empty where nothing is.
        files: every file below the folder that may be used: those of the tree, and those in hidden and service folders
            that the list names.
    """

    paths: list[str]
    note: str
    files: frozenset[str]

    @classmethod
    def of(cls, listed: Sequence[str], tree: Tree, folder: Path, source: str) -> "Listed":
        """Find the files of a list.

        Args:
            listed: paths as they are written, in any number and as often as they are.
            tree: of `folder`.
            folder: what paths are relative to.
            source: the list, for messages.

        Raises:
            UserError: none of the files is there: the list was made for another place.
        """
        different = dict.fromkeys(listed)
        found = {path: _spelt(path, tree.files) for path in different}
        missing = [path for path, place in found.items() if place is None]
        if missing:
            found |= _otherwise_spelt(missing, tree.files, folder)
            found |= _passed_over([path for path in missing if found[path] is None], tree, folder)
        files = tree.files | {place for path in missing if (place := found[path]) is not None}
        paths = [_plain(path) if (place := found[path]) is None else place for path in listed]
        gone = [path for path in missing if found[path] is None and path.strip()]
        if not gone:
            return cls(paths, "", files)
        match = nearest(gone[0], tree.files)
        if len(gone) == len(different):
            away = _away(source, gone, len(different), match, folder)
            raise UserError(f"{away} {_remedy(gone[0], match, folder)}")
        return cls(paths, _away(source, gone, len(different), match, folder) if match else "", files)


def _spelt(path: str, files: frozenset[str]) -> str | None:
    if path in files:
        return path
    plain = _plain(path)
    return plain if plain in files else None


def _plain(path: str) -> str:
    """A path without blanks around it, `./` and double slashes."""
    path = path.strip()
    if "//" in path or "./" in path or path.endswith("/"):
        return PurePosixPath(path).as_posix()
    return path


def _otherwise_spelt(paths: Iterable[str], files: frozenset[str], folder: Path) -> Mapping[str, str | None]:
    """Files of paths that are written in another way; None where there is none."""
    # Names are composed only where it changes them, as there may be half a million.
    by_form = {composed(file): file for file in files if not file.isascii()}
    places = {f"{place.as_posix()}/" for place in (folder, folder.absolute(), folder.resolve())}

    def find(path: str) -> str | None:
        if "\\" not in path and "/" not in path.lstrip()[:1] and path.isascii():
            return None
        plain = _plain(path)
        for written in dict.fromkeys((plain, _plain(plain.replace("\\", "/")))):
            inner = next((written.removeprefix(place) for place in places if written.startswith(place)), written)
            if inner in files:
                return inner
            if not inner.isascii() and (file := by_form.get(composed(inner))):
                return file
        return None

    return {path: find(path) for path in paths}


def _passed_over(paths: Iterable[str], tree: Tree, folder: Path) -> dict[str, str]:
    """Files that were passed over when the folder was walked, but that a list names: then they are meant."""
    found = {}
    left = cache(left_by_programs)  # of half a million missing files the folders are few
    for path in paths:
        plain = _plain(path)
        *folders, name = plain.split("/")
        hidden = name.startswith(".") or any(map(left, folders))
        if inside(plain) and (hidden or tree.links) and is_file(folder / plain):
            found[path] = plain
    return found


def _away(source: str, gone: Sequence[str], count: int, match: str | None, folder: Path) -> str:
    """What is said of files that are not there."""
    first = gone[0] if len(gone[0]) <= 120 else f"{gone[0][:120]}..."
    near = f"the nearest match is {match}" if match else "no file has that name"
    return (
        f"{source}: {'none' if len(gone) == count else 'not all'} of the {count:,} listed files are below {folder}. "
        f"The first that is missing, {first!r}, was expected at {folder / _plain(first)}; {near}."
    )


def _remedy(path: str, match: str | None, folder: Path) -> str:
    """What to do about a list of which no file is there."""
    plain = _plain(path.replace("\\", "/"))
    if match and plain.endswith(f"/{match}"):
        return f"Remove {plain.removesuffix(match)!r} from the beginning of the paths, or move the photographs."
    if match and match.endswith(f"/{plain}"):
        place = folder / match.removesuffix(f"/{plain}")
        return f"Move the files from {place} to {folder}, or add the folder to the paths."
    return f"Write paths that are relative to {folder}, or put the photographs there."
