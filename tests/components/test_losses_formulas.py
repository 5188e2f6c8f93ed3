"""Each loss of `mimik.components.losses` on random tensors against a formula written a second time, part by part."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from mimik.components import losses
from tests.methods.formulas import Rules, adversarial

BATCH, PARTS = 3, 2


def maps() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return torch.randn(BATCH, PARTS, 2, 5) * 2, torch.randn(BATCH, PARTS, 2, 5) * 2


@pytest.mark.parametrize("objective", ["wgan-gp", "vanilla", "hinge"])
def test_adversarial_losses(objective: Any) -> None:
    real, fake = maps()
    torch.testing.assert_close(
        losses.discriminator_adversarial(real, fake, objective), adversarial(real, fake, objective)
    )
    judged = -F.logsigmoid(fake) if objective == "vanilla" else -fake
    torch.testing.assert_close(losses.generator_adversarial(fake, objective), judged.flatten(2).mean(2))


@pytest.mark.parametrize("parts", [1, 2])
def test_gradient_penalties(parts: int) -> None:
    """A critic whose gradient is cos(w x) w, from the point it is asked at."""
    torch.manual_seed(1)
    real, fake = (torch.randn(BATCH, 3 * parts, 4, 6, requires_grad=True) for _ in range(2))
    weight = torch.randn(3 * parts, 4, 6, requires_grad=True)
    seen: list[torch.Tensor] = []

    def gradient(points: torch.Tensor) -> torch.Tensor:
        seen.append(points)
        return torch.cos(weight * points) * weight

    torch.manual_seed(2)
    penalty = losses.gradient_penalty(gradient, real, fake, *([parts] if parts > 1 else []))
    torch.manual_seed(2)
    share = torch.rand(BATCH, 1, 1, 1)
    between = (share * real + (1 - share) * fake).detach()
    torch.testing.assert_close(seen[0], between)
    assert not seen[0].requires_grad and penalty.requires_grad
    lengths = (torch.cos(weight * between) * weight).unflatten(1, (parts, 3)).square().sum((2, 3, 4)).sqrt()
    torch.testing.assert_close(penalty, (lengths - 1) ** 2)
    r1 = losses.r1_penalty(gradient, real, *([parts] if parts > 1 else []))
    assert not seen[1].requires_grad
    lengths = (torch.cos(weight * real.detach()) * weight).unflatten(1, (parts, 3)).square().sum((2, 3, 4))
    torch.testing.assert_close(r1, lengths)


RULES = [
    Rules(), Rules(labels="binary"), Rules(labels="binary", reduction="mean"), Rules(space="attributes"),
    Rules(space="attributes", reduction="mean"), Rules(space="action_units"),
    Rules(space="action_units", unit_loss="logistic"),
    Rules(space="action_units", unit_loss="logistic", reduction="mean"),
]  # fmt: skip


@pytest.mark.parametrize("rules", RULES)
def test_losses_of_the_second_head(rules: Rules) -> None:
    torch.manual_seed(3)
    predicted = torch.randn(BATCH, PARTS, 5) * 2
    states = torch.eye(5)[[4, 0, 2]] if rules.space == "expression" else torch.rand(BATCH, 5) * 1.4 - 0.2
    settings: dict[str, Any] = {"labels": rules.labels, "reduction": rules.reduction, "unit_loss": rules.unit_loss}
    usual: dict[str, Any] = {"labels": "auto", "reduction": "sum", "unit_loss": "squared"}
    # Settings at their defaults are left out.
    settings = {name: value for name, value in settings.items() if value != usual[name]}
    found = losses.condition(predicted, states, rules.space, **settings)  # type: ignore[arg-type]
    torch.testing.assert_close(found, rules.state(predicted, states), rtol=1e-4, atol=1e-5)
    half = losses.condition(predicted.bfloat16(), states, rules.space, **settings)  # type: ignore[arg-type]
    assert half.dtype == torch.float32


@pytest.mark.parametrize("space", ["expression", "attributes"])
def test_entropies(space: Any) -> None:
    logits = maps()[0][:, :, 0] * 2
    torch.testing.assert_close(losses.entropy(logits, space), Rules(space=space).entropy(logits))
    assert losses.entropy(logits.bfloat16(), space).dtype == torch.float32


def test_distances_and_variations() -> None:
    torch.manual_seed(4)
    one, other = torch.randn(BATCH, 6, 4, 7), torch.randn(BATCH, 6, 4, 7)
    away = (one - other).abs()
    torch.testing.assert_close(losses.reconstruction(one, other), away.mean((1, 2, 3))[:, None])
    torch.testing.assert_close(losses.reconstruction(one, other, 2), away.unflatten(1, (2, 3)).mean((2, 3, 4)))
    down, right = one.diff(dim=2).abs(), one.diff(dim=3).abs()
    torch.testing.assert_close(losses.total_variation(one), down.mean() + right.mean())
    torch.testing.assert_close(losses.summed_variation(one), down.sum((1, 2, 3)) + right.sum((1, 2, 3)))


def test_the_gradient_of_a_critic() -> None:
    torch.manual_seed(5)
    images, weight = torch.randn(2, 3, 4, 4, requires_grad=True), torch.randn(3, 4, 4, requires_grad=True)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        gradient = losses.input_gradient(lambda x: (torch.sin(x) * weight).sum(), images.bfloat16())
    assert gradient.dtype == torch.float32 and gradient.requires_grad
    torch.testing.assert_close(gradient, torch.cos(images.detach().bfloat16().float()) * weight)
    (again,) = torch.autograd.grad(gradient.sum(), weight, retain_graph=True)
    assert again.any()
    assert torch.autograd.grad(gradient.sum(), images, allow_unused=True)[0] is None
