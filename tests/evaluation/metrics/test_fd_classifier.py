import pytest

from mimik.evaluation.metrics import fd_classifier
from mimik.evaluation.metrics.fid import frechet_distance, moments
from mimik.evaluation.places import Missing


def test_uses_the_classifier_and_never_the_name_fid(measure) -> None:
    measurements = measure()
    entries = fd_classifier.compute(measurements)
    assert set(entries) == set(fd_classifier.NAMES)
    entry = entries["fd_classifier"]
    real = measurements.of_reals(measurements.classifier)["features"]
    fake = measurements.of_translations(measurements.classifier)["features"].reshape(12, 3)
    assert entry["value"] == pytest.approx(frechet_distance(*moments(real), *moments(fake)))
    assert entry["value"] > 0
    assert entry["extractor"] == "colour"
    assert "not comparable" in entry["protocol"]


def test_real_images_as_translations_are_nearer_than_black_ones(measure) -> None:
    measurements = measure()
    value = fd_classifier.compute(measurements)["fd_classifier"]["value"]
    measurements._outputs.clear()
    measurements.translations[:] = 0
    assert fd_classifier.compute(measurements)["fd_classifier"]["value"] > value
    assert fd_classifier.HIGHER_IS_BETTER["fd_classifier"] is False


def test_without_classifier_it_says_what_to_do(measure) -> None:
    assert fd_classifier.compute(measure(classifier=Missing("x"))) == {
        name: {"skipped": "x"} for name in fd_classifier.NAMES
    }


def test_copies_and_true_targets_stand_beside_it(measure) -> None:
    measurements = measure(truth=True)
    entries = fd_classifier.compute(measurements)
    assert entries["fd_classifier_truth"]["value"] == pytest.approx(
        entries["fd_classifier"]["value"]
    )  # the fixture's edits are true
    assert entries["fd_classifier_copy"]["value"] < entries["fd_classifier_truth"]["value"]
    assert "unedited input images to all targets" in entries["fd_classifier_copy"]["protocol"]
