"""Work in pieces: each piece's result is a file under a name that says what made it, so a killed run goes on.

A shard is some consecutive rows of a table and the arrays made from them, an uncompressed .npz. Its name holds a
digest of all that decides its content. Shards are computed by worker processes and read back one at a time.
"""

import hashlib
import multiprocessing
import os
import signal
import sys
import threading
import types
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mimik.errors import UserError
from mimik.storage.files import atomic_path, first_line

Arrays = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Shard:
    """A piece of work.

    Attributes:
        rows: the rows of the table to prepare.
        path: where its result goes; the name is unique for rows and settings.
    """

    rows: pd.DataFrame
    path: Path


def cuts(weights: npt.NDArray[np.int64], limits: Sequence[int]) -> list[tuple[int, int]]:
    """First and last row (exclusive) of every shard of a table: as many rows as all limits allow, at least one.

    Args:
        weights: (rows, k) what every row takes.
        limits: (k,) what a shard may take.
    """
    totals = np.vstack([np.zeros_like(weights[:1]), weights.cumsum(0)])
    found, start = [], 0
    while start < len(weights):
        room = totals[start] + np.array(limits)
        stop = min(int(np.searchsorted(total, end, "right")) - 1 for total, end in zip(totals.T, room, strict=True))
        found.append((start, max(stop, start + 1)))
        start = found[-1][1]
    return found


def save(path: Path, arrays: Arrays) -> None:
    """Write a shard's arrays atomically. Raises `ValueError` for objects, which would be pickled."""
    if objects := [name for name, array in arrays.items() if array.dtype.hasobject]:
        raise ValueError(f"{path}: {objects} hold objects")
    # numpy's own savez leaves the archive open when the disk is full, which is told a second time, by its destructor.
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as opened:
                np.lib.format.write_array(opened, np.asanyarray(array), allow_pickle=False)


def load(path: Path, names: Sequence[str]) -> list[npt.NDArray[Any]]:
    """Read some arrays of a shard, and only these. Raises `UserError` for a file that `save` did not write."""
    try:
        with np.load(path, allow_pickle=False) as opened:
            return [opened[name] for name in names]
    except Exception as error:  # no archive, no array, another name: whatever a foreign file makes of numpy
        raise UserError(
            f"{path}: expected a part of a preparation with the arrays {', '.join(names)}, but: {first_line(error)}. "
            "Delete it and run the same command again."
        ) from error


def join(path: Path, name: str, shape: tuple[int, ...], dtype: type[Any], shards: Sequence[Shard]) -> str:
    """Write one array of all shards to one .npy, shard by shard; SHA-256 of its values.

    Written through a file rather than a memory map: on a full disk a map ends the process by a signal.
    """
    header = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
    content = hashlib.sha256()
    length = 0
    with atomic_path(path) as temporary, temporary.open("wb") as opened:
        np.lib.format.write_array_header_1_0(opened, header)
        for shard in shards:
            (block,) = load(shard.path, (name,))
            if block.dtype != dtype or block.shape[1:] != shape[1:]:
                raise UserError(
                    f"{shard.path}: {name} is {block.dtype} {block.shape[1:]}, expected {np.dtype(dtype)} {shape[1:]}. "
                    "Delete it and run the same command again."
                )
            data = np.ascontiguousarray(block).data
            opened.write(data)
            content.update(data)
            length += len(block)
    if length != shape[0]:
        raise ValueError(f"{path}: {length} rows written, {shape[0]} expected")
    return content.hexdigest()


def stamp(path: Path) -> list[int] | None:
    """Size and time of a file, by which a changed one is noticed; None when there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns]


def remove_others(folder: Path, shards: Sequence[Shard]) -> None:
    """Delete what else is in the shards' folder: results of other settings, and what a killed process left behind."""
    wanted = {shard.path for shard in shards}
    for path in folder.glob("*"):
        # Folders are of other programs: a network disk puts its thumbnails anywhere.
        if path not in wanted and not path.is_dir():
            path.unlink()


def run(
    shards: Sequence[Shard],
    make: Callable[[pd.DataFrame], Arrays],
    *,
    workers: int,
    log: Path,
    done: Callable[[Shard], None],
) -> None:
    """Make the files of `shards`, in any order.

    Args:
        shards: those whose file is missing.
        make: picklable; arrays of some rows. It is called in `workers` processes of one thread each, or in this
            process when there is one worker or one shard.
        workers: processes.
        log: file for what the workers' libraries write to standard error.
        done: called in this process after each shard.

    Raises:
        UserError: from `make`, or a worker died.
    """
    if workers <= 1 or len(shards) <= 1:
        for shard in shards:
            save(shard.path, make(shard.rows))
            done(shard)
        return
    context = multiprocessing.get_context("spawn")
    workers = min(workers, len(shards))
    with ProcessPoolExecutor(workers, context, initializer=_begin, initargs=(log,)) as pool:
        try:
            with _fresh_children():
                futures: dict[Future[None], Shard] = {pool.submit(_make_file, make, shard): shard for shard in shards}
            for future in as_completed(futures):
                future.result()
                done(futures[future])
        except BrokenProcessPool as error:
            raise UserError(
                f"a worker process died while faces were prepared (see {log}). The usual cause is too little memory: "
                "run the same command again with fewer cores; finished parts are kept."
            ) from error
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _make_file(make: Callable[[pd.DataFrame], Arrays], shard: Shard) -> None:
    save(shard.path, make(shard.rows))


def _begin(log: Path) -> None:
    """Set a worker up: no messages of libraries on the screen, no interrupt of its own, never an orphan."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent gets it too, and stops the work in order
    opened = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(opened, 2)
    os.close(opened)
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    """End this process when its parent is gone, even by a signal that nobody can catch."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextmanager
def _fresh_children() -> Iterator[None]:
    """Processes started here get one thread each, and do not run the main script again.

    A spawned process imports the script of its parent, which would start everything anew where that script has
    no guard, as in a Snakemake `script:`. What workers call lives in modules, so they do not need it.
    """
    settings = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    before = {name: os.environ.get(name) for name in settings}
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    os.environ.update(settings)
    try:
        yield
    finally:
        sys.modules["__main__"] = main
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
