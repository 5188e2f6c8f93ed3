import torch

from mimik.components.adversary import AdversaryConfig
from mimik.components.realness import Realness

IMAGES = (2, 3, 16, 24)
STATES = (torch.zeros(2, 4), torch.ones(2, 4))
"""They do not matter here."""


def make(**changes: object) -> Realness:
    torch.manual_seed(0)
    return Realness(AdversaryConfig(conv_dim=4, layers=3, **changes))  # type: ignore[arg-type]


def pair() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    return torch.rand(IMAGES) * 2 - 1, torch.rand(IMAGES) * 2 - 1


def test_wgan_gp_is_its_formula() -> None:
    critic, (real, fake) = make(), pair()
    torch.manual_seed(3)
    total, terms = critic.discriminator_loss(real, fake, *STATES, 0)
    torch.manual_seed(3)
    share = torch.rand(2, 1, 1, 1)
    between = (share * real + (1 - share) * fake).requires_grad_()
    (slope,) = torch.autograd.grad(critic.network.realness(between).sum(), between)
    penalty = ((slope.flatten(1).norm(dim=1) - 1) ** 2).mean()
    judged = critic.network.realness
    torch.testing.assert_close(terms["gp"], penalty)
    torch.testing.assert_close(terms["adv"], judged(fake).mean() - judged(real).mean())
    torch.testing.assert_close(total, terms["adv"] + 10 * terms["gp"])
    total, _ = critic.generator_loss(fake, STATES[1])
    torch.testing.assert_close(total, -judged(fake).mean())


def test_hinge_with_r1_is_its_formula_and_r1_is_lazy() -> None:
    critic, (real, fake) = make(objective="hinge", r1_gamma=3.0, r1_every=4), pair()
    total, terms = critic.discriminator_loss(real, fake, *STATES, 8)
    points = real.clone().requires_grad_()
    judged = critic.network.realness(points)
    assert judged.shape == (2, 1, 2, 3)
    (slope,) = torch.autograd.grad(judged.mean((1, 2, 3)).sum(), points)
    torch.testing.assert_close(terms["r1"], slope.square().sum((1, 2, 3)).mean())
    hinge = (1 - judged).clamp(min=0).mean() + (1 + critic.network.realness(fake)).clamp(min=0).mean()
    torch.testing.assert_close(total, hinge + 3.0 / 2 * 4 * terms["r1"])
    assert set(critic.discriminator_loss(real, fake, *STATES, 9)[1]) == {"adv"}


def test_no_gradient_flows_into_the_fake() -> None:
    critic, (real, fake) = make(), pair()
    fake.requires_grad_()
    critic.discriminator_loss(real, fake, *STATES, 0)[0].backward()
    assert fake.grad is None and critic.network.realness_head.weight.grad is not None


def test_without_a_fake_there_is_nothing_to_learn() -> None:
    total, terms = make().discriminator_loss(pair()[0], None, *STATES, 0)
    assert total == 0 and terms == {}
