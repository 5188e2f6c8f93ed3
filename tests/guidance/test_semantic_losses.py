"""SeCGAN's branch: both losses with weights of their own, both backbones, every direction and kind of target."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mimik.components.adversary import AdversaryConfig
from mimik.guidance import semantic
from mimik.labels import SECGAN_OF_SEGMENTATION
from mimik.methods.attgan import CriticConfig
from tests.methods.formulas import SEED, Rules, assert_rates, assert_same, labelled, states_of, told
from tests.methods.world import make_context

RULES = Rules(space="attributes")
AVERAGED = RULES.changed(reduction="mean")
VARIANTS: dict[str, tuple[Rules, str, dict[str, Any], str]] = {
    "stargan": (RULES, "relative", {}, "direct"),
    "attgan": (AVERAGED, "relative", {"backbone": "attgan"}, "direct"),
    "rgb": (RULES, "relative", {"direction": "rgb_only", "targets": "soft"}, "masked"),
    "seg": (RULES, "absolute", {"direction": "seg_only", "targets": "soft", "backbone": "attgan"}, "masked"),
    "lazy": (
        Rules(objective="hinge", match=11.0, gamma=13.0, every=2), "absolute", {"reconstruction_every": 3}, "direct",
    ),
}  # fmt: skip


def make(rules: Rules, form: str, changes: dict[str, Any], head: Any = "direct", rate: float = 1.0) -> semantic.Guide:
    torch.manual_seed(0)
    stargan = semantic.StarGANBranch(
        conv_dim=4, residual_blocks=1, head=head, lambda_reconstruction=9.0, adversary=rules.config(learning_rate=rate)
    )
    attgan = semantic.AttGANBranch(
        conv_dim=4, layers=3, head=head, lambda_reconstruction=15.0,
        adversary=rules.config(CriticConfig, hidden=8, learning_rate=rate),
    )  # fmt: skip
    config = semantic.Config(stargan=stargan, attgan=attgan, **{"lambda_consistency": 17.0, **changes})
    return semantic.Guide(config, make_context(space=rules.space, form=form)).eval()


def left() -> dict[str, Tensor]:
    """A batch as a method leaves it."""
    batch = labelled()
    torch.manual_seed(4)
    batch["edited"] = (torch.rand_like(batch["image"]) * 2 - 1).requires_grad_()
    return batch


def parsed(guide: semantic.Guide, images: Tensor) -> Tensor:
    """Probabilities of the 12 classes."""
    wide = torch.zeros(12, 19)
    wide[list(SECGAN_OF_SEGMENTATION), range(19)] = 1
    return torch.einsum("kc,bchw->bkhw", wide, guide.parser.segmenter(images).softmax(1))


def hard(probabilities: Tensor) -> Tensor:
    return F.one_hot(probabilities.argmax(1), 12).permute(0, 3, 1, 2).float()


def translated(guide: semantic.Guide, masks: Tensor, state: Tensor) -> Tensor:
    """G_seg's mask: a softmax, or blended with the input by the last channel's share."""
    network: Any = guide.generator.network
    if guide.config.backbone == "stargan":
        out = network.raw(masks, state).squeeze(1)
    else:
        out = network.raw(network.encode(masks), state)
    painted = out[:, :12].softmax(1)
    if out.shape[1] == 12:
        return painted
    share = torch.sigmoid(out[:, 12:])
    return share * painted + (1 - share) * masks


def entropy(target: Tensor, probabilities: Tensor) -> Tensor:
    return -(target * probabilities.clamp(min=1e-12).log()).sum((1, 2, 3)).mean() / target[0, 0].numel()


@pytest.mark.parametrize("step", [6, 7])
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_generators_minimise_eq_16_and_11(variant: str, step: int) -> None:
    rules, form, changes, head = VARIANTS[variant]
    guide, batch = make(rules, form, changes, head), left()
    source, target = states_of(batch, rules.space)
    found = guide.generator_loss(batch, step)
    masks = hard(parsed(guide, batch["image"]))
    made = translated(guide, masks, told(source, target, form))
    total, terms = rules.generator(guide.discriminator.network, made, target)
    every = changes.get("reconstruction_every", 1)
    if step % every == 0:
        terms["self"] = entropy(masks, translated(guide, masks, told(source, source, form)))
        total = total + (9 if guide.config.backbone == "stargan" else 15) * every * terms["self"]
    seen = parsed(guide, batch["edited"])
    soft = changes.get("targets") == "soft"
    terms["sc_rgb"] = entropy((made if soft else hard(made)).detach(), seen)
    terms["sc_seg"] = entropy((seen if soft else hard(seen)).detach(), made)
    direction = changes.get("direction", "both")
    if direction != "seg_only":
        total = total + 17 * terms["sc_rgb"]
    if direction != "rgb_only":
        total = total + 17 * terms["sc_seg"]
    assert_same(found, (total, terms), [*guide.parameters(), batch["edited"]])
    assert torch.allclose(batch["semantic/fake"], made, atol=1e-6) and not batch["semantic/fake"].requires_grad


@pytest.mark.parametrize("reused", [False, True])
@pytest.mark.parametrize("step", [6, 7])
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_critic_of_masks_minimises_eq_15(variant: str, step: int, reused: bool) -> None:
    rules, form, changes, head = VARIANTS[variant]
    guide, batch = make(rules, form, changes, head), left()
    source, target = states_of(batch, rules.space)
    if reused:
        guide.generator_loss(batch, step)
        batch["semantic/fake"] = batch["semantic/fake"] / 2
    torch.manual_seed(SEED)
    found = guide.discriminator_loss(batch, step)
    torch.manual_seed(SEED)
    masks = hard(parsed(guide, batch["image"]))
    fake = translated(guide, masks, told(source, target, form)).detach() / (2 if reused else 1)
    expected = rules.discriminator(guide.discriminator.network, masks, fake, source, target, step)
    assert_same(found, expected, guide.parameters())


@pytest.mark.parametrize("backbone", ["stargan", "attgan"])
def test_rates_and_networks(backbone: Any) -> None:
    guide = make(RULES, "relative", {"backbone": backbone}, rate=3.0)
    assert_rates(guide.discriminator_parameters(), [(guide.discriminator, 3.0)])
    assert_rates(guide.generator_parameters(), [(guide.generator, 1.0)])
    condition = make_context(space="attributes").condition
    stargan = semantic.StarGANBranch(conv_dim=6, residual_blocks=2, head="masked", stem="unshuffle")
    made: Any = semantic.StarGANMasks(stargan, condition.dim).network
    plain: Any = semantic.stargan.Generator(
        3, channels=12, conv_dim=6, residual_blocks=2, head="masked", stem="unshuffle"
    )
    assert [p.shape for p in made.parameters()] == [p.shape for p in plain.parameters()]
    shape: dict[str, Any] = {"conv_dim": 6, "layers": 4, "max_conv_dim": 20, "shortcut_layers": 2, "inject_layers": 2}
    made = semantic.AttGANMasks(semantic.AttGANBranch(head="masked", **shape), condition.dim).network
    plain = semantic.attgan.Generator(3, channels=12, head="masked", **shape)
    assert [p.shape for p in made.parameters()] == [p.shape for p in plain.parameters()]
    assert next(iter(guide.discriminator.network.parameters())).shape[1] == 12


def test_settings() -> None:
    config = semantic.Config()
    assert (config.backbone, config.direction, config.targets, config.lambda_consistency) == (
        "stargan", "both", "hard", 0.01,
    )  # fmt: skip
    one, other = config.stargan, config.attgan
    assert (one.conv_dim, one.residual_blocks, one.head, one.stem, one.lambda_reconstruction) == (
        64, 6, "direct", "conv", 10.0,
    )  # fmt: skip
    assert one.adversary == AdversaryConfig() and other.adversary == CriticConfig()
    assert (other.conv_dim, other.layers, other.max_conv_dim, other.shortcut_layers, other.inject_layers) == (
        64, 5, 1024, 1, 1,
    )  # fmt: skip
    assert (other.head, other.lambda_reconstruction) == ("direct", 100.0)
    assert semantic.Config(lambda_consistency=0.0).lambda_consistency == 0
    with pytest.raises(ValueError, match="negative"):
        semantic.Config(lambda_consistency=-0.5)
