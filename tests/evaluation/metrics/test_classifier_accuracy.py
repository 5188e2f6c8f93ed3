import pytest

from mimik.evaluation.measurements import ClassFilter
from mimik.evaluation.metrics import classifier_accuracy
from mimik.evaluation.places import Missing


def value_of(measurements):
    return classifier_accuracy.compute(measurements)["classifier_accuracy"]


def test_right_and_wrong_faces_by_hand(measure, faces) -> None:
    # The labels say 0, 1, 2, 0, the pictures show 0, 1, 1, 0; faces of unknown class do not count.
    entry = value_of(measure(labels=(0, 1, 2, 0, -1), images=faces([0, 1, 1, 0, 0], range(5)), rows=[0, 1]))
    assert entry["value"] == 0.75
    assert entry["n"] == 4
    low, high = entry["ci"]
    assert low < 0.75 < high


def test_all_right_is_one_and_less_is_lower(measure, faces) -> None:
    assert value_of(measure())["value"] == 1.0
    assert classifier_accuracy.HIGHER_IS_BETTER["classifier_accuracy"] is True


def test_class_filter_restricts_the_faces(measure, faces) -> None:
    chosen = ClassFilter(("anger", "happiness"))
    entry = value_of(measure(images=faces([0, 1, 1, 0], range(4)), settings={"class_filter": chosen}))
    assert entry["n"] == 3
    assert entry["value"] == pytest.approx(2 / 3)


def test_whole_test_split_counts_even_when_few_faces_were_translated(measure) -> None:
    assert value_of(measure(rows=[2]))["n"] == 4


def test_without_classifier_it_says_what_to_do(measure) -> None:
    assert value_of(measure(classifier=Missing("train one."))) == {"skipped": "train one."}
