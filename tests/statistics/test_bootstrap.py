import numpy as np
import pytest

from mimik.statistics.bootstrap import grouped_mean, mean_interval, percentile_interval, resamples, statistic_interval


def test_every_resample_draws_as_many_images_as_there_are_and_the_seed_decides() -> None:
    weights = resamples(7, 50, seed=1)
    assert weights.shape == (50, 7)
    assert (weights.sum(1) == 7).all()
    assert (weights == resamples(7, 50, seed=1)).all()
    assert (weights != resamples(7, 50, seed=2)).any()


def test_mean_of_group_means_leaves_out_empty_groups() -> None:
    sums, counts = np.array([[6.0, 0.0, 1.0]]), np.array([[3.0, 0.0, 4.0]])
    assert grouped_mean(sums, counts) == pytest.approx([(2 + 0.25) / 2])
    assert np.isnan(grouped_mean(np.zeros(2), np.zeros(2)))


def test_interval_agrees_with_the_normal_approximation() -> None:
    values = np.random.default_rng(0).normal(3.0, 2.0, size=(400, 1))
    value, interval = mean_interval(values, np.ones_like(values), resamples(400, 4000, seed=0))
    half = 1.96 * values.std() / np.sqrt(400)
    assert value == pytest.approx(values.mean())
    assert interval == pytest.approx([values.mean() - half, values.mean() + half], abs=0.02)


def test_whole_images_are_drawn_so_that_repeating_their_pairs_narrows_nothing() -> None:
    sums = np.random.default_rng(0).normal(size=(100, 1))
    weights = resamples(100, 500, seed=0)
    _, once = mean_interval(sums, np.ones_like(sums), weights)
    _, eight_pairs = mean_interval(8 * sums, np.full_like(sums, 8), weights)
    assert eight_pairs == pytest.approx(once)


def test_statistic_of_sums_equals_the_mean_interval_and_does_not_depend_on_the_chunk() -> None:
    parts = np.random.default_rng(0).uniform(size=(30, 2))
    weights = resamples(30, 90, seed=0)
    by_mean = mean_interval(parts[:, :1], parts[:, 1:], weights)[1]
    for chunk in (7, 100):
        by_statistic = statistic_interval(parts, lambda sums: sums[:, 0] / sums[:, 1], weights, chunk)
        assert by_statistic == pytest.approx(by_mean)


def test_resamples_without_a_value_do_not_count() -> None:
    assert percentile_interval(np.array([np.nan, 1.0, 1.0])) == [1.0, 1.0]
    assert percentile_interval(np.array([np.nan])) is None
