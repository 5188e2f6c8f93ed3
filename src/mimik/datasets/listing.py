"""What every dataset module's `index` returns."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

SPLITS: Sequence[str] = ("train", "val", "test")

INDEX_COLUMNS: Sequence[str] = ("id", "split", "source", "expression", "identity")
"""Columns that every index has; further ones (AU01 ... AU45 in [0, 1], yaw, ...) may follow."""

ATTRIBUTE = "attribute_"
"""Begins the name of a column that holds a binary attribute, 0 or 1: `attribute_Smiling`."""


class UnusableError(Exception):
    """An image's annotation cannot be used; the message is the reason, for the quarantine."""


@dataclass(frozen=True)
class Listing:
    """The images of a dataset: those to prepare, and those that cannot be used, with the reason.

    Attributes:
        table: one row per usable image with the columns `id` (unique, the same in every run, safe as a
            file name), `split` ("train", "val" or "test"), `source` (path relative to the raw folder, with
            `/`), `expression` and `identity` (strings, empty where unknown); optional further columns
            (`AU01` ... `AU45` in [0, 1], `attribute_<name>` 0 or 1, yaw, pitch, roll in degrees, ...).
        quarantine: (path relative to the raw folder, stage, reason) of every listed or found image that is
            not in the table, once.
        notes: sentences about what was found in the archive where documents promise something, for example the
            sizes of its splits. They are printed, and kept in the manifest.
    """

    table: pd.DataFrame
    quarantine: list[tuple[str, str, str]]
    notes: tuple[str, ...] = ()
