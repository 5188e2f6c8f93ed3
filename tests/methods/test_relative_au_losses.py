"""relative_au's losses with weights of their own and every option."""

from typing import Any

import pytest
import torch

from mimik.methods import relative_au
from tests.methods.formulas import (
    SEED,
    Rules,
    absolute,
    assert_rates,
    assert_same,
    check_discriminator,
    check_head_start,
    labelled,
    penalty,
    states_of,
    told,
)
from tests.methods.world import make_context

PUBLISHED = Rules(space="action_units", cls_generator=5.0)
LOGISTIC = PUBLISHED.changed(objective="hinge", unit_loss="logistic", match=11.0, gamma=13.0, every=2)
OPTIONS: dict[str, Any] = {
    "reconstruction_every": 3, "stem": "unshuffle", "head": "masked", "tv_reduction": "per_image", "msf": "text",
}  # fmt: skip
VARIANTS: dict[str, tuple[Rules, str, dict[str, Any]]] = {
    "published": (PUBLISHED, "relative", {}),
    "w/o v_rel": (PUBLISHED, "absolute", {}),
    "demo": (LOGISTIC, "relative", OPTIONS),
}


def make(rules: Rules, form: str, **changes: Any) -> relative_au.Method:
    torch.manual_seed(0)
    config = relative_au.Config(
        **{
            "conv_dim": 4, "max_conv_dim": 16, "lambda_reconstruction": 9.0, "lambda_smooth": 0.17,
            "adversary": rules.config(), **changes,
        }
    )  # fmt: skip
    return relative_au.Method(config, make_context(space=rules.space, form=form))


@pytest.mark.parametrize("step", [6, 7])
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_generator_minimises_eq_9(variant: str, step: int) -> None:
    rules, form, changes = VARIANTS[variant]
    method, batch = make(rules, form, **changes), labelled()
    source, target = states_of(batch, rules.space)
    found = method.generator_loss(batch, step)
    image, generator = batch["image"], method.generator
    fake = generator(image, told(source, target, form))
    total, terms = rules.generator(method.discriminator.network, fake, target)
    every = changes.get("reconstruction_every", 1)
    if step % every == 0:
        terms["self"] = absolute(image, generator(image, told(source, source, form)))
        terms["cycle"] = absolute(image, generator(fake, told(target, source, form)))
        total = total + 9 * every * (terms["self"] + terms["cycle"])
    terms["tv"] = fake.diff(dim=2).abs().sum() + fake.diff(dim=3).abs().sum()
    if changes.get("tv_reduction") == "per_image":
        terms["tv"] = terms["tv"] / len(image)
    assert_same(found, (total + 0.17 * terms["tv"], terms), method.parameters())
    assert torch.equal(batch["edited"], fake) and batch["edited"].requires_grad


@pytest.mark.parametrize("step", [6, 7])
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_discriminator_minimises_eq_8(variant: str, step: int) -> None:
    rules, form, changes = VARIANTS[variant]
    method, batch = make(rules, form, **changes), labelled()
    source, target = states_of(batch, rules.space)
    fake = method.generator(batch["image"], told(source, target, form)).detach()
    torch.testing.assert_close(method.translate(batch["image"], source, target).detach(), fake)
    check_discriminator(method, rules, batch, fake, step)


@pytest.mark.parametrize("form", ["relative", "absolute"])
def test_the_penalty_alone(form: str) -> None:
    method, batch = make(PUBLISHED, form, gp_step="separate"), labelled()
    source, target = states_of(batch, "action_units")
    fake = method.generator(batch["image"], told(source, target, form)).detach()
    check_discriminator(method, PUBLISHED, labelled(), fake, penalised=False)
    torch.manual_seed(SEED)
    found = method.penalty_loss(batch, 0)
    torch.manual_seed(SEED)
    slope = penalty(lambda x: method.discriminator.network(x)[0], batch["image"], fake).mean()
    assert_same(found, (7 * slope, {"gp": slope}), method.parameters())
    # What the critic has seen before is what lies between.
    batch["fake"] = fake + 0.25
    torch.manual_seed(SEED)
    found = method.penalty_loss(batch, 0)
    torch.manual_seed(SEED)
    slope = penalty(lambda x: method.discriminator.network(x)[0], batch["image"], fake + 0.25).mean()
    assert_same(found, (7 * slope, {"gp": slope}), method.parameters())


def test_the_sum_over_the_units_is_17_means() -> None:
    batch = labelled()
    source, target = states_of(batch, "action_units")
    method = make(
        PUBLISHED, "relative", cond_reduction="sum", adversary=PUBLISHED.config(lambda_classification_generator=None)
    )
    fake = method.generator(batch["image"], target - source).detach()
    check_discriminator(method, PUBLISHED.changed(cls=3.0 * 17), batch, fake)
    found = method.discriminator.generator_loss(fake, target)
    expected = PUBLISHED.changed(cls_generator=3.0 * 17).generator(method.discriminator.network, fake, target)
    assert_same(found, expected, method.parameters())


def test_a_critic_that_is_alone_learns_states_and_then_sees_the_edit_of_the_generator() -> None:
    method = make(LOGISTIC, "relative", critic_head_start=5, reuse_fake=True, critic_updates=1)
    check_head_start(method, LOGISTIC)


def test_rates_and_what_is_averaged() -> None:
    method = make(PUBLISHED, "relative", adversary=PUBLISHED.config(learning_rate=3.0))
    assert_rates(method.discriminator_parameters(), [(method.discriminator, 3.0)])
    assert_rates(method.generator_parameters(), [(method.generator, 1.0)])
    assert method.averaged is method.generator


@pytest.mark.parametrize("more", [{}, {"stem": "unshuffle", "head": "masked", "k_msf": 1}])
def test_networks_have_the_shapes_of_the_settings(more: dict[str, Any]) -> None:
    method = make(PUBLISHED, "relative", conv_dim=6, max_conv_dim=18, **more)
    plain = relative_au.Generator(17, conv_dim=6, max_conv_dim=18, **{"k_msf": 3, **more})
    assert [p.shape for p in method.generator.parameters()] == [p.shape for p in plain.parameters()]
    usual, text = (make(PUBLISHED, "relative", msf=how).generator for how in ("exchange", "text"))
    batch = labelled()
    assert not torch.equal(*(g(batch["image"], batch["action_units"]) for g in (usual, text)))


def test_published_settings() -> None:
    config, critic = relative_au.Config(), relative_au.Config().adversary
    assert (config.conv_dim, config.max_conv_dim, config.k_msf, config.msf) == (64, 512, 3, "exchange")
    assert (config.head, config.stem, config.critic_updates, config.gp_step) == ("direct", "conv", 4, "joint")
    assert (config.lambda_reconstruction, config.lambda_smooth) == (30.0, 5e-6)
    assert (config.tv_reduction, config.cond_reduction) == ("batch_sum", "mean")
    assert (critic.lambda_classification, critic.lambda_gradient_penalty, critic.initialisation) == (
        150.0,
        10.0,
        "normal",
    )
    assert (critic.objective, critic.lambda_classification_generator) == ("wgan-gp", None)
    noise = {"source_noise": 0.02, "target_noise": 0.1}
    assert dict(relative_au.CONDITION) == {"space": "action_units", "form": "relative", **noise}
