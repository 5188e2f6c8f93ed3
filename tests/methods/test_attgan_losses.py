"""AttGAN's two losses against its equations, published and with every option."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mimik.methods import attgan
from mimik.methods.attgan import CriticConfig
from tests.methods.formulas import (
    DEMO,
    Rules,
    absolute,
    assert_rates,
    assert_same,
    check_discriminator,
    check_head_start,
    labelled,
    states_of,
    told,
    variation,
)
from tests.methods.world import make_context

PUBLISHED = Rules(space="attributes", reduction="mean")
OPTIONS: dict[str, Any] = {
    "head": "masked", "lambda_change": 17.0, "lambda_smooth": 19.0, "reconstruction_every": 3, "shortcut_layers": 2,
    "inject_layers": 2,
}  # fmt: skip
VARIANTS: dict[str, tuple[Rules, str, dict[str, Any], dict[str, Any]]] = {
    "published": (PUBLISHED, "absolute", {}, {}),
    "differences": (PUBLISHED, "relative", {}, {}),
    "expressions": (Rules(reduction="mean"), "absolute", {"label_scale": 1.5}, {}),
    "demo": (DEMO, "absolute", OPTIONS, {"norm": "none"}),
    "normalised demo": (DEMO, "absolute", {}, {}),
    "concat": (PUBLISHED, "relative", {"see_masks": True}, {}),
}


def make(rules: Rules, form: str, changes: dict[str, Any], critic: dict[str, Any]) -> attgan.Method:
    torch.manual_seed(0)
    adversary = rules.config(CriticConfig, **{"hidden": 8, **critic})
    config = attgan.Config(
        **{"conv_dim": 4, "layers": 3, "lambda_reconstruction": 9.0, "adversary": adversary, **changes}
    )
    # In evaluation every pass has the same statistics.
    return attgan.Method(config, make_context(space=rules.space, form=form)).eval()


def edited(method: attgan.Method, images: Tensor, source: Tensor, target: Tensor) -> tuple[Tensor, Tensor | None]:
    """decode(encode(x), b): labels as minus and plus `label_scale`, differences as they are."""
    form = method.condition.config.form
    state = told(source, target, form)
    state = state if form == "relative" else torch.where(state > 0, 1.0, -1.0) * method.config.label_scale
    seen = None
    if method.parser is not None:
        seen = F.one_hot(method.parser(images).argmax(1), 12).permute(0, 3, 1, 2).float()
    return method.generator.edit(images, state, seen)


@pytest.mark.parametrize("step", [6, 7])
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_generator_minimises_its_line(variant: str, step: int) -> None:
    rules, form, changes, critic = VARIANTS[variant]
    method, batch = make(rules, form, changes, critic), labelled()
    source, target = states_of(batch, rules.space)
    found = method.generator_loss(batch, step)
    fake, change = edited(method, batch["image"], source, target)
    total, terms = rules.generator(method.discriminator.network, fake, target)
    every = changes.get("reconstruction_every", 1)
    if step % every == 0:
        terms["self"] = absolute(batch["image"], edited(method, batch["image"], source, source)[0])
        total = total + 9 * every * terms["self"]
    if change is not None:
        terms |= {"change": change.mean(), "smooth": variation(change)}
        total = total + 17 * terms["change"] + 19 * terms["smooth"]
    assert_same(found, (total, terms), method.parameters())
    torch.testing.assert_close(batch["edited"], fake)
    assert batch["edited"].requires_grad


@pytest.mark.parametrize("step", [6, 7])
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_discriminator_minimises_its_line(variant: str, step: int) -> None:
    rules, form, changes, critic = VARIANTS[variant]
    method, batch = make(rules, form, changes, critic), labelled()
    source, target = states_of(batch, rules.space)
    fake = edited(method, batch["image"], source, target)[0].detach()
    torch.testing.assert_close(method.translate(batch["image"], source, target).detach(), fake)
    check_discriminator(method, rules, batch, fake, step)


def test_a_critic_that_is_alone_learns_states_and_then_sees_the_edit_of_the_generator() -> None:
    more = {"critic_head_start": 5, "reuse_fake": True, "critic_updates": 1}
    method = make(DEMO, "absolute", more, {"norm": "none"})
    check_head_start(method, DEMO)


def test_rates_and_what_is_averaged() -> None:
    method = make(PUBLISHED, "absolute", {"see_masks": True}, {"learning_rate": 3.0})
    assert_rates(method.discriminator_parameters(), [(method.discriminator, 3.0)])
    assert_rates(method.generator_parameters(), [(method.generator, 1.0)])
    assert method.averaged is method.generator
    assert any(name.startswith("parser.") for name in method.generator_state())


def shapes(network: torch.nn.Module) -> list[torch.Size]:
    return [value.shape for value in network.state_dict().values()]


@pytest.mark.parametrize("see_masks", [False, True])
def test_networks_have_the_shapes_of_the_settings(see_masks: bool) -> None:
    sizes: dict[str, Any] = {"conv_dim": 12, "layers": 4, "max_conv_dim": 24, "shortcut_layers": 2, "inject_layers": 2}
    critic = {"conv_dim": 12, "layers": 4, "max_conv_dim": 24, "hidden": 6, "norm": "none", "negative_slope": 0.5}
    method = make(DEMO, "absolute", {**sizes, "see_masks": see_masks, "head": "masked"}, critic)
    plain = attgan.Generator(4, seen_channels=12 if see_masks else 0, head="masked", **sizes)
    assert shapes(method.generator) == shapes(plain)
    kind: dict[str, Any] = {**critic, "matching": 4}
    assert shapes(method.discriminator.network) == shapes(attgan.Discriminator(32, 4, **kind))
    assert method.discriminator.network.negative_slope == 0.5
    other = attgan.critic(CriticConfig(conv_dim=4, layers=3, initialisation="kaiming"), 32, method.condition, 12)
    assert other.network.trunk[0].weight.shape[1] == 12 and other.network.matching == 0
    # Kaiming's weights are wider than the default's by the root of 6 over the leaky slope.
    usual = attgan.critic(CriticConfig(conv_dim=4, layers=3), 32, method.condition, 12)
    assert other.network.trunk[0].weight.std() > 1.5 * usual.network.trunk[0].weight.std()


def test_published_settings() -> None:
    config, critic = attgan.Config(), attgan.Config().adversary
    assert (config.conv_dim, config.layers, config.max_conv_dim) == (64, 5, 1024)
    assert (config.shortcut_layers, config.inject_layers, config.see_masks) == (1, 1, False)
    assert (config.lambda_reconstruction, config.label_scale, config.critic_updates) == (100.0, 0.5, 5)
    assert (critic.lambda_classification, critic.lambda_classification_generator) == (1.0, 10.0)
    assert (critic.lambda_gradient_penalty, critic.objective, critic.label_reduction) == (10.0, "wgan-gp", "mean")
    assert (critic.conv_dim, critic.layers, critic.max_conv_dim, critic.hidden, critic.norm) == (
        64, 5, 1024, 1024, "instance",
    )  # fmt: skip
