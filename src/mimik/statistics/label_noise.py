"""Which labels are doubted, by confident learning: C. Northcutt, L. Jiang, I. Chuang, Confident Learning: Estimating
Uncertainty in Dataset Labels, JAIR 70, 2021, section 3.1.

Classifiers are more certain of some classes than of others, so a fixed threshold would doubt the uncertain classes as a
whole. Each class has its own: the mean probability that images labelled with it get of it.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class Doubts(NamedTuple):
    """What out-of-sample probabilities say of given labels.

    Attributes:
        thresholds: float64 (C,), of each class, in [0, 1].
        own: float64 (N,), the probability of the given label.
        probable: int64 (N,), the class that a doubted label should rather be; -1 where the label is not doubted.
    """

    thresholds: npt.NDArray[np.float64]
    own: npt.NDArray[np.float64]
    probable: npt.NDArray[np.int64]


def doubts(probabilities: npt.ArrayLike, labels: npt.ArrayLike) -> Doubts:
    """Doubt a label when another class is more probable than it, and at least as probable as that class's threshold.

    Where this holds for several classes, the most probable of them is taken.

    Args:
        probabilities: (N, C), rows that add up to 1, each from a classifier that has not seen this image.
        labels: (N,) classes in [0, C); every class occurs.

    Raises:
        ValueError: the shapes do not fit, a label is no class, or a class has no image.
    """
    values, given = np.asarray(probabilities, np.float64), np.asarray(labels, np.int64)
    if values.ndim != 2 or given.shape != values.shape[:1]:
        raise ValueError(f"probabilities have shape {values.shape}, labels {given.shape}")
    classes = values.shape[1]
    if len(given) and not 0 <= given.min() <= given.max() < classes:
        raise ValueError(f"labels from {given.min()} to {given.max()}, expected 0 to {classes - 1}")
    counts = np.bincount(given, minlength=classes)
    if not counts.all():
        raise ValueError(f"class {int(counts.argmin())} has no image")
    own = values[np.arange(len(given)), given]
    thresholds = np.bincount(given, own, classes) / counts
    rivals = np.where((values >= thresholds) & (values > own[:, None]), values, -1.0)
    probable = np.where(rivals.max(1) > 0, rivals.argmax(1), -1).astype(np.int64)
    return Doubts(thresholds, own, probable)
