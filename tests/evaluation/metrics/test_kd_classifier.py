import pytest

from mimik.evaluation.metrics import kd_classifier
from mimik.evaluation.metrics.kid import kernel_distance
from mimik.evaluation.places import Missing


def test_uses_the_classifier_and_never_the_name_kid(measure) -> None:
    measurements = measure(settings={"kid_subsets": 5, "kid_subset_size": 3, "seed": 4})
    entries = kd_classifier.compute(measurements)
    assert set(entries) == set(kd_classifier.NAMES)
    real = measurements.of_reals(measurements.classifier)["features"]
    fake = measurements.of_translations(measurements.classifier)["features"].reshape(12, 3)
    mean, deviation = kernel_distance(real, fake, 5, 3, seed=4)
    assert entries["kd_classifier"]["value"] == pytest.approx(mean)
    assert entries["kd_classifier"]["std"] == pytest.approx(deviation)
    assert "not comparable" in entries["kd_classifier"]["protocol"]


def test_without_classifier_it_says_what_to_do(measure) -> None:
    assert kd_classifier.compute(measure(classifier=Missing("x"))) == {
        name: {"skipped": "x"} for name in kd_classifier.NAMES
    }


def test_black_translations_are_farther_than_drawn_ones(measure) -> None:
    measurements = measure()
    drawn = kd_classifier.compute(measurements)["kd_classifier"]["value"]
    measurements._outputs.clear()
    measurements.translations[:] = 0
    assert kd_classifier.compute(measurements)["kd_classifier"]["value"] > drawn
    assert kd_classifier.HIGHER_IS_BETTER["kd_classifier"] is False


def test_copies_and_true_targets_stand_beside_it(measure) -> None:
    measurements = measure(truth=True, settings={"kid_subsets": 5, "kid_subset_size": 3})
    entries = kd_classifier.compute(measurements)
    assert entries["kd_classifier_truth"]["value"] == pytest.approx(
        entries["kd_classifier"]["value"]
    )  # the fixture's edits are true
    assert entries["kd_classifier_copy"]["value"] != entries["kd_classifier_truth"]["value"]
    assert "unedited input images to all targets" in entries["kd_classifier_copy"]["protocol"]
