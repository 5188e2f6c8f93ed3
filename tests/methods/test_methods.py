"""Every method: losses fall, gradients reach the networks they should, translation and state round-trip."""

import dataclasses
from typing import Any

import pytest
import torch
from torch import nn

from mimik.components import losses
from mimik.components.adversary import AdversaryConfig
from mimik.errors import UserError
from mimik.labels import SEGMENTATION_CLASSES
from mimik.methods import hier_seg, stargan
from mimik.settings.configuration import build
from tests.methods.world import SIZE, make_batch, make_context, reached, states

ADVERSARY = AdversaryConfig(conv_dim=8, layers=3)
SMALL = AdversaryConfig(conv_dim=8, layers=3, objective="hinge", per_class=True, r1_gamma=1.0, initialisation="kaiming")


SMALL_NETS: dict[str, Any] = {"conv_dim": 8, "residual_blocks": 1, "adversary": ADVERSARY}
PARTS: dict[str, Any] = {
    **SMALL_NETS,
    "local_size": 16, "local_conv_dim": 8, "local_residual_blocks": 1, "fusion_conv_dim": 8,
    "fusion_residual_blocks": 1, "local_adversary": AdversaryConfig(conv_dim=8, layers=2),
}  # fmt: skip
DEMO: dict[str, Any] = {
    "reuse_fake": True,
    "head": "residual",
    "stem": "unshuffle",
    "critic_updates": 1,
    "adversary": SMALL,
}


def make(name: str, **changes: Any) -> Any:
    torch.manual_seed(0)
    if name == "stargan":
        return stargan.Method(stargan.Config(**{**SMALL_NETS, **changes}), make_context())
    return hier_seg.Method(hier_seg.Config(**{**PARTS, **changes}), make_context())


VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "stargan": ("stargan", {}),
    "stargan demo": ("stargan", DEMO),
    "stargan warped": ("stargan", {**DEMO, "head": "warped", "lambda_change": 0.3}),
    "hier_seg": ("hier_seg", {}),
    "hier_seg demo": ("hier_seg", {**DEMO, "local_adversary": dataclasses.replace(SMALL, layers=2)}),
    "hier_seg warped": ("hier_seg", {"head": "warped"}),
    "hier_seg full reconstruction": ("hier_seg", {"fusion_reconstruction": "full"}),
    "hier_seg frozen": ("hier_seg", {"end_to_end": False}),
    "hier_seg without eyes": ("hier_seg", {"parts": ("nose", "mouth")}),
    "hier_seg signed sum": ("hier_seg", {"mask_space": "signed", "combine": "sum"}),
    "hier_seg anchored": ("hier_seg", {"segmenter_anchor": 1.0}),
    "hier_rect": ("hier_seg", {"extract": "rectangles", "end_to_end": False}),
}


@pytest.mark.parametrize(
    "variant",
    [name for name in VARIANTS if name not in ("hier_seg frozen", "hier_seg without eyes", "hier_seg signed sum")],
)
def test_a_few_steps_lower_the_generator_loss_on_a_fixed_batch(variant: str) -> None:
    name, changes = VARIANTS[variant]
    method, batch = make(name, **changes).train(), make_batch()
    parameters = [p for group in method.generator_parameters() for p in group["params"]]
    optimiser = torch.optim.Adam(parameters, lr=2e-3)
    totals = []
    for _ in range(8):
        total, terms = method.generator_loss(batch, 1000)
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
        totals.append(float(total.detach()))
        assert all(torch.isfinite(value) for value in terms.values())
    assert totals[-1] < totals[0]


@pytest.mark.parametrize("variant", VARIANTS)
def test_updates_reach_their_own_networks_only(variant: str) -> None:
    name, changes = VARIANTS[variant]
    method, batch = make(name, **changes).train(), make_batch()
    if changes.get("head") == "residual":
        # The residual head starts at zero, which hides what lies before it from the gradient.
        for module in method.generator.modules():
            if isinstance(module, nn.Conv2d) and not module.weight.any():
                nn.init.normal_(module.weight, std=0.05)
    total, _ = method.discriminator_loss(batch, 1000)
    total.backward()
    adversaries = [method.discriminator] if name == "stargan" else list(method.discriminator.values())
    assert all(reached(adversary) for adversary in adversaries)
    assert not reached(method.generator)
    method.zero_grad(set_to_none=True)
    for parameter in method.discriminator.parameters():
        parameter.requires_grad_(False)
    total, _ = method.generator_loss(batch, 1000)
    total.backward()
    assert not reached(method.discriminator)
    nets = [method.generator] if name == "stargan" else [method.generator[n] for n in ("global", "local", "fusion")]
    assert all(reached(net) for net in nets)
    if name == "hier_seg":
        assert reached(method.segmenter) is method.config.end_to_end
        in_groups = {id(p) for group in method.generator_parameters() for p in group["params"]}
        assert (id(method.segmenter.shift.weight) in in_groups) is method.config.end_to_end


def test_local_and_fusion_losses_alone_reach_the_segmenter_and_global_does_not() -> None:
    batch = make_batch()
    for weights, expected in (((0, 1, 0), True), ((0, 0, 1), True), ((1, 0, 0), False)):
        lambdas = dict(zip(("lambda_global", "lambda_local", "lambda_fusion"), map(float, weights), strict=True))
        method = make("hier_seg", **lambdas).train()
        method.generator_loss(batch, 0)[0].backward()
        assert reached(method.segmenter) is expected, weights


def test_the_segmenter_may_learn_on_some_steps_only() -> None:
    for reconstruction in ("composed", "full"):
        method = make("hier_seg", segmenter_every=3, fusion_reconstruction=reconstruction).train()
        batch = make_batch()
        for step, expected in ((4, False), (6, True)):
            method.zero_grad(set_to_none=True)
            method.generator_loss(batch, step)[0].backward()
            assert reached(method.segmenter) is expected
            assert reached(method.generator["local"])


def test_the_fusion_is_reconstructed_from_the_result_as_published() -> None:
    """Eq. 7: what is sent back is x_t. Composed of the two other cycles, the term would teach x_t nothing."""
    for reconstruction, expected in (("full", True), ("composed", False)):
        method, batch = make("hier_seg", fusion_reconstruction=reconstruction).train(), make_batch()
        told = method.condition.told(method.condition.source(batch), method.condition.target(batch))
        out = method.run(batch["image"], told)
        out["fusion"].retain_grad()
        method._cycle(out, told, True)["fusion"].sum().backward()
        assert (out["fusion"].grad is not None) is expected
    assert hier_seg.Config().fusion_reconstruction == "full"


def test_boxes_of_edits_do_not_move_the_mean_boxes() -> None:
    found = []
    for reconstruction in ("composed", "full"):
        method, batch = make("hier_seg", fusion_reconstruction=reconstruction).train(), make_batch()
        method.generator_loss(batch, 0)
        found.append(method.mean_boxes.clone())
    assert torch.equal(*found)


def test_all_four_local_discriminators_and_generators_learn() -> None:
    method, batch = make("hier_seg").train(), make_batch()
    method.discriminator_loss(batch, 0)[0].backward()
    gradient = method.discriminator["local"].network.trunk[0].weight.grad
    assert all(float(part.abs().max()) > 0 for part in gradient.chunk(4))
    method.zero_grad()
    method.generator_loss(batch, 0)[0].backward()
    gradient = method.generator["local"].last.weight.grad
    assert all(float(part.abs().max()) > 0 for part in gradient.chunk(4))


def test_stargan_generator_total_is_eq_6() -> None:
    method, batch = make("stargan").train(), make_batch()
    total, terms = method.generator_loss(batch, 0)
    torch.testing.assert_close(total, terms["adv"] + terms["cls"] + 10 * terms["cycle"])
    total, terms = method.discriminator_loss(batch, 0)
    torch.testing.assert_close(total, terms["adv"] + terms["cls"] + 10 * terms["gp"])


def test_hier_seg_generator_total_is_eq_8() -> None:
    method, batch = make("hier_seg").train(), make_batch()
    total, terms = method.generator_loss(batch, 0)
    expected = sum(
        weight * (terms[f"{p}adv"] + terms[f"{p}cls"] + 10 * terms[f"{p}cycle"])
        for p, weight in (("global/", 0.2), ("local/", 0.3), ("", 0.5))
    )
    torch.testing.assert_close(total, expected)


@pytest.mark.parametrize("name", ["stargan", "hier_seg"])
def test_lazy_reconstruction_keeps_its_weight_on_average(name: str) -> None:
    always, lazy, batch = make(name).train(), make(name, reconstruction_every=4).train(), make_batch()
    usual, never, due = (m.generator_loss(batch, s)[0] for m, s in ((always, 4), (lazy, 5), (lazy, 4)))
    torch.testing.assert_close(due - never, 4 * (usual - never), rtol=1e-4, atol=1e-5)
    assert not any(term.endswith("cycle") for term in lazy.generator_loss(batch, 5)[1])


def test_masks_follow_the_tempered_softmax() -> None:
    """Eq. 1: with a large phi the masks are those of argmax, with a small one they bleed."""
    images = make_batch()["image"]
    sharp, soft = make("hier_seg", phi=200.0).eval(), make("hier_seg", phi=0.2).eval()
    sharp_cut, soft_cut = sharp.cut(images), soft.cut(images)
    argmax = sharp.segmenter(images).argmax(1)
    nose = argmax == SEGMENTATION_CLASSES.index("nose")
    torch.testing.assert_close(sharp_cut.masks[:, 2], nose.float(), atol=0.02, rtol=0)
    assert soft_cut.masks[:, 2].max() < 0.5


def test_missing_parts_are_skipped_and_use_the_mean_box() -> None:
    method, batch = make("hier_seg").train(), make_batch()
    method.segmenter.prior[SEGMENTATION_CLASSES.index("mouth")] = -5.0
    cut = method.cut(batch["image"])
    assert cut.valid[:, :3].min() == 1 and cut.valid[:, 3].max() == 0
    stitched = method.stitch(torch.ones(8, 12, 16, 16), cut)
    assert (stitched[:, :, 24:, :] == -1).all(), "a part that is not there was pasted"
    total, _ = method.generator_loss(batch, 0)
    assert torch.isfinite(total)


def test_a_part_that_nobody_shows_leaves_its_mean_box_alone() -> None:
    method, images = make("hier_seg").train(), make_batch()["image"]
    for name in ("l_eye", "r_eye", "nose", "mouth"):
        method.segmenter.prior[SEGMENTATION_CLASSES.index(name)] = -5.0
    before = method.mean_boxes.clone()
    assert method.cut(images).valid.max() == 0
    assert torch.equal(method.mean_boxes, before)


def test_mean_boxes_follow_what_is_seen_only_in_training() -> None:
    method, images = make("hier_seg"), make_batch()["image"]
    before = method.mean_boxes.clone()
    method.eval().cut(images)
    assert torch.equal(method.mean_boxes, before)
    method.train().cut(images)
    assert not torch.equal(method.mean_boxes, before)


def test_batch_norm_of_the_segmenter_stays_frozen() -> None:
    method, batch = make("hier_seg").train(), make_batch()
    running = method.segmenter.norm.running_mean.clone()
    method.generator_loss(batch, 0)
    assert torch.equal(method.segmenter.norm.running_mean, running)
    free = make("hier_seg", segmenter_batch_norm="train").train()
    free.generator_loss(batch, 0)
    assert not torch.equal(free.segmenter.norm.running_mean, running)


def test_anchor_is_zero_at_the_start_and_grows_when_the_segmenter_moves() -> None:
    method, batch = make("hier_seg", segmenter_anchor=1.0).train(), make_batch()
    assert abs(float(method.generator_loss(batch, 0)[1]["anchor"].detach())) < 1e-5
    with torch.no_grad():
        method.segmenter.shift.bias += torch.randn(19) * 10
        method.segmenter.norm.bias += torch.randn(19) * 5
    assert float(method.generator_loss(batch, 0)[1]["anchor"].detach()) > 0.01


def test_rectangles_have_the_fixed_sizes() -> None:
    method = make("hier_seg", extract="rectangles", end_to_end=False).eval()
    boxes = method.cut(make_batch()["image"]).boxes
    extent = (boxes[0, :, 2:] - boxes[0, :, :2]) * 256 / SIZE
    torch.testing.assert_close(extent, torch.tensor([[56.0, 40.0], [56.0, 40.0], [48.0, 48.0], [64.0, 40.0]]))


@pytest.mark.parametrize("variant", VARIANTS)
def test_state_round_trip_and_translation(variant: str) -> None:
    name, changes = VARIANTS[variant]
    method, batch = make(name, **changes).train(), make_batch()
    optimiser = torch.optim.Adam([p for g in method.generator_parameters() for p in g["params"]], lr=1e-2)
    method.generator_loss(batch, 0)[0].backward()
    optimiser.step()
    torch.manual_seed(5)
    other = make(name, **changes)
    other.load_generator_state(method.generator_state())
    arguments = (batch["image"], *states(method, batch))
    with torch.no_grad():
        first, second = method.eval().translate(*arguments), other.eval().translate(*arguments)
    assert torch.equal(first, second) and first.shape == batch["image"].shape
    assert first.min() >= -1 and first.max() <= 1


@pytest.mark.parametrize("name", ["stargan", "hier_seg"])
def test_a_reused_fake_is_the_one_that_would_have_been_made(name: str) -> None:
    method, batch = make(name, reuse_fake=True, critic_updates=1).train(), make_batch()
    assert [update.name for update in method.updates] == ["generator", "discriminator"]
    method.generator_loss(batch, 0)
    torch.manual_seed(2)
    reused, _ = method.discriminator_loss(batch, 0)
    fresh = make_batch()
    torch.manual_seed(2)
    made, _ = method.discriminator_loss(fresh, 0)
    torch.testing.assert_close(reused, made)


def test_settings_are_strict() -> None:
    with pytest.raises(UserError, match=r"conv_dimm.*conv_dim"):
        build(stargan.Config, {"conv_dimm": 3}, "methods.stargan")
    with pytest.raises(UserError, match=r"adversary\.layers"):
        build(stargan.Config, {"adversary": {"layers": "many"}}, "methods.stargan")
    with pytest.raises(UserError, match="end_to_end"):
        build(hier_seg.Config, {"extract": "rectangles"}, "methods.hier_rect")
    with pytest.raises(UserError, match="parts"):
        build(hier_seg.Config, {"parts": ["ear"]}, "methods.hier_seg")
    config = build(hier_seg.Config, {"parts": ["nose"], "adversary": {"objective": "hinge"}}, "methods.x")
    assert config.parts == ("nose",) and config.adversary.objective == "hinge"


def test_reconstruction_target_of_parts_is_detached(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty mask must not be a way to lower the parts' reconstruction loss: no gradient from its target."""
    method, batch = make("hier_seg").train(), make_batch()
    seen: list[tuple[int, bool, bool]] = []
    plain = losses.reconstruction

    def spy(image: torch.Tensor, reconstructed: torch.Tensor, parts: int = 1) -> torch.Tensor:
        seen.append((parts, image.requires_grad, reconstructed.requires_grad))
        return plain(image, reconstructed, parts)

    monkeypatch.setattr(hier_seg.losses, "reconstruction", spy)
    assert method.cut(batch["image"]).crops.requires_grad
    method.generator_loss(batch, 0)
    assert (4, False, True) in seen and not any(target for _, target, _ in seen)


def test_generators_of_earlier_versions_are_read() -> None:
    """They call the global generator `whole`, in results as in checkpoints."""
    method, other = make("hier_seg").eval(), make("hier_seg").eval()
    with torch.no_grad():
        for parameter in other.generator.parameters():
            parameter.add_(0.1)
    before = {n.replace("global.", "whole.", 1): v.clone() for n, v in method.generator_state().items()}
    assert any(name.startswith("whole.") for name in before)
    other.load_generator_state(before)
    batch = make_batch()
    with torch.no_grad():
        first, second = (m.translate(batch["image"], *states(m, batch)) for m in (method, other))
    assert torch.equal(first, second)
    assert "generator.global.last.weight" in other.state_dict()
    kept = {n.replace("generator.global.", "generator.whole.", 1): v for n, v in method.state_dict().items()}
    assert kept.keys() != method.state_dict().keys()
    other.load_state_dict(kept)


def test_masks_are_computed_in_float32_under_autocast() -> None:
    """phi would multiply what bfloat16 rounds; gradients to S are those of float32 masks too."""
    found = []
    for rounded in (False, True):
        method = make("hier_seg", segmenter_anchor=1.0).train()
        image = make_batch()["image"]
        with torch.autocast("cpu", torch.bfloat16, enabled=rounded):
            cut = method.cut(image)
            _, terms = method.generator_loss(make_batch(), 0)
        cut.masks.square().sum().backward()
        found.append((cut.logits, cut.masks, method.segmenter.shift.weight.grad, terms["anchor"].detach()))
    assert all(torch.equal(exact, under) for exact, under in zip(*found, strict=True))
    with torch.autocast("cpu", torch.bfloat16):
        assert not torch.equal(method.segmenter(image), found[0][0])  # what it is spared
