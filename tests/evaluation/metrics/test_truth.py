import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from mimik.evaluation.metrics import truth
from mimik.statistics.image_similarity import PSNR_LIMIT


def test_true_targets_are_perfect_and_a_copy_is_not(measure) -> None:
    entries = truth.compute(measure(truth=True))
    assert entries["truth_psnr"]["value"] == PSNR_LIMIT
    assert entries["truth_psnr_changed"]["value"] == PSNR_LIMIT
    assert entries["truth_ssim"]["value"] == pytest.approx(1.0)
    assert entries["truth_psnr"]["n"] == 8
    assert entries["copy_truth_psnr"]["value"] < 20
    # Where the truth changes it is farther away than over the whole image, of which half is the same.
    assert entries["copy_truth_psnr_changed"]["value"] == pytest.approx(
        entries["copy_truth_psnr"]["value"] - 10 * np.log10(2), abs=1e-3
    )


def test_copied_inputs_get_the_copy_baseline(measure, faces) -> None:
    copies = np.repeat(faces([0, 1, 2, 0], range(4))[:, None], 3, 1)
    entries = truth.compute(measure(truth=True, translations=copies))
    for name in ("truth_psnr", "truth_ssim", "truth_psnr_changed"):
        assert entries[name]["value"] == pytest.approx(entries[f"copy_{name}"]["value"])
        assert entries[name]["ci"] == pytest.approx(entries[f"copy_{name}"]["ci"])


def test_copy_by_hand(measure) -> None:
    # Source of class 0, target 1: in the upper half channels 0 and 1 swap 200 and ten times the identity.
    entries = truth.compute(measure(labels=(0,), truth=True))
    error = 2 / 3 * (200 / 255) ** 2
    assert entries["copy_truth_psnr_changed"]["value"] == pytest.approx(-10 * np.log10(error), abs=1e-3)
    assert entries["copy_truth_psnr"]["value"] == pytest.approx(-10 * np.log10(error / 2), abs=1e-3)


def test_changed_means_more_than_eight_levels_in_any_channel() -> None:
    source = np.full((1, 5, 3), 100, dtype=np.uint8)
    true = source.copy()
    true[0, 1] += 8
    true[0, 2, 1] += 9
    true[0, 3, 2] -= 9
    true[0, 4] = 255
    assert truth.changed_pixels(source, true).tolist() == [[False, False, True, True, True]]


def test_a_pair_without_any_changed_pixel_is_left_out() -> None:
    images = np.full((1, 16, 16, 3), 90, dtype=np.uint8)
    truths = np.stack([images + 8, images + 40], 1)
    values = truth.distances(images, truths, truths)
    assert np.isnan(values[0, 0, [2, 5]]).all()
    assert np.isfinite(values[0, 1]).all()


def test_agrees_with_scikit_image() -> None:
    generator = np.random.default_rng(0)
    sources = generator.integers(0, 256, size=(1, 32, 32, 3), dtype=np.uint8)
    translations, truths = generator.integers(0, 256, size=(2, 1, 2, 32, 32, 3), dtype=np.uint8)
    values = truth.distances(sources, translations, truths)
    for index, picture in enumerate((translations[0, 1], sources[0])):
        a, b = picture / 255, truths[0, 1] / 255
        assert values[0, 1, 3 * index] == pytest.approx(peak_signal_noise_ratio(b, a, data_range=1), abs=1e-3)
        reference = structural_similarity(
            a,
            b,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=1,
            channel_axis=-1,
        )
        assert values[0, 1, 3 * index + 1] == pytest.approx(reference, abs=1e-4)


def test_half_way_to_the_truth_lies_between_copy_and_truth(measure) -> None:
    measurements = measure(truth=True)
    sources = measurements.sources[slice(0, 4)][:, None].astype(int)
    measurements.translations[:] = ((measurements.truth[:].astype(int) + sources) // 2).astype(np.uint8)
    entries = truth.compute(measurements)
    for name in ("truth_psnr", "truth_ssim", "truth_psnr_changed"):
        assert entries[f"copy_{name}"]["value"] < entries[name]["value"] < PSNR_LIMIT
        assert truth.HIGHER_IS_BETTER[name] is True


def test_datasets_without_truth_skip(measure) -> None:
    entries = truth.compute(measure())
    assert list(entries) == list(truth.NAMES)
    assert all("only datasets with ground truth" in entry["skipped"] for entry in entries.values())


def test_some_of_the_test_faces_meet_their_own_truth(measure) -> None:
    measurements = measure(truth=True, rows=[1, 3])
    entries = truth.compute(measurements)
    assert entries["truth_psnr"]["value"] == PSNR_LIMIT and entries["truth_psnr"]["n"] == 4
    seen = measurements.of_truth(measurements.classifier)["logits"]
    assert seen == pytest.approx(measurements.of_translations(measurements.classifier)["logits"])
