import numpy as np
import pytest

from mimik.evaluation.measurements import ClassFilter
from mimik.evaluation.metrics import eea
from mimik.evaluation.places import Missing
from mimik.statistics.confusion import confusion_matrix


def test_perfect_edits(measure) -> None:
    entries = eea.compute(measure())
    assert entries["eea"]["value"] == 1.0
    assert entries["eea"]["ci"] == [1.0, 1.0]
    assert entries["eea"]["n"] == 8
    assert entries["eea_with_self"]["n"] == 12
    assert entries["eea"]["extractor"] == "colour"
    assert entries["eea"]["extractor_sha256"] == "c0ffee"
    assert entries["confusion"]["value"] == [[2, 0, 0], [0, 3, 0], [0, 0, 3]]
    assert (entries["confusion"]["rows"], entries["confusion"]["columns"]) == ("target", "predicted")


def test_macro_mean_over_targets_without_the_own_class(measure, faces) -> None:
    # Sources 0, 1, 2, 0. Nothing is ever edited: only the own class is right, and that is left out.
    images = faces([0, 1, 2, 0], range(4))
    entries = eea.compute(measure(translations=np.repeat(images[:, None], 3, 1)))
    assert entries["eea"]["value"] == 0.0
    # With self: target 0 right for 2 of 4 images, targets 1 and 2 for 1 of 4 each.
    assert entries["eea_with_self"]["value"] == pytest.approx((2 / 4 + 1 / 4 + 1 / 4) / 3)


def test_one_wrong_edit_by_hand(measure) -> None:
    measurements = measure()
    measurements.translations[1, 0] = measurements.translations[1, 2]  # image of class 1, asked for 0, shows 2
    entries = eea.compute(measurements)
    assert entries["eea"]["value"] == pytest.approx((1 / 2 + 1 + 1) / 3)
    assert entries["eea_per_class"]["value"] == {"anger": 0.5, "fear": 1.0, "happiness": 1.0}
    assert set(entries["eea_per_class"]["ci"]) == {"anger", "fear", "happiness"}
    assert entries["confusion"]["value"] == [[1, 0, 1], [0, 3, 0], [0, 0, 3]]


def test_confusion_agrees_with_the_shared_implementation() -> None:
    predicted = np.random.default_rng(0).integers(0, 5, size=(40, 5))
    keep = np.random.default_rng(1).random((40, 5)) < 0.7
    target = np.broadcast_to(np.arange(5), (40, 5))
    assert (eea.confusion(predicted, keep, 5) == confusion_matrix(predicted[keep], target[keep], 5)).all()


def test_better_edits_score_higher(measure) -> None:
    measurements = measure()
    perfect = eea.compute(measurements)["eea"]["value"]
    assert eea.HIGHER_IS_BETTER["eea"] is True
    measurements._outputs.clear()
    measurements.translations[:2] = measurements.translations[:2, ::-1]
    assert eea.compute(measurements)["eea"]["value"] < perfect


@pytest.mark.parametrize(("apply", "number"), [("both", 3), ("target", 5)])
def test_class_filter(measure, apply: str, number: int) -> None:
    chosen = ClassFilter(("anger", "fear"), apply)
    entries = eea.compute(measure(settings={"class_filter": chosen}, truth=True))
    # both: images 0, 1, 3 to the other one of the two classes; target: image 2 to both in addition.
    assert entries["eea"]["n"] == number
    assert set(entries["eea_per_class"]["value"]) == {"anger", "fear"}
    for entry in entries.values():
        assert f"Only anger, fear as {'sources and ' if apply == 'both' else ''}targets." in entry["protocol"]


def test_copies_and_true_targets_stand_beside_it(measure) -> None:
    measurements = measure(truth=True)
    measurements.translations[:] = 0
    entries = eea.compute(measurements)
    assert entries["eea_truth"]["value"] == 1.0
    assert entries["eea_copy"]["value"] == 0.0  # an unedited face shows its own class, which is left out
    assert entries["eea_truth"]["n"] == entries["eea_copy"]["n"] == 8
    assert "true target images" in entries["eea_truth"]["protocol"]
    without = eea.compute(measure(truth=False, folder="second"))["eea_truth"]
    assert "ground truth" in without["skipped"]


def test_without_classifier_it_says_what_to_do(measure) -> None:
    entries = eea.compute(measure(classifier=Missing("train one.")))
    assert entries == {name: {"skipped": "train one."} for name in eea.NAMES}
