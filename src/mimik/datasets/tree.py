"""The content of a folder of photographs: images, pictures that are not read, and what programs leave there.

Every dataset of photographs looks at its folder through `look` or `walk`, so that all of them agree on what counts. A
file is an image by its ending (`mimik.storage.pictures.readable_endings`), or because a list names it. A picture with
another ending, or one recognised by its content, is reported with what to do about it. Hidden files and the folders of
`SERVICE_FOLDERS` hold small copies, old versions and deleted files; their pictures are counted and not used.
"""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mimik.errors import UserError
from mimik.storage.pictures import ENDINGS, format_of, not_read, readable_endings

SERVICE_FOLDERS: frozenset[str] = frozenset(
    {
        # Thumbnails and other small copies
        *("thumbs", "thumbnails", "thumbnail", "_thumbs", "_thumb", "_thumbnails", "@eadir", "@__thumb"),
        *(
            "ipod photo cache",
            "adobe bridge cache",
            "captureone",
            "zbthumbnail",
            "_vti_cnf",
            "appledouble",
            "resource.frk",
        ),
        # Old versions and originals of edited pictures
        *("[originals]", "#snapshot", "~snapshot", "@recently-snapshot", "files_versions", "_gsdata_"),
        # Deleted files, and what a check of the disk found
        *("lost+found", "lost.dir", "recycler", "recycled", "#recycle", "@recycle", "trash", "files_trashbin"),
        *("network trash folder", "temporary items", "thevolumesettingsfolder", "system volume information"),
        # Archives of other systems, places of programs
        *("__macosx", "@tmp", "@sharebin", "@transcode", "__pycache__"),
    }
)
"""Names (casefolded) of folders that desktops, network disks and photo programs make beside photographs."""

_SERVICE = re.compile(
    r"\..*"  # hidden: .thumbnails, .Trash-1000, .dtrash, .xvpics, .picasaoriginals, AppleDouble's ._1.jpg
    r"|\$.*"  # of Windows: $RECYCLE.BIN
    r"|found\.\d{3}|appdata_\w+"
    r"|.*\.(lrdata|photoslibrary|photolibrary|aplibrary|migratedphotolibrary)"
    r"|syno(photo|file)_thumb.*|albumart(small|_\{.*)\.jpg"
)

_PLAIN = frozenset(
    {".csv", ".db", ".gz", ".html", ".ini", ".json", ".log", ".mat", ".md", ".npy", ".npz", ".pts", ".py", ".tar"}
    | {".tsv", ".txt", ".xml", ".yaml", ".yml", ".zip"}
)
"""Endings of files whose content is not looked at: lists and annotations, of which there may be one per image."""

LINK = "a broken link"
"""Reason of a link to nothing."""


def left_by_programs(name: str) -> bool:
    """Whether a bare name, of a file or a folder, is hidden or one of a program's own folders."""
    folded = name.casefold()
    return folded in SERVICE_FOLDERS or _SERVICE.fullmatch(folded) is not None


@dataclass(frozen=True)
class Tree:
    """What `look` found. Paths are relative to the folder, with `/`.

    Attributes:
        images: by their ending, sorted.
        files: every plain file that is not hidden or a program's own, whatever its ending; images among them.
        unread: why a picture that is no image by its ending, or a thing that is no plain file, cannot be used.
        passed_over: how many pictures lie below hidden and service folders, by the name of the folder, or under
            such a name themselves ("").
        links: links to folders that were not followed, with the folder below this one that they lead to ("" for this
            one), which is read at its own place; None for a folder that contains this one.
    """

    images: list[str]
    files: frozenset[str]
    unread: Mapping[str, str]
    passed_over: Mapping[str, int]
    links: Mapping[str, str | None]

    def notes(self) -> tuple[str, ...]:
        """Sentences on what was passed over and on links that were not followed."""
        told = []
        if folders := {name: count for name, count in self.passed_over.items() if name and count}:
            most = sorted(folders.items(), key=lambda item: (-item[1], item[0]))
            named = ", ".join(f"{name} {count:,}" for name, count in most[:4]) + (", ..." if len(most) > 4 else "")
            told.append(
                "pictures ignored in folders that programs make for copies and deleted files: "
                f"{sum(folders.values()):,} ({named})"
            )
        if hidden := self.passed_over.get(""):
            told.append(f"pictures ignored because of their names (hidden files, thumbnails): {hidden:,}")
        if self.links:
            path = min(self.links)
            place = self.links[path]
            reason = (
                "it leads to a folder that contains this one"
                if place is None
                else f"it leads to {place or 'this folder itself'}, which is read there"
            )
            further = f", and {len(self.links) - 1:,} more" if len(self.links) > 1 else ""
            told.append(f"links to folders that were not followed: {path} ({reason}){further}.")
        return tuple(told)

    def unread_by_ending(self) -> str:
        """How many pictures are not read, by their ending, with what to do; empty when there are none."""
        groups: Counter[tuple[str, str]] = Counter()
        for path, reason in self.unread.items():
            groups[PurePosixPath(path).suffix.lower() or "no ending", reason] += 1
        return "; ".join(f"{count:,} x {ending} ({reason})" for (ending, reason), count in groups.most_common(4))


def walk(
    folder: Path,
    passed_over: Counter[str] | None = None,
    refused: dict[str, str | None] | None = None,
    apart: Collection[str] = (),
) -> Iterator[tuple[str, list["os.DirEntry[str]"]]]:
    """Every folder below `folder` and itself: its path, "" or ending in `/`, and what is no folder in it.

    Every folder is visited once, whatever links lead to it: under its own path, or under the link when it lies
    elsewhere. Links to a folder that was visited already, or that contains `folder`, are not followed, so that a link
    upwards adds no second copy of anything. Hidden and service folders are not entered, and hidden files are left out.

    Args:
        folder: where to start; nothing is found where there is no folder.
        passed_over: is given the number of pictures in each hidden or service folder, see `Tree`.
        refused: is given the links that were not followed, see `Tree.links`.
        apart: paths of folders that are not entered, as they hold something else than photographs.

    Raises:
        UserError: a folder cannot be read.
    """
    if not folder.is_dir():
        return
    real = folder.resolve()
    above = {_identity(parent) for parent in real.parents}
    seen: dict[tuple[int, int], str] = {}
    waiting: list[tuple[str, str]] = [("", str(folder))]
    links: list[tuple[int, str, str]] = []
    while waiting or links:
        if not waiting:
            # The deeper the place, the more is said by the link to it: `smile -> /photos/smile` goes before
            # `all -> /photos`.
            links.sort()
            _, below, path = links.pop(0)
            waiting.append((below, path))
        below, path = waiting.pop()
        identity = _identity(Path(path))
        if identity in above or identity in seen:  # only links lead to a folder twice
            if refused is not None:
                refused[below.rstrip("/")] = seen[identity].rstrip("/") if identity in seen else None
            continue
        seen[identity] = below
        others = []
        for entry in _entries(path, folder):
            if below + entry.name in apart:
                continue
            if left_by_programs(entry.name):
                if passed_over is not None:
                    _count(entry, passed_over)
            elif not _is(entry.is_dir):
                others.append(entry)
            elif entry.is_symlink():
                links.append((-os.path.realpath(entry.path).count("/"), f"{below}{entry.name}/", entry.path))
            else:
                waiting.append((f"{below}{entry.name}/", entry.path))
        yield below, others


def look(folder: Path, apart: Collection[str] = ()) -> Tree:
    """Walk a folder once, see `walk`. Raises `UserError` where a folder below cannot be read."""
    images: list[str] = []
    files: list[str] = []
    unread: dict[str, str] = {}
    passed_over: Counter[str] = Counter()
    refused: dict[str, str | None] = {}
    endings = readable_endings()
    for below, entries in walk(folder, passed_over, refused, apart):
        for entry in entries:
            path, ending = below + entry.name, _ending(entry.name)
            if _is(entry.is_file):
                files.append(path)
                if ending in endings:
                    images.append(path)
                elif ending not in _PLAIN and (reason := _unread(entry.path, entry.name)):
                    unread[path] = reason
            elif entry.is_symlink() and not _is(Path(entry.path).exists):
                unread[path] = LINK
            elif ending in endings:
                unread[path] = "no file, but a pipe, a socket or a device"
    images.sort()
    return Tree(images, frozenset(files), unread, passed_over, refused)


def find_images(folder: Path) -> list[str]:
    """Paths (relative to `folder`, with `/`, sorted) of all images below it; see `look`."""
    return look(folder).images


def find_annotations(folder: Path, ending: str) -> dict[str, Path]:
    """Files below a folder whose names end with `ending`, by their path without it; hidden ones are left out."""
    return {
        (below + entry.name).removesuffix(ending): Path(entry.path)
        for below, entries in walk(folder)
        for entry in entries
        if entry.name.endswith(ending)
    }


def elsewhere(raw: Path, wanted: Iterable[str]) -> str:
    """A sentence on parts of an archive that are not where they are sought, but up to three folders deeper or so.

    Args:
        raw: folder of the archive.
        wanted: paths below it that do not exist.

    Returns:
        where each was sought and the nearest match; empty when there is none.
    """
    entries: list[str] = []
    waiting = [""]
    while waiting and len(entries) < 100_000:
        below = waiting.pop(0)
        try:
            with os.scandir(raw / below) as found:
                for entry in found:
                    if not left_by_programs(entry.name):
                        entries.append(below + entry.name)
                        if below.count("/") < 3 and _is(entry.is_dir):
                            waiting.append(f"{below}{entry.name}/")
        except OSError:
            continue
    told = [f"for {raw / path}: {match}" for path in wanted if (match := nearest(path, entries))]
    return f"Nearest match {'; '.join(told)}. Move it to the expected place." if told else ""


def nearest(path: str, candidates: Iterable[str]) -> str | None:
    """The candidate that a listed path most likely means: of the same name, sharing most folders at its end.

    Capitals do not count, and neither does the ending where no candidate has the whole name.
    """
    wanted = [part for part in re.split(r"[/\\]", path.casefold()) if part not in ("", ".", "..")]
    if not wanted:
        return None
    by_name: dict[str, list[str]] = defaultdict(list)
    stem = PurePosixPath(wanted[-1]).stem
    for candidate in candidates:
        name = candidate.rpartition("/")[2].casefold()
        if name == wanted[-1]:
            by_name["whole"].append(candidate)
        elif name.rpartition(".")[0] == stem:
            by_name["stem"].append(candidate)

    def shared(candidate: str) -> int:
        parts = candidate.casefold().split("/")[:-1]
        count = 0
        while count < min(len(parts), len(wanted) - 1) and parts[-1 - count] == wanted[-2 - count]:
            count += 1
        return count

    found = by_name["whole"] or by_name["stem"]
    return min(found, key=lambda candidate: (-shared(candidate), candidate), default=None)


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _ending(name: str) -> str:
    """Of a bare file name, in lower case with the dot; empty without one."""
    stem, dot, ending = name.rpartition(".")
    return f".{ending.lower()}" if dot and stem else ""


def _entries(path: str, root: Path) -> list["os.DirEntry[str]"]:
    try:
        with os.scandir(path) as found:
            return list(found)
    except OSError as error:
        raise UserError(
            f"{path}: this folder of {root} cannot be read ({error.strerror}). Make it readable, or move it away."
        ) from error


def _count(entry: "os.DirEntry[str]", passed_over: Counter[str]) -> None:
    """Count the pictures of a hidden or service folder under its name, a single hidden picture under none."""
    endings = readable_endings()
    if not _is(entry.is_dir):
        passed_over[""] += _ending(entry.name) in endings
    elif not entry.is_symlink():
        # Errors are passed over here: lost+found and the like may be closed to everybody.
        below = (name for _, _, names in os.walk(entry.path) for name in names)
        passed_over[entry.name] += sum(_ending(name) in endings for name in below)


def _is(kind: Callable[[], bool]) -> bool:
    """What `is_dir` or `is_file` of an entry says; a link in a circle is neither."""
    try:
        return kind()
    except OSError:
        return False


def _unread(path: str, name: str) -> str | None:
    """Why a file without an image's ending is a picture nevertheless and what to do; None when it is none."""
    if reason := not_read(name):
        return reason
    try:
        with Path(path).open("rb") as opened:
            kind = format_of(opened.read(32))
    except OSError:
        return None
    if kind is None:
        return None
    usual, ending = ENDINGS[kind][0], PurePosixPath(name).suffix
    called = f"that ends in {ending}" if ending else "without an ending"
    return f"a {kind} picture {called}; {not_read(f'picture{usual}') or f'change its ending to {usual}'}"
