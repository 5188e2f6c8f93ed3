"""Measures against the same computed another way in float64: scipy, scikit-image, or loops over the papers' formulas.

Bar: 1e-6 relative. docs/papers/metrics.md#compared-with has the same comparison with other programs.
"""

import numpy as np
import pytest
import scipy.linalg
import scipy.special
import scipy.stats
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from mimik.evaluation.measurements import unit_tensor
from mimik.evaluation.metrics.fid import frechet_distance, moments
from mimik.evaluation.metrics.inception_score import score
from mimik.evaluation.metrics.kid import squared_mmd
from mimik.evaluation.metrics.precision_recall import NEIGHBOURS, neighbourhoods
from mimik.statistics.confusion import confusion_matrix, intersection_over_union
from mimik.statistics.image_similarity import l1, psnr, ssim

BAR = 1e-6


def features(seed: int, count: int, size: int = 24) -> np.ndarray:
    """float32, as extractors give them: correlated, not negative, of unequal scale."""
    random = np.random.default_rng(seed)
    mixed = random.normal(size=(count, size)) @ random.normal(size=(size, size)) * np.linspace(0.1, 2, size)
    return np.maximum(mixed + 0.3 * seed, 0).astype(np.float32)


def pictures(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two batches of smooth uint8 pictures, the second a noisy copy of the first."""
    random = np.random.default_rng(seed)
    wave = np.sin(np.linspace(0, 7, 40))[:, None, None] * np.cos(np.linspace(0, 5, 40))[None, :, None]
    first = 120 + 80 * wave * random.uniform(0.5, 1, size=(3, 1, 1, 3)) + random.normal(0, 4, (3, 40, 40, 3))
    second = first + random.normal(0, [[[[5]]], [[[15]]], [[[40]]]], first.shape)
    return tuple(x.round().clip(0, 255).astype(np.uint8) for x in (first, second))  # type: ignore[return-value]


@pytest.mark.parametrize(("first", "second"), [(200, 150), (40, 200)])
def test_frechet_distance(first: int, second: int) -> None:
    a, b = features(1, first).astype(np.float64), features(2, second).astype(np.float64)
    covariances = [np.cov(x, rowvar=False) for x in (a, b)]
    root = scipy.linalg.sqrtm(covariances[0] @ covariances[1])
    expected = np.square(a.mean(0) - b.mean(0)).sum() + np.trace(sum(covariances) - 2 * root).real
    found = frechet_distance(*moments(features(1, first)), *moments(features(2, second)))
    assert found == pytest.approx(expected, rel=BAR)


def test_kernel_distance() -> None:
    a, b = features(1, 12), features(2, 9)

    def kernel(x: np.ndarray, y: np.ndarray) -> float:
        return (sum(float(p) * float(q) for p, q in zip(x, y, strict=True)) / len(x) + 1) ** 3

    within = [
        sum(kernel(x[i], x[j]) for i in range(len(x)) for j in range(len(x)) if i != j) / (len(x) * (len(x) - 1))
        for x in (a, b)
    ]
    between = sum(kernel(x, y) for x in a for y in b) / (len(a) * len(b))
    assert squared_mmd(a, b) == pytest.approx(sum(within) - 2 * between, rel=BAR)


def test_inception_score() -> None:
    logits = 4 * features(3, 50, 30)
    probabilities = scipy.special.softmax(logits.astype(np.float64), axis=1)
    marginal = probabilities.mean(0)
    divergences = [scipy.stats.entropy(row, marginal) for row in probabilities]
    assert score(logits) == pytest.approx(np.exp(np.mean(divergences)), rel=BAR)


@pytest.mark.parametrize(("first", "second"), [(24, 24), (18, 27)])
def test_precision_recall_density_and_coverage(first: int, second: int) -> None:
    real, fake = features(1, first).astype(np.float64), features(2, second).astype(np.float64)

    def balls_of(x: np.ndarray) -> list[list[float]]:
        return [sorted(float(np.linalg.norm(a - b)) for j, b in enumerate(x) if j != i) for i, a in enumerate(x)]

    radii = {id(x): balls_of(x) for x in (real, fake)}

    def inside(x: np.ndarray, centres: np.ndarray, k: int) -> list[bool]:
        return [
            float(np.linalg.norm(x - centre)) <= radius[k - 1]
            for centre, radius in zip(centres, radii[id(centres)], strict=True)
        ]

    k = NEIGHBOURS
    balls = [inside(x, real, k["density"]) for x in fake]
    expected = {
        "precision": np.mean([any(inside(x, real, k["precision"])) for x in fake]),
        "recall": np.mean([any(inside(x, fake, k["recall"])) for x in real]),
        "density": np.sum(balls) / k["density"] / len(fake),
        "coverage": np.mean(np.any(balls, axis=0)),
    }
    found = neighbourhoods(features(1, first), features(2, second))
    assert found == pytest.approx(expected, rel=BAR)
    assert 0 < expected["precision"] < 1 and 0 < expected["recall"] < 1


def test_similarity_of_pictures() -> None:
    first, second = pictures(5)
    found = {name: measure(unit_tensor(first), unit_tensor(second)) for name, measure in MEASURES.items()}
    exact = ssim(unit_tensor(first).double(), unit_tensor(second).double())
    for index, (a, b) in enumerate(zip(first / 255, second / 255, strict=True)):
        settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1}
        _, full = structural_similarity(a, b, channel_axis=-1, full=True, **settings)
        expected = full[5:-5, 5:-5].mean()
        assert exact[index].item() == pytest.approx(expected, rel=BAR)
        # Evaluation computes in float32, whose rounding counts for more where pictures have little in common.
        assert found["ssim"][index].item() == pytest.approx(expected, abs=BAR)
        assert found["psnr"][index].item() == pytest.approx(peak_signal_noise_ratio(a, b, data_range=1), rel=BAR)
        assert found["l1"][index].item() == pytest.approx(np.abs(a - b).mean(), rel=BAR)


MEASURES = {"ssim": ssim, "psnr": psnr, "l1": l1}


def test_intersection_over_union() -> None:
    random = np.random.default_rng(0)
    predicted, truth = (random.integers(0, high, size=(60, 60)).astype(np.uint8) for high in (17, 15))
    truth[:5] = 255
    known = truth != 255
    shares = []
    for name in range(19):
        hit, either = (known & (predicted == name) & (truth == name)), known & ((predicted == name) | (truth == name))
        if either.any():
            shares.append(hit.sum() / either.sum())
    value, _ = intersection_over_union(confusion_matrix(predicted, truth, 19, 255))
    assert value == pytest.approx(np.mean(shares), rel=BAR)
