"""StarGAN's two losses against its equations, published and with every option."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mimik.components.adversary import AdversaryConfig
from mimik.methods import stargan
from tests.methods.formulas import (
    DEMO,
    PUBLISHED,
    Rules,
    absolute,
    assert_rates,
    assert_same,
    awake,
    check_discriminator,
    check_head_start,
    labelled,
    states_of,
    told,
    variation,
)
from tests.methods.world import make_context

UNITS = Rules(space="action_units", objective="hinge", unit_loss="logistic", match=11.0, gamma=13.0)
OPTIONS: dict[str, Any] = {
    "head": "masked", "lambda_change": 17.0, "lambda_smooth": 19.0, "reconstruction_every": 3, "stem": "unshuffle",
}  # fmt: skip
VARIANTS: dict[str, tuple[Rules, str, dict[str, Any]]] = {
    "published": (PUBLISHED, "absolute", {}),
    "demo": (DEMO, "absolute", OPTIONS),
    "residual": (DEMO, "absolute", {**OPTIONS, "head": "residual"}),
    "warped": (DEMO, "absolute", {**OPTIONS, "head": "warped"}),
    "differences": (Rules(objective="vanilla", space="attributes"), "relative", {"reconstruction": "self"}),
    "concat": (Rules(space="attributes", reduction="mean"), "relative", {"see_masks": True}),
    "action units": (UNITS, "relative", {}),
    "binary labels": (Rules(labels="binary"), "absolute", {"reconstruction": "self"}),
}


def make(rules: Rules, form: str, **changes: Any) -> stargan.Method:
    torch.manual_seed(0)
    config = stargan.Config(
        **{"conv_dim": 4, "residual_blocks": 1, "lambda_reconstruction": 9.0, "adversary": rules.config(), **changes}
    )
    method = stargan.Method(config, make_context(space=rules.space, form=form))
    awake(method.generator)
    return method


def edited(method: stargan.Method, images: Tensor, state: Tensor) -> tuple[Tensor, Tensor | None]:
    """G's edit; with a parser it sees that one's classes as well."""
    if method.parser is None:
        return method.generator.edit(images, state)
    masks = F.one_hot(method.parser(images).argmax(1), 12).permute(0, 3, 1, 2).float()
    return method.generator.edit(images, state, masks)


@pytest.mark.parametrize("step", [6, 7])
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_generator_minimises_eq_6(variant: str, step: int) -> None:
    rules, form, changes = VARIANTS[variant]
    method, batch = make(rules, form, **changes), labelled()
    source, target = states_of(batch, rules.space)
    found = method.generator_loss(batch, step)
    fake, change = edited(method, batch["image"], told(source, target, form))
    total, terms = rules.generator(method.discriminator.network, fake, target)
    every = changes.get("reconstruction_every", 1)
    if step % every == 0:
        if changes.get("reconstruction") == "self":
            again, _ = edited(method, batch["image"], told(source, source, form))
        else:
            again, _ = edited(method, fake, told(target, source, form))
        terms[changes.get("reconstruction", "cycle")] = absolute(batch["image"], again)
        total = total + 9 * every * terms[changes.get("reconstruction", "cycle")]
    if change is not None:
        terms |= {"change": change.mean(), "smooth": variation(change)}
        total = total + 17 * terms["change"] + 19 * terms["smooth"]
    assert_same(found, (total, terms), method.parameters())
    assert torch.equal(batch["edited"], fake) and batch["edited"].requires_grad


@pytest.mark.parametrize("step", [6, 7])
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_discriminator_minimises_eq_6(variant: str, step: int) -> None:
    rules, form, changes = VARIANTS[variant]
    method, batch = make(rules, form, **changes), labelled()
    source, target = states_of(batch, rules.space)
    fake = edited(method, batch["image"], told(source, target, form))[0].detach()
    assert torch.allclose(method.translate(batch["image"], source, target), fake, atol=1e-6)
    check_discriminator(method, rules, batch, fake, step)


def test_a_critic_that_is_alone_learns_states_and_then_sees_the_edit_of_the_generator() -> None:
    method = make(DEMO, "absolute", critic_head_start=5, reuse_fake=True, critic_updates=1)
    check_head_start(method, DEMO)


def test_rates_and_what_is_averaged() -> None:
    method = make(PUBLISHED, "absolute", adversary=PUBLISHED.config(learning_rate=3.0))
    assert_rates(method.discriminator_parameters(), [(method.discriminator, 3.0)])
    assert_rates(method.generator_parameters(), [(method.generator, 1.0)])
    assert method.averaged is method.generator
    assert [(update.name, update.repeats) for update in method.updates] == [("discriminator", 5), ("generator", 1)]


def test_published_settings() -> None:
    config, critic = stargan.Config(), stargan.Config().adversary
    assert critic == AdversaryConfig()
    assert (config.conv_dim, config.residual_blocks, config.stem, config.head) == (64, 6, "conv", "direct")
    assert (config.reconstruction, config.lambda_reconstruction, config.reconstruction_every) == ("cycle", 10.0, 1)
    assert (config.critic_updates, config.critic_head_start, config.reuse_fake) == (5, 0, False)
    assert (config.see_masks, config.lambda_change, config.lambda_smooth) == (False, 0.0, 0.0)
    assert (critic.objective, critic.conv_dim, critic.layers, critic.max_conv_dim) == ("wgan-gp", 64, 6, 2048)
    assert (critic.lambda_classification, critic.lambda_gradient_penalty, critic.r1_gamma) == (1.0, 10.0, 0.0)
    assert (critic.labels, critic.label_reduction, critic.unit_loss) == ("auto", "sum", "squared")
    assert (critic.negative_slope, critic.learning_rate, critic.augment, critic.per_class) == (0.01, 1.0, 0.0, False)
    assert (critic.initialisation, critic.lambda_classification_generator) == ("default", None)
    assert (critic.r1_every, critic.lambda_matching) == (8, 1.0)


@pytest.mark.parametrize("see_masks", [False, True])
@pytest.mark.parametrize("form", [{}, {"head": "masked", "stem": "unshuffle"}])
def test_networks_have_the_shapes_of_the_settings(form: dict[str, Any], see_masks: bool) -> None:
    method = make(PUBLISHED, "absolute", conv_dim=12, residual_blocks=3, see_masks=see_masks, **form)
    plain = stargan.Generator(4, seen_channels=12 if see_masks else 0, conv_dim=12, residual_blocks=3, **form)
    sizes = [{n: p.shape for n, p in network.named_parameters()} for network in (method.generator, plain)]
    assert sizes[0] == sizes[1]
    assert any(name.startswith("parser.") for name in method.generator_state()) is see_masks
