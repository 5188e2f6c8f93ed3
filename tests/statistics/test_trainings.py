"""Intervals over trainings and faces: against Student's t, against a count of how often they hold, and seeds needed."""

import numpy as np
import pytest
from scipy import stats

from mimik.statistics.trainings import estimate, half_width, needed


def test_one_training_keeps_its_interval() -> None:
    assert estimate([0.4], (0.3, 0.6)) == (0.4, (0.3, 0.6), None)
    assert estimate([0.4], None) == (0.4, None, None)


def test_without_faces_it_is_the_t_interval() -> None:
    values = [1.0, 2.0, 4.0]
    found = estimate(values, None)
    expected = stats.t.interval(0.95, 2, loc=np.mean(values), scale=stats.sem(values))
    assert found.interval == pytest.approx(expected) and found.between == pytest.approx(np.std(values, ddof=1))


def test_faces_and_trainings_are_added_by_squares_at_each_end() -> None:
    half = half_width(np.std([1.0, 3.0], ddof=1), 2)
    low, high = estimate([1.0, 3.0], (1.7, 2.4)).interval or (0, 0)
    assert 2 - low == pytest.approx(np.hypot(0.3, half)) and high - 2 == pytest.approx(np.hypot(0.4, half))


def coverage(trainings: int, spread: float, faces: int = 60, runs: int = 1000) -> tuple[float, float]:
    """How often the interval holds the mean, and how often one that draws trainings again does. True mean: 0.

    Every face has an effect that all trainings share (standard deviation 1), every training one of its own (`spread`),
    and every pair of them one, too (0.5).
    """
    rng = np.random.default_rng(5)
    ours = drawn = 0
    for _ in range(runs):
        shared, own = rng.normal(size=faces), spread * rng.normal(size=(trainings, 1))
        values = shared + own + 0.5 * rng.normal(size=(trainings, faces))
        weights = rng.multinomial(faces, np.full(faces, 1 / faces), size=200) / faces
        means = weights @ values.T
        low, high = np.quantile(means.mean(1), [0.025, 0.975])
        found = estimate(values.mean(1).tolist(), (float(low), float(high))).interval or (1.0, 1.0)
        ours += found[0] <= 0 <= found[1]
        again = rng.integers(trainings, size=(200, trainings))
        low, high = np.quantile(np.take_along_axis(means, again, 1).mean(1), [0.025, 0.975])
        drawn += low <= 0 <= high
    return ours / runs, drawn / runs


@pytest.mark.parametrize(("trainings", "again"), [(2, 0.75), (3, 0.85)])
def test_the_interval_holds_where_one_that_draws_trainings_does_not(trainings: int, again: float) -> None:
    held, drawn = coverage(trainings, spread=0.5, runs=150)
    assert held > 0.92 and drawn < again


def test_seeds_needed() -> None:
    # t(3) 0.3 / 2 = 0.48 is within 0.5, t(2) 0.3 / 1.73 = 0.75 is not
    assert needed(0.5, 0.3, None) == 4 and needed(-0.5, 0.3, None) == 4
    assert needed(0.5, 0.3, (0.25, 0.9)) == 5  # sqrt(0.5^2 - 0.25^2) = 0.43 is left for the trainings
    assert needed(-0.5, 0.3, (-0.9, -0.25)) == 5
    assert needed(0.5, 0.3, (-0.1, 1.1)) is None  # the faces alone reach zero
    assert needed(0.0, 0.3, None) is None and needed(1e-4, 1.0, None) is None


def test_with_the_seeds_needed_the_interval_excludes_zero() -> None:
    value, between = 0.5, 0.4
    number = needed(value, between, (0.3, 0.7))
    assert number is not None
    for count, excludes in ((number, True), (number - 1, False)):
        spread = np.linspace(-1, 1, count)
        values = value + spread / spread.std(ddof=1) * between
        low = (estimate(values.tolist(), (0.3, 0.7)).interval or (0, 0))[0]
        assert (low > 0) is excludes
