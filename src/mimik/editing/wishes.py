"""The edit requested for a face, in words and numbers."""

import math
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
        to: the target expression by name, for models of attributes the attribute to reverse; or a mix of several, the
            share of the way to each by its name. None if only action units are to be changed, or a face is to be
            imitated.
        strength: share of the way to all of it, from 0 to `STRONGEST`; values above 1 exaggerate.
        shown: the expression that the photograph shows, or a sequence with one per face, for models that need it
            (methods conditioned on labels, for label differences or a strength other than 1).
        units: changes of action units by name (AU12: +0.5), in [-1, 1].
        has: the attributes that the face has, for models of attributes; None if this was not said.
        like: a face whose action units are to be shown, for models of action units.
        words: names of the other attributes in messages: those used where the wish was entered.
    """

    to: str | Mapping[str, float] | None = None
    strength: float = 1.0
    shown: str | Sequence[str] | None = None
    units: Mapping[str, float] = field(default_factory=dict)
    has: Sequence[str] | None = None
    like: Exemplar | None = None
    words: Mapping[str, str] = field(default_factory=lambda: OPTIONS)

    @property
    def shares(self) -> dict[str, float]:
        """The share of the way to each expression in `to` (or of each reversal), `strength` included."""
        if self.to is None:
            return {}
        asked = {self.to: 1.0} if isinstance(self.to, str) else self.to
        return {name: share * self.strength for name, share in asked.items()}

    @property
    def empty(self) -> bool:
        """Whether it asks for nothing."""
        return not self.shares and not self.units and self.like is None

    @property
    def named(self) -> list[tuple[str, str]]:
        """Every expression named in the wish, with the name of the part that names it."""
        shown = [self.shown] if self.shown is None or isinstance(self.shown, str) else list(self.shown)
        parts = [*(("to", name) for name in self.shares), *(("shown", name) for name in shown)]
        return [(self.words[part], name) for part, name in parts if name is not None]


def check_strength(wish: Wish) -> None:
    """Raise `UserError` for a strength, or a share of a mix, that is out of range."""
    if not 0 <= wish.strength <= STRONGEST:  # not so for NaN either
        word = wish.words["strength"]
        raise UserError(f"{word} {wish.strength:g}: expected a number from 0 to {STRONGEST:g}; 1 is the full edit.")
    for name, share in wish.shares.items():
        if not 0 <= share <= STRONGEST:
            of = "" if wish.strength == 1 else f" with {wish.words['strength']} {wish.strength:g}"
            raise UserError(
                f"{wish.words['to']} {name}: a share of {share:g}{of}; expected a number from 0 to {STRONGEST:g}; "
                "1 is the full edit."
            )


def mix(text: str) -> str | dict[str, float]:
    """`happiness=0.6,surprise=0.4` as shares by name; a text without `=` is a name.

    Raises:
        UserError: a share is missing or no number, or a name is missing or given twice.
    """
    if "=" not in text:
        return text
    shares: dict[str, float] = {}
    for part in text.split(","):
        name, _, share = (piece.strip() for piece in part.rpartition("="))
        try:
            value = float(share)
        except ValueError:
            value = math.nan
        if not name or math.isnan(value):
            raise UserError(f"{text}: expected a name and a number for each, like happiness=0.6,surprise=0.4.")
        if name in shares:
            raise UserError(f"{text}: {name} is named twice. Name each once.")
        shares[name] = value
    return shares


def spelt(to: str | Mapping[str, float] | None) -> str:
    """What is asked for as `mix` reads it; empty for nothing."""
    if to is None or isinstance(to, str):
        return to or ""
    return ",".join(f"{name}={share:g}" for name, share in to.items())


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
