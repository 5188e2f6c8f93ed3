"""GANnotation's losses with weights of their own: which shape each pass is asked for, and every option."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mimik.methods import gannotation
from mimik.methods.gannotation import Config, Method
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
    variation,
)
from tests.methods.world import SIZE, make_context

OPTIONS: dict[str, Any] = {
    "head": "masked", "lambda_change": 17.0, "lambda_smooth": 19.0, "consistency_every": 3, "stem": "unshuffle",
}  # fmt: skip
VARIANTS: dict[str, tuple[Rules, dict[str, Any]]] = {
    "published": (PUBLISHED, {}),
    "demo": (DEMO, OPTIONS),
    "residual": (DEMO, {**OPTIONS, "head": "residual"}),
}


def make(rules: Rules, **changes: Any) -> Method:
    torch.manual_seed(0)
    small: dict[str, Any] = {"conv_dim": 4, "residual_blocks": 1, "deviation": 0.05}
    lambdas = {"lambda_adversarial": 0.5, "lambda_self": 9.0, "lambda_triple": 15.0}
    method = Method(Config(**{**small, **lambdas, "adversary": rules.config(), **changes}), make_context())
    awake(method.generator)
    return method


def near(shapes: Tensor, to: Tensor) -> Tensor:
    """Every shape by the similarity transform that brings it nearest to another: least squares over a, b, c, d."""
    moved = []
    for shape, goal in zip(shapes.double().numpy(), to.double().numpy(), strict=True):
        x, y = shape.T
        zeros, ones = np.zeros_like(x), np.ones_like(x)
        rows = np.concatenate([np.stack([x, -y, ones, zeros], 1), np.stack([y, x, zeros, ones], 1)])
        solved = np.linalg.lstsq(rows, goal.T.reshape(-1), rcond=None)[0]
        moved.append((rows @ solved).reshape(2, -1).T)
    return torch.from_numpy(np.stack(moved)).float()


def shapes(batch: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Own, asked for, and lent by the face after the next."""
    own = batch["landmarks"] / SIZE
    asked = near(batch["target_landmarks"] / SIZE, own)
    return own, asked, near(torch.cat([asked[1:], asked[:1]]), own)


@pytest.mark.parametrize("step", [6, 7])
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_generator_minimises_its_losses(variant: str, step: int) -> None:
    rules, changes = VARIANTS[variant]
    method, batch = make(rules, **changes), labelled()
    _, target = states_of(batch, "expression")
    found = method.generator_loss(batch, step)
    own, asked, third = shapes(batch)
    image, generator = batch["image"], method.generator
    fake, change = generator.edit(image, asked)
    judged, terms = rules.generator(method.discriminator.network, fake, target)
    total = 0.5 * judged
    every = method.config.consistency_every
    if step % every == 0:
        terms["cycle"] = absolute(generator(fake, own), image)
        terms["triple"] = absolute(generator(image, third), generator(fake, third))
        total = total + every * (9 * terms["cycle"] + 15 * terms["triple"])
    if change is not None:
        terms |= {"change": change.mean(), "smooth": variation(change)}
        total = total + 17 * terms["change"] + 19 * terms["smooth"]
    assert_same(found, (total, terms), method.parameters())
    torch.testing.assert_close(batch["edited"], fake, rtol=1e-4, atol=1e-4)
    assert batch["edited"].requires_grad


@pytest.mark.parametrize("step", [6, 7])
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_discriminator_names_expressions(variant: str, step: int) -> None:
    rules, changes = VARIANTS[variant]
    method, batch = make(rules, **changes), labelled()
    fake = method.generator(batch["image"], shapes(batch)[1]).detach()
    check_discriminator(method, rules, batch, fake, step)


def test_a_critic_that_is_alone_learns_states_and_then_sees_the_edit_of_the_generator() -> None:
    method = make(DEMO, critic_head_start=5, reuse_fake=True, critic_updates=1)
    check_head_start(method, DEMO)


def test_translation_goes_from_mean_shape_to_mean_shape() -> None:
    method, batch = make(PUBLISHED).eval(), labelled()
    source, target = states_of(batch, "expression")
    method.class_landmarks.copy_(torch.rand(4, 68, 2))
    before, after = (method.class_landmarks[batch[name]] for name in ("label", "target"))
    with torch.no_grad():
        expected = method.generator(batch["image"], near(after, before))
        found = method.translate(batch["image"], source, target)
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


def test_a_mean_shape_begins_anew_with_the_first_face() -> None:
    method, batch = make(PUBLISHED), labelled()
    assert (method.class_landmarks == 0.5).all() and not method.class_faces.any()
    method.discriminator_loss(batch, 0)
    assert method.class_faces.tolist() == [2, 1, 2, 1]
    for label in range(4):
        mean = batch["landmarks"][batch["label"] == label].mean(0) / SIZE
        torch.testing.assert_close(method.class_landmarks[label], mean)


def test_rates_and_networks() -> None:
    method = make(PUBLISHED, adversary=PUBLISHED.config(learning_rate=3.0))
    assert_rates(method.discriminator_parameters(), [(method.discriminator, 3.0)])
    assert_rates(method.generator_parameters(), [(method.generator, 1.0)])
    assert method.averaged is method.generator
    for shape in ({}, {"head": "masked", "stem": "unshuffle"}):
        sizes: dict[str, Any] = {"conv_dim": 8, "residual_blocks": 2, "deviation": 0.1, **shape}
        made, plain = make(PUBLISHED, **sizes).generator, gannotation.LandmarkGenerator(**sizes)
        assert [p.shape for p in made.parameters()] == [p.shape for p in plain.parameters()]
        assert made.deviation == 0.1


def test_settings() -> None:
    config, critic = Config(), Config().adversary
    assert (config.conv_dim, config.residual_blocks, config.stem, config.critic_updates) == (64, 6, "conv", 4)
    assert (config.lambda_adversarial, config.lambda_self, config.lambda_triple) == (0.01, 1.0, 1.0)
    assert (config.deviation, config.consistency_every) == (1.75 / 128, 1)
    assert (critic.lambda_classification, critic.objective, critic.lambda_gradient_penalty) == (10.0, "wgan-gp", 10.0)
    for wrong in ({"consistency_every": 0}, {"deviation": 0.0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Config(**wrong)  # type: ignore[arg-type]
    assert Config(deviation=0.5).deviation == 0.5
