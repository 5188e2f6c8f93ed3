"""GANimation's two losses with weights of their own and every option."""

from typing import Any

import pytest
import torch
from torch import Tensor

from mimik.methods import ganimation
from tests.methods.formulas import (
    Rules,
    absolute,
    assert_rates,
    assert_same,
    check_discriminator,
    check_head_start,
    labelled,
    states_of,
    told,
)
from tests.methods.world import make_context

PUBLISHED = Rules(space="action_units")
LOGISTIC = PUBLISHED.changed(objective="hinge", unit_loss="logistic", match=11.0, gamma=13.0, every=2)
VARIANTS: dict[str, tuple[Rules, str, dict[str, Any]]] = {
    "published": (PUBLISHED, "absolute", {}),
    "w/ v_rel": (PUBLISHED, "relative", {}),
    "demo": (LOGISTIC, "absolute", {"reconstruction_every": 3, "stem": "unshuffle"}),
    "expressions": (Rules(), "absolute", {}),
}


def make(rules: Rules, form: str, **changes: Any) -> ganimation.Method:
    torch.manual_seed(0)
    config = ganimation.Config(
        **{
            "conv_dim": 4, "residual_blocks": 1, "lambda_reconstruction": 9.0, "lambda_attention": 17.0,
            "lambda_smooth": 0.19, "adversary": rules.config(), **changes,
        }
    )  # fmt: skip
    return ganimation.Method(config, make_context(space=rules.space, form=form))


def summed(masks: Tensor) -> Tensor:
    """Total variation of each image, summed over its pixels, on average."""
    return (masks.diff(dim=2).abs().sum() + masks.diff(dim=3).abs().sum()) / len(masks)


@pytest.mark.parametrize("step", [6, 7])
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_generator_minimises_its_line(variant: str, step: int) -> None:
    rules, form, changes = VARIANTS[variant]
    method, batch = make(rules, form, **changes), labelled()
    source, target = states_of(batch, rules.space)
    found = method.generator_loss(batch, step)
    fake, replaced = method.generator.edit(batch["image"], told(source, target, form))
    assert replaced is not None
    total, terms = rules.generator(method.discriminator.network, fake, target)
    terms |= {"attention": (1 - replaced).mean(), "smooth": summed(replaced)}
    every = changes.get("reconstruction_every", 1)
    if step % every == 0:
        again, back = method.generator.edit(fake, told(target, source, form))
        assert back is not None
        terms["cycle"] = absolute(batch["image"], again)
        terms["attention"] = terms["attention"] + every * (1 - back).mean()
        terms["smooth"] = terms["smooth"] + every * summed(back)
        total = total + 9 * every * terms["cycle"]
    assert_same(found, (total + 17 * terms["attention"] + 0.19 * terms["smooth"], terms), method.parameters())
    assert torch.equal(batch["edited"], fake) and batch["edited"].requires_grad
    edited, mask = method.edit(batch["image"], source, target)
    assert torch.equal(edited, fake)
    torch.testing.assert_close(mask, 1 - replaced)


@pytest.mark.parametrize("step", [6, 7])
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_discriminator_minimises_its_line(variant: str, step: int) -> None:
    rules, form, changes = VARIANTS[variant]
    method, batch = make(rules, form, **changes), labelled()
    source, target = states_of(batch, rules.space)
    fake = method.generator(batch["image"], told(source, target, form)).detach()
    torch.testing.assert_close(method.translate(batch["image"], source, target).detach(), fake)
    check_discriminator(method, rules, batch, fake, step)


def test_a_critic_that_is_alone_learns_states_and_then_sees_the_edit_of_the_generator() -> None:
    method = make(LOGISTIC, "absolute", critic_head_start=5, reuse_fake=True, critic_updates=1)
    check_head_start(method, LOGISTIC)


def test_rates_and_what_is_averaged() -> None:
    method = make(PUBLISHED, "absolute", adversary=PUBLISHED.config(learning_rate=3.0))
    assert_rates(method.discriminator_parameters(), [(method.discriminator, 3.0)])
    assert_rates(method.generator_parameters(), [(method.generator, 1.0)])
    assert method.averaged is method.generator


@pytest.mark.parametrize("stem", ["conv", "unshuffle"])
def test_networks_have_the_shapes_of_the_settings(stem: Any) -> None:
    method = make(PUBLISHED, "absolute", conv_dim=12, residual_blocks=3, stem=stem)
    plain = ganimation.Generator(17, conv_dim=12, residual_blocks=3, head="masked", stem=stem)
    assert [p.shape for p in method.generator.parameters()] == [p.shape for p in plain.parameters()]
    # N(0, 0.02) as in GANimation's code: the default draws from wider intervals.
    weights = method.generator.last.weight if stem == "conv" else next(iter(method.generator.parameters()))
    assert 0.015 < float(weights.detach().std()) < 0.025


def test_published_settings() -> None:
    config, critic = ganimation.Config(), ganimation.Config().adversary
    assert (config.conv_dim, config.residual_blocks, config.stem, config.critic_updates) == (64, 6, "conv", 5)
    assert (config.lambda_reconstruction, config.lambda_attention, config.lambda_smooth) == (10.0, 0.1, 2.5e-4)
    assert (critic.lambda_classification, critic.lambda_gradient_penalty, critic.initialisation) == (
        160.0,
        10.0,
        "normal",
    )
    assert dict(ganimation.CONDITION) == {"space": "action_units", "target_noise": 0.1}
