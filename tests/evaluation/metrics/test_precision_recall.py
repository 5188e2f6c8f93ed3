import numpy as np
import pytest

from mimik.evaluation.metrics import precision_recall, precision_recall_classifier
from mimik.evaluation.metrics.precision_recall import NAMES, neighbourhoods
from mimik.evaluation.places import Extractor, Missing

FIXTURE = Extractor("fixture", "ab", lambda images: {"features": images.flatten(1)[:, ::97]})


def test_on_a_line_by_hand() -> None:
    # Real 0 to 9: balls of radius 2 around inner points for k = 3, of 3 for k = 5 (larger at the ends).
    real = np.arange(10.0)[:, None]
    fake = np.concatenate([np.full(5, 4.5), np.full(5, 100.0)])[:, None]
    found = neighbourhoods(real, fake)
    assert found["precision"] == 0.5
    assert found["recall"] == 0.0  # points that all lie in one place have no balls
    # Balls of k = 5 at 4.5: 0 (radius 5), 1 (4), 2 to 7 (3), 8 (4), 9 (5).
    assert found["density"] == pytest.approx(0.5 * 10 / 5)
    assert found["coverage"] == 1.0


def test_the_same_set_is_perfect() -> None:
    real = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    found = neighbourhoods(real, real.copy())
    assert (found["precision"], found["recall"], found["coverage"]) == (1.0, 1.0, 1.0)
    # Each lies in its own ball and on average in those of five others, as each ball holds five others.
    assert found["density"] == pytest.approx(6 / 5)


def test_one_good_picture_again_and_again_is_precise_and_covers_nothing() -> None:
    random = np.random.default_rng(1)
    real = random.normal(size=(60, 4))
    collapsed = real[:1] + 1e-3 * random.normal(size=(60, 4))
    found = neighbourhoods(real, collapsed)
    assert found["precision"] == 1.0 and found["recall"] < 0.1 and found["coverage"] < 0.5
    spread = neighbourhoods(real, 3 * random.normal(size=(60, 4)))
    assert spread["precision"] < 0.7 and spread["recall"] > 0.7


def test_entries_say_how_and_are_the_mean_of_the_draws(measure) -> None:
    measurements = measure(labels=np.arange(9) % 3, inception=FIXTURE)
    entries = precision_recall.compute(measurements)
    assert tuple(entries) == NAMES
    real, fake = measurements.of_reals(FIXTURE)["features"], measurements.of_translations(FIXTURE)["features"]
    generator = np.random.default_rng(measurements.settings.seed)
    values = []
    for _ in range(precision_recall.DRAWS):
        rows = np.sort(generator.choice(9, 9, replace=False)), np.sort(generator.choice(27, 9, replace=False))
        values.append(neighbourhoods(real[rows[0]], fake.reshape(27, -1)[rows[1]])["density"])
    entry = entries["density"]
    assert (entry["value"], entry["std"]) == (pytest.approx(np.mean(values)), pytest.approx(np.std(values)))
    assert (entry["n"], entry["n_real"], entry["extractor"], entry["ci"]) == (9, 9, "fixture", None)
    assert "k = 5" in entry["protocol"] and "k = 3" in entries["recall"]["protocol"]


def test_too_few_and_without_weights(measure) -> None:
    assert "at least six" in precision_recall.compute(measure(inception=FIXTURE))["precision"]["skipped"]
    skipped = precision_recall.compute(measure(folder="second"))
    assert skipped == {name: {"skipped": "put the file there."} for name in NAMES}


def test_on_the_classifiers_features_with_baselines(measure) -> None:
    measurements = measure(labels=np.arange(9) % 3, truth=True, classifier=FIXTURE)
    entries = precision_recall_classifier.compute(measurements)
    assert set(entries) == set(precision_recall_classifier.NAMES)
    assert all("not comparable" in entry["protocol"] for entry in entries.values())
    # Copies are real faces: each lies in the ball of itself.
    assert entries["precision_classifier_copy"]["value"] == 1.0
    assert "all unedited input images to all targets" in entries["recall_classifier_copy"]["protocol"]
    none = precision_recall_classifier.compute(measure(folder="second", classifier=Missing("train it.")))
    assert set(none) == set(entries) and none["density_classifier"] == {"skipped": "train it."}
