import numpy as np
import pytest

from mimik.evaluation.metrics import preservation_error


def test_perfect_edits_have_no_error(measure) -> None:
    entry = preservation_error.compute(measure())["preservation_error"]
    assert entry["value"] == 0.0
    assert entry["n"] == 12


def test_by_hand() -> None:
    # Image 0: targets 0, 1, 2 predicted as 0, 0, 2; image 1: as 1, 1, 1.
    predicted = np.array([[0, 0, 2], [1, 1, 1]])
    positives, chances = preservation_error.false_positives(predicted, np.ones((2, 3), dtype=bool))
    assert positives.tolist() == [[1, 0, 0], [0, 2, 0]]
    assert chances.tolist() == [[2, 2, 2], [2, 2, 2]]


def test_pairs_that_are_left_out_count_nowhere() -> None:
    predicted = np.array([[0, 0, 0]])
    positives, chances = preservation_error.false_positives(predicted, np.array([[True, False, True]]))
    assert positives.tolist() == [[1, 0, 0]]
    assert chances.tolist() == [[1, 2, 1]]


def test_agrees_with_the_false_positive_rate_of_the_confusion_table(measure) -> None:
    generator = np.random.default_rng(0)
    measurements = measure()
    shuffled = generator.integers(0, 3, size=(4, 3))
    translations = measurements.translations.copy()
    measurements.translations[:] = translations[np.arange(4)[:, None], shuffled]
    entry = preservation_error.compute(measurements)["preservation_error"]
    target = np.broadcast_to(np.arange(3), (4, 3))
    rates = [((shuffled == e) & (target != e)).sum() / (target != e).sum() for e in range(3)]
    assert list(entry["per_class"].values()) == pytest.approx(rates)
    assert entry["value"] == pytest.approx(np.mean(rates))


def test_unedited_images_have_the_higher_error(measure, faces) -> None:
    images = faces([0, 1, 2, 0], range(4))
    entry = preservation_error.compute(measure(translations=np.repeat(images[:, None], 3, 1)))["preservation_error"]
    assert entry["value"] == pytest.approx((4 / 8 + 2 / 8 + 2 / 8) / 3)
    assert preservation_error.HIGHER_IS_BETTER["preservation_error"] is False


def test_copies_and_true_targets_stand_beside_it(measure) -> None:
    entries = preservation_error.compute(measure(truth=True))
    assert entries["preservation_error_truth"]["value"] == 0.0
    assert entries["preservation_error_copy"]["value"] == pytest.approx((4 / 8 + 2 / 8 + 2 / 8) / 3)
    assert set(entries) == set(preservation_error.NAMES)
