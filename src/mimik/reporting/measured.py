"""One number of metrics.json, and the mean of that of several trainings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from mimik.statistics.trainings import Interval, estimate


@dataclass(frozen=True)
class Measured:
    """One scalar of metrics.json, or the mean of it over the trainings of a method.

    Attributes:
        value: the value, or None when it was skipped.
        interval: 95 % interval (low, high), or None. Of one training it is over test faces and does not contain the
            noise of training; of several, it is over trainings and faces.
        skipped: why it was not measured and what to do about it; empty when it was.
        entry: the whole entry of metrics.json (n, extractor, protocol, ...); of several trainings, that of the first.
        trainings: how many trainings `value` is the mean of.
        between: standard deviation between the trainings; None for one.
    """

    value: float | None
    interval: Interval | None
    skipped: str
    entry: Mapping[str, Any]
    trainings: int = 1
    between: float | None = None

    @property
    def n(self) -> int | None:
        """Number of images, or of pairs of a face and a target, it was measured on; None when it was skipped."""
        return self.entry.get("n")


class Scored(Protocol):
    """A method with its scores, as tables of measures need it: a `Result`, or the summary of one."""

    @property
    def method(self) -> str:
        """Its name in tables."""
        ...

    @property
    def dataset(self) -> str:
        """What it was measured on."""
        ...

    @property
    def record(self) -> Mapping[str, Any]:
        """What metrics.json has, as far as it is known: `dataset_digest`, `metrics`."""
        ...

    @property
    def seeds(self) -> Sequence[int]:
        """The seed of every training."""
        ...

    def metric(self, name: str) -> Measured | None:
        """A scalar metric, of several trainings their mean."""
        ...

    def baseline(self, baseline: str, name: str) -> Measured | None:
        """The score of a baseline in a metric."""
        ...


def pooled(measured: Sequence[Measured | None], faces: Interval | None = None) -> Measured | None:
    """The mean over trainings.

    Args:
        measured: the same scalar of every training, None where it has none; at least one.
        faces: 95 % interval of the mean over faces; None for the mean of the trainings' own intervals (as if the faces
            were good or bad for all of them alike, which is the widest).

    Returns:
        the first one where all are equal (what is measured on the inputs is); one with a reason where it was not
        measured for every training; None where no training has it.
    """
    first = measured[0]
    known = [one for one in measured if one is not None]
    if not known or all(one == first for one in measured):
        return first
    values = [one.value for one in known if one.value is not None]
    if len(values) < len(measured):
        reason = next((one.skipped for one in known if one.skipped), "evaluate the others again")
        told = f"measured for {len(values)} of {len(measured)} trainings: {reason}" if values else reason
        return Measured(None, None, told, known[0].entry)
    ends = [one.interval for one in known]
    if faces is None and None not in ends:
        faces = (_mean(end[0] for end in ends if end), _mean(end[1] for end in ends if end))
    found = estimate(values, faces)
    return Measured(found.value, found.interval, "", known[0].entry, len(values), found.between)


def _mean(numbers: Any) -> float:
    numbers = list(numbers)
    return float(sum(numbers) / len(numbers))
