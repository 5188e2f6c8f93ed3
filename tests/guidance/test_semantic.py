"""SeCGAN's semantic branch against equations 6 to 16, and where its gradients go."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from mimik.components.adversary import AdversaryConfig
from mimik.errors import UserError
from mimik.guidance import semantic
from mimik.labels import SECGAN_CLASSES, SECGAN_OF_SEGMENTATION
from mimik.methods import attgan, hier_seg, stargan
from mimik.methods.attgan import CriticConfig
from mimik.settings.configuration import build
from mimik.training.guided import Guided
from tests.methods.resuming import check_resume
from tests.methods.world import Parser, check_updates, make_batch, make_context, reached, states

CRITIC = AdversaryConfig(conv_dim=4, layers=3)
ATTGAN = CriticConfig(conv_dim=4, layers=3, hidden=8)
RELATIVE = {"form": "relative"}


def settings(head: semantic.Head = "direct", **changes: Any) -> semantic.Config:
    return semantic.Config(
        stargan=semantic.StarGANBranch(conv_dim=4, residual_blocks=1, head=head, adversary=CRITIC),
        attgan=semantic.AttGANBranch(conv_dim=4, layers=3, head=head, adversary=ATTGAN),
        **changes,
    )


def make_guide(condition: dict[str, Any] | None = None, **changes: Any) -> semantic.Guide:
    torch.manual_seed(0)
    context = make_context(**(RELATIVE if condition is None else condition))
    return semantic.Guide(settings(**changes), context).train()


def edited_batch() -> dict[str, torch.Tensor]:
    batch = make_batch()
    torch.manual_seed(4)
    batch["edited"] = (torch.rand_like(batch["image"]) * 2 - 1).requires_grad_(True)
    return batch


BACKBONES = ("stargan", "attgan")


@pytest.mark.parametrize(
    ("backbone", "generator", "discriminator"),
    # StarGAN's discriminator at 128 px; the others as the specification has them for 13 attributes.
    [("stargan", 8_512_064, 44_836_800), ("attgan", 43_486_860, 44_728_206)],
)
def test_published_parameters(backbone: str, generator: int, discriminator: int) -> None:
    attributes = tuple(f"attribute{i}" for i in range(13))
    config = semantic.Config(backbone=backbone)  # type: ignore[arg-type]
    with torch.device("meta"):
        context = make_context(size=128)
        context.condition.__init__(semantic_space(), context.condition.classes, attributes)  # type: ignore[misc]
        guide = semantic.Guide(config, context)
    assert sum(p.numel() for p in guide.generator.parameters()) == generator
    assert sum(p.numel() for p in guide.discriminator.parameters()) == discriminator


def semantic_space() -> Any:
    from mimik.components.conditions import ConditionConfig

    return ConditionConfig(space="attributes", form="relative")


@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_branch_minimises_eq_15_and_16(backbone: Any) -> None:
    guide, batch = make_guide(backbone=backbone), edited_batch()
    total, terms = guide.generator_loss(batch, 0)
    rec, cls = (10, 1) if backbone == "stargan" else (100, 10)
    consistency = 0.01 * (terms["sc_rgb"] + terms["sc_seg"])
    torch.testing.assert_close(total, terms["adv"] + cls * terms["cls"] + rec * terms["self"] + consistency)
    total, terms = guide.discriminator_loss(batch, 0)
    torch.testing.assert_close(total, terms["adv"] + terms["cls"] + 10 * terms["gp"])


@pytest.mark.parametrize("head", ["direct", "masked"])
@pytest.mark.parametrize("backbone", BACKBONES)
def test_terms_by_plain_torch(backbone: Any, head: Any) -> None:
    """Eq. 7, 9, 10, 11 and 12 from probabilities."""
    guide, batch = make_guide(backbone=backbone, head=head), edited_batch()
    _, terms = guide.generator_loss(batch, 0)
    source, target = states(guide, batch)
    logits = guide.parser.segmenter(batch["image"])
    wide = torch.zeros(12, 19)
    wide[list(SECGAN_OF_SEGMENTATION), range(19)] = 1
    merged = torch.einsum("kc,bchw->bkhw", wide, logits.softmax(1))
    s_in = F.one_hot(merged.argmax(1), 12).permute(0, 3, 1, 2).float()
    s_out = guide.generator(s_in, target - source).exp()
    torch.testing.assert_close(s_out.sum(1), torch.ones_like(s_out[:, 0]))
    realness, predicted, _ = guide.discriminator.network(s_out)
    torch.testing.assert_close(terms["adv"], -realness.mean())
    torch.testing.assert_close(terms["cls"], F.cross_entropy(predicted[:, 0], target.argmax(1)))
    unchanged = guide.generator(s_in, torch.zeros_like(target)).exp()
    torch.testing.assert_close(terms["self"], -(s_in * unchanged.clamp(min=1e-30).log()).sum(1).mean())
    p_out = torch.einsum("kc,bchw->bkhw", wide, guide.parser.segmenter(batch["edited"]).softmax(1))
    torch.testing.assert_close(terms["sc_rgb"], F.nll_loss(p_out.log(), s_out.argmax(1)))
    torch.testing.assert_close(terms["sc_seg"], F.nll_loss(s_out.clamp(min=1e-30).log(), p_out.argmax(1)))


def test_soft_targets_are_the_other_sides_probabilities() -> None:
    guide, batch = make_guide(targets="soft"), edited_batch()
    _, terms = guide.generator_loss(batch, 0)
    source, target = states(guide, batch)
    s_out = guide.generator(batch["label_maps"], target - source)
    p_out = guide.parser(batch["edited"])
    torch.testing.assert_close(terms["sc_rgb"], -(s_out.exp() * p_out).sum(1).mean())
    torch.testing.assert_close(terms["sc_seg"], -(p_out.exp() * s_out).sum(1).mean())


@pytest.mark.parametrize("targets", ["hard", "soft"])
@pytest.mark.parametrize(
    ("direction", "to_image", "to_branch"), [("both", True, True), ("rgb_only", True, False), ("seg_only", False, True)]
)
def test_where_the_consistency_goes(targets: Any, direction: Any, to_image: bool, to_branch: bool) -> None:
    """Eq. 11 reaches the edited image through the parser, eq. 12 the branch; neither the other, nor the parser."""
    guide, plain = (make_guide(targets=targets, direction=direction, lambda_consistency=w) for w in (1.0, 0.0))
    gradients = []
    for one in (guide, plain):
        batch = edited_batch()
        one.generator_loss(batch, 0)[0].backward()
        image = batch["edited"].grad
        gradients.append((image, one.generator.network.last.weight.grad))
        assert not reached(one.parser)
    (image, weight), (nothing, without) = gradients
    assert (image is not None and float(image.abs().max()) > 0) is to_image
    assert nothing is None or not nothing.any()
    assert (not torch.equal(weight, without)) is to_branch


def test_eq_11_alone_reaches_nothing_but_the_image() -> None:
    guide, batch = make_guide(), edited_batch()
    guide.generator_loss(batch, 0)[1]["sc_rgb"].backward()
    assert batch["edited"].grad is not None and float(batch["edited"].grad.abs().max()) > 0
    assert not any(reached(part) for part in (guide.generator, guide.discriminator, guide.parser))


def test_eq_12_alone_reaches_nothing_but_the_branch() -> None:
    guide, batch = make_guide(), edited_batch()
    guide.generator_loss(batch, 0)[1]["sc_seg"].backward()
    assert batch["edited"].grad is None and reached(guide.generator)
    assert not any(reached(part) for part in (guide.discriminator, guide.parser))


METHODS: dict[str, tuple[Any, dict[str, Any], dict[str, Any]]] = {
    "secgan": (
        stargan,
        {"conv_dim": 4, "residual_blocks": 1, "adversary": CRITIC, "reconstruction": "self"},
        RELATIVE,
    ),
    "secgan_attgan": (attgan, {"conv_dim": 4, "layers": 3, "adversary": ATTGAN}, RELATIVE),
    "hier_seg_semantic": (
        hier_seg,
        {
            "conv_dim": 4, "residual_blocks": 1, "adversary": CRITIC, "local_size": 16, "local_conv_dim": 4,
            "local_residual_blocks": 1, "fusion_conv_dim": 4, "fusion_residual_blocks": 1,
            "local_adversary": AdversaryConfig(conv_dim=4, layers=2),
        },
        {},
    ),
}  # fmt: skip


def make_task(name: str, head: Any = "direct", guide: dict[str, Any] | None = None, **changes: Any) -> Guided:
    """A method with the branch, whose settings `guide` changes; each has a parser of its own."""
    module, config, condition = METHODS[name]
    torch.manual_seed(0)
    context = make_context(**condition)
    method = module.Method(module.Config(**config, **changes), context)
    context.pretrained["segmenter"] = Parser()
    backbone = "attgan" if module is attgan else "stargan"
    config = settings(head=head, backbone=backbone, **(guide or {}))
    return Guided(method, {"semantic": semantic.Guide(config, context)})


@pytest.mark.parametrize("name", METHODS)
def test_updates_of_the_whole_task(name: str) -> None:
    task = make_task(name)
    method, guide = task.method, task.guides["semantic"]
    discriminators = list(method.discriminator.values()) if name == "hier_seg_semantic" else [method.discriminator]
    task.zero_grad(set_to_none=True)
    batch = make_batch()
    task.discriminator_loss(batch, 1000)[0].backward()
    assert all(reached(network) for network in (*discriminators, guide.discriminator))
    assert not any(reached(network) for network in (method.generator, guide.generator, guide.parser))
    if name != "hier_seg_semantic":
        check_updates(task, [*discriminators, guide.discriminator], [method.generator, guide.generator])
        assert not reached(guide.parser)


@pytest.mark.parametrize("name", METHODS)
def test_a_few_steps_lower_the_loss(name: str) -> None:
    task = make_task(name).train()
    batch = make_batch()
    optimiser = torch.optim.Adam([p for g in task.generator_parameters() for p in g["params"]], lr=2e-3)
    totals = []
    for _ in range(12):
        total, terms = task.generator_loss(batch, 1000)
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
        totals.append(float(total.detach()))
        assert all(torch.isfinite(value) for value in terms.values())
    assert totals[-1] < totals[0]


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_consistency_pulls_the_branches_together(name: str) -> None:
    """After the same steps the labels that P reads from the edit are those that G_seg gave its mask, and only so."""
    agreed, terms = {}, {}
    for weight in (0.0, 100.0):
        task = make_task(name, guide={"lambda_consistency": weight}).train()
        parser = task.guides["semantic"].parser
        with torch.no_grad():
            parser.segmenter.shift.weight.mul_(60)  # the tests' parser hardly looks at the image otherwise
        batch = make_batch(count=4)
        optimiser = torch.optim.Adam([p for g in task.generator_parameters() for p in g["params"]], lr=5e-3)
        for _ in range(25):
            total, found = task.generator_loss(batch, 1000)
            optimiser.zero_grad()
            total.backward()
            optimiser.step()
        read = parser.masks(batch["edited"])
        agreed[weight] = float((read.argmax(1) == batch["semantic/fake"].argmax(1)).float().mean())
        terms[weight] = [float(found[f"semantic/sc_{side}"].detach()) for side in ("rgb", "seg")]
    assert agreed[0.0] < 0.6 and agreed[100.0] > 0.8
    assert all(pulled < 0.6 * free for pulled, free in zip(terms[100.0], terms[0.0], strict=True))


@pytest.mark.parametrize("direction", ["rgb_only", "seg_only"])
def test_consistency_alone_pulls_its_own_side(direction: Any) -> None:
    """The term that is trained falls, whichever of the two generators it moves."""
    guide, batch = make_guide(direction=direction, lambda_consistency=1.0), edited_batch()
    term = f"sc_{direction[:3]}"
    moved = [batch["edited"]] if term == "sc_rgb" else list(guide.generator.parameters())
    optimiser = torch.optim.Adam(moved, lr=0.02)
    values = []
    for _ in range(15):
        _, terms = guide.generator_loss(batch, 0)
        optimiser.zero_grad()
        terms[term].backward()
        optimiser.step()
        values.append(float(terms[term].detach()))
    # The tests' parser sees little of the image: most of what it says is where parts are.
    assert values[-1] < 0.995 * values[0]


def test_masked_branch_starts_between_copy_and_repainting() -> None:
    guide, batch = make_guide(head="masked"), edited_batch()
    guide.generator_loss(batch, 0)
    masks, fake = batch["label_maps"], batch["semantic/fake"]
    kept = (masks * fake).sum(1).mean()
    assert 0.3 < kept < 0.95
    torch.testing.assert_close(fake.sum(1), torch.ones_like(fake[:, 0]))


def test_the_fake_of_the_generator_update_serves_the_discriminator() -> None:
    guide, batch = make_guide(), edited_batch()
    guide.generator_loss(batch, 0)
    kept = batch["semantic/fake"]
    assert not kept.requires_grad
    guide.discriminator_loss(batch, 0)
    assert batch["semantic/fake"] is kept
    fresh = edited_batch()
    guide.discriminator_loss(fresh, 0)
    torch.testing.assert_close(fresh["semantic/fake"], kept)


def test_lazy_reconstruction_keeps_its_weight_on_average() -> None:
    usual, lazy = make_guide(), make_guide(reconstruction_every=4)
    always, never, due = (g.generator_loss(edited_batch(), s)[0] for g, s in ((usual, 4), (lazy, 5), (lazy, 4)))
    torch.testing.assert_close(due - never, 4 * (always - never), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("condition", [{"space": "attributes", "form": "relative"}, {"space": "action_units"}])
def test_any_condition(condition: dict[str, Any]) -> None:
    guide, batch = make_guide(condition), edited_batch()
    assert torch.isfinite(guide.generator_loss(batch, 0)[0]) and torch.isfinite(guide.discriminator_loss(batch, 0)[0])
    assert guide.reads == guide.condition.reads


def test_the_parser_stays_as_it_is() -> None:
    guide, batch = make_guide(), edited_batch()
    before = {name: value.clone() for name, value in guide.parser.state_dict().items()}
    guide.train()
    guide.generator_loss(batch, 0)[0].backward()
    assert all(torch.equal(value, before[name]) for name, value in guide.parser.state_dict().items())
    assert not any(p.requires_grad for p in guide.parser.parameters())
    listed = {id(p) for g in (*guide.generator_parameters(), *guide.discriminator_parameters()) for p in g["params"]}
    assert listed.isdisjoint(id(p) for p in guide.parser.parameters())


@pytest.mark.slow
def test_resume_is_exact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_resume(lambda: make_task("secgan_attgan"), tmp_path, monkeypatch)


def test_settings_and_the_missing_segmenter() -> None:
    context = make_context()
    context.pretrained.clear()
    with pytest.raises(ValueError, match="segmenter"):
        semantic.Guide(settings(), context)
    with pytest.raises(UserError, match="lambda_consistency"):
        build(semantic.Config, {"lambda_consistency": -1.0}, "x")
    with pytest.raises(UserError, match=r"attgan\.head"):
        build(semantic.Config, {"attgan": {"head": "residual"}}, "x")
    config = build(semantic.Config, {"attgan": {"adversary": {"hidden": 16}}}, "x")
    assert config.attgan.adversary.hidden == 16 and config.attgan.adversary.label_reduction == "mean"
    assert len(SECGAN_CLASSES) == 12
