"""What a prepared dataset was made of and by which code: entries of its manifest."""

import hashlib
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from typing import Any

from mimik import __version__
from mimik.settings.modules import PACKAGE, full_name
from mimik.settings.sources import source_files
from mimik.storage.files import digest, file_sha256

FileRecord = tuple[str, int, str]
"""Path relative to the archive, length in bytes, SHA-256 in hexadecimal."""


def photograph_record(files: Iterable[FileRecord]) -> dict[str, Any]:
    """The photographs that became faces, as one record.

    Args:
        files: in any order; a photograph that gave several rows counts once.

    Returns:
        `count`, `bytes` together, and `sha256` of the list of all of them: a line `<sha256> <bytes> <path>` for each,
        in the order of their paths. So another path, length or content of any file is another digest, whatever the
        settings and the order in which the files were read.
    """
    ordered = sorted(set(files))
    content = hashlib.sha256()
    for path, length, sha256 in ordered:
        content.update(f"{sha256} {length} {path}\n".encode())
    return {
        "count": len(ordered),
        "bytes": sum(length for _, length, _ in ordered),
        "sha256": content.hexdigest(),
    }


def code_digests(module: str, further: Sequence[str] = ()) -> dict[str, str]:
    """SHA-256 of every source file that decides what preparing a dataset of a module gives, by its path in mimik.

    `further` are modules besides, by full names: those of a segmenter that makes the masks.
    """
    files = source_files(PACKAGE, "mimik.faces.prepared.prepare", full_name("datasets", module), *further)
    return {name: file_sha256(file) for name, file in files.items()}


def importer_record(module: str, layout: str, further: Sequence[str] = ()) -> dict[str, str]:
    """Which importer read the archive: its module, mimik's version, the layout it found.

    `code_sha256` is a digest of all code that preparing runs, `decoder` the library that decodes image files.
    """
    return {
        "module": module,
        "version": __version__,
        "layout": layout,
        "code_sha256": digest(code_digests(module, further)),
        "decoder": f"pillow {version('pillow')}",
    }
