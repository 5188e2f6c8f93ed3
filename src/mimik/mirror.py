"""Files from outside: found in a mirror folder or downloaded, verified, and archives unpacked safely.

Nothing here runs at import, and no training rule calls it: archives and weights are fetched before that.
"""

import errno
import hashlib
import http.client
import os
import shutil
import tarfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from filelock import FileLock
from tqdm import tqdm

from mimik.errors import UserError
from mimik.storage.files import FULL, atomic_path, file_sha256, first_line

VARIABLE = "MIMIK_MIRROR"
"""Environment variable that names a mirror folder; searched after the one of params.yaml."""

TIMEOUT = 30.0
"""Seconds without a byte from the server after which a download is given up."""

BLOCK = 1 << 20

EXTRACTED_BYTES = 64 << 30
"""Default limit of an unpacked archive: far above every dataset here, below a surprise."""

EXTRACTED_FILES = 2_000_000
"""Default limit on the number of files and folders of an archive."""

BEHIND_THE_END = 256 << 20
"""Most bytes behind the last file of an archive: tar fills its last block, not more."""


def find(name: str, mirror: Path | str | None, destination: Path | str) -> Path | None:
    """Look for a file by name, without the network: in `destination`, then `mirror`, then `MIMIK_MIRROR`.

    Args:
        name: bare file name.
        mirror: folder with copies of downloads, or None.
        destination: folder where a download of this file would be put.

    Returns:
        The first hit, or None.

    Raises:
        UserError: a mirror is named that is not a folder (a typing error would otherwise start a download).
    """
    for folder in [Path(destination), *_mirror_folders(mirror)]:
        if (folder / name).is_file():
            return folder / name
    return None


def locate(
    name: str,
    *,
    url: str | None,
    sha256: str | None,
    mirror: Path | str | None,
    destination: Path | str,
) -> Path:
    """Path of a verified file: one that is here (see `find`), else a download to `destination / name`.

    A file in a mirror is used in place, never copied. A file that is found but is not the expected one is an error, not
    a reason to download: somebody put it there and believes that it is used.

    Args:
        name: bare file name.
        url: where to download it, or None when it cannot be downloaded (given out on request only).
        sha256: SHA-256 of its bytes in hexadecimal, or None when it is not known.
        mirror: folder that is searched before any URL, or None.
        destination: folder for the download; made if needed.

    Raises:
        UserError: the file is neither here nor available from `url`, or has another SHA-256.
    """
    found = find(name, mirror, destination)
    if found is not None:
        if sha256 is not None and (actual := file_sha256(found)) != sha256:
            raise UserError(
                f"{found}: not the expected file: its SHA-256 is {actual}, expected {sha256}. It is "
                f"damaged or another version; delete it or replace it with the right one{_from(url)}."
            )
        return found
    target = Path(destination) / name
    if url is None:
        raise UserError(
            f"{name}: not found, and there is no public download for it. {_where_to_put(name, mirror, target)}"
        )
    _download(url, target, sha256, mirror)
    return target


def extract(
    archive: Path | str,
    destination: Path | str,
    *,
    top: str | None = None,
    max_bytes: int = EXTRACTED_BYTES,
    max_files: int = EXTRACTED_FILES,
) -> None:
    """Unpack a tar archive (plain, gz, bz2 or xz) to the folder `destination`: all of it or nothing.

    Only plain files and folders are accepted, and only below `destination`: links, devices, absolute names
    and `..` are refused. Owners, modes and times of the archive are ignored. Returns at once when
    `destination` is a folder that is not empty. Two processes may call this at the same time.

    Args:
        archive: the tar file.
        destination: the folder to make.
        top: name of the one folder that holds everything in the archive and is left out of the paths, as in
            the archives that GitHub makes; None keeps the paths.
        max_bytes: most bytes that the files may hold together.
        max_files: most files.

    Raises:
        UserError: the archive is truncated, damaged, not a tar file, unsafe, too large, or the disk is full.
    """
    archive, destination = Path(archive), Path(destination)
    destination.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(destination.with_name(f".{destination.name}.lock")):
        if destination.is_dir() and any(destination.iterdir()):
            return
        partial = destination.with_name(f".{destination.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)  # left by a process that was killed; the lock is ours
        try:
            partial.mkdir()
            with _faults_named(archive, destination), tarfile.open(archive, "r:*") as opened:
                _unpack(opened, archive, partial, top, max_bytes, max_files)
            partial.replace(destination)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _mirror_folders(mirror: Path | str | None) -> Iterator[Path]:
    for folder, origin in ((mirror, "mirror"), (os.environ.get(VARIABLE), VARIABLE)):
        if not folder:
            continue
        if not Path(folder).is_dir():
            raise UserError(
                f"{folder}: not a folder, although `{origin}` names it as the mirror. Correct or clear `{origin}`."
            )
        yield Path(folder)


def _from(url: str | None) -> str:
    return f" (from {url})" if url else ""


def _where_to_put(name: str, mirror: Path | str | None, target: Path) -> str:
    searched = [str(folder) for folder in _mirror_folders(mirror)]
    places = f"{target.parent} or {' or '.join(searched)}" if searched else f"{target.parent} or a `mirror` folder"
    return f"Put {name} into {places} and run the same command again."


def _download(url: str, target: Path, sha256: str | None, mirror: Path | str | None) -> None:
    """Download to `target` under a temporary name; the announced length and `sha256` are checked."""
    hasher = hashlib.sha256()
    try:
        request = urllib.request.Request(url, headers={"User-Agent": "mimik"})
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response, atomic_path(target) as temporary:
            length = response.headers.get("Content-Length")
            expected = int(length) if length else None
            progress = tqdm(total=expected, unit="B", unit_scale=True, unit_divisor=1024, desc=target.name)
            with temporary.open("wb") as written, progress:
                while block := response.read(BLOCK):
                    written.write(block)
                    hasher.update(block)
                    progress.update(len(block))
                received = written.tell()
            if expected is not None and received != expected:
                raise http.client.IncompleteRead(b"", expected - received)
            if sha256 is not None and hasher.hexdigest() != sha256:
                raise UserError(
                    f"{url}: the download has SHA-256 {hasher.hexdigest()}, expected {sha256}; it was discarded. The "
                    "file at this address has changed. " + _where_to_put(target.name, mirror, target)
                )
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
        raise UserError(
            f"{target.name}: not found here, and the download from {url} failed ({error!r}). "
            f"{_where_to_put(target.name, mirror, target)}"
        ) from error


@contextmanager
def _faults_named(archive: Path, destination: Path) -> Iterator[None]:
    try:
        yield
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise _damaged(archive, f"it contains {Path(error.filename).name} twice") from error
    except OSError as error:
        if error.errno in (errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ):
            raise _damaged(archive, f"one of its names cannot be the name of a file here: {error.strerror}") from error
        if error.errno in FULL:
            raise UserError(
                f"{destination}: the disk is full; nothing of {archive} was kept. Free some room and run the "
                "same command again."
            ) from error
        # gzip and bz2 report bad data as an OSError without a number; numbered ones are the system's.
        if error.errno is not None:
            raise
        raise _damaged(archive, first_line(error)) from error
    except UserError:
        raise
    except Exception as error:
        # tarfile and the decompressors meet bad bytes with errors of a dozen kinds; some say nothing.
        raise _damaged(archive, first_line(error)) from error


def _damaged(archive: Path, reason: str) -> UserError:
    return UserError(
        f"{archive}: cannot be unpacked ({reason}): it is truncated, damaged or not a tar archive. Delete "
        "it, get it again, and run the same command again."
    )


def _unpack(
    opened: tarfile.TarFile, archive: Path, folder: Path, top: str | None, max_bytes: int, max_files: int
) -> None:
    """Write the plain files of `opened` below `folder`, without any of tarfile's own extraction.

    tarfile's safe filters are missing before Python 3.11.4, and Debian 12 ships 3.11.2.
    """
    total = files = entries = 0
    progress = tqdm(opened, desc=f"unpack {archive.name}", unit="file")
    for member in progress:
        path = PurePosixPath(member.name)
        unsafe = path.is_absolute() or ".." in path.parts or "\\" in member.name or "\0" in member.name
        # Sparse files declare any size without holding it; no archive here needs them.
        unsafe = unsafe or member.issparse() or not path.parts
        if unsafe or not (member.isreg() or member.isdir()):
            raise UserError(
                f"{archive}: refused: its entry {member.name!r} is a link, a device, sparse, or leads out of the "
                "folder. This is not the expected archive; delete it and get it again."
            )
        parts = path.parts
        if top is not None:
            if parts[:1] != (top,):
                raise UserError(
                    f"{archive}: expected everything in the folder {top}/, but found {member.name!r}. This "
                    "is another archive under the same name; delete it and get the right one."
                )
            parts = parts[1:]
        target = folder.joinpath(*parts)
        total, entries = total + member.size, entries + 1
        if total > max_bytes or entries > max_files:
            raise UserError(
                f"{archive}: refused: it unpacks to more than {max_bytes} bytes or {max_files} files. This is not the "
                "expected archive; delete it and get it again."
            )
        if member.isdir():
            target.mkdir(parents=True, exist_ok=True)
            continue
        files += 1
        source = opened.extractfile(member)
        if source is None:
            raise _damaged(archive, f"no content for {member.name}")
        target.parent.mkdir(parents=True, exist_ok=True)
        with source, target.open("xb") as written:
            shutil.copyfileobj(source, written, BLOCK)
            if written.tell() != member.size:
                raise _damaged(archive, f"{member.name} holds {written.tell()} of {member.size} bytes")
    if not files:
        raise _damaged(archive, "it contains no file")
    # A compressed stream carries its checksum behind the end of the tar archive, where tarfile stops reading.
    behind = 0
    while opened.fileobj is not None and (block := opened.fileobj.read(BLOCK)):
        behind += len(block)
        if behind > BEHIND_THE_END:
            raise _damaged(archive, "it has no end marker after its last file")
