import math

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from mimik.statistics.image_similarity import PSNR_LIMIT, l1, psnr, psnr_where, ssim


def images(seed: int, shape: tuple[int, ...] = (3, 3, 40, 48)) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def test_constant_difference_by_hand() -> None:
    first = torch.full((2, 3, 12, 12), 0.5)
    second = first + torch.tensor([0.1, 0.01])[:, None, None, None]
    assert l1(first, second).tolist() == pytest.approx([0.1, 0.01], abs=1e-6)
    assert psnr(first, second).tolist() == pytest.approx([20.0, 40.0], abs=1e-3)


def test_ssim_of_constant_images_is_the_luminance_term_alone() -> None:
    a, b, c1 = 0.2, 0.6, 0.01**2
    value = ssim(torch.full((1, 3, 16, 16), a), torch.full((1, 3, 16, 16), b))
    assert value.item() == pytest.approx((2 * a * b + c1) / (a * a + b * b + c1), abs=1e-4)


def test_identical_images_are_perfect_and_finite() -> None:
    same = images(0)
    assert l1(same, same).tolist() == [0.0] * 3
    assert psnr(same, same).tolist() == [PSNR_LIMIT] * 3
    assert ssim(same, same).tolist() == pytest.approx([1.0] * 3, abs=1e-6)


@pytest.mark.parametrize("noise", [0.02, 0.3])
def test_agrees_with_scikit_image(noise: float) -> None:
    first = images(1)
    second = (first + noise * (images(2) - 0.5)).clamp(0, 1)
    own_ssim, own_psnr = ssim(first, second), psnr(first, second)
    for index in range(len(first)):
        a, b = (batch[index].permute(1, 2, 0).numpy() for batch in (first, second))
        reference = structural_similarity(
            a,
            b,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=1,
            channel_axis=-1,
        )
        assert own_ssim[index].item() == pytest.approx(reference, abs=2e-5)
        assert own_psnr[index].item() == pytest.approx(peak_signal_noise_ratio(a, b, data_range=1), abs=1e-3)


def test_more_noise_is_worse() -> None:
    first = images(3)
    noisy = [(first + scale * (images(4) - 0.5)).clamp(0, 1) for scale in (0.05, 0.1, 0.4)]
    for function, sign in ((l1, 1), (psnr, -1), (ssim, -1)):
        values = [sign * function(first, second).mean().item() for second in noisy]
        assert values == sorted(values)
        assert values[0] < values[-1]


def test_pixels_that_are_not_asked_for_do_not_count() -> None:
    first = torch.zeros(2, 3, 12, 12)
    second = first.clone()
    second[:, :, :4] = 0.1
    second[:, :, 4:] = 0.9
    where = torch.zeros(2, 12, 12, dtype=torch.bool)
    where[0, :4] = True
    values = psnr_where(first, second, where)
    assert values[0].item() == pytest.approx(20.0, abs=1e-4)
    assert math.isnan(values[1].item())


def test_the_order_of_the_two_images_does_not_matter() -> None:
    first, second = images(5), images(6)
    for function in (l1, psnr, ssim):
        assert np.allclose(function(first, second), function(second, first))


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="one shape"):
        l1(torch.zeros(1, 3, 12, 12), torch.zeros(1, 3, 12, 13))
    with pytest.raises(ValueError, match="11 pixels"):
        ssim(torch.zeros(1, 3, 10, 12), torch.zeros(1, 3, 10, 12))
