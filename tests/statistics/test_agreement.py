import numpy as np
import pytest

from mimik.statistics.agreement import alpha, coincidences, same

NO = np.nan

# The example of Krippendorff 2011 ("Computing Krippendorff's Alpha-Reliability", C to E): four observers, twelve units.
EXAMPLE = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, NO, NO, NO],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NO, 3],
        [NO, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NO],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NO],
    ]
)


def test_alpha_is_that_of_the_published_example() -> None:
    matrix = coincidences(EXAMPLE - 1, 5).sum(0)
    assert matrix.sum() == 40
    assert matrix[1].tolist() == pytest.approx([4 / 3, 10, 4 / 3, 1 / 3, 0])
    assert round(float(alpha(matrix, "nominal")), 3) == 0.743
    assert round(float(alpha(matrix, "ordinal")), 3) == 0.815


def test_two_observers_and_two_values() -> None:
    # Krippendorff 2011, A: binary data, alpha 0.095.
    first = [0, 1, 0, 0, 0, 0, 0, 0, 1, 0]
    second = [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]
    matrix = coincidences([first, second], 2).sum(0)
    assert matrix.tolist() == [[10, 4], [4, 2]]
    assert round(float(alpha(matrix, "nominal")), 3) == 0.095
    assert float(same(matrix)) == pytest.approx(0.6)
    # With two values, ranks are no more than names.
    assert float(alpha(matrix, "ordinal")) == pytest.approx(float(alpha(matrix, "nominal")))


def test_full_agreement_and_nothing_to_agree_on() -> None:
    assert float(alpha(coincidences([[0, 1, 2], [0, 1, 2]], 3).sum(0), "ordinal")) == 1
    assert np.isnan(alpha(coincidences([[1, 1], [1, 1]], 3).sum(0), "nominal"))
    assert coincidences([[1, NO], [NO, NO]], 2).sum() == 0


def test_many_matrices_at_once_are_each_as_alone() -> None:
    units = coincidences(EXAMPLE - 1, 5)
    several = np.stack([units.sum(0), units[:6].sum(0)])
    for level in ("nominal", "ordinal"):
        assert alpha(several, level).tolist() == [float(alpha(one, level)) for one in several]
