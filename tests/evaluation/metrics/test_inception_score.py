import numpy as np
import pytest
import torch

from mimik.evaluation.metrics import inception_score
from mimik.evaluation.metrics.inception_score import score
from mimik.evaluation.places import Extractor


def test_sure_and_different_scores_the_number_of_classes() -> None:
    assert score(np.eye(5) * 200) == pytest.approx(5.0)


def test_always_the_same_scores_one_however_sure() -> None:
    assert score(np.tile([3.0, 1.0, -2.0], (7, 1))) == pytest.approx(1.0)
    assert score(np.zeros((7, 4))) == pytest.approx(1.0)


def test_two_images_by_hand() -> None:
    logits = np.log([[0.8, 0.2], [0.4, 0.6]])
    divergences = [
        0.8 * np.log(0.8 / 0.6) + 0.2 * np.log(0.2 / 0.4),
        0.4 * np.log(0.4 / 0.6) + 0.6 * np.log(0.6 / 0.4),
    ]
    assert score(logits) == pytest.approx(np.exp(np.mean(divergences)))


def test_a_constant_on_all_logits_changes_nothing_and_large_ones_stay_finite() -> None:
    logits = np.random.default_rng(0).normal(size=(20, 6)).astype(np.float32)
    assert score(logits + 500) == pytest.approx(score(logits), rel=1e-4)
    assert np.isfinite(score(logits * 1000))


def test_without_weights_it_says_what_to_do(measure) -> None:
    assert inception_score.compute(measure()) == {"inception_score": {"skipped": "put the file there."}}


def test_entry_is_the_mean_of_ten_subsets(measure) -> None:
    extractor = Extractor("fixture", "ab", lambda images: {"logits": images.mean((2, 3)) * 4})
    few = inception_score.compute(measure(inception=extractor))["inception_score"]
    assert "at least 20" in few["skipped"]
    measurements = measure(inception=extractor, labels=np.arange(14) % 3, folder="second")
    entry = inception_score.compute(measurements)["inception_score"]
    logits = measurements.of_translations(extractor)["logits"].reshape(42, -1)
    order = np.random.default_rng(measurements.settings.seed).permutation(42)
    scores = [score(logits[part]) for part in np.array_split(order, 10)]
    assert (entry["value"], entry["std"]) == (pytest.approx(np.mean(scores)), pytest.approx(np.std(scores)))
    assert (entry["n"], entry["extractor"], entry["ci"]) == (42, "fixture", None)


def test_collapse_lowers_it(measure) -> None:
    extractor = Extractor("fixture", "ab", lambda images: {"logits": torch.sign(images.mean((2, 3)) + 0.5) * 4})
    various = measure(inception=extractor, labels=np.arange(14) % 3)
    collapsed = measure(inception=extractor, labels=np.arange(14) % 3, folder="second")
    collapsed.translations[:] = collapsed.translations[:1, :1]
    values = [inception_score.compute(which)["inception_score"]["value"] for which in (various, collapsed)]
    assert values[1] == pytest.approx(1.0) and values[0] > values[1]
    assert inception_score.HIGHER_IS_BETTER["inception_score"] is True
