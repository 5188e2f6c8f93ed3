"""Fréchet distance between real test images and translations, on Inception features.

Over the pool of all translations (`fid`), and the mean of one distance for each target (`fid_per_target`), which is the
protocol of SeCGAN's ssFID.

Heusel et al., "GANs trained by a two time-scale update rule", NeurIPS 2017, eq. 6. Protocol:
docs/papers/metrics.md#fid.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from mimik.evaluation.extractors import open_inception
from mimik.evaluation.measurements import Entry, Measurements
from mimik.evaluation.places import Extractor, Missing

NAMES = ("fid", "fid_per_target")
PROTOCOL = (
    "Fréchet distance on 2048-d Inception pool3 features: all real test images against all translations to all "
    "targets, resized to 299 px by TensorFlow 1's bilinear rule, covariances with N - 1."
)
PER_TARGET_PROTOCOL = (
    "Fréchet distance on 2048-d Inception pool3 features: all real test images against the translations to one target, "
    "mean over the targets; resized to 299 px by TensorFlow 1's bilinear rule, covariances with N - 1."
)
NEEDS = "inception"
HIGHER_IS_BETTER = dict.fromkeys(NAMES, False)
UNIT = dict.fromkeys(NAMES, "")
FORMAT = dict.fromkeys(NAMES, "{:.2f}")

Array = npt.NDArray[Any]


def compute(measurements: Measurements) -> dict[str, Entry]:
    """The two entries of metrics.json, with the number of real images `n_real`."""
    inception = measurements.opened(open_inception)
    if isinstance(inception, Missing):
        return dict.fromkeys(NAMES, inception.entry)
    fake = measurements.of_translations(inception)["features"]
    return {
        "fid": distance_entry(measurements, inception, fake, PROTOCOL),
        "fid_per_target": distance_entry(measurements, inception, fake, PER_TARGET_PROTOCOL, per_target=True),
    }


def distance_entry(
    measurements: Measurements, extractor: Extractor, fake: Array, protocol: str, *, per_target: bool = False
) -> Entry:
    """Fréchet distance of the extractor's `features`: those of the real test images against `fake` (N, C, D).

    Of all of `fake` at once or, `per_target`, the mean of the distances of the C columns.
    """
    real = measurements.of_reals(extractor)["features"]
    if len(real) < 2 or len(fake) < 2:
        return {"skipped": "a covariance needs at least two real and two translated images."}
    mean, covariance = moments(real)
    root = symmetric_root(covariance)

    def distance(images: Array) -> float:
        return frechet_distance(mean, covariance, *moments(images), root)

    groups = [fake[:, target] for target in range(fake.shape[1])] if per_target else [fake.reshape(-1, fake.shape[-1])]
    return measurements.entry(
        float(np.mean([distance(group) for group in groups])),
        None,
        fake.shape[0] * fake.shape[1],
        extractor,
        protocol,
        n_real=len(real),
    )


def moments(features: Array, chunk: int = 4096) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Mean (D,) and unbiased covariance (D, D) of features (N, D) in float64, chunk by chunk. N is at least 2."""
    number, dimensions = features.shape
    if number < 2:
        raise ValueError(f"a covariance needs at least two rows, got {number}")
    mean = np.zeros(dimensions)
    for start in range(0, number, chunk):
        mean += features[start : start + chunk].sum(0, dtype=np.float64)
    mean /= number
    covariance = np.zeros((dimensions, dimensions))
    for start in range(0, number, chunk):
        centred = features[start : start + chunk].astype(np.float64) - mean
        covariance += centred.T @ centred
    return mean, covariance / (number - 1)


def symmetric_root(covariance: Array) -> npt.NDArray[np.float64]:
    """Square root (D, D) of a covariance; eigenvalues that rounding made negative count as zero."""
    values, vectors = np.linalg.eigh(covariance.astype(np.float64))
    root: npt.NDArray[np.float64] = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
    return root


def frechet_distance(
    mean_1: Array, covariance_1: Array, mean_2: Array, covariance_2: Array, root_1: Array | None = None
) -> float:
    """Squared Fréchet distance of two Gaussians: |m1 - m2|^2 + Tr(C1 + C2 - 2 (C1 C2)^(1/2)).

    C1 C2 has the eigenvalues of the symmetric C1^(1/2) C2 C1^(1/2), so two symmetric decompositions replace the
    general matrix root: several times as fast, and covariances without full rank need no special treatment. In float32
    the result can be wrong in the third digit; hence float64.

    Args:
        mean_1, mean_2: (D,).
        covariance_1, covariance_2: (D, D).
        root_1: `symmetric_root(covariance_1)`, for callers that compare one set with several.
    """
    root = symmetric_root(covariance_1) if root_1 is None else root_1
    product = root @ covariance_2.astype(np.float64) @ root
    cross = np.sqrt(np.linalg.eigvalsh((product + product.T) / 2).clip(min=0)).sum()
    shift = np.square(mean_1.astype(np.float64) - mean_2.astype(np.float64)).sum()
    distance = shift + np.trace(covariance_1, dtype=np.float64) + np.trace(covariance_2, dtype=np.float64) - 2 * cross
    # Because of rounding, the distance of a set to itself can be slightly below zero.
    return max(float(distance), 0.0)
