"""Precision and recall, density and coverage: is the fault of a set of edits that they look odd, or that they are few?

Kynkäänniemi et al., "Improved precision and recall metric for assessing generative models", NeurIPS 2019, eq. 1 to 3;
Naeem et al., "Reliable fidelity and diversity metrics for generative models", ICML 2020, eq. 5 and 6. A set of images
is taken for the union of balls around their features, each as large as the distance to its k-th neighbour in the set.
Protocol: docs/papers/metrics.md#precision-and-recall.
"""

import numpy as np
import numpy.typing as npt

from mimik.evaluation.extractors import open_inception
from mimik.evaluation.measurements import Array, Entry, Measurements
from mimik.evaluation.places import Extractor, Missing

NAMES = ("precision", "recall", "density", "coverage")
NEIGHBOURS = {"precision": 3, "recall": 3, "density": 5, "coverage": 5}
"""k of the papers: 3 (Kynkäänniemi et al., section 3.1), 5 (Naeem et al., section 3.3)."""
DRAWS = 10
LARGEST = 5_000
SLACK = 1e-6
"""Distance, as a share of the longest feature, that counts as none: ten times the rounding of float32."""
MEANINGS = {
    "precision": "Share of translations within the balls of the real test images",
    "recall": "Share of real test images within the balls of the translations",
    "density": "Number of balls of real test images that a translation lies in, divided by k, mean over translations",
    "coverage": "Share of real test images with a translation in their ball",
}
PROTOCOL = (
    "{meaning}; a ball reaches to the k-th nearest neighbour of its own set, k = {k}, on {features}; equally many of "
    "both sets, mean over {draws} random draws from all {subject} to all targets."
)
INCEPTION = "2048-d Inception pool3 features, resized to 299 px by TensorFlow 1's bilinear rule"
NEEDS = "inception"
HIGHER_IS_BETTER = dict.fromkeys(NAMES, True)
UNIT = dict.fromkeys(NAMES, "")
FORMAT = dict.fromkeys(NAMES, "{:.3f}")


def compute(measurements: Measurements) -> dict[str, Entry]:
    """The four entries of metrics.json, with the standard deviation over the draws `std` and `n_real`."""
    inception = measurements.opened(open_inception)
    if isinstance(inception, Missing):
        return dict.fromkeys(NAMES, inception.entry)
    fake = measurements.of_translations(inception)["features"]
    return entries(measurements, inception, fake, INCEPTION)


def entries(
    measurements: Measurements, extractor: Extractor, features: Array, told: str, subject: str = "translations"
) -> dict[str, Entry]:
    """The four entries for the extractor's `features`: those of the real test images against `features` (N, C, D).

    Args:
        measurements: the input of the metrics.
        extractor: which measured the features.
        features: of the translations.
        told: what the features are, for the protocol.
        subject: what `features` are of, for the protocol.
    """
    real = measurements.of_reals(extractor)["features"]
    fake = features.reshape(-1, real.shape[-1])
    size = min(len(real), len(fake), LARGEST)
    if size <= max(NEIGHBOURS.values()):
        reason = f"balls to the fifth neighbour need at least six real and six translated images, not {size}."
        return dict.fromkeys(NAMES, Missing(reason).entry)
    generator = np.random.default_rng(measurements.settings.seed)
    drawn: dict[str, list[float]] = {name: [] for name in NAMES}
    for _ in range(DRAWS):
        first = real[np.sort(generator.choice(len(real), size, replace=False))]
        second = fake[np.sort(generator.choice(len(fake), size, replace=False))]
        for name, value in neighbourhoods(first, second).items():
            drawn[name].append(value)
    return {
        name: measurements.entry(
            float(np.mean(values)),
            None,
            size,
            extractor,
            PROTOCOL.format(meaning=MEANINGS[name], k=NEIGHBOURS[name], features=told, draws=DRAWS, subject=subject),
            std=float(np.std(values)),
            n_real=size,
        )
        for name, values in drawn.items()
    }


def neighbourhoods(real: Array, fake: Array) -> dict[str, float]:
    """Precision, recall, density and coverage of features (N, D) and (M, D), each with its k of `NEIGHBOURS`.

    All but density lie in [0, 1]; density is at least 0 and above 1 where translations crowd among real images.
    """
    # Copies of real images lie exactly on the rims of balls, where the rounding of features would decide.
    longest = max(float(np.linalg.norm(x.astype(np.float64), axis=1).max()) for x in (real, fake))
    between = distances(real, fake) - SLACK * longest
    of_real, of_fake = _radii(real), _radii(fake)

    def inside(name: str) -> npt.NDArray[np.bool_]:
        within: npt.NDArray[np.bool_] = between <= of_real[NEIGHBOURS[name]][:, None]
        return within

    return {
        "precision": float(inside("precision").any(0).mean()),
        "recall": float((between <= of_fake[NEIGHBOURS["recall"]][None]).any(1).mean()),
        "density": float(inside("density").sum(0).mean() / NEIGHBOURS["density"]),
        "coverage": float(inside("coverage").any(1).mean()),
    }


def distances(first: Array, second: Array) -> npt.NDArray[np.float64]:
    """Euclidean distances (N, M) of features (N, D) and (M, D)."""
    x, y = first.astype(np.float64), second.astype(np.float64)
    # The products' rounding, seen at pairs of equal rows, is far below the distance of different pictures.
    squares = np.square(x).sum(1)[:, None] + np.square(y).sum(1)[None] - 2 * (x @ y.T)
    found: npt.NDArray[np.float64] = np.sqrt(squares.clip(min=0))
    return found


def _radii(features: Array) -> dict[int, npt.NDArray[np.float64]]:
    """Distances (N,) of the rows of features (N, D) to their k-th neighbours among the others, for every k in use."""
    within = distances(features, features)
    np.fill_diagonal(within, np.inf)
    ordered = np.sort(within, axis=1)
    return {k: ordered[:, k - 1] for k in {*NEIGHBOURS.values()}}
