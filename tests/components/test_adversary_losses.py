"""Both players' losses of a critic, and of several side by side, against plain torch: every objective and state."""

from typing import Any

import pytest
import torch
from torch import Tensor

from mimik.components.adversary import Adversary, AdversaryConfig, matching_logits
from mimik.components.augmentation import Augmentation, AugmentationConfig
from mimik.components.realness import Realness
from mimik.methods import attgan
from tests.methods.formulas import SEED, Rules, adversarial, assert_rates, assert_same, mean, penalty
from tests.methods.world import make_context

SIDE = 16
RULES = {
    "wgan-gp": Rules(),
    "vanilla": Rules(objective="vanilla", beta=0.3),
    "hinge": Rules(objective="hinge", match=11.0, gamma=13.0, every=2),
    "r1 on wgan-gp": Rules(gamma=13.0, every=3, beta=0.3),
    "binary": Rules(labels="binary", reduction="mean"),
    "attributes": Rules(space="attributes", match=11.0, beta=0.3, objective="vanilla", gamma=13.0),
    "attributes, mean": Rules(space="attributes", reduction="mean"),
    "units": Rules(space="action_units", match=11.0, gamma=13.0, objective="hinge"),
    "units, logistic": Rules(space="action_units", unit_loss="logistic", match=11.0),
    "units, logistic mean": Rules(space="action_units", unit_loss="logistic", reduction="mean"),
}
AUGMENTED = AugmentationConfig(probability=0.7, noise=0.1, cutout=0.3)
WEIGHT = torch.tensor([[1.0, 0.0, 1.0], [1.0, 0.0, 0.0], [1.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
"""The middle part is in no sample."""


def make(rules: Rules, **changes: Any) -> Adversary:
    torch.manual_seed(0)
    config = rules.config(**changes)
    condition = make_context(space=rules.space).condition
    return Adversary(config, SIDE, condition, rules.parts, confidence_penalty=rules.beta)


def given(rules: Rules) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Real, fake, and their states; noise has moved some out of [0, 1]."""
    torch.manual_seed(1)
    real, fake = (torch.rand(5, 3 * rules.parts, SIDE, SIDE) * 2 - 1 for _ in range(2))
    if rules.space == "expression":
        source, target = torch.eye(4)[[0, 1, 2, 3, 1]], torch.eye(4)[[2, 3, 1, 0, 0]]
    elif rules.space == "attributes":
        source, target = ((torch.rand(5, 3) > 0.5).float() for _ in range(2))
    else:
        source, target = (torch.rand(5, 17) * 1.2 - 0.1 for _ in range(2))
    return real, fake.requires_grad_(), source, target


@pytest.mark.parametrize("step", [6, 7])
@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize("name", RULES)
def test_both_players(name: str, parts: int, step: int) -> None:
    rules = RULES[name].changed(parts=parts)
    adversary, (real, fake, source, target) = make(rules), given(rules)
    for weight in (None, WEIGHT[:, :parts]):
        torch.manual_seed(SEED)
        found = adversary.discriminator_loss(real, fake, source, target, step, weight)
        torch.manual_seed(SEED)
        expected = rules.discriminator(adversary.network, real, fake, source, target, step, weight)
        assert_same(found, expected, [*adversary.parameters(), fake])
        found = adversary.generator_loss(fake, target, weight)
        expected = rules.generator(adversary.network, fake, target, weight)
        assert_same(found, expected, [*adversary.parameters(), fake])
        found = adversary.discriminator_loss(real, None, source, target, step, weight)
        expected = rules.discriminator(adversary.network, real, None, source, target, step, weight)
        assert_same(found, expected, adversary.parameters())


@pytest.mark.parametrize("parts", [1, 3])
def test_the_penalty_as_a_step_of_its_own(parts: int) -> None:
    rules = RULES["wgan-gp"].changed(parts=parts)
    adversary, (real, fake, source, target) = make(rules), given(rules)
    found = adversary.discriminator_loss(real, fake, source, target, 0, penalised=False)
    expected = rules.discriminator(adversary.network, real, fake, source, target, 0, penalised=False)
    assert_same(found, expected, adversary.parameters())
    torch.manual_seed(SEED)
    found = adversary.penalty_loss(real, fake)
    torch.manual_seed(SEED)
    slope = mean(penalty(lambda x: adversary.network(x)[0], real, fake, parts))
    assert_same(found, (7 * slope, {"gp": slope}), [*adversary.parameters(), fake])
    adversary.penalty_loss(real, fake)[0].backward()
    assert all(p.grad is not None for p in adversary.parameters()) and fake.grad is None


@pytest.mark.parametrize("players", ["discriminator", "alone", "generator"])
def test_everything_that_the_critic_sees_is_augmented(players: str) -> None:
    rules = RULES["hinge"]
    adversary, (real, fake, source, target) = make(rules, augmentation=AUGMENTED), given(rules)
    torch.manual_seed(SEED)
    if players == "generator":
        found = adversary.generator_loss(fake, target)
    else:
        found = adversary.discriminator_loss(real, fake if players == "discriminator" else None, source, target, 6)
    torch.manual_seed(SEED)
    seen = {"discriminator": torch.cat([real, fake.detach()]), "alone": real, "generator": fake}[players]
    moved = Augmentation(AUGMENTED)(seen)
    if players == "generator":
        expected = rules.generator(adversary.network, moved, target)
    else:
        other = moved[5:] if players == "discriminator" else None
        expected = rules.discriminator(adversary.network, moved[:5], other, source, target, 6)
    assert_same(found, expected, [*adversary.parameters(), fake])


def test_the_network_is_the_one_of_the_settings() -> None:
    rules = RULES["units"].changed(parts=3)
    shape: dict[str, Any] = {"conv_dim": 6, "layers": 4, "max_conv_dim": 20, "negative_slope": 0.3}
    adversary = make(rules, **shape, initialisation="normal", learning_rate=3.0)
    network = adversary.network
    assert [layer.weight.shape[:2] for layer in network.trunk[::2]] == [(18, 3), (36, 6), (60, 12), (60, 20)]
    assert {layer.negative_slope for layer in network.trunk[1::2]} == {0.3} and network.negative_slope == 0.3
    assert network.matching == 35 and network.class_head.weight.shape[0] == 3 * (17 + 35)
    assert 0.015 < float(network.trunk[4].weight.detach().std()) < 0.025
    assert_rates(adversary.parameter_groups(), [(adversary, 3.0)])
    masks = Adversary(rules.config(), SIDE, make_context(space="action_units").condition, channels=5)
    assert masks.network.trunk[0].weight.shape[1] == 5
    for space, logits in (("expression", 4), ("attributes", 4), ("action_units", 35)):
        condition = make_context(space=space).condition
        config = AdversaryConfig(per_class=True)
        assert matching_logits(config, condition) == logits and matching_logits(AdversaryConfig(), condition) == 0


@pytest.mark.parametrize("name", ["wgan-gp", "hinge", "units"])
def test_gradients_of_a_normalised_critic(name: str) -> None:
    """No piecewise linear network: every penalty is differentiated twice."""
    rules = RULES[name]
    torch.manual_seed(0)
    condition = make_context(space=rules.space).condition
    critic = attgan.critic(rules.config(attgan.CriticConfig, hidden=8), SIDE, condition)
    real, fake, source, target = given(rules)
    torch.manual_seed(SEED)
    found = critic.discriminator_loss(real, fake, source, target, 6)
    torch.manual_seed(SEED)
    expected = rules.discriminator(critic.network, real, fake, source, target, 6)
    assert_same(found, expected, critic.parameters())


def test_settings_at_their_limits() -> None:
    for wrong in ({"lambda_gradient_penalty": 0.0}, {"r1_every": 0}, {"augment": 0.1}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            AdversaryConfig(**wrong)  # type: ignore[arg-type]
    usual = AdversaryConfig()
    assert (usual.learning_rate, usual.lambda_classification, usual.lambda_matching) == (1.0, 1.0, 1.0)
    assert (usual.lambda_gradient_penalty, usual.r1_gamma, usual.augment) == (10.0, 0.0, 0.0)
    assert (usual.conv_dim, usual.layers, usual.max_conv_dim, usual.negative_slope) == (64, 6, 2048, 0.01)
    assert (usual.objective, usual.labels, usual.label_reduction, usual.unit_loss) == (
        "wgan-gp", "auto", "sum", "squared",
    )  # fmt: skip
    assert (usual.per_class, usual.lambda_classification_generator, usual.initialisation) == (False, None, "default")
    fine = AdversaryConfig(lambda_gradient_penalty=0.5, r1_every=1)
    assert fine.r1_every == 1 and AdversaryConfig(objective="hinge", lambda_gradient_penalty=0.0).r1_every == 8


@pytest.mark.parametrize("step", [6, 7])
@pytest.mark.parametrize("name", ["wgan-gp", "vanilla", "hinge", "r1 on wgan-gp"])
def test_a_critic_without_states(name: str, step: int) -> None:
    torch.manual_seed(0)
    rules, shape = RULES[name], (5, 3, 16, 24)
    critic = Realness(rules.config(negative_slope=0.3, max_conv_dim=6, initialisation="normal"))
    real, fake = torch.rand(shape) * 2 - 1, (torch.rand(shape) * 2 - 1).requires_grad_()
    states = torch.zeros(5, 2), torch.ones(5, 2)
    torch.manual_seed(SEED)
    found = critic.discriminator_loss(real, fake, *states, step)
    torch.manual_seed(SEED)
    judge: Any = critic.network.realness
    terms = {"adv": mean(adversarial(judge(real), judge(fake.detach()), rules.objective))}
    total = terms["adv"]
    if rules.objective == "wgan-gp":
        terms["gp"] = mean(penalty(judge, real, fake))
        total = total + 7 * terms["gp"]
    if rules.gamma and step % rules.every == 0:
        points = real.clone().requires_grad_()
        (slope,) = torch.autograd.grad(judge(points).sum() / 6, points, create_graph=True)
        terms["r1"] = slope.square().sum((1, 2, 3)).mean()
        total = total + 13 / 2 * rules.every * terms["r1"]
    assert_same(found, (total, terms), [*critic.parameters(), fake])
    found = critic.generator_loss(fake, states[1])
    judged = judge(fake)
    adv = (-torch.nn.functional.logsigmoid(judged) if name == "vanilla" else -judged).mean()
    assert_same(found, (adv, {"adv": adv}), [*critic.parameters(), fake])
    assert [layer.weight.shape[0] for layer in critic.network.trunk[::2]] == [4, 6, 6]  # type: ignore[union-attr]
    assert critic.network.negative_slope == 0.3
    assert 0.015 < float(critic.network.trunk[2].weight.detach().std()) < 0.025  # type: ignore[operator, union-attr]
