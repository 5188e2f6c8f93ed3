import numpy as np

from mimik.statistics.bootstrap import percentile_interval, resamples
from mimik.statistics.crossed import ratio, resampled_ratios


def width(values: np.ndarray, counts: np.ndarray | None = None) -> float:
    counts = np.ones_like(values) if counts is None else counts
    drawn = resampled_ratios(values, counts, resamples(len(values), 500, 0), resamples(values.shape[1], 500, 1))
    ends = percentile_interval(drawn)
    assert ends is not None
    assert ends[0] <= ratio(values, counts) <= ends[1]
    return ends[1] - ends[0]


def test_every_resample_is_a_mean_over_drawn_rows_and_columns() -> None:
    values = np.array([[1.0, 0.0, 2.0], [0.0, 3.0, 1.0]])
    counts = np.array([[1.0, 0.0, 2.0], [1.0, 3.0, 1.0]])
    rows = np.array([[2.0, 0.0], [1.0, 1.0], [1.0, 1.0]])
    columns = np.array([[1.0, 1.0, 1.0], [0.0, 3.0, 0.0], [1.0, 1.0, 1.0]])
    # By hand: rows 0, 0 and all columns; column 1 three times; everything once.
    assert resampled_ratios(values, counts, rows, columns).tolist() == [1.0, 1.0, 7 / 8]
    assert ratio(values, counts) == 7 / 8
    assert np.isnan(resampled_ratios(values, counts * 0, rows, columns)).all() and np.isnan(ratio([], []))


def test_people_who_differ_widen_the_interval_and_so_do_faces() -> None:
    # 10 people, 40 faces, half of all answers are yes: by the toss of a coin, by person, or by face.
    tossed = np.random.default_rng(0).permutation(np.repeat([0.0, 1.0], 200)).reshape(10, 40)
    by_person = np.repeat([[0.0], [1.0]], 5, axis=0) * np.ones((10, 40))
    by_face = np.ones((10, 1)) * np.tile([0.0, 1.0], 20)
    assert width(by_person) > 1.9 * width(by_face) > 1.9 * width(tossed)
    # As wide as that of ten tosses, however many faces each person saw.
    assert 0.5 < width(by_person) < 0.7


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    """People and faces have leanings of their own: 95 % intervals over both contain the mean of all."""
    generator = np.random.default_rng(1)
    rows, columns = resamples(12, 400, 2), resamples(30, 400, 3)
    inside = 0
    for _ in range(200):
        values = generator.normal(size=(12, 1)) + generator.normal(size=(1, 30)) + generator.normal(size=(12, 30))
        low, high = percentile_interval(resampled_ratios(values, np.ones_like(values), rows, columns)) or (0.0, 0.0)
        inside += low <= 0 <= high
    assert 0.88 <= inside / 200 <= 0.98
