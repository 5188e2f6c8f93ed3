"""Reading and writing files so that nothing is ever half written: temporary name, flush, rename."""

import errno
import hashlib
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mimik.errors import UserError


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """A temporary path in the same folder that replaces `path` when the block ends well.

    The folder is made if needed. When the block raises, the temporary file is removed and `path` stays as it
    was. A full disk becomes a `UserError` that names the file.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp{path.suffix}")
    try:
        temporary.touch()
        usual = stat.S_IMODE(temporary.stat().st_mode)
        temporary.unlink()
        yield temporary
        # safetensors lets nobody but the owner read what it writes; results are shared.
        temporary.chmod(usual)
        with temporary.open("rb+") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UserError(
                f"{path}: the disk is full; the file was not written and what stood there before is unchanged. "
                "Free some room and run the same command again."
            ) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path | str, text: str) -> None:
    """Write a text file atomically (UTF-8)."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path | str, value: Any) -> None:
    """Write JSON atomically: two-space indent, keys in the order given, final newline. NaN is refused."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: Path | str) -> Any:
    """Read JSON. Raises `UserError` that names the file when it is missing or not JSON."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file. Run the step that makes it first.") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path}: expected JSON, but it cannot be read ({error}). Delete it and make it again."
        ) from error


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
