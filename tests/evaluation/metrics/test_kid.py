from itertools import product

import numpy as np
import pytest

from mimik.evaluation.metrics import kid
from mimik.evaluation.metrics.kid import kernel_distance, squared_mmd
from mimik.evaluation.places import Extractor


def test_two_points_each_by_hand() -> None:
    # k(x, y) = (x y + 1)^3 in one dimension: within x (1, 0): 1; within y (2, 1): 27; between: 27, 8, 1, 1.
    value = squared_mmd(np.array([[1.0], [0.0]]), np.array([[2.0], [1.0]]))
    assert value == pytest.approx(1 + 27 - 2 * (27 + 8 + 1 + 1) / 4)


def test_agrees_with_the_double_sums_of_the_paper() -> None:
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(5, 3)), generator.normal(size=(7, 3))

    def kernel(a: np.ndarray, b: np.ndarray) -> float:
        return (float(a @ b) / 3 + 1) ** 3

    within_x = sum(kernel(x[i], x[j]) for i, j in product(range(5), range(5)) if i != j) / 20
    within_y = sum(kernel(y[i], y[j]) for i, j in product(range(7), range(7)) if i != j) / 42
    between = sum(kernel(a, b) for a, b in product(x, y)) / 35
    assert squared_mmd(x, y) == pytest.approx(within_x + within_y - 2 * between)


def test_it_is_unbiased_for_small_subsets() -> None:
    generator = np.random.default_rng(0)
    real, fake = generator.normal(size=(2000, 4)), generator.normal(size=(2000, 4))
    mean, deviation = kernel_distance(real, fake, subsets=400, size=10, seed=0)
    assert abs(mean) < 4 * deviation / np.sqrt(400)
    assert deviation > 0


def test_the_seed_decides() -> None:
    generator = np.random.default_rng(0)
    real, fake = generator.normal(size=(50, 4)), generator.normal(size=(60, 4))
    assert kernel_distance(real, fake, 3, 10, seed=1) == kernel_distance(real, fake, 3, 10, seed=1)
    assert kernel_distance(real, fake, 3, 10, seed=1) != kernel_distance(real, fake, 3, 10, seed=2)


def test_shift_and_collapse_make_it_larger() -> None:
    generator = np.random.default_rng(0)
    real, same = generator.normal(size=(400, 6)), generator.normal(size=(400, 6))
    collapsed = np.repeat(same[:4], 100, axis=0)
    values = [kernel_distance(real, fake, 10, 100, seed=0)[0] for fake in (same, same + 0.5, same + 1.5)]
    assert values == sorted(values)
    assert kernel_distance(real, collapsed, 10, 100, seed=0)[0] > values[0]
    assert kid.HIGHER_IS_BETTER["kid"] is False


def test_entry_states_subsets_and_never_draws_more_than_there_is(measure) -> None:
    features = Extractor("fixture", "ab", lambda images: {"features": images.flatten(1)[:, ::97]})
    entry = kid.compute(measure(inception=features, settings={"kid_subsets": 3}))["kid"]
    assert "3 subsets of 4." in entry["protocol"]
    assert (entry["n"], entry["n_real"]) == (12, 4)
    assert entry["std"] >= 0


def test_without_weights_it_says_what_to_do(measure) -> None:
    assert kid.compute(measure()) == {"kid": {"skipped": "put the file there."}}
