"""Reads what the validations of a training left in its result (`mimik.training.validation`)."""

from typing import Any

import numpy as np

from mimik.errors import UserError
from mimik.reporting.plotting import Absent
from mimik.reporting.results import Array, Result
from mimik.storage.pictures import DAMAGED, UnreadableError, open_picture
from mimik.storage.records import command_for, read_record
from mimik.training.validation import FOLDER, RECORD, grid_name

_UNREADABLE: tuple[type[Exception], ...] = (UnreadableError, *DAMAGED)

NEEDS = ("entries", "classes", "rule", "judge", "best", "kept")


def not_validated(result: Result) -> Absent:
    """What a figure of the validations says where there are none."""
    return Absent(f"the training of {result.method} was not validated (`training.validate_every`)")


def read_validation(result: Result) -> dict[str, Any] | None:
    """validation.json; None where the training was not validated.

    Raises:
        UserError: the file is damaged.
    """
    path = result.directory / FOLDER / RECORD
    if not path.exists() or not read_record(path, "validation", ("entries",))["entries"]:
        return None
    return read_record(path, "validation", NEEDS)


def read_grid(result: Result, step: int) -> Array:
    """The picture of a validation, uint8 (faces, 1 + C, S, S, 3): the input, then its edits.

    Raises:
        UserError: it is missing, damaged or of another size.
    """
    path, side, columns = result.directory / FOLDER / grid_name(step), result.size, len(result.classes) + 1
    remedy = f"Train again: `{command_for(path, 'validation')}`."
    try:
        with open_picture(path) as picture:
            pixels = np.asarray(picture.convert("RGB"))
    except _UNREADABLE as error:
        raise UserError(f"{path}: expected a picture, but: {error}. {remedy}") from error
    rows = pixels.shape[0] // side
    if pixels.shape != (rows * side, columns * side, 3):
        raise UserError(f"{path}: expected rows of {columns} faces of {side} px. {remedy}")
    return pixels.reshape(rows, side, columns, side, 3).swapaxes(1, 2)
