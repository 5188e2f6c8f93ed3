import pytest
import torch

from mimik.networks.unet import UNet


@pytest.mark.parametrize("base, parameters", [(16, 1_944_355), (64, 31_044_691)])
def test_parameters(base, parameters):
    assert sum(p.numel() for p in UNet(19, base=base).parameters()) == parameters


def test_logits_have_the_size_of_the_image_and_gradients_reach_everything():
    network = UNet(4, base=4)
    images = torch.randn(2, 3, 48, 32, requires_grad=True)
    logits = network(images)
    assert logits.shape == (2, 4, 48, 32)
    logits.square().sum().backward()
    # A bias before batch normalisation is cancelled by it; every other parameter moves the logits.
    silent = {name for name, p in network.named_parameters() if p.grad is None or p.grad.abs().sum() < 1e-6}
    assert all(name.endswith(("0.bias", "3.bias")) for name in silent), silent
    assert images.grad.abs().sum() > 0


def test_skip_connections_carry_detail():
    """Without them a centre of 1 x 1 pixel could not tell where a bright pixel was."""
    torch.manual_seed(0)
    network = UNet(2, base=4).eval()
    first, second = torch.zeros(1, 3, 16, 16), torch.zeros(1, 3, 16, 16)
    first[..., 3, 3] = second[..., 3, 4] = 5.0
    change = (network(first) - network(second)).abs().sum(1)[0]
    assert change[2:5, 2:6].max() > 2 * change[10:, 10:].max()


def test_size_that_cannot_be_halved_is_refused():
    with pytest.raises(ValueError, match="multiples of 16"):
        UNet(4, base=4)(torch.zeros(1, 3, 40, 32))
