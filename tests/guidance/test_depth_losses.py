"""Depth guidance: both losses with weights of their own, every start, and how much of them reaches the method."""

from typing import Any

import pytest
import torch
from torch import Tensor

from mimik.guidance.depth import Config, Guide
from mimik.networks.depth_network import DepthNetwork
from tests.methods.formulas import SEED, Rules, absolute, assert_rates, assert_same, labelled, states_of
from tests.methods.world import make_context

RULES = {
    "published": Rules(beta=0.3),
    "demo": Rules(objective="hinge", match=11.0, gamma=13.0, every=2, beta=0.3),
    "units": Rules(space="action_units"),
    "attributes": Rules(space="attributes", objective="vanilla", beta=0.3),
}
NETWORK: dict[str, Any] = {"conv_dim": 4, "residual_blocks": 1}


def make(rules: Rules, geometry: Any = "depth", domains: Any = "two_way", **changes: Any) -> Guide:
    torch.manual_seed(0)
    context = make_context(space=rules.space)
    if changes.get("start") != "scratch":
        context.pretrained["depth_network"] = DepthNetwork(geometry, domains, **NETWORK)
    settings = {"lambda_reconstruction": 9.0, "confidence_penalty": rules.beta, "adversary": rules.config()}
    scratch = {"geometry": geometry, "domains": domains, **NETWORK}
    return Guide(Config(**{**settings, **scratch, **changes}), context)


def left() -> dict[str, Tensor]:
    """A batch as a method leaves it."""
    batch = labelled()
    torch.manual_seed(4)
    batch["edited"] = (torch.rand_like(batch["image"]) * 2 - 1).requires_grad_()
    batch["fake"] = batch["edited"].detach().clone()
    return batch


@pytest.mark.parametrize("step", [6, 7])
@pytest.mark.parametrize("start", ["pretrained", "scratch", "frozen"])
@pytest.mark.parametrize("name", RULES)
def test_the_generators_minimise_eq_8_scaled_by_w(name: str, start: str, step: int) -> None:
    """w scales what the first two terms tell the method, another weight what the third does; G_depth hears all."""
    rules = RULES[name]
    for w, other in ((0.3, 1.0), (0.3, 0.3), (0.0, 0.7))[: 3 if start == "pretrained" else 1]:
        more = {"reconstruction_every": 3} if name == "demo" else {}
        guide = make(rules, start=start, weight=w, weight_reconstruction=other, **more)
        batch, network = left(), guide.network
        _, target = states_of(batch, rules.space)
        edited, parameters = batch["edited"], [p for p in guide.parameters() if p.requires_grad]
        found = guide.generator_loss(batch, step)
        total, terms = rules.generator(guide.adversary.network, network.to_maps(edited), target)
        every = 3 if name == "demo" else 1
        rec = torch.zeros(())
        if step % every == 0:
            terms["rec"] = absolute(edited, network.to_images(network.to_maps(edited)))
            rec = 9 * every * terms["rec"]
        assert_same(found, (total + rec, terms), parameters)
        assert torch.allclose(batch["depth/fake"], network.to_maps(edited)) and not batch["depth/fake"].requires_grad
        (told,) = torch.autograd.grad(guide.generator_loss(batch, step)[0], edited)
        first = torch.autograd.grad(
            rules.generator(guide.adversary.network, network.to_maps(edited), target)[0], edited
        )
        expected = w * first[0]
        if step % every == 0:
            again = absolute(edited, network.to_images(network.to_maps(edited)))
            expected = expected + other * torch.autograd.grad(9 * every * again, edited)[0]
        torch.testing.assert_close(told, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))


@pytest.mark.parametrize("reused", [False, True])
@pytest.mark.parametrize("geometry", ["depth", "normals"])
@pytest.mark.parametrize("step", [6, 7])
@pytest.mark.parametrize("name", RULES)
def test_the_critic_of_maps_minimises_eq_5_and_6(name: str, step: int, geometry: str, reused: bool) -> None:
    rules, batch = RULES[name], left()
    guide = make(rules, geometry)
    source, target = states_of(batch, rules.space)
    if reused:
        guide.generator_loss(batch, step)
        batch["depth/fake"] = batch["depth/fake"] / 2
    torch.manual_seed(SEED)
    found = guide.discriminator_loss(batch, step)
    torch.manual_seed(SEED)
    real = batch["depth"].repeat(1, 3, 1, 1) if geometry == "depth" else batch["normals"]
    fake = guide.network.to_maps(batch["fake"]).detach() / (2 if reused else 1)
    expected = rules.discriminator(guide.adversary.network, real, fake, source, target, step)
    assert_same(found, expected, guide.parameters())
    assert not batch["depth/fake"].requires_grad


def test_one_way_has_no_way_back() -> None:
    guide, batch = make(RULES["published"], domains="one_way"), left()
    _, target = states_of(batch, "expression")
    expected = RULES["published"].generator(guide.adversary.network, guide.network.to_maps(batch["edited"]), target)
    assert_same(guide.generator_loss(batch, 0), expected, guide.parameters())


@pytest.mark.parametrize("start", ["pretrained", "scratch", "frozen"])
def test_rates_and_what_is_read(start: str) -> None:
    rules = RULES["published"]
    guide = make(rules, "normals", start=start, adversary=rules.config(learning_rate=3.0))
    assert_rates(guide.discriminator_parameters(), [(guide.adversary, 3.0)])
    assert_rates(guide.generator_parameters(), [] if start == "frozen" else [(guide.network, 1.0)])
    assert all(p.requires_grad is (start != "frozen") for p in guide.network.parameters())
    assert {"normals", "label", "target"} <= guide.reads and "depth" not in guide.reads


def test_a_network_from_scratch_has_the_shape_of_the_settings() -> None:
    shape: dict[str, Any] = {"conv_dim": 6, "residual_blocks": 2, "stem": "unshuffle"}
    for domains in ("two_way", "one_way"):
        guide = make(RULES["published"], "normals", domains, start="scratch", **shape)
        plain = DepthNetwork("normals", domains, **shape)  # type: ignore[arg-type]
        assert [p.shape for p in guide.network.parameters()] == [p.shape for p in plain.parameters()]
        assert (guide.network.geometry, guide.network.two_way) == ("normals", domains == "two_way")


def test_weights_must_not_be_negative() -> None:
    for name in ("weight", "weight_reconstruction", "confidence_penalty", "lambda_reconstruction"):
        assert getattr(Config(**{name: 0.0}), name) == 0
        with pytest.raises(ValueError, match="negative"):
            Config(**{name: -0.5})
    config = Config()
    assert (config.weight, config.weight_reconstruction, config.start) == (0.3, 1.0, "pretrained")
    assert (config.geometry, config.domains, config.lambda_reconstruction) == ("depth", "two_way", 10.0)
    assert (config.conv_dim, config.residual_blocks, config.stem) == (64, 6, "conv")
