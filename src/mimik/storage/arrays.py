"""Arrays (.npy) and tables (CSV) of mimik's own on disk: arrays are read and written through memory maps.

`check_pictures` is for arrays that a caller hands over.
"""

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mimik.errors import UserError
from mimik.storage.files import atomic_path, first_line, told_if_full

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[Any]

_BLOCK = 1 << 24


@contextmanager
def new_array(path: Path | str, shape: tuple[int, ...], dtype: npt.DTypeLike = np.uint8) -> Iterator[Array]:
    """A writable .npy memory map that becomes `path` when the block ends well; zeros at first.

    Raises:
        UserError: the disk has not enough room for all of it; nothing has been computed yet then.
    """
    with atomic_path(path) as temporary:
        array = _reserved(temporary, shape, dtype)
        yield array
        array.flush()


def reserved_array(path: Path, shape: tuple[int, ...], dtype: npt.DTypeLike) -> "np.memmap[Any, Any]":
    """A writable .npy memory map whose space on the disk is allocated: otherwise a full disk would end the process by a
    signal.

    Raises:
        UserError: the disk has not enough room; the file is gone again.
    """
    try:
        with told_if_full(path):
            return _reserved(path, shape, dtype)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def read_array(path: Path | str, remedy: str) -> Array:
    """A .npy file as a memory map that cannot be written.

    Args:
        path: the file.
        remedy: what to do when it is damaged: a sentence that names the command that makes it.

    Raises:
        UserError: the file is missing, cut off, or no array of numbers.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file. {remedy}") from error
    except Exception as error:  # whatever numpy's parser of headers makes of a foreign file
        raise UserError(
            f"{path}: expected an array in numpy's .npy format, but: {first_line(error)}. {remedy}"
        ) from error
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf":
        raise UserError(f"{path}: expected an array of numbers in numpy's .npy format. {remedy}")
    return array


def read_table(path: Path | str, remedy: str, columns: Sequence[str] = (), **options: Any) -> "pd.DataFrame":
    """A CSV of mimik's own.

    Args:
        path: the file.
        remedy: what to do when it is damaged: a sentence that names the command that makes it.
        columns: that it has to have.
        options: of `pandas.read_csv`.

    Raises:
        UserError: the file is missing, no table, or lacks a column.
    """
    import pandas as pd

    try:
        table: pd.DataFrame = pd.read_csv(path, **options)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file. {remedy}") from error
    except Exception as error:  # no UTF-8, rows of other lengths, texts where there are numbers
        raise UserError(f"{path}: expected a table (CSV in UTF-8), but: {first_line(error)}. {remedy}") from error
    if missing := [name for name in columns if name not in table]:
        raise UserError(f"{path}: lacks the columns {', '.join(missing)}. {remedy}")
    return table


def _reserved(path: Path, shape: tuple[int, ...], dtype: npt.DTypeLike) -> "np.memmap[Any, Any]":
    array: np.memmap[Any, Any] = np.lib.format.open_memmap(path, mode="w+", dtype=np.dtype(dtype), shape=shape)
    with path.open("rb+") as opened:
        _reserve(opened.fileno(), os.fstat(opened.fileno()).st_size, array.offset)
    return array


def _reserve(file: int, size: int, header: int) -> None:
    """Take the room of a file of `size` bytes, all of them 0 behind the `header`."""
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(file, 0, size)
            return
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
                raise
    for start in range(header, size, _BLOCK):
        os.pwrite(file, bytes(min(_BLOCK, size - start)), start)


def check_pictures(name: str, array: object, shape: tuple[int | str, ...]) -> None:
    """Check pictures that a caller hands over; letters in `shape` stand for any length.

    Raises:
        TypeError: no array, or one of another type than uint8.
        ValueError: an array of another shape.
    """
    expected = f"uint8 ({', '.join(map(str, shape))})"
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{name}: expected an array, {expected}, got {type(array).__name__}")
    if array.dtype != np.uint8:
        raise TypeError(
            f"{name}: expected {expected}, got {array.dtype}. Convert pictures with values from 0 to 1: (255 * "
            "x).round().astype('uint8')"
        )
    lengths = zip(array.shape, shape, strict=False)
    if array.ndim != len(shape) or any(isinstance(wanted, int) and length != wanted for length, wanted in lengths):
        raise ValueError(f"{name}: expected {expected}, got {array.shape}")
