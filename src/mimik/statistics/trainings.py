"""Intervals over trainings and test faces, and how many trainings a difference takes to be decided.

Two things move the mean score of a method: which faces were drawn for testing, and chance in training. All trainings of
a method edit the same faces, so the two are crossed. Each gives an interval of its own; they are put together by the
squares of their lengths, for each end alone (method of variance estimates recovery: Zou and Donner, Statistics in
Medicine 27, 2008).

- Faces: bootstrap (`mimik.statistics.bootstrap`), the same faces drawn for all trainings.
- Trainings: Student's t of the trainings' values. Trainings are not drawn again as faces are, because there are few of
  them: where training is all the noise there is, such a "95 %" interval contains the mean in 50 % of the cases with two
  trainings, in 70 % with three, in 83 % with five (`tests/statistics/test_trainings.py` counts them).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit

from mimik.statistics.bootstrap import LEVEL

MOST = 1000
"""More trainings than this are not looked for."""

Interval = tuple[float, float]


class Estimate(NamedTuple):
    """The mean over trainings.

    Attributes:
        value: the mean.
        interval: 95 % interval over trainings and faces; over trainings alone where that over faces is unknown; None
            for one training without an interval over faces.
        between: standard deviation between trainings (with n - 1 in the denominator); None for one training.
    """

    value: float
    interval: Interval | None
    between: float | None


def estimate(values: Sequence[float], faces: Interval | None) -> Estimate:
    """The mean over trainings with its interval.

    Args:
        values: of each training, on all faces; at least one.
        faces: 95 % interval of their mean over faces, these trainings given; None if unknown.
    """
    if len(values) == 1:
        return Estimate(values[0], faces, None)
    value, between = float(np.mean(values)), float(np.std(values, ddof=1))
    half = half_width(between, len(values))
    low, high = (value, value) if faces is None else faces
    # A bootstrap interval can lie beside the value: then this end is as far away as the trainings put it.
    return Estimate(
        value,
        (value - float(np.hypot(max(value - low, 0.0), half)), value + float(np.hypot(max(high - value, 0.0), half))),
        between,
    )


def half_width(between: float, trainings: int) -> float:
    """Half of the 95 % interval of a mean over trainings (at least 2), by their standard deviation."""
    return float(stdtrit(trainings - 1, (1 + LEVEL) / 2)) * between / float(np.sqrt(trainings))


def needed(value: float, between: float, faces: Interval | None) -> int | None:
    """The fewest trainings with which the interval of a difference would exclude zero.

    It is the least n with (t(n-1) s / sqrt(n))^2 + f^2 < d^2: d is the difference, s the standard deviation of the
    trainings' differences, f how far the interval over faces reaches towards zero, and t(n-1) the 97.5 % quantile of
    Student's t. It holds if d and s stay as they are; s of two or three trainings is itself uncertain.

    Args:
        value: d, the mean difference.
        between: s.
        faces: 95 % interval of d over faces; None if unknown, as if there were no spread over faces.

    Returns:
        n, at least 2; None if no number up to `MOST` is enough, because zero is within reach of the faces alone (it
        takes more test faces) or the difference is too small.
    """
    low, high = (value, value) if faces is None else faces
    reach = max(value - low if value > 0 else high - value, 0.0)
    return next((n for n in range(2, MOST + 1) if np.hypot(half_width(between, n), reach) < abs(value)), None)
