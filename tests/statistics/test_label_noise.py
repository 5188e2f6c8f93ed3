import numpy as np
import pytest

from mimik.statistics.label_noise import doubts


def test_a_label_is_doubted_by_the_thresholds_of_the_classes() -> None:
    probabilities = [
        [0.9, 0.1, 0.0],
        [0.3, 0.7, 0.0],  # labelled 0: class 1 is more probable, and above its threshold
        [0.4, 0.6, 0.0],  # labelled 1
        [0.5, 0.4, 0.1],  # labelled 1: class 0 is more probable, but below its threshold of 0.6
        [0.0, 0.2, 0.8],  # labelled 2
        [0.0, 0.6, 0.4],  # labelled 2: class 1 is more probable
    ]
    found = doubts(probabilities, [0, 0, 1, 1, 2, 2])
    assert found.thresholds == pytest.approx([0.6, 0.5, 0.6])
    assert found.own == pytest.approx([0.9, 0.3, 0.6, 0.4, 0.8, 0.4])
    assert found.probable.tolist() == [-1, 1, -1, -1, -1, 1]


def test_of_several_rivals_the_most_probable_is_taken() -> None:
    found = doubts([[0.2, 0.35, 0.45], [0.9, 0.1, 0], [0, 0.3, 0.7], [0, 0.8, 0.2], [0, 0.7, 0.3]], [0, 0, 1, 2, 2])
    assert found.probable[0] == 2


def test_planted_mistakes_are_found() -> None:
    random = np.random.default_rng(0)
    truth = np.arange(300) % 3
    probabilities = np.full((300, 3), 0.1) + 0.7 * np.eye(3)[truth]
    given, wrong = truth.copy(), random.permutation(300)[:30]
    given[wrong] = (truth[wrong] + 1) % 3
    found = doubts(probabilities, given)
    assert np.flatnonzero(found.probable >= 0).tolist() == sorted(wrong)
    assert (found.probable[wrong] == truth[wrong]).all()


@pytest.mark.parametrize(
    ("probabilities", "labels", "message"),
    [
        ([[1.0, 0.0]], [0, 1], "shape"),
        ([[1.0, 0.0], [0.5, 0.5]], [0, 2], "expected 0 to 1"),
        ([[1.0, 0.0], [0.5, 0.5]], [0, -1], "expected 0 to 1"),
        ([[1.0, 0.0], [0.5, 0.5]], [0, 0], "class 1 has no image"),
    ],
)
def test_what_does_not_fit_is_refused(probabilities: list[list[float]], labels: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        doubts(probabilities, labels)
