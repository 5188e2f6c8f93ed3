"""Output heads: what their parts say of the edit that they compose."""

import torch

from mimik.networks import heads


def test_without_paint_the_warped_head_shows_what_lies_at_its_displacements() -> None:
    torch.manual_seed(0)
    images, out = torch.rand(2, 3, 32, 32) * 2 - 1, torch.randn(2, 6, 32, 32)
    out[:, 3] = -50  # nothing is replaced
    edited, _ = heads.compose(images, out, "warped")
    moves = heads.displacements(out, "warped")
    assert moves is not None and moves.shape == (2, 2, 32, 32)
    assert 0 < moves.abs().max() < heads.REACH
    torch.testing.assert_close(edited, heads.warp(images, moves))
    assert (edited - images).abs().max() > 0.1


def test_other_heads_do_not_move() -> None:
    for head in ("direct", "masked", "residual"):
        assert heads.displacements(torch.randn(1, 6, 8, 8), head) is None
