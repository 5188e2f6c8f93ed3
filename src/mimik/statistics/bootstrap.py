"""Bootstrap confidence intervals of means, over source images.

The translations of one image are not independent (an odd face is odd for every target), so whole images are drawn
again, never single pairs. Percentile method: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, ch. 13.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

LEVEL = 0.95


def resamples(images: int, number: int, seed: int) -> npt.NDArray[np.float64]:
    """How often each image is drawn: float64 (number, images), every row sums to `images`."""
    drawn = np.random.default_rng(seed).multinomial(images, np.full(images, 1 / images), size=number)
    return drawn.astype(np.float64)


def grouped_mean(sums: Array, counts: Array) -> Any:
    """Mean over groups of (sum / count), groups without any count left out; NaN when all are empty.

    Args:
        sums, counts: (..., G).
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        means = np.where(counts > 0, sums / counts, 0.0)
        return means.sum(-1) / (counts > 0).sum(-1)


def mean_interval(sums: Array, counts: Array, weights: Array) -> tuple[float, list[float] | None]:
    """Macro mean over groups, and its interval.

    Args:
        sums: (N, G) total of the values of image i in group g (a plain mean has one group).
        counts: (N, G) how many values that are.
        weights: (R, N) from `resamples`.

    Returns:
        (value, [low, high]).
    """
    value = float(grouped_mean(sums.sum(0), counts.sum(0)))
    return value, percentile_interval(grouped_mean(weights @ sums, weights @ counts.astype(np.float64)))


def statistic_interval(
    parts: Array, statistic: Callable[[Array], Array], weights: Array, chunk: int = 100
) -> list[float] | None:
    """Interval of a statistic of sums over images, such as IoU of a confusion matrix.

    Args:
        parts: (N, ...) contribution of each image.
        statistic: (R, ...) summed contributions -> (R,).
        weights: (R, N) from `resamples`.
        chunk: resamples per call of `statistic`.
    """
    flat = parts.reshape(len(parts), -1).astype(np.float64)
    values = [
        statistic((weights[start : start + chunk] @ flat).reshape(-1, *parts.shape[1:]))
        for start in range(0, len(weights), chunk)
    ]
    return percentile_interval(np.concatenate(values))


def percentile_interval(values: Array) -> list[float] | None:
    """The central 95 % of the resampled values (R,); resamples without a value (NaN) do not count; None without any."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return None
    low, high = np.quantile(finite, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return [float(low), float(high)]
