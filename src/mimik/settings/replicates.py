"""Several trainings of one method: what each is called, and with which seed it runs.

The first training of an entry of `methods` has the name of the entry, the further ones `NAME@2`, `NAME@3` and so on.
Such a name stands wherever that of a method does: in paths (`results/synthetic/stargan@2`), in targets and stages, on
the command line of `mimik`, in config.json and in MLflow. So nothing is renamed where each method is trained once.

Only the training itself has another seed. Data, pre-trained networks, the networks that measure and the draw of test
faces are those of the first, so that results are paired by face. Trainings of the same number have the same seed, so
that methods are paired by seed too. What a training `starts_from` has its own number (`mimik.settings.stages.weights`).

This module stays light (no torch, no pandas): the Snakefile imports it.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

MARK = "@"
"""Between the name of an entry of `methods` and the number of a training of it, from the second on."""

PATTERN = rf"(?:{MARK}(?:[2-9]|[1-9][0-9]+))?"
"""A regular expression for what follows the name of the entry."""

_NAME = re.compile(rf"(?P<method>.*?)(?:{MARK}(?P<number>[2-9]|[1-9][0-9]+))?")


class Replicate(NamedTuple):
    """A training of an entry of `methods`, counted from 1."""

    method: str
    number: int

    @property
    def name(self) -> str:
        """What it is called: `stargan`, `stargan@2`."""
        return self.method if self.number == 1 else f"{self.method}{MARK}{self.number}"


def replicate(name: str) -> Replicate:
    """The training that a name stands for."""
    found = _NAME.fullmatch(name)
    assert found is not None  # whatever is no number is part of the name
    return Replicate(found["method"], int(found["number"] or 1))


def trainings(method: str, replicates: int) -> list[str]:
    """The names of the first trainings of a method."""
    return [Replicate(method, number).name for number in range(1, replicates + 1)]


def seed_of(name: str, seed: int) -> int:
    """The seed of a training: the `seed` of params.yaml, plus one for every training of the method before it.

    The sum is modulo 2^63, the first number that is no seed.
    """
    return (seed + replicate(name).number - 1) % 2**63


def pattern(methods: Iterable[str]) -> str:
    """A regular expression for the names of all trainings of some methods."""
    return f"(?:{'|'.join(map(re.escape, methods))}){PATTERN}"
