"""The edit requested for a face, in words and numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from mimik.errors import UserError
from mimik.labels import ACTION_UNITS

STRONGEST = 2.0
"""Largest strength that is accepted: beyond it, too far from what was trained, faces dissolve."""

OPTIONS: Mapping[str, str] = {
    "to": "--to", "strength": "--strength", "shown": "--from", "units": "--au", "has": "--has", "like": "--like"
}  # fmt: skip
"""Names of the parts of a `Wish` on the command line."""


@dataclass(frozen=True)
class Exemplar:
    """A face that is to be imitated.

    Attributes:
        name: of the picture with it.
        units: float32 (17,), its action units in [0, 1].
    """

    name: str
    units: npt.NDArray[np.float32]


@dataclass(frozen=True)
class Wish:
    """The edit requested for a face.

    Attributes:
        to: the target expression by name, for models of attributes the attribute to reverse; None if only action units
            are to be changed, or a face is to be imitated.
        strength: share of the way to it, from 0 to `STRONGEST`; values above 1 exaggerate.
        shown: the expression that the photograph shows, or a sequence with one per face, for models that need it
            (methods conditioned on labels, for label differences or a strength other than 1).
        units: changes of action units by name (AU12: +0.5), in [-1, 1].
        has: the attributes that the face has, for models of attributes; None if this was not said.
        like: a face whose action units are to be shown, for models of action units.
        words: names of the other attributes in messages: those used where the wish was entered.
    """

    to: str | None = None
    strength: float = 1.0
    shown: str | Sequence[str] | None = None
    units: Mapping[str, float] = field(default_factory=dict)
    has: Sequence[str] | None = None
    like: Exemplar | None = None
    words: Mapping[str, str] = field(default_factory=lambda: OPTIONS)

    @property
    def named(self) -> list[tuple[str, str]]:
        """Every expression named in the wish, with the name of the part that names it."""
        shown = [self.shown] if self.shown is None or isinstance(self.shown, str) else list(self.shown)
        parts = [("to", self.to), *(("shown", name) for name in shown)]
        return [(self.words[part], name) for part, name in parts if name is not None]


def check_strength(wish: Wish) -> None:
    """Raise `UserError` for a strength that is out of range."""
    if not 0 <= wish.strength <= STRONGEST:  # not so for NaN either
        word = wish.words["strength"]
        raise UserError(f"{word} {wish.strength:g}: expected a number from 0 to {STRONGEST:g}; 1 is the full edit.")


def attributes(text: str) -> tuple[str, ...]:
    """`Young,Male` as names; `none` as none."""
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    return () if names == ("none",) else names


def unit_changes(texts: Sequence[str]) -> dict[str, float]:
    """`12=+0.5` or `AU12=-0.3` as changes by name.

    Raises:
        UserError: the text has another form, a unit is unknown or named twice, or a change is not from -1 to 1.
    """
    changes: dict[str, float] = {}
    for text in texts:
        unit, _, value = text.partition("=")
        try:
            add_change(changes, unit, float(value), f"--au {text}")
        except ValueError as error:
            raise UserError(f"--au {text}: expected an action unit's number and a change, like 12=+0.5.") from error
    return changes


def add_change(changes: dict[str, float], unit: str, change: float, where: str) -> None:
    """Add the change of an action unit, which may be spelt AU12, au12 or 12, under its name.

    Raises:
        UserError: the unit is unknown or already present, or the change is not from -1 to 1.
    """
    name = f"AU{unit.strip().upper().removeprefix('AU').zfill(2)}"
    if name in changes:
        raise UserError(f"{where}: this unit is named twice. Name each unit once.")
    if name not in ACTION_UNITS or not -1 <= change <= 1:  # not so for NaN either
        known = ", ".join(unit.removeprefix("AU").lstrip("0") for unit in ACTION_UNITS)
        raise UserError(f"{where}: expected one of the units {known}, and a change from -1 to 1.")
    changes[name] = change
