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
class Total:
    """How much of something an archive holds, against what its complete release holds.

    Attributes:
        what: a plural, such as "photographs".
        found: how many are there, whatever the dataset's options choose.
        expected: how many the complete release has; None where nothing is published.
        missing: those that are not there, by a name that a person can look for, where it is known.
    """

    what: str
    found: int
    expected: int | None = None
    missing: Sequence[str] = ()

    def __str__(self) -> str:
        """Such as "8,039 of 8,040 photographs; missing: a.jpg", with at most three names."""
        if self.expected is None:
            return f"{self.found:,} {self.what}"
        text = f"{self.found:,} of {self.expected:,} {self.what}"
        if not self.missing:
            return text
        further = f" and {len(self.missing) - 3:,} more" if len(self.missing) > 3 else ""
        return f"{text}; missing: {', '.join(self.missing[:3])}{further}"


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
        layout: which of the known layouts the archive has, in words; empty where there is only one.
        totals: what was found against what a complete release holds. They are kept in the manifest as sentences.
        notes: sentences about what was found in the archive where documents promise something, for example the
            sizes of its splits. They are printed, and kept in the manifest.
    """

    table: pd.DataFrame
    quarantine: list[tuple[str, str, str]]
    layout: str = ""
    totals: Sequence[Total] = ()
    notes: tuple[str, ...] = ()


def incomplete(listing: Listing) -> list[str]:
    """A sentence on every total that is not that of a complete release."""
    wrong = [total for total in listing.totals if total.expected is not None and total.found != total.expected]
    return [f"not the complete release: {total}." for total in wrong]
