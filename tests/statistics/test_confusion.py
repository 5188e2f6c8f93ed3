import numpy as np
import pytest

from mimik.statistics.confusion import (
    accuracy,
    confusion_matrix,
    intersection_over_union,
    macro_f1,
    per_class_accuracy,
)

TRUTH = np.array([[0, 0, 0, 1], [1, 2, 2, 255]])
PREDICTED = np.array([[0, 0, 1, 1], [2, 2, 2, 0]])
MATRIX = np.array([[2, 1, 0, 0], [0, 1, 1, 0], [0, 0, 2, 0], [0, 0, 0, 0]])


def test_counts_by_hand_and_without_ignored_positions():
    matrix = confusion_matrix(PREDICTED, TRUTH, 4, ignored=255)
    assert matrix.dtype == np.int64
    assert matrix.tolist() == MATRIX.tolist()


def test_small_integer_types_do_not_overflow():
    matrix = confusion_matrix(np.full(3, 18, np.uint8), np.full(3, 17, np.uint8), 19)
    assert matrix[17, 18] == 3 and matrix.sum() == 3


def test_iou_by_hand_with_an_absent_class():
    mean, per_class = intersection_over_union(MATRIX)
    assert per_class[:3] == pytest.approx([2 / 3, 1 / 3, 2 / 3])
    assert np.isnan(per_class[3])
    assert mean == pytest.approx(5 / 9)


def test_class_that_is_only_predicted_counts_as_zero():
    mean, per_class = intersection_over_union(confusion_matrix([0, 1], [0, 0], 2))
    assert per_class.tolist() == [0.5, 0.0]
    assert mean == 0.25


def test_accuracy_and_f1_by_hand():
    assert accuracy(MATRIX) == pytest.approx(5 / 7)
    assert per_class_accuracy(MATRIX)[:3] == pytest.approx([2 / 3, 1 / 2, 1])
    assert macro_f1(MATRIX) == pytest.approx((4 / 5 + 1 / 2 + 4 / 5) / 3)


def test_nothing_counted_has_no_score():
    empty = confusion_matrix([], [], 3)
    assert np.isnan(accuracy(empty)) and np.isnan(macro_f1(empty)) and np.isnan(intersection_over_union(empty)[0])


@pytest.mark.parametrize("predicted, truth", [([0, 3], [0, 0]), ([0, 0], [0, -1]), ([0], [0, 0])])
def test_impossible_input_is_refused(predicted, truth):
    with pytest.raises(ValueError, match=r"classes outside|shape"):
        confusion_matrix(predicted, truth, 3)
