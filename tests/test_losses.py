import math

import torch
import torch.nn.functional as F

from mimik import losses


def test_adversarial_losses_by_hand() -> None:
    real, fake = torch.full((1, 1, 2, 2), 0.5), torch.full((1, 1, 2, 2), -2.0)
    assert losses.discriminator_adversarial(real, fake, "wgan-gp").item() == -2.5
    assert losses.discriminator_adversarial(real, fake, "hinge").item() == 0.5
    expected = math.log(1 + math.exp(-0.5)) + math.log(1 + math.exp(-2.0))
    assert math.isclose(losses.discriminator_adversarial(real, fake, "vanilla").item(), expected, rel_tol=1e-6)
    assert losses.generator_adversarial(fake, "hinge").item() == 2.0
    assert math.isclose(losses.generator_adversarial(fake, "vanilla").item(), math.log(1 + math.exp(2.0)), rel_tol=1e-6)


def test_gradient_penalty_of_a_linear_critic() -> None:
    """D(x) = w.x has the gradient w everywhere, so the penalty is (|w| - 1)^2 per part."""
    weight = torch.zeros(6, 4, 4)
    weight[0, 0, 0], weight[0, 1, 1] = 3.0, 4.0  # part 0: |w| = 5
    weight[4, 2, 2] = 2.0  # part 1: |w| = 2

    def realness(x: torch.Tensor) -> torch.Tensor:
        return (x * weight).view(len(x), 2, 3, 4, 4).sum(2)

    real, fake = torch.randn(3, 6, 4, 4), torch.randn(3, 6, 4, 4)
    penalty = losses.gradient_penalty(realness, real, fake, parts=2)
    torch.testing.assert_close(penalty, torch.tensor([[16.0, 1.0]]).expand(3, 2))


def test_r1_of_a_quadratic_critic() -> None:
    """D(x) = mean over one value of |x|^2 has the gradient 2x, so the penalty is 4 |x|^2."""
    real = torch.randn(3, 3, 4, 4)
    penalty = losses.r1_penalty(lambda x: (x**2).sum((1, 2, 3))[:, None], real)
    torch.testing.assert_close(penalty[:, 0], 4 * (real**2).sum((1, 2, 3)))


def test_penalties_reach_the_critic() -> None:
    critic = torch.nn.Conv2d(3, 1, 3)
    for penalty in (
        losses.gradient_penalty(critic, torch.randn(2, 3, 8, 8), torch.randn(2, 3, 8, 8)),
        losses.r1_penalty(critic, torch.randn(2, 3, 8, 8)),
    ):
        critic.zero_grad()
        penalty.mean().backward()
        assert critic.weight.grad is not None and critic.weight.grad.abs().max() > 0


def test_classification_is_cross_entropy_per_part() -> None:
    logits, labels = torch.randn(3, 2, 5), torch.tensor([0, 4, 2])
    out = losses.classification(logits, labels)
    for part in range(2):
        torch.testing.assert_close(out[:, part], F.cross_entropy(logits[:, part], labels, reduction="none"))


def test_reconstruction_per_part() -> None:
    a, b = torch.zeros(1, 6, 2, 2), torch.zeros(1, 6, 2, 2)
    b[:, 3:] = 0.5
    assert losses.reconstruction(a, b, parts=2).tolist() == [[0.0, 0.5]]


def test_total_variation_of_an_edge() -> None:
    mask = torch.zeros(1, 1, 2, 2)
    mask[..., 1] = 1.0
    assert losses.total_variation(mask).item() == 1.0
    assert losses.total_variation(torch.ones(1, 1, 4, 4)).item() == 0.0
