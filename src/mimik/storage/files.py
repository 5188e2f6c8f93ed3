"""Reading and writing files so that nothing is ever half written: temporary name, flush, rename."""

import errno
import hashlib
import json
import os
import platform
import re
import shutil
import stat
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from mimik.errors import UserError

FULL = (errno.ENOSPC, errno.EDQUOT)
"""Numbers of the system for a disk without room: none left, or none for this user."""

_PROBE = 1 << 20
"""Bytes that a disk has to take for a writer's failure to have another reason than a full disk."""

_LONGEST_NAME = 255
"""Bytes of a file's name that every usual file system takes."""

_UNFINISHED = re.compile(r"\..+\.(?P<host>[0-9a-f]{8})-(?P<process>\d+)\.tmp(\..*)?", re.DOTALL)

_FOREIGN_AGE = 3600.0
"""Seconds without a change after which the temporary file of another machine is taken for left behind."""

_writing: set[Path] = set()
_cleared: set[Path] = set()


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """A temporary path in the same folder that replaces `path` when the block ends well.

    The folder is made if needed, and freed of what killed processes left in it (`clear_unfinished`). When the block
    raises, the temporary file is removed and `path` stays as it was. A full disk becomes a `UserError` that names the
    file, whatever error the writing library raises.
    """
    path = Path(path)
    with told_if_full(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    if path.parent not in _cleared:
        _cleared.add(path.parent)
        clear_unfinished(path.parent)
    temporary = _temporary(path)
    _writing.add(temporary)
    try:
        with told_if_full(path, temporary):
            temporary.touch()
            usual = stat.S_IMODE(temporary.stat().st_mode)
            temporary.unlink()
            yield temporary
            # safetensors lets nobody but the owner read what it writes; results are shared.
            temporary.chmod(usual)
            with temporary.open("rb+") as written:
                os.fsync(written.fileno())
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
        _writing.discard(temporary)


@contextmanager
def told_if_full(path: Path | str, written: Path | None = None) -> Iterator[None]:
    """A full disk as a `UserError` that names `path`.

    Args:
        path: what is being written.
        written: the file that the block writes, if libraries do that which have errors of their own for a full disk
            (PyTorch, safetensors, Pillow): whether the disk is full is then tried on this file.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if not (says_full(error) or (written is not None and _may_hide_full(error) and _is_full(written))):
            raise
        raise UserError(
            f"{path}: the disk is full; the file was not written, and an earlier version of it is unchanged. "
            "Free some room and run the same command again."
        ) from error


def require_room(needs: Mapping[Path, int], doing: str, remedy: str) -> None:
    """Raise `UserError` when disks cannot hold what is going to be written, before hours are spent on it.

    Args:
        needs: bytes by folder, which exists; several of them may be on one disk.
        doing: what needs them.
        remedy: what else could be done than freeing some room.
    """
    disks: Counter[int] = Counter()
    for folder, need in needs.items():
        disks[folder.stat().st_dev] += need
    for folder in needs:
        need, free = disks[folder.stat().st_dev], shutil.disk_usage(folder).free
        if need > free:
            raise UserError(
                f"{folder}: {doing} needs up to {need / 1e6:,.0f} MB there, but {free / 1e6:,.0f} MB are free. Free "
                f"some room, or {remedy}."
            )


def clear_unfinished(folder: Path | str) -> None:
    """Remove the temporary files of `atomic_path` in a folder whose writers are gone: killed, or ended by a signal."""
    try:
        entries = [entry for entry in os.scandir(folder) if _UNFINISHED.fullmatch(entry.name)]
    except FileNotFoundError:
        return
    for entry in entries:
        path = Path(folder) / entry.name
        try:
            if path not in _writing and _left_behind(path):
                path.unlink()
        except OSError:
            continue  # gone meanwhile, or somebody else's: no reason to stop


def write_text(path: Path | str, text: str) -> None:
    """Write a text file atomically (UTF-8)."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path | str, value: Any) -> None:
    """Write JSON atomically: two-space indent, keys in the order given, final newline. NaN is refused."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: Path | str, remedy: str = "Delete it and make it again.") -> Any:
    """Read JSON.

    Args:
        path: the file.
        remedy: what to do when it is missing or no JSON: a sentence that names the command that makes it.

    Raises:
        UserError: the file is missing, not readable, or not JSON in UTF-8; a key stands twice in a group; a number is
            NaN or infinite, which JSON has not.
    """
    try:
        return json.loads(
            Path(path).read_text(encoding="utf-8"), object_pairs_hook=_distinct, parse_constant=_no_constant
        )
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file. {remedy}") from error
    except OSError as error:
        raise UserError(f"{path}: expected a readable file, but: {error.strerror}. {remedy}") from error
    except RecursionError as error:
        raise UserError(f"{path}: expected JSON of mimik, but it is nested too deeply. {remedy}") from error
    except ValueError as error:  # no JSON, no UTF-8, or a number of thousands of digits
        raise UserError(f"{path}: expected JSON, but it cannot be read ({first_line(error)}). {remedy}") from error


def first_line(error: object, longest: int = 200) -> str:
    """What a library says of a fault, in one line: some say pages."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].rstrip(" .:") if len(lines[0]) <= longest else lines[0][: longest - 3] + "..."


def file_sha256(path: Path | str) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with Path(path).open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def canonical(value: Any) -> str:
    """JSON of a JSON-able value in one spelling: keys sorted, no blanks, ASCII only."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(value: Any) -> str:
    """SHA-256 (hexadecimal) of a JSON-able value, independent of the order of keys."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    group = dict(pairs)
    if len(group) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r} occurs twice in a group")
    return group


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")


def _temporary(path: Path) -> Path:
    """Name for the time of writing: it says who writes, by machine and process."""
    ending = f".{_host()}-{os.getpid()}.tmp{path.suffix}"
    name = f".{path.name}{ending}"
    if len(os.fsencode(name)) > _LONGEST_NAME:
        name = f".{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]}{ending}"
    return path.with_name(name)


@cache
def _host() -> str:
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]


def _left_behind(path: Path) -> bool:
    """Whether the process that a temporary file names is gone."""
    named = _UNFINISHED.fullmatch(path.name)
    changed = path.stat().st_mtime
    if named is None:
        return False
    if named["host"] != _host():
        return time.time() - changed > _FOREIGN_AGE
    if int(named["process"]) == os.getpid():
        return True  # of an earlier process of this number: those of this one are known
    import psutil

    try:
        process = psutil.Process(int(named["process"]))
        return bool(process.status() == psutil.STATUS_ZOMBIE or process.create_time() > changed + 1)
    except psutil.NoSuchProcess:
        return True
    except psutil.Error:
        return False


def says_full(error: BaseException) -> bool:
    """Whether a fault is that of a full disk: by its number, or in the words of Rust's and SQLite's libraries."""
    told = str(error)
    return (
        (isinstance(error, OSError) and error.errno in FULL)
        or "os error 28)" in told
        or "database or disk is full" in told
    )


def _may_hide_full(error: BaseException) -> bool:
    """Whether a library may have made this of a full disk: an error without the system's number."""
    if isinstance(error, OSError):
        return error.errno is None
    return isinstance(error, RuntimeError) or type(error).__name__ == "SafetensorError"


def _is_full(written: Path) -> bool:
    """Whether the disk takes no more, tried on a file that is about to be removed."""
    try:
        with written.open("ab") as opened:
            opened.write(bytes(_PROBE))
            opened.flush()
            os.fsync(opened.fileno())
    except OSError as error:
        return error.errno in FULL
    return False
