import numpy as np
import pytest
import scipy.linalg

from mimik.evaluation.metrics import fid
from mimik.evaluation.metrics.fid import frechet_distance, moments, symmetric_root
from mimik.evaluation.places import Extractor


def random_covariance(seed: int, size: int, rank: int) -> np.ndarray:
    factors = np.random.default_rng(seed).normal(size=(rank, size))
    return factors.T @ factors / rank


def test_equal_covariances_leave_the_squared_distance_of_the_means() -> None:
    covariance = random_covariance(0, 6, 20)
    assert frechet_distance(np.zeros(6), covariance, np.full(6, 2.0), covariance) == pytest.approx(24.0)


def test_one_dimension_by_hand() -> None:
    # (m1 - m2)^2 + (s1 - s2)^2
    assert frechet_distance(np.array([1.0]), np.array([[9.0]]), np.array([4.0]), np.array([[4.0]])) == pytest.approx(
        9 + 1
    )


def test_commuting_covariances_by_hand() -> None:
    first, second = np.diag([1.0, 4.0, 0.0]), np.diag([9.0, 1.0, 25.0])
    expected = (1 - 3) ** 2 + (2 - 1) ** 2 + (0 - 5) ** 2
    assert frechet_distance(np.zeros(3), first, np.zeros(3), second) == pytest.approx(expected)


@pytest.mark.parametrize("rank", [40, 7])
def test_agrees_with_the_general_matrix_root(rank: int) -> None:
    first, second = random_covariance(1, 12, 40), random_covariance(2, 12, rank)
    root = scipy.linalg.sqrtm(first @ second).real
    expected = 3.0 + np.trace(first + second - 2 * root)
    mean = np.zeros(12)
    shifted = mean.copy()
    shifted[0] = np.sqrt(3.0)
    assert frechet_distance(mean, first, shifted, second) == pytest.approx(expected, abs=1e-6)
    assert frechet_distance(mean, first, shifted, second, symmetric_root(first)) == pytest.approx(expected, abs=1e-6)
    assert frechet_distance(shifted, second, mean, first) == pytest.approx(expected, abs=1e-6)


def test_a_set_against_itself_is_zero_without_full_rank() -> None:
    features = np.random.default_rng(0).normal(size=(20, 64)).astype(np.float32)
    assert frechet_distance(*moments(features), *moments(features)) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("chunk", [3, 1000])
def test_moments_agree_with_numpy_whatever_the_chunk(chunk: int) -> None:
    features = (np.random.default_rng(0).normal(size=(50, 5)) + 1000).astype(np.float32)
    mean, covariance = moments(features, chunk)
    assert mean == pytest.approx(features.astype(np.float64).mean(0))
    assert covariance == pytest.approx(np.cov(features.astype(np.float64), rowvar=False))


def test_one_row_has_no_covariance() -> None:
    with pytest.raises(ValueError, match="two rows"):
        moments(np.zeros((1, 3)))


def test_shifts_and_collapse_make_it_larger() -> None:
    generator = np.random.default_rng(0)
    real = generator.normal(size=(500, 8))
    near, far = real + 0.1, real + 1.0
    collapsed = np.repeat(real[:5], 100, axis=0)
    distances = [frechet_distance(*moments(real), *moments(fake)) for fake in (real, near, far)]
    assert distances == sorted(distances)
    assert frechet_distance(*moments(real), *moments(collapsed)) > distances[1]
    assert fid.HIGHER_IS_BETTER["fid"] is False


def test_without_weights_it_says_what_to_do(measure) -> None:
    assert fid.compute(measure()) == {name: {"skipped": "put the file there."} for name in fid.NAMES}


def test_entry_pools_all_targets_and_states_the_numbers(measure) -> None:
    features = Extractor("fixture", "ab", lambda images: {"features": images.flatten(1)[:, ::97]})
    measurements = measure(inception=features)
    entry = fid.compute(measurements)["fid"]
    real = measurements.of_reals(features)["features"]
    fake = measurements.of_translations(features)["features"]
    pooled = fake.reshape(12, -1)
    assert entry["value"] == pytest.approx(frechet_distance(*moments(real), *moments(pooled)))
    per_target = [frechet_distance(*moments(real), *moments(fake[:, target])) for target in range(3)]
    separate = fid.compute(measurements)["fid_per_target"]
    assert separate["value"] == pytest.approx(np.mean(per_target)) and separate["value"] != entry["value"]
    assert "mean over the targets" in separate["protocol"] and separate["n"] == 12
    assert (entry["n"], entry["n_real"], entry["extractor"], entry["ci"]) == (12, 4, "fixture", None)
