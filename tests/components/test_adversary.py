import pytest
import torch
import torch.nn.functional as F

from mimik.components.adversary import Adversary, AdversaryConfig, _embedded
from mimik.components.augmentation import AugmentationConfig
from mimik.components.conditions import Condition, ConditionConfig
from mimik.labels import EXPRESSIONS

AUGMENTED = AugmentationConfig(probability=0.3, brightness=0.0, contrast=0.0, saturation=0.0)
"""Without colours, which tell the action units of a test below."""
CONFIGS = {
    "published": AdversaryConfig(conv_dim=4, layers=3),
    "vanilla": AdversaryConfig(conv_dim=4, layers=3, objective="vanilla"),
    "logistic": AdversaryConfig(conv_dim=4, layers=3, objective="hinge", unit_loss="logistic"),
    "small budget": AdversaryConfig(
        conv_dim=4,
        layers=3,
        objective="hinge",
        per_class=True,
        r1_gamma=1.0,
        augmentation=AUGMENTED,
        initialisation="kaiming",
    ),
}
EXPRESSION = Condition(ConditionConfig(), EXPRESSIONS[:4])
UNITS = Condition(ConditionConfig(space="action_units", names=("AU01", "AU12", "AU25")), EXPRESSIONS[:4])


def one_hot(*labels: int) -> torch.Tensor:
    return EXPRESSION.of_labels(torch.tensor(labels))


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("parts", [1, 4])
def test_a_few_steps_lower_the_discriminator_loss(name: str, parts: int) -> None:
    torch.manual_seed(0)
    adversary = Adversary(CONFIGS[name], 16, EXPRESSION, parts)
    real = torch.rand(8, 3 * parts, 16, 16) * 2 - 1
    fake = torch.zeros_like(real)
    source, target = one_hot(*range(4), *range(4)), one_hot(1, 2, 3, 0, 1, 2, 3, 0)
    optimiser = torch.optim.Adam(adversary.parameters(), lr=2e-3)
    totals = []
    for step in range(30):
        total, terms = adversary.discriminator_loss(real, fake, source, target, step)
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
        totals.append(sum(float(terms[name].detach()) for name in ("adv", "cls")))
    assert totals[-1] < totals[0] - 0.1


def test_terms_follow_the_configuration() -> None:
    real, fake, labels = torch.rand(2, 3, 16, 16), torch.rand(2, 3, 16, 16), one_hot(0, 1)
    published = Adversary(CONFIGS["published"], 16, EXPRESSION)
    assert set(published.discriminator_loss(real, fake, labels, labels, 0)[1]) == {"adv", "cls", "gp"}
    assert set(published.generator_loss(fake, labels)[1]) == {"adv", "cls"}
    small = Adversary(CONFIGS["small budget"], 16, EXPRESSION)
    assert set(small.discriminator_loss(real, fake, labels, labels, 0)[1]) == {"adv", "cls", "match", "r1"}
    assert "r1" not in small.discriminator_loss(real, fake, labels, labels, 1)[1]
    assert set(small.discriminator_loss(real, None, labels, labels, 0)[1]) == {"cls", "match"}


def test_the_generator_may_weigh_the_condition_otherwise() -> None:
    torch.manual_seed(0)
    fake, target = torch.rand(2, 3, 16, 16), one_hot(0, 1)
    for own, weight in ((None, 3.0), (10.0, 10.0)):
        config = AdversaryConfig(conv_dim=4, layers=3, lambda_classification=3.0, lambda_classification_generator=own)
        adversary = Adversary(config, 16, EXPRESSION)
        total, terms = adversary.generator_loss(fake, target)
        torch.testing.assert_close(total, terms["adv"] + weight * terms["cls"])
        total, terms = adversary.discriminator_loss(fake, None, target, target, 0)
        torch.testing.assert_close(total, 3 * terms["cls"])


def test_r1_divides_by_all_that_judges() -> None:
    """A map of 2 x 2 and four logits: the penalty is that of a critic whose output is the mean of these eight."""
    torch.manual_seed(0)
    adversary = Adversary(CONFIGS["small budget"], 16, EXPRESSION)
    images = (torch.rand(2, 3, 16, 16) * 2 - 1).requires_grad_(True)
    realness, _, matching = adversary.network(images)
    assert matching is not None and realness[0].numel() + matching[0].numel() == 8
    (slope,) = torch.autograd.grad((realness.sum() + matching.sum()) / 8, images)
    torch.testing.assert_close(adversary._mean_gradient(images.detach()), slope)


def test_no_gradient_reaches_real_or_fake_from_the_discriminator_loss() -> None:
    adversary = Adversary(CONFIGS["published"], 16, EXPRESSION)
    real, fake = torch.rand(2, 3, 16, 16).requires_grad_(), torch.rand(2, 3, 16, 16).requires_grad_()
    total, _ = adversary.discriminator_loss(real, fake, one_hot(0, 1), one_hot(1, 0), 0)
    total.backward()
    assert real.grad is None and fake.grad is None


def test_missing_parts_do_not_count() -> None:
    """With weight 0 for one part of one sample, changing that part changes nothing."""
    torch.manual_seed(0)
    adversary = Adversary(CONFIGS["vanilla"], 16, EXPRESSION, parts=2)
    fake, labels = torch.rand(2, 6, 16, 16), one_hot(0, 1)
    weight = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    before, _ = adversary.generator_loss(fake, labels, weight)
    other = fake.clone()
    other[0, 3:] = 0.7
    assert adversary.generator_loss(other, labels, weight)[0] == before
    assert adversary.generator_loss(other, labels)[0] != adversary.generator_loss(fake, labels)[0]


def test_matching_loss_by_hand() -> None:
    adversary = Adversary(CONFIGS["small budget"], 16, EXPRESSION)
    real = torch.tensor([[[2.0, -0.5, -3.0]]])
    fake = torch.tensor([[[0.0, 0.5, 9.0]]])
    first, second = torch.eye(3)[:1], torch.eye(3)[1:2]
    loss = adversary._matching_loss(real, fake, first, second)
    # Real under its label: max(0, 1 - 2) = 0; under the others: mean of max(0, 0.5) and max(0, -2); fake: 1.5.
    assert loss.tolist() == [[0.5 * 0.25 + 0.5 * 1.5]]
    assert adversary._matching_loss(real, None, second, second).tolist() == [[1.5 + 0.5 * 1.5]]


def test_matching_loss_of_action_units_by_hand() -> None:
    """Realness given a state: the mean of 7 logits (units, constant, squares) weighted by state, 1 and squares."""
    adversary = Adversary(CONFIGS["small budget"], 16, UNITS)
    source = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 0.5]])
    # Weights of the first state: a third each for AU01, constant and its square; second: 0.5, 1, 0.25, over 1.75.
    real = torch.tensor([[[3.0, 9.0, 0.0, 0.0, -1.5, 9.0, 1.75]], [[0.0, 9.0, 7.0, -1.75, 0.0, 9.0, 3.5]]])
    fake = torch.tensor([[[0.0, 1.0, 0.0, 0.5, 0.0, 0.0, 0.0]]]).expand(2, -1, -1)
    target = torch.zeros(2, 3)
    alone = adversary._matching_loss(real, None, source, target)
    # First face: 0.5 in its own state; in the other's 0.25, which differs by 1: hinges 0.5 and 1.25, halved.
    # Second: 1.5 in its own; -1.75 / 3 in the other's.
    assert alone[0].item() == pytest.approx(0.5 + 0.5 * 1.25)
    assert alone[1].item() == pytest.approx(0.0 + 0.5 * (1 - 1.75 / 3))
    # Fakes in the zero state that they were asked for: the constant's logit.
    together = adversary._matching_loss(real, fake, source, target)
    torch.testing.assert_close(together, alone + 0.5 * 1.5)


def test_nearly_equal_states_are_no_contradiction() -> None:
    adversary = Adversary(CONFIGS["small budget"], 16, UNITS)
    real = torch.full((3, 1, 7), 5.0)
    same = torch.tensor([[0.5, 0.2, 0.1]]).expand(3, -1)
    assert adversary._matching_loss(real, None, same, same).tolist() == [[0.0]] * 3
    apart = torch.cat([same[:2], torch.zeros(1, 3)])
    assert adversary._matching_loss(real, None, apart, apart).min() > 0


@pytest.mark.parametrize("space", ["expression", "attributes", "action_units"])
def test_weights_of_realness_given_a_state_sum_to_one(space: str) -> None:
    """So that no state moves realness further in a step than a class does."""
    states = (
        torch.eye(3) if space == "expression" else torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 1.0], [1.0, 1.0, 1.0]])
    )
    embedded = _embedded(states, space)  # type: ignore[arg-type]
    assert embedded.shape[1] == {"expression": 3, "attributes": 4, "action_units": 7}[space]
    torch.testing.assert_close(embedded.sum(1), torch.ones(3))
    assert len({tuple(row) for row in embedded.tolist()}) == 3


@pytest.mark.parametrize("name", CONFIGS)
def test_an_adversary_of_action_units_learns_to_estimate_them(name: str) -> None:
    torch.manual_seed(0)
    adversary = Adversary(CONFIGS[name], 16, UNITS)
    source = torch.rand(16, 3)
    real = (source * 2 - 1)[:, :, None, None].expand(-1, -1, 16, 16).contiguous()
    optimiser = torch.optim.Adam(adversary.parameters(), lr=5e-3)
    # The cross-entropy of what is no label is never zero.
    least = F.binary_cross_entropy(source, source) * 3 if name == "logistic" else torch.tensor(0.0)
    errors = []
    for step in range(60):
        total, terms = adversary.discriminator_loss(real, torch.zeros_like(real), source, source.roll(1, 0), step)
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
        errors.append(float(terms["cls"].detach() - least))
    assert errors[-1] < 0.4 * errors[0]


@pytest.mark.parametrize(
    "wrong", [{"lambda_gradient_penalty": 0.0}, {"r1_every": 0}, {"augment": 0.1}], ids=lambda wrong: next(iter(wrong))
)
def test_senseless_settings_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError):
        AdversaryConfig(**wrong)  # type: ignore[arg-type]


def test_the_confidence_penalty_is_beta_times_the_entropy_of_real_and_fake() -> None:
    torch.manual_seed(0)
    real, fake = (torch.rand(4, 3, 16, 16) * 2 - 1 for _ in range(2))
    source, target = one_hot(0, 1, 2, 3), one_hot(1, 2, 3, 0)
    config = AdversaryConfig(conv_dim=4, layers=3, objective="vanilla", lambda_classification=0.5)
    adversary = Adversary(config, 16, EXPRESSION, confidence_penalty=0.2)
    total, terms = adversary.discriminator_loss(real, fake, source, target, 0)
    entropy = sum(
        torch.distributions.Categorical(logits=adversary.network(images)[1]).entropy().mean() for images in (real, fake)
    )
    torch.testing.assert_close(terms["entropy"], torch.as_tensor(entropy))
    torch.testing.assert_close(total, terms["adv"] + 0.5 * (terms["cls"] - 0.2 * terms["entropy"]))
    assert "entropy" not in adversary.generator_loss(fake, target)[1]
    with pytest.raises(ValueError, match="no confidence"):
        Adversary(config, 16, UNITS, confidence_penalty=0.2)
