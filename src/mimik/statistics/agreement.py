"""How far people agree: Krippendorff's alpha.

Krippendorff, Content Analysis, 4th edition, 2019, chapter 12; the same in "Computing Krippendorff's Alpha-Reliability",
2011. 1 is full agreement, 0 what chance gives, below 0 less than chance. Missing answers are allowed.
"""

from typing import Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

Level = Literal["nominal", "ordinal"]


def coincidences(values: npt.ArrayLike, categories: int) -> Floats:
    """How often two people gave two values to the same unit.

    Args:
        values: (people, units) whole numbers in [0, categories); NaN where there is no answer.
        categories: V.

    Returns:
        (units, V, V): for each unit the pairs of answers of two different people, divided by the number of answers
        less one; zeros where there are fewer than two answers. The sum over V x V is the number of answers.
    """
    values = np.asarray(values, dtype=np.float64)
    counts = np.stack([(values == category).sum(0) for category in range(categories)], axis=1).astype(np.float64)
    pairs = counts[:, :, None] * counts[:, None, :] - counts[:, :, None] * np.eye(categories)
    return np.asarray(pairs / np.maximum(counts.sum(1) - 1, 1)[:, None, None])


def alpha(matrix: npt.ArrayLike, level: Level) -> Floats:
    """Krippendorff's alpha of matrices of coincidences.

    Args:
        matrix: (..., V, V) sums over units of `coincidences`.
        level: `nominal`: values agree or not; `ordinal`: values are ranks, and those further apart differ more.

    Returns:
        (...,); NaN where all answers are the same, which leaves nothing to agree on.
    """
    matrix = np.asarray(matrix, dtype=np.float64)
    totals = matrix.sum(-1)
    number = totals.sum(-1)
    apart = _distances(totals, level)
    observed = (matrix * apart).sum((-2, -1))
    expected = (totals[..., :, None] * totals[..., None, :] * apart).sum((-2, -1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(expected > 0, 1 - (number - 1) * observed / expected, np.nan))


def same(matrix: npt.ArrayLike) -> Floats:
    """Share of pairs of answers that are the same; arguments and result as of `alpha`, without a level."""
    matrix = np.asarray(matrix, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.trace(matrix, axis1=-2, axis2=-1) / matrix.sum((-2, -1)))


def _distances(totals: Floats, level: Level) -> Floats:
    """Squared distance between two values, (..., V, V), from how often each was given (..., V)."""
    categories = totals.shape[-1]
    if level == "nominal":
        return np.broadcast_to(1 - np.eye(categories), (*totals.shape, categories))
    # The number of answers between two ranks, half of those at either end.
    middle = totals.cumsum(-1) - totals / 2
    return np.asarray((middle[..., :, None] - middle[..., None, :]) ** 2)
