import math

import pytest
import torch
import torch.nn.functional as F

from mimik.components import losses


def test_adversarial_losses_by_hand() -> None:
    real, fake = torch.full((1, 1, 2, 2), 0.5), torch.full((1, 1, 2, 2), -2.0)
    assert losses.discriminator_adversarial(real, fake, "wgan-gp").item() == -2.5
    assert losses.discriminator_adversarial(real, fake, "hinge").item() == 0.5
    expected = math.log(1 + math.exp(-0.5)) + math.log(1 + math.exp(-2.0))
    assert math.isclose(losses.discriminator_adversarial(real, fake, "vanilla").item(), expected, rel_tol=1e-6)
    assert losses.generator_adversarial(fake, "hinge").item() == 2.0
    assert math.isclose(losses.generator_adversarial(fake, "vanilla").item(), math.log(1 + math.exp(2.0)), rel_tol=1e-6)


def test_gradient_penalty_per_part() -> None:
    """A gradient of lengths 5 and 2 in the two parts: (|g| - 1)^2 is 16 and 1."""
    gradient = torch.zeros(3, 6, 4, 4)
    gradient[:, 0, 0, 0], gradient[:, 0, 1, 1] = 3.0, 4.0
    gradient[:, 4, 2, 2] = 2.0
    real, fake = torch.randn(3, 6, 4, 4), torch.randn(3, 6, 4, 4)
    penalty = losses.gradient_penalty(lambda _: gradient, real, fake, parts=2)
    torch.testing.assert_close(penalty, torch.tensor([[16.0, 1.0]]).expand(3, 2))


def test_gradient_penalty_looks_between_real_and_fake() -> None:
    real, fake, seen = torch.zeros(64, 3, 2, 2), torch.ones(64, 3, 2, 2), []
    losses.gradient_penalty(lambda x: seen.append(x) or x, real, fake)
    values = seen[0].flatten(1)
    assert (values == values[:, :1]).all()  # one point on the line per sample
    assert values.min() >= 0 and values.max() <= 1 and values.std() > 0.1


def test_r1_of_a_quadratic_critic() -> None:
    """D(x) = |x|^2 has the gradient 2x, so the penalty is 4 |x|^2."""
    real = torch.randn(3, 3, 4, 4)
    penalty = losses.r1_penalty(lambda x: 2 * x, real)
    torch.testing.assert_close(penalty[:, 0], 4 * (real**2).sum((1, 2, 3)))


def test_condition_of_expressions_is_cross_entropy_per_part() -> None:
    logits, labels = torch.randn(3, 2, 5), torch.tensor([0, 4, 2])
    out = losses.condition(logits, F.one_hot(labels, 5).float(), "expression")
    for part in range(2):
        torch.testing.assert_close(out[:, part], F.cross_entropy(logits[:, part], labels, reduction="none"))


def test_condition_of_attributes_and_action_units_by_hand() -> None:
    predicted, states = torch.tensor([[[0.0, 2.0]]]), torch.tensor([[1.0, 0.0]])
    binary = -(math.log(0.5) + math.log(1 - 1 / (1 + math.exp(-2.0))))
    assert losses.condition(predicted, states, "attributes").item() == pytest.approx(binary)
    assert losses.condition(predicted, states, "action_units").item() == pytest.approx((1 + 4) / 2)


def test_logistic_loss_of_action_units_by_hand() -> None:
    """Cross-entropies with the intensities as probabilities, summed; least at the intensity; noise is cut off."""
    predicted, states = torch.tensor([[[0.0, 2.0]]]), torch.tensor([[0.25, -0.1]])
    expected = math.log(2) - math.log(1 - 1 / (1 + math.exp(-2.0)))
    assert losses.condition(predicted, states, "action_units", unit_loss="logistic").item() == pytest.approx(expected)
    logits = torch.logit(torch.tensor([[[0.25]]])).requires_grad_()
    losses.condition(logits, states[:, :1], "action_units", unit_loss="logistic").sum().backward()
    assert logits.grad is not None and abs(float(logits.grad)) < 1e-6
    far = torch.tensor([[[1e3]]], requires_grad=True)
    losses.condition(far, states[:, :1], "action_units", unit_loss="logistic").sum().backward()
    assert far.grad is not None and float(far.grad) == 0.75, "the gradient is bounded"


def test_summed_variation_by_hand() -> None:
    """One bright pixel in the middle of one channel has four neighbours, one in the corner two."""
    images = torch.zeros(2, 3, 3, 3)
    images[0, 1, 1, 1] = images[1, 2, 0, 0] = 0.5
    assert losses.summed_variation(images).tolist() == [2.0, 1.0]


def test_expressions_may_be_binary_labels_and_labels_averaged() -> None:
    logits, states = torch.tensor([[[0.0, 2.0, -1.0]]]), torch.tensor([[1.0, 0.0, 0.0]])
    terms = [-math.log(1 / (1 + math.exp(-x))) for x in (0.0, -2.0, 1.0)]
    assert losses.condition(logits, states, "expression", labels="binary").item() == pytest.approx(sum(terms))
    assert losses.condition(logits, states, "expression", labels="binary", reduction="mean").item() == pytest.approx(
        sum(terms) / 3
    )
    assert losses.condition(logits, states, "attributes", reduction="mean").item() == pytest.approx(sum(terms) / 3)
    plain = losses.condition(logits, states, "expression")
    assert torch.equal(losses.condition(logits, states, "expression", reduction="mean"), plain)


def test_input_gradient_is_float32_and_can_be_differentiated_again() -> None:
    """D(x) = sum (w x)^2: gradient 2 w^2 x, and of the sum of that again in w: 4 w sum x."""
    weight, images = torch.tensor(3.0, requires_grad=True), torch.rand(2, 3, 4, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        gradient = losses.input_gradient(lambda x: ((weight * x) ** 2).sum(), images)
    assert gradient.dtype == torch.float32
    torch.testing.assert_close(gradient, 18 * images)
    (again,) = torch.autograd.grad(gradient.sum(), weight)
    torch.testing.assert_close(again, 12 * images.sum())
    with torch.no_grad():
        assert losses.input_gradient(lambda x: (weight * x).sum(), images).requires_grad


def test_reconstruction_per_part() -> None:
    a, b = torch.zeros(1, 6, 2, 2), torch.zeros(1, 6, 2, 2)
    b[:, 3:] = 0.5
    assert losses.reconstruction(a, b, parts=2).tolist() == [[0.0, 0.5]]


def test_total_variation_of_an_edge() -> None:
    mask = torch.zeros(1, 1, 2, 2)
    mask[..., 1] = 1.0
    assert losses.total_variation(mask).item() == 1.0
    assert losses.total_variation(torch.ones(1, 1, 4, 4)).item() == 0.0


def test_entropy_of_one_distribution_and_of_coins() -> None:
    logits = torch.randn(5, 2, 4, generator=torch.Generator().manual_seed(0)) * 3
    expected = torch.distributions.Categorical(logits=logits).entropy()
    torch.testing.assert_close(losses.entropy(logits, "expression"), expected)
    coins = torch.distributions.Bernoulli(logits=logits).entropy().sum(2)
    torch.testing.assert_close(losses.entropy(logits, "attributes"), coins)
    assert float(losses.entropy(torch.zeros(1, 1, 4), "expression")) == pytest.approx(math.log(4))
    assert torch.isfinite(losses.entropy(torch.full((1, 1, 4), 200.0), "attributes")).all()
    with pytest.raises(ValueError, match="no entropy"):
        losses.entropy(logits, "action_units")
