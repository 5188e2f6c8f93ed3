import numpy as np
import pytest

from mimik.evaluation.metrics import outside_change
from mimik.evaluation.metrics.outside_change import REGIONS, region_changes
from mimik.labels import IGNORED, SEGMENTATION_CLASSES

SKIN, MOUTH, HAT = (SEGMENTATION_CLASSES.index(name) for name in ("skin", "mouth", "hat"))


def test_every_class_is_in_exactly_one_region() -> None:
    listed = [name for classes in REGIONS.values() for name in classes]
    assert sorted(listed) == sorted(SEGMENTATION_CLASSES)


def masks(measured: int = 4, size: int = 16) -> np.ndarray:
    """Upper half skin, but its first row a hat; lower half mouth, but the last row unknown."""
    array = np.full((measured, size, size), SKIN, dtype=np.uint8)
    array[:, 0] = HAT
    array[:, size // 2 :] = MOUTH
    array[:, -1] = IGNORED
    return array


def shifted(faces) -> np.ndarray:
    """Translations that differ from the source by 51 levels above the middle and by 102 below, 0 in the last row."""
    sources = faces([0, 1, 2, 0], range(4))[:, None].repeat(3, 1)
    sources[..., :8, :, :] += 51
    sources[..., 8:15, :, :] += 102
    return sources


def test_by_hand(measure, faces) -> None:
    measurements = measure(translations=shifted(faces), arrays={"masks_16": masks()})
    entries = outside_change.compute(measurements)
    entry = entries["outside_change"]
    assert entry["value"] == pytest.approx(0.2 * 8 / 9)  # eight rows of skin and hat, and the unknown one
    assert entry["per_region"] == pytest.approx({"mouth": 0.4, "skin": 0.2, "other": 0.2, "unknown": 0.0})
    assert entry["n"] == 8
    assert "only datasets with ground truth" in entries["outside_change_truth"]["skipped"]


def test_agrees_with_a_plain_loop() -> None:
    generator = np.random.default_rng(0)
    sources = generator.integers(0, 256, size=(2, 8, 8, 3), dtype=np.uint8)
    pictures = generator.integers(0, 256, size=(2, 3, 8, 8, 3), dtype=np.uint8)
    classes = generator.integers(0, 19, size=(2, 8, 8)).astype(np.uint8)
    totals = region_changes(sources, pictures, classes)
    for position, names in enumerate(REGIONS.values()):
        inside = np.isin(classes[1], [SEGMENTATION_CLASSES.index(name) for name in names])
        change = np.abs(pictures[1, 2].astype(float) - sources[1]).mean(-1)[inside].sum() / 255
        assert totals[1, 2, position] == pytest.approx([change, inside.sum()], rel=1e-5)


def test_change_of_the_parts_does_not_count_but_change_beside_them_does(measure, faces) -> None:
    sources = faces([0, 1, 2, 0], range(4))[:, None].repeat(3, 1)
    measurements = measure(translations=sources, arrays={"masks_16": masks()})
    measurements.translations[..., 8:15, :, :] = 255
    assert outside_change.compute(measurements)["outside_change"]["value"] == 0.0
    measurements.translations[..., :8, :, :] = 255
    assert outside_change.compute(measurements)["outside_change"]["value"] > 0.1
    assert outside_change.HIGHER_IS_BETTER["outside_change"] is False


def test_the_true_target_stands_beside_it(measure) -> None:
    entries = outside_change.compute(measure(truth=True, arrays={"masks_16": masks()}))
    # The fixture's translations are the true targets.
    assert entries["outside_change_truth"]["value"] == pytest.approx(entries["outside_change"]["value"])


def test_datasets_without_masks_skip(measure) -> None:
    entries = outside_change.compute(measure())
    assert all("masks" in entries[name]["skipped"] for name in outside_change.NAMES)
