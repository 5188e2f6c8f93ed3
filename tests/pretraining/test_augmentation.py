import pytest
import torch

from mimik.pretraining.augmentation import add_noise, colour_jitter, scale_and_crop, shift, soften


@pytest.fixture
def images():
    torch.manual_seed(1)
    return torch.rand(8, 3, 32, 32) * 2 - 1


def test_strength_zero_changes_nothing(images):
    masks = torch.zeros(8, 32, 32, dtype=torch.long)
    for unchanged in (
        colour_jitter(images, 0),
        shift(images, 0),
        soften(images, 0),
        add_noise(images, 0),
        scale_and_crop(images, masks, (1.0,), 1.0)[0],
    ):
        assert torch.equal(unchanged, images)


def test_same_seed_same_result(images):
    masks = torch.randint(19, (8, 32, 32))

    def everything(seed):
        torch.manual_seed(seed)
        cut, labels = scale_and_crop(images, masks, (1.0, 2.0), 0.75)
        return add_noise(soften(shift(colour_jitter(cut, 0.5), 0.1), 0.5), 0.1), labels

    first, second, other = everything(3), everything(3), everything(4)
    assert torch.equal(first[0], second[0]) and torch.equal(first[1], second[1])
    assert not torch.equal(first[0], other[0])


def test_jitter_keeps_grey_grey_and_stays_in_range(images):
    grey = images[:, :1].expand(-1, 3, -1, -1)
    jittered = colour_jitter(grey, 0.5)
    torch.testing.assert_close(jittered[:, 0], jittered[:, 2], atol=1e-5, rtol=0)
    assert not torch.allclose(jittered, grey)
    assert colour_jitter(images, 1.0).abs().max() <= 1


def test_jitter_of_a_flat_grey_image_is_its_brightness_factor():
    torch.manual_seed(0)
    values = (colour_jitter(torch.zeros(2000, 3, 2, 2), 0.4)[:, 0, 0, 0] + 1) / 2
    assert 0.3 - 1e-6 <= values.min() < 0.31 and 0.69 < values.max() <= 0.7 + 1e-6


def test_crop_cuts_image_and_mask_alike():
    """The mask is the image's own value, so after any crop they must still agree."""
    torch.manual_seed(0)
    steps = torch.arange(32) // 4  # bands of four pixels, classes 0 to 7
    masks = steps[None, :, None].expand(16, 32, 32).clone()
    images = (masks[:, None].float() / 8).expand(-1, 3, -1, -1)
    cut, labels = scale_and_crop(images, masks, (0.75, 1.0, 2.0), 0.75)
    assert cut.shape == (16, 3, 24, 24) and labels.shape == (16, 24, 24)
    error = (cut[:, 0] * 8 - labels).abs()
    assert error.max() <= 0.5 + 1e-3  # half a band at its border, where bilinear meets nearest
    assert (error < 1e-3).float().mean() > 0.6
    seen = [int(part.max() - part.min()) for part in labels]
    assert min(seen) <= 4 and max(seen) >= 5  # enlarged two times 12 pixels remain, not enlarged 24


def test_too_small_a_scale_uses_the_whole_image():
    images = torch.rand(4, 3, 32, 32)
    masks = torch.randint(19, (4, 32, 32))
    cut, labels = scale_and_crop(images, masks, (0.5,), 1.0)
    torch.testing.assert_close(cut, images, atol=1e-5, rtol=0)
    assert torch.equal(labels, masks)


def test_unknown_pixels_stay_unknown():
    masks = torch.full((2, 32, 32), 255)
    assert (scale_and_crop(torch.zeros(2, 3, 32, 32), masks, (1.5,), 0.5)[1] == 255).all()


def test_shift_moves_by_at_most_its_fraction():
    torch.manual_seed(0)
    images = torch.zeros(200, 3, 32, 32)
    images[:, :, 15:17, 15:17] = 1
    moved = shift(images, 0.125)[:, 0]
    ticks = torch.arange(32.0)
    mass = moved.sum((1, 2))
    offset = (moved.sum(1) * ticks).sum(1) / mass - 15.5
    assert offset.abs().max() <= 4 + 1e-3
    assert offset.max() > 3.5 and offset.min() < -3.5


def test_softening_keeps_a_plane_and_spreads_a_point():
    plane = torch.full((4, 3, 8, 8), 0.3)
    torch.testing.assert_close(soften(plane, 0.999), plane)
    point = torch.zeros(1, 3, 8, 8)
    point[..., 4, 4] = 1
    torch.manual_seed(0)
    blurred = soften(point, 0.999)
    torch.testing.assert_close(blurred[0, 0, 3:6, 4], torch.tensor([0.125, 0.25, 0.125]))


def test_noise_has_the_deviation_that_it_says():
    torch.manual_seed(0)
    noise = add_noise(torch.zeros(400, 3, 16, 16), 0.2).std(dim=(1, 2, 3))
    assert 0.19 < noise.max() < 0.22 and noise.min() < 0.01
    assert noise.mean() == pytest.approx(0.1, abs=0.01)
