"""Inception score of the translations: how certain the Inception network is of each, and how diverse they are.

Salimans et al., "Improved techniques for training GANs", NIPS 2016, section 4: exp(E_x KL(p(y|x) || p(y))). Protocol of
Sun et al. (SeCGAN): all translations pooled, ten subsets, mean; docs/papers/metrics.md#inception-score. It
hardly varies on faces, which are not among ImageNet's classes: differences below 0.05 mean nothing.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from mimik.evaluation.extractors import open_inception
from mimik.evaluation.measurements import Entry, Measurements
from mimik.evaluation.places import Missing

NAMES = ("inception_score",)
SUBSETS = 10
PROTOCOL = (
    f"exp of the mean KL divergence of Inception's class probabilities from their mean, mean over {SUBSETS} disjoint "
    "subsets, drawn at random, of all translations to all targets; 1008 outputs without bias, resized to 299 px by "
    "TensorFlow 1's bilinear rule."
)
NEEDS = "inception"
HIGHER_IS_BETTER = {"inception_score": True}
UNIT = {"inception_score": ""}
FORMAT = {"inception_score": "{:.2f}"}

Array = npt.NDArray[Any]


def compute(measurements: Measurements) -> dict[str, Entry]:
    """The entry of metrics.json, with the standard deviation over subsets `std`."""
    inception = measurements.opened(open_inception)
    if isinstance(inception, Missing):
        return {"inception_score": inception.entry}
    logits = measurements.of_translations(inception)["logits"]
    logits = logits.reshape(-1, logits.shape[-1])
    if len(logits) < 2 * SUBSETS:
        return {"inception_score": {"skipped": f"{SUBSETS} subsets need at least {2 * SUBSETS} translated images."}}
    order = np.random.default_rng(measurements.settings.seed).permutation(len(logits))
    scores = [score(logits[np.sort(part)]) for part in np.array_split(order, SUBSETS)]
    entry = measurements.entry(
        float(np.mean(scores)), None, len(logits), inception, PROTOCOL, std=float(np.std(scores))
    )
    return {"inception_score": entry}


def score(logits: Array) -> float:
    """exp(E_x KL(p(y|x) || p(y))) of logits (N, K), p(y) the mean of p(y|x) over these images: from 1 to K."""
    shifted = logits.astype(np.float64) - logits.max(1, keepdims=True)
    logarithms = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    probabilities = np.exp(logarithms)
    mean = probabilities.mean(0)
    # A class of zero probability adds nothing to the divergence.
    marginal = np.log(np.where(mean > 0, mean, 1.0))
    return float(np.exp((probabilities * (logarithms - marginal)).sum(1).mean()))
