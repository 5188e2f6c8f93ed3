"""Output heads: what each of them does with the last convolution's output."""

import pytest
import torch
from torch import nn

from mimik.networks.heads import COARSE, FINE, REACH, Head, compose, displacements, outputs_of, smooth, start, warp

HEADS: list[Head] = ["direct", "masked", "residual", "warped"]


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 1.8 - 0.9


@pytest.mark.parametrize("head", HEADS)
def test_edits_stay_in_range_whatever_the_convolution_gives(images: torch.Tensor, head: Head) -> None:
    out = torch.randn(2, outputs_of(head, 3), 64, 64, generator=torch.Generator().manual_seed(1)) * 20
    edited, change = compose(images, out, head)
    assert edited.shape == images.shape
    assert edited.abs().max() <= 1
    if head == "direct":
        assert change is None
    else:
        assert change is not None and change.shape == (2, 1, 64, 64)
        assert change.min() >= 0 and change.max() <= 1


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize("head", HEADS)
def test_what_starts_from_zero(head: Head, parts: int, transposed: bool) -> None:
    torch.manual_seed(0)
    count = outputs_of(head, 3) * parts
    last = nn.ConvTranspose2d(4, count, 4, 2, 1) if transposed else nn.Conv2d(4, count, 3)
    start(last, head, parts)
    values = (last.weight.transpose(0, 1) if transposed else last.weight).flatten(1).abs().sum(1).view(parts, -1)
    assert last.bias is not None
    zero = (values + last.bias.abs().view(parts, -1) == 0).all(0).tolist()
    expected = {"direct": [], "masked": [], "residual": [0, 1, 2], "warped": [4, 5]}[head]
    assert [index for index, is_zero in enumerate(zero) if is_zero] == expected


def test_nothing_moved_and_nothing_painted_is_the_image(images: torch.Tensor) -> None:
    out = torch.zeros(2, 6, 64, 64)
    out[:, 3] = -60
    edited, change = compose(images, out, "warped")
    assert change is not None
    torch.testing.assert_close(edited, images, atol=2e-6, rtol=0)
    assert change.max() < 2e-3


def test_a_moved_image_shows_what_lies_at_the_displacement(images: torch.Tensor) -> None:
    moves = torch.zeros(2, 2, 64, 64)
    moves[:, 0], moves[:, 1] = 3 / 64, -5 / 64
    moved = warp(images, moves)
    torch.testing.assert_close(moved[:, :, 5:, :-3], images[:, :, :-5, 3:], atol=1e-5, rtol=0)
    assert torch.allclose(moved[:, :, :, -1], moved[:, :, :, -4])  # the border is drawn out


def test_displacements_are_smooth_and_bounded(images: torch.Tensor) -> None:
    out = torch.zeros(2, 6, 64, 64)
    out[:, 3] = -60
    out[:, 4, ::2], out[:, 4, 1::2] = 90, -90  # from line to line: too fine to follow
    edited, _ = compose(images, out, "warped")
    torch.testing.assert_close(edited, images, atol=1e-5, rtol=0)
    out[:, 4] = 1e4
    edited, _ = compose(images, out, "warped")
    torch.testing.assert_close(edited, warp(images, torch.tensor([REACH, 0.0]).view(1, 2, 1, 1).expand(2, 2, 64, 64)))


def test_no_speck_can_be_painted() -> None:
    images, out = torch.zeros(1, 3, 64, 64), torch.zeros(1, 6, 64, 64)
    out[:, 3] = 60
    out[:, :3, 30, 30] = 2.0
    edited, _ = compose(images, out, "warped")
    cell = (64 // FINE) ** 2
    assert 0 < edited.max() <= 2.0 / cell
    assert edited[0, 0].ne(0).sum() >= cell


def test_smoothing_keeps_what_is_linear_inside_and_small_images_as_they_are() -> None:
    ramp = torch.linspace(-1, 1, 64).expand(1, 1, 64, 64)
    side = 64 // COARSE
    torch.testing.assert_close(smooth(ramp, COARSE)[..., side:-side], ramp[..., side:-side])
    small = torch.rand(1, 1, COARSE, COARSE)
    assert smooth(small, COARSE) is small


def test_parts_side_by_side_are_composed_on_their_own(images: torch.Tensor) -> None:
    out = torch.randn(2, 2, 6, 64, 64, generator=torch.Generator().manual_seed(2))
    together, _ = compose(images[:, None].expand(-1, 2, -1, -1, -1), out, "warped")
    for part in range(2):
        torch.testing.assert_close(together[:, part], compose(images, out[:, part], "warped")[0])


def test_gradients_reach_everything(images: torch.Tensor) -> None:
    out = torch.randn(2, 6, 64, 64, generator=torch.Generator().manual_seed(3), requires_grad=True)
    given = images.requires_grad_()
    edited, change = compose(given, out, "warped")
    assert change is not None
    (edited.square().mean() + change.mean()).backward()  # type: ignore[no-untyped-call]
    assert out.grad is not None and given.grad is not None
    assert (out.grad.flatten(2).abs().sum(2) > 0).all()
    assert (given.grad != 0).any()


def test_without_paint_the_warped_head_shows_what_lies_at_its_displacements() -> None:
    torch.manual_seed(0)
    images, out = torch.rand(2, 3, 32, 32) * 2 - 1, torch.randn(2, 6, 32, 32)
    out[:, 3] = -50  # nothing is replaced
    edited, _ = compose(images, out, "warped")
    moves = displacements(out)
    assert moves.shape == (2, 2, 32, 32)
    assert 0 < moves.abs().max() < REACH
    torch.testing.assert_close(edited, warp(images, moves))
    assert (edited - images).abs().max() > 0.1
