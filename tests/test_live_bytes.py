"""The counter behind benchmarks/memory.py, on a case that is worked out by hand and on a network."""

import gc
from collections.abc import Iterator

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from benchmarks.live_bytes import LiveBytes

KIB = 1024


@pytest.fixture(params=["real", "fake"], autouse=True)
def tensors(request: pytest.FixtureRequest) -> Iterator[str]:
    """Every test with both kinds of tensor."""
    if request.param == "real":
        yield "real"
    else:
        with FakeTensorMode():
            yield "fake"


def test_a_product_and_its_gradient() -> None:
    # float32: x 16 x 64 is 4 KiB, w 64 x 64 16 KiB, y = x w 4 KiB, its gradient 4 KiB, that of w 16 KiB; the sum and
    # the seed of the backward pass take one unit each.
    x, w = torch.ones(16, 64), torch.ones(64, 64, requires_grad=True)
    with LiveBytes(unit=KIB) as counter:
        assert counter.add([x, w]) == 20 * KIB
        assert counter.add([x, w.detach()]) == 0  # known already; a view shares its storage
        y = x @ w
        assert counter.live == 24 * KIB
        y.sum().backward()
        assert counter.live == 40 * KIB  # x, w, y, and the gradient of w
        # y's gradient is an expanded scalar: a matrix product needs it as one, so that it is never written out.
        assert 40 * KIB < counter.peak <= 46 * KIB
        del y
        assert counter.live == 36 * KIB
        w.grad = None
        assert counter.live == 20 * KIB
        assert counter.restart() > 20 * KIB and counter.peak == 20 * KIB


def test_what_the_backward_pass_keeps_counts_until_it_is_over() -> None:
    x = torch.ones(256, requires_grad=True)  # 1 KiB
    with LiveBytes(unit=1) as counter:
        y = (x.exp().exp().exp()).sum()  # each result is kept for its own gradient
        assert counter.live == 3 * KIB + 4
        y.backward()
        del y
        gc.collect()
        assert counter.live == KIB  # the gradient


def test_sizes_are_rounded_up_and_views_and_work_in_place_add_nothing() -> None:
    with LiveBytes() as counter:
        x = torch.zeros(1)
        assert counter.live == 512
        x.add_(1)
        y = x.view(1, 1)
        assert counter.live == 512
        del x
        assert counter.live == 512
        del y
        assert counter.live == 0


def step(network: nn.Module, optimiser: torch.optim.Optimizer) -> int:
    """Peak bytes of two steps of a small network in mixed precision."""
    with LiveBytes() as counter:
        counter.add(network.parameters())
        for _ in range(2):
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = network(torch.rand(4, 3, 32, 32)).float().mean()
            loss.backward()
            optimiser.step()
            optimiser.zero_grad()
    return counter.peak


def test_fake_tensors_give_the_bytes_of_real_ones(tensors: str) -> None:
    def made() -> int:
        network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.InstanceNorm2d(8, affine=True), nn.ReLU(), nn.Conv2d(8, 3, 3))
        return step(network, torch.optim.Adam(network.parameters(), fused=True))

    found = made()
    if tensors == "fake":
        with torch._subclasses.fake_tensor.unset_fake_temporarily():
            assert found == made()
    # The second convolution's input alone, in bfloat16: 4 x 8 x 30 x 30.
    assert found > 4 * 8 * 30 * 30 * 2


def test_a_question_about_values_that_nobody_computed_is_answered(tensors: str) -> None:
    with LiveBytes():
        assert torch.isfinite(torch.ones(())) and int(torch.ones((), dtype=torch.int64)) == 1
