"""Kernel distance between real test images and translations on Inception features, unbiased for small sets.

Binkowski et al., "Demystifying MMD GANs", ICLR 2018: squared maximum mean discrepancy with the kernel
k(x, y) = (x.y / D + 1)^3, its unbiased estimate averaged over random subsets. Protocol: docs/papers/metrics.md#kid.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from mimik.evaluation.extractors import open_inception
from mimik.evaluation.measurements import Entry, Measurements
from mimik.evaluation.places import Extractor, Missing

NAMES = ("kid",)
PROTOCOL = (
    "Unbiased squared MMD with the cubic polynomial kernel on 2048-d Inception pool3 features, mean over random "
    "subsets: real test images against all translations to all targets, resized to 299 px by TensorFlow 1's bilinear "
    "rule."
)
NEEDS = "inception"
HIGHER_IS_BETTER = {"kid": False}
UNIT = {"kid": ""}
FORMAT = {"kid": "{:.4f}"}

Array = npt.NDArray[Any]


def compute(measurements: Measurements) -> dict[str, Entry]:
    """The entry of metrics.json, with the standard deviation over subsets `std` and `n_real`."""
    inception = measurements.opened(open_inception)
    if isinstance(inception, Missing):
        return {"kid": inception.entry}
    fake = measurements.of_translations(inception)["features"]
    return {"kid": distance_entry(measurements, inception, fake, PROTOCOL)}


def distance_entry(measurements: Measurements, extractor: Extractor, features: Array, protocol: str) -> Entry:
    """Kernel distance of the extractor's `features`: those of the real test images against `features` (N, C, D)."""
    real = measurements.of_reals(extractor)["features"]
    fake = features.reshape(-1, real.shape[-1])
    settings = measurements.settings
    size = min(settings.kid_subset_size, len(real), len(fake))
    if size < 2:
        return {"skipped": "an unbiased kernel distance needs at least two real and two translated images."}
    mean, deviation = kernel_distance(real, fake, settings.kid_subsets, size, settings.seed)
    return measurements.entry(
        mean,
        None,
        len(fake),
        extractor,
        f"{protocol} {settings.kid_subsets} subsets of {size}.",
        std=deviation,
        n_real=len(real),
    )


def kernel_distance(real: Array, fake: Array, subsets: int, size: int, seed: int) -> tuple[float, float]:
    """Mean and standard deviation of the unbiased squared MMD over random subsets drawn without replacement.

    Args:
        real, fake: features (N, D) and (M, D).
        subsets: how many subsets.
        size: rows per subset, at most N and M.
        seed: of the draws.
    """
    generator = np.random.default_rng(seed)
    values = [
        squared_mmd(
            real[np.sort(generator.choice(len(real), size, replace=False))],
            fake[np.sort(generator.choice(len(fake), size, replace=False))],
        )
        for _ in range(subsets)
    ]
    return float(np.mean(values)), float(np.std(values))


def squared_mmd(first: Array, second: Array) -> float:
    """Unbiased squared MMD of (m, D) and (n, D) with k(x, y) = (x.y / D + 1)^3; may be negative. m, n >= 2."""
    x, y = first.astype(np.float64), second.astype(np.float64)
    within_x, within_y, between = _kernel(x, x), _kernel(y, y), _kernel(x, y)
    m, n = len(x), len(y)
    return float(
        (within_x.sum() - np.trace(within_x)) / (m * (m - 1))
        + (within_y.sum() - np.trace(within_y)) / (n * (n - 1))
        - 2 * between.mean()
    )


def _kernel(x: Array, y: Array) -> Array:
    kernel: Array = (x @ y.T / x.shape[1] + 1) ** 3
    return kernel
