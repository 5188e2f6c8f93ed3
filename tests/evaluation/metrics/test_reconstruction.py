import numpy as np
import pytest

from mimik.evaluation.metrics import reconstruction
from mimik.evaluation.metrics.cycle import similarities
from mimik.statistics.image_similarity import PSNR_LIMIT


def test_a_method_that_touches_no_such_face_is_not_measured(measure) -> None:
    for entry in reconstruction.compute(measure()).values():
        assert "returns a face unchanged" in entry["skipped"] and entry["applies"] is False


def test_one_grey_level_is_measured(measure) -> None:
    measurements = measure()
    measurements.translations[0, 0, 0, 0, 0] ^= 1
    entries = reconstruction.compute(measurements)
    assert 0 < entries["l1"]["value"] < 1e-3
    assert 0.75 * PSNR_LIMIT < entries["psnr"]["value"] < PSNR_LIMIT
    assert entries["ssim"]["value"] == pytest.approx(1.0, abs=1e-3)
    assert entries["l1"]["n"] == 4


def test_only_the_own_class_counts(measure) -> None:
    measurements = measure()
    measurements.translations[1, 0] = 255  # image of class 1, edited
    assert "skipped" in reconstruction.compute(measurements)["l1"]
    measurements.translations[1, 1] = measurements.sources[slice(1, 2)][0] + 51  # the same, reconstructed
    assert reconstruction.compute(measurements)["l1"]["value"] == pytest.approx(0.2 / 4)


def test_agrees_with_the_similarities_of_each_image(measure) -> None:
    measurements = measure()
    measurements.translations[:] = np.random.default_rng(0).integers(0, 256, size=measurements.translations.shape)
    entries = reconstruction.compute(measurements)
    own = np.stack([measurements.translations[index, label] for index, label in enumerate([0, 1, 2, 0])])
    expected = similarities(measurements.sources[slice(0, 4)], own[:, None])[:, 0].mean(0)
    assert [entries[name]["value"] for name in reconstruction.NAMES] == pytest.approx(expected, rel=1e-5)


def test_noise_is_worse_in_the_stated_direction(measure) -> None:
    measurements = measure()
    measurements.translations[0, 0, 0, 0, 0] ^= 1
    clean = reconstruction.compute(measurements)
    measurements.translations[:, :, ::2] //= 2
    noisy = reconstruction.compute(measurements)
    for name in reconstruction.NAMES:
        assert (clean[name]["value"] > noisy[name]["value"]) is reconstruction.HIGHER_IS_BETTER[name]
