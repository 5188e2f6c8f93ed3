"""AttGAN against its equations, and StarGAN's and AttGAN's baselines of SeCGAN."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from mimik.components import losses
from mimik.guidance import semantic
from mimik.methods import attgan, stargan
from mimik.methods.attgan import CriticConfig
from mimik.training.guided import Guided
from tests.methods.resuming import check_resume
from tests.methods.world import (
    check_generator_learns,
    check_round_trip,
    check_updates,
    make_batch,
    make_context,
    reached,
    states,
)

CRITIC = CriticConfig(conv_dim=4, layers=3, hidden=8)
DEMO: dict[str, Any] = {
    "head": "masked",
    "reuse_fake": True,
    "critic_updates": 1,
    "shortcut_layers": 2,
    "adversary": CriticConfig(
        conv_dim=4, layers=3, hidden=8, norm="none", objective="hinge", per_class=True, r1_gamma=1.0
    ),
}
VARIANTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "attgan": ({}, {}),
    "attgan_diff": ({}, {"form": "relative"}),
    "attgan_concat": ({"see_masks": True}, {"form": "relative"}),
    "attgan demo": (DEMO, {}),
    "attributes": ({}, {"space": "attributes"}),
    "action units": (DEMO, {"space": "action_units", "form": "relative"}),
}


def make(condition: dict[str, Any] | None = None, **changes: Any) -> Any:
    torch.manual_seed(0)
    config = attgan.Config(**{"conv_dim": 4, "layers": 3, "adversary": CRITIC, **changes})
    return attgan.Method(config, make_context(**(condition or {})))


@pytest.mark.parametrize("variant", VARIANTS)
def test_generator_learns(variant: str) -> None:
    changes, condition = VARIANTS[variant]
    check_generator_learns(make(condition, **changes))


@pytest.mark.parametrize("variant", VARIANTS)
def test_updates_reach_their_own_networks_only(variant: str) -> None:
    changes, condition = VARIANTS[variant]
    method = make(condition, **changes)
    check_updates(method, [method.discriminator], [method.generator])
    if method.parser is not None:
        assert not reached(method.parser)


@pytest.mark.parametrize("variant", VARIANTS)
def test_state_round_trip(variant: str) -> None:
    changes, condition = VARIANTS[variant]
    check_round_trip(lambda: make(condition, **changes))


def test_published_weights() -> None:
    method, batch = make({"space": "attributes"}).train(), make_batch()
    total, terms = method.generator_loss(batch, 0)
    torch.testing.assert_close(total, terms["adv"] + 10 * terms["cls"] + 100 * terms["self"])
    total, terms = method.discriminator_loss(batch, 0)
    torch.testing.assert_close(total, terms["adv"] + terms["cls"] + 10 * terms["gp"])


def test_terms_are_those_of_the_published_code() -> None:
    """Every term from the networks by plain torch; BCE is averaged over labels, the penalty differentiated twice."""
    method, batch = make({"space": "attributes"}).train(), make_batch()
    image, a, b = batch["image"], batch["attributes"], batch["target_attributes"]
    network = method.discriminator.network
    edited, _ = method.generator.edit(image, b - 0.5)
    own, _ = method.generator.edit(image, a - 0.5)
    realness, logits, _ = network(edited)
    _, terms = method.generator_loss(batch, 0)
    torch.testing.assert_close(terms["adv"], -realness.mean())
    torch.testing.assert_close(terms["cls"], F.binary_cross_entropy_with_logits(logits[:, 0], b))
    torch.testing.assert_close(terms["self"], F.l1_loss(own, image))
    batch["fake"] = edited.detach()
    torch.manual_seed(3)
    _, terms = method.discriminator_loss(batch, 0)
    torch.manual_seed(3)
    share = torch.rand(len(image), 1, 1, 1)
    points = (edited + share * (image - edited)).detach().requires_grad_(True)
    (slope,) = torch.autograd.grad(network(points)[0].sum(), points)
    torch.testing.assert_close(terms["gp"], ((slope.flatten(1).norm(dim=1) - 1) ** 2).mean())
    real, real_logits, _ = network(image)
    torch.testing.assert_close(terms["adv"], network(edited)[0].mean() - real.mean())
    torch.testing.assert_close(terms["cls"], F.binary_cross_entropy_with_logits(real_logits[:, 0], a))


def test_what_the_decoder_is_told() -> None:
    batch = make_batch()
    absolute, relative = make(), make({"form": "relative"})
    source, target = states(absolute, batch)
    assert torch.equal(absolute.told(source, target), target - 0.5)
    assert torch.equal(relative.told(source, target), target - source)
    assert not relative.told(source, source).any()


def test_reconstruction_is_asked_for_the_face_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    method, batch, told = make({"form": "relative"}), make_batch(), []
    decode = method.generator.decode

    def spy(images: torch.Tensor, features: Any, condition: torch.Tensor) -> Any:
        told.append((condition.clone(), id(features)))
        return decode(images, features, condition)

    monkeypatch.setattr(method.generator, "decode", spy)
    method.generator_loss(batch, 0)
    source, target = states(method, batch)
    assert torch.equal(told[0][0], target - source) and not told[1][0].any()
    assert told[0][1] == told[1][1], "the face was encoded twice"


def test_penalty_of_a_normalised_critic_trains_every_convolution_in_float32() -> None:
    """Wide enough that the convolutions are matrix products; the same penalty with torch's convolutions."""
    torch.manual_seed(0)
    config = CriticConfig(conv_dim=128, layers=3, hidden=8)
    critic = attgan.critic(config, 32, make_context().condition)
    real, fake = torch.rand(2, 3, 32, 32) * 2 - 1, torch.rand(2, 3, 32, 32) * 2 - 1

    def gradients(mixed: bool) -> list[torch.Tensor]:
        torch.manual_seed(1)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=mixed):
            penalty = losses.gradient_penalty(critic._gradient, real, fake).mean()
        assert penalty.dtype == torch.float32
        weights = [m.weight for m in critic.network.trunk if isinstance(m, torch.nn.Conv2d)]
        return list(torch.autograd.grad(penalty, weights))

    found = gradients(mixed=True)
    assert critic.network.trunk[6].weight.numel() >= 2**20
    for module in critic.network.trunk:
        if isinstance(module, torch.nn.Conv2d):
            module.forward = lambda x, m=module: F.conv2d(x, m.weight, m.bias, 2, 1)  # type: ignore[method-assign]
    for one, other in zip(found, gradients(mixed=False), strict=True):
        assert one.abs().max() > 0
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-6)


def test_masked_edits_start_neither_empty_nor_full() -> None:
    method, batch = make(head="masked").train(), make_batch()
    _, change = method.generator.edit(batch["image"], method.told(*states(method, batch)))
    assert 0.1 < change.mean() < 0.9 and change.std() > 0.01


@pytest.mark.parametrize("module", [attgan, stargan])
def test_concat_sees_the_label_map(module: Any) -> None:
    """The same image under another parser is edited otherwise; the parser is stored with the generator."""
    small: dict[str, Any] = {"conv_dim": 4, "adversary": CRITIC, "layers": 3}
    if module is stargan:
        small = {"conv_dim": 4, "residual_blocks": 1, "adversary": stargan.AdversaryConfig(conv_dim=4, layers=3)}
    torch.manual_seed(0)
    method = module.Method(module.Config(**small, see_masks=True), make_context(form="relative")).eval()
    batch = make_batch()
    arguments = (batch["image"], *states(method, batch))
    first = method.translate(*arguments)
    state = {name: value.clone() for name, value in method.generator_state().items()}
    method.parser.segmenter.prior[0] = 100.0
    assert (method.translate(*arguments) - first).abs().max() > 1e-4
    method.load_generator_state(state)
    assert torch.equal(method.translate(*arguments), first)
    with pytest.raises(ValueError, match="segmenter"):
        context = make_context()
        context.pretrained.clear()
        module.Method(module.Config(**small, see_masks=True), context)


@pytest.mark.parametrize(
    ("module", "changes", "passes"),
    # Five batches, each parsed once; a cycle also parses the edit that it sends back.
    [(attgan, {}, 5), (stargan, {"reconstruction": "self"}, 5), (stargan, {"reconstruction": "cycle"}, 6)],
)
def test_real_faces_are_parsed_once_a_batch(
    module: Any, changes: dict[str, Any], passes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step as published: five updates of D on fresh batches and one of G on the last; losses are those of parsing
    every time."""
    small: dict[str, Any] = {"conv_dim": 4, "adversary": CRITIC, "layers": 3}
    if module is stargan:
        small = {"conv_dim": 4, "residual_blocks": 1, "adversary": stargan.AdversaryConfig(conv_dim=4, layers=3)}
    totals, counts = [], []
    for again in (False, True):
        torch.manual_seed(0)
        method = module.Method(module.Config(**small, **changes, see_masks=True), make_context(form="relative")).train()
        calls: list[int] = []
        method.parser.segmenter.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        if again:
            monkeypatch.setattr(type(method.parser), "masks_of", lambda parser, batch: parser.masks(batch["image"]))
        found = []
        for turn in range(5):
            batch = make_batch()
            batch["image"] = batch["image"].roll(turn, 2)
            torch.manual_seed(turn)
            found.append(method.discriminator_loss(batch, 1000)[0].detach())
        found.append(method.generator_loss(batch, 1000)[0].detach())
        totals.append(torch.stack(found))
        counts.append(len(calls))
    assert torch.equal(*totals)
    assert counts[0] == passes < counts[1]


def test_a_guide_reads_the_label_maps_that_the_method_made() -> None:
    torch.manual_seed(0)
    context = make_context(form="relative")
    method = attgan.Method(attgan.Config(conv_dim=4, layers=3, adversary=CRITIC, see_masks=True), context)
    guide = semantic.Guide(
        semantic.Config(backbone="attgan", attgan=semantic.AttGANBranch(conv_dim=4, layers=3, adversary=CRITIC)),
        context,
    )
    task, calls = Guided(method, {"semantic": guide}).train(), []
    context.pretrained["segmenter"].register_forward_hook(lambda *_: calls.append(1))
    batch = make_batch()
    task.discriminator_loss(batch, 1000)
    assert len(calls) == 1
    task.generator_loss(batch, 1000)
    assert len(calls) == 2  # the edit's


def test_resume_is_exact_with_the_batch_norm_of_the_generator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = check_resume(lambda: make(critic_updates=2), tmp_path, monkeypatch)
    counts = [int(value) for name, value in state.items() if name.startswith("generator.") and "num_batches" in name]
    # Four steps, two fakes for the critic and one code for the generator each; the decoder is asked twice for that.
    assert counts == [12, 12, 12, 16, 16]
