"""Losses written a second time in plain torch, and the comparison of a method's losses with them.

Every weight is another odd number, so that a term that is dropped or takes another's weight is seen, and source,
target and the order of the batch differ, so that a loss on the wrong label is. What is compared is a total, its terms,
and the gradients of the total: a `detach` too many or too few changes these alone.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mimik.components.adversary import AdversaryConfig
from tests.methods.world import SIZE, make_batch

SEED = 11


@dataclass(frozen=True)
class Rules:
    """The losses of one critic. It makes the settings that ask for them, and computes them.

    Attributes:
        objective, labels, reduction, unit_loss: see `AdversaryConfig`.
        space: what a state consists of.
        cls, cls_generator, gp, match: weights; `match` 0: no realness given the state.
        gamma, every: of R1.
        beta: weight of the confidence penalty.
        parts: number of critics side by side.
    """

    objective: str = "wgan-gp"
    space: str = "expression"
    labels: str = "auto"
    reduction: str = "sum"
    unit_loss: str = "squared"
    cls: float = 3.0
    cls_generator: float = 5.0
    gp: float = 7.0
    match: float = 0.0
    gamma: float = 0.0
    every: int = 1
    beta: float = 0.0
    parts: int = 1

    def config(self, kind: Any = AdversaryConfig, **more: Any) -> Any:
        """Settings of a small network with these losses."""
        return kind(
            **{
                "conv_dim": 4, "layers": 3, "objective": self.objective, "lambda_classification": self.cls,
                "lambda_classification_generator": self.cls_generator, "labels": self.labels,
                "label_reduction": self.reduction, "lambda_gradient_penalty": self.gp, "r1_gamma": self.gamma,
                "r1_every": self.every, "unit_loss": self.unit_loss, "per_class": self.match > 0,
                "lambda_matching": self.match, **more,
            }
        )  # fmt: skip

    def changed(self, **more: Any) -> "Rules":
        return replace(self, **more)

    # One term each, per sample and part ------------------------------------------------------------------------------

    def state(self, predicted: Tensor, states: Tensor) -> Tensor:
        """The loss of the second head (B, P)."""
        columns = []
        for logits in predicted.unbind(1):
            if self.space == "action_units" and self.unit_loss == "squared":
                columns.append(((logits - states) ** 2).mean(1))
            elif self.space == "expression" and self.labels == "auto":
                columns.append(-(logits.log_softmax(1) * states).sum(1))
            else:
                share, wanted = torch.sigmoid(logits), states.clamp(0, 1)
                each = -(wanted * share.log() + (1 - wanted) * (1 - share).log())
                columns.append(each.sum(1) if self.reduction == "sum" else each.mean(1))
        return torch.stack(columns, 1)

    def embedded(self, states: Tensor) -> Tensor:
        if self.space == "expression":
            return states
        wide = torch.cat([states, torch.ones(len(states), 1)], 1)
        if self.space == "action_units":
            wide = torch.cat([wide, states**2], 1)
        return wide / wide.abs().sum(1, keepdim=True)

    def given(self, matching: Tensor, states: Tensor) -> Tensor:
        """Realness (B, P) given one state each."""
        return (matching * self.embedded(states)[:, None]).sum(2)

    def mismatch(self, real: Tensor, fake: Tensor | None, source: Tensor, target: Tensor) -> Tensor:
        loss = F.relu(1 - self.given(real, source))
        if self.space == "expression":
            others = torch.eye(source.shape[1]).expand(len(source), -1, -1)
            apart = 1 - source
        else:
            others = source.expand(len(source), -1, -1)
            apart = torch.stack([(source - own).abs().max(1).values for own in source])
        wrong = torch.zeros_like(loss)
        for face in range(len(source)):
            for state, weight in zip(others[face], apart[face], strict=True):
                wrong[face] += weight * F.relu(1 + self.given(real[face : face + 1], state[None]))[0]
            wrong[face] /= apart[face].sum().clamp(min=1)
        loss = loss + wrong / 2
        return loss if fake is None else loss + F.relu(1 + self.given(fake, target)) / 2

    def entropy(self, logits: Tensor) -> Tensor:
        if self.space == "expression":
            return torch.distributions.Categorical(logits=logits).entropy()
        return torch.distributions.Bernoulli(logits=logits).entropy().sum(2)

    # Both players ----------------------------------------------------------------------------------------------------

    def discriminator(
        self, network: Any, real: Tensor, fake: Tensor | None, source: Tensor, target: Tensor,
        step: int = 0, weight: Tensor | None = None, penalised: bool = True,
    ) -> tuple[Tensor, dict[str, Tensor]]:  # fmt: skip
        """Total and terms."""
        real = real.detach()
        real_map, real_logits, real_match = network(real)
        terms = {"cls": mean(self.state(real_logits, source), weight)}
        total = self.cls * terms["cls"]
        fake_match = None
        if fake is not None:
            fake = fake.detach()
            fake_map, fake_logits, fake_match = network(fake)
            terms["adv"] = mean(adversarial(real_map, fake_map, self.objective), weight)
            total = total + terms["adv"]
            if self.beta:
                terms["entropy"] = mean(self.entropy(real_logits) + self.entropy(fake_logits), weight)
                total = total - self.cls * self.beta * terms["entropy"]
        if self.match:
            terms["match"] = mean(self.mismatch(real_match, fake_match, source, target), weight)
            total = total + self.match * terms["match"]
        if fake is not None and self.objective == "wgan-gp" and penalised:
            terms["gp"] = mean(penalty(lambda x: network(x)[0], real, fake, self.parts), weight)
            total = total + self.gp * terms["gp"]
        if fake is not None and self.gamma and step % self.every == 0:
            count = real_map[0, 0].numel() + (real_match.shape[2] if self.match else 0)
            points = real.clone().requires_grad_()
            found = network(points)
            judged = found[0].sum() + (found[2].sum() if self.match else 0)
            (slope,) = torch.autograd.grad(judged / count, points, create_graph=True)
            terms["r1"] = mean(slope.unflatten(1, (self.parts, -1)).square().sum((2, 3, 4)), weight)
            total = total + self.gamma / 2 * self.every * terms["r1"]
        return total, terms

    def generator(
        self, network: Any, fake: Tensor, target: Tensor, weight: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Total and terms."""
        realness, logits, matching = network(fake)
        judged = -F.logsigmoid(realness) if self.objective == "vanilla" else -realness
        terms = {"adv": mean(judged.mean((2, 3)), weight), "cls": mean(self.state(logits, target), weight)}
        total = terms["adv"] + self.cls_generator * terms["cls"]
        if self.match:
            terms["match"] = mean(-self.given(matching, target), weight)
            total = total + self.match * terms["match"]
        return total, terms


PUBLISHED = Rules()
DEMO = Rules(objective="hinge", match=11.0, gamma=13.0, every=2)
"""The losses that the demo chooses."""


def mean(values: Tensor, weight: Tensor | None = None) -> Tensor:
    """(B, P) -> means over the samples that have a part, summed."""
    total = torch.zeros(())
    for part in range(values.shape[1]):
        of = torch.ones(len(values)) if weight is None else weight[:, part]
        total = total + (values[:, part] * of).sum() / max(1.0, float(of.sum()))
    return total


def adversarial(real: Tensor, fake: Tensor, objective: str) -> Tensor:
    """The discriminator's loss on maps (B, P, h, w) -> (B, P)."""
    if objective == "wgan-gp":
        each = fake - real
    elif objective == "vanilla":
        each = -F.logsigmoid(real) - F.logsigmoid(-fake)
    else:
        each = (1 - real).clamp(min=0) + (1 + fake).clamp(min=0)
    return each.flatten(2).mean(2)


def penalty(realness: Any, real: Tensor, fake: Tensor, parts: int = 1) -> Tensor:
    """(B, P) of WGAN-GP; draws one random number a sample."""
    share = torch.rand(len(real), 1, 1, 1)
    between = (share * real + (1 - share) * fake).detach().requires_grad_()
    (slope,) = torch.autograd.grad(realness(between).sum(), between, create_graph=True)
    return (slope.unflatten(1, (parts, -1)).flatten(2).norm(dim=2) - 1) ** 2


def absolute(one: Tensor, other: Tensor) -> Tensor:
    """Mean absolute difference."""
    return (one - other).abs().mean()


def variation(images: Tensor) -> Tensor:
    """Mean absolute difference of neighbours, downwards and sideways."""
    return images.diff(dim=2).abs().mean() + images.diff(dim=3).abs().mean()


def labelled(size: int = SIZE) -> dict[str, Tensor]:
    """Six faces of which none is asked for what it shows, and no order of labels is another's."""
    batch = make_batch(size, 6)
    batch["label"], batch["target"] = torch.tensor([0, 1, 2, 3, 0, 2]), torch.tensor([2, 3, 1, 0, 3, 1])
    return batch


def states_of(batch: Mapping[str, Tensor], space: str) -> tuple[Tensor, Tensor]:
    """Source and target without the condition's own code."""
    if space == "expression":
        return F.one_hot(batch["label"], 4).float(), F.one_hot(batch["target"], 4).float()
    return batch[space], batch[f"target_{space}"]


def told(source: Tensor, target: Tensor, form: str) -> Tensor:
    """What networks are told."""
    return target - source if form == "relative" else target


def awake(module: nn.Module) -> None:
    """Give layers that start at zero weights, or nothing behind them would be seen."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d) and not layer.weight.any():
            nn.init.normal_(layer.weight, std=0.05)


def assert_same(
    found: tuple[Tensor, Mapping[str, Tensor]],
    expected: tuple[Tensor, Mapping[str, Tensor]],
    parameters: Iterable[Tensor],
) -> None:
    """Totals, terms and the gradients of the totals are the same."""
    assert set(found[1]) == set(expected[1])
    for name, value in expected[1].items():
        torch.testing.assert_close(found[1][name], value, rtol=1e-4, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}")
    torch.testing.assert_close(found[0], expected[0], rtol=1e-4, atol=1e-4)
    leaves = [parameter for parameter in parameters if parameter.requires_grad]
    ours, theirs = (torch.autograd.grad(one[0], leaves, allow_unused=True) for one in (found, expected))
    size = max(float(g.abs().max()) for g in theirs if g is not None)
    assert size > 0
    for one, other in zip(ours, theirs, strict=True):
        one, other = (torch.zeros(()) if g is None else g for g in (one, other))
        assert float((one - other).abs().max()) <= 2e-3 * size


def check_discriminator(
    method: Any, rules: Rules, batch: dict[str, Tensor], fake: Tensor | None, step: int = 0, **more: Any
) -> None:
    """D's loss of a method with one critic against the formula on a fake that the test made."""
    source, target = states_of(batch, rules.space)
    torch.manual_seed(SEED)
    found = method.discriminator_loss(batch, step)
    assert fake is None or torch.allclose(batch["fake"], fake, atol=1e-5)
    torch.manual_seed(SEED)
    expected = rules.discriminator(method.discriminator.network, batch["image"], fake, source, target, step, **more)
    assert_same(found, expected, method.parameters())


def assert_rates(groups: Iterable[Mapping[str, Any]], wanted: Iterable[tuple[nn.Module, float]]) -> None:
    """Every network is in the groups, with its factor of the learning rate."""
    factors = {id(p): float(group.get("learning_rate", 1.0)) for group in groups for p in group["params"]}
    expected = {id(p): factor for network, factor in wanted for p in network.parameters()}
    assert factors == expected


def check_head_start(method: Any, rules: Rules) -> None:
    """A critic with a head start of 5 steps is alone at first, then sees the edit that the generator left.

    Args:
        method: with `critic_head_start: 5`, `critic_updates: 1` and `reuse_fake`.
        rules: of its critic.
    """
    batch = labelled()
    check_discriminator(method, rules, batch, None, step=4)
    assert "fake" not in batch
    method.generator_loss(batch, 5)
    with torch.no_grad():
        batch["edited"] += 0.25
    check_discriminator(method, rules, batch, batch["edited"].detach(), step=5)
    assert [(update.name, update.start) for update in method.updates] == [("generator", 5), ("discriminator", 0)]
