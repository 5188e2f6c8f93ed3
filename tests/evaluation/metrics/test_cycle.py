import numpy as np
import pytest
import torch

from mimik.evaluation.metrics import cycle
from mimik.statistics.image_similarity import PSNR_LIMIT, psnr, ssim


def with_cycle(measure, faces, error: int):
    returned = np.repeat(faces([0, 1, 2, 0], range(4))[:, None], 3, 1) + np.uint8(error)
    return cycle.compute(measure(cycle=returned))


def test_what_comes_back_unchanged_is_perfect(measure, faces) -> None:
    entries = with_cycle(measure, faces, 0)
    assert entries["cycle_l1"]["value"] == 0.0
    assert entries["cycle_psnr"]["value"] == PSNR_LIMIT
    assert entries["cycle_ssim"]["value"] == pytest.approx(1.0)
    assert entries["cycle_l1"]["n"] == 8


def test_one_constant_error_by_hand(measure, faces) -> None:
    entries = with_cycle(measure, faces, 51)
    assert entries["cycle_l1"]["value"] == pytest.approx(0.2)
    assert entries["cycle_psnr"]["value"] == pytest.approx(-20 * np.log10(0.2), abs=1e-4)
    assert entries["cycle_l1"]["extractor"] is None


def test_the_way_over_the_own_class_does_not_count(measure, faces) -> None:
    returned = np.repeat(faces([0, 1, 2, 0], range(4))[:, None], 3, 1)
    returned[np.arange(4), [0, 1, 2, 0]] = 255
    assert cycle.compute(measure(cycle=returned))["cycle_l1"]["value"] == 0.0


def test_agrees_with_the_image_functions() -> None:
    generator = np.random.default_rng(0)
    sources = generator.integers(0, 256, size=(2, 16, 16, 3), dtype=np.uint8)
    pictures = generator.integers(0, 256, size=(2, 3, 16, 16, 3), dtype=np.uint8)
    values = cycle.similarities(sources, pictures)
    assert values.shape == (2, 3, 3)
    first, second = (torch.from_numpy(image / 255.0).permute(2, 0, 1)[None] for image in (sources[1], pictures[1, 2]))
    expected = [(first - second).abs().mean().item(), psnr(first, second).item(), ssim(first, second).item()]
    assert values[1, 2].tolist() == pytest.approx(expected, abs=1e-4)


def test_a_larger_error_is_worse_in_the_stated_direction(faces) -> None:
    source = faces([0], [1])
    near, far = (cycle.similarities(source, source[:, None] + np.uint8(error))[0, 0] for error in (3, 50))
    for index, name in enumerate(cycle.NAMES):
        assert bool(near[index] > far[index]) is cycle.HIGHER_IS_BETTER[name]
