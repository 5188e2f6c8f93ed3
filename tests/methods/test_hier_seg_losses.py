"""hier_seg's losses against its equations: every lambda another, parts that some faces lack, whom each term teaches."""

import copy
import dataclasses
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mimik.components import face_parts
from mimik.components.adversary import AdversaryConfig
from mimik.labels import SEGMENTATION_CLASSES
from mimik.methods import hier_seg
from tests.methods.formulas import (
    DEMO,
    PUBLISHED,
    SEED,
    Rules,
    assert_rates,
    assert_same,
    awake,
    labelled,
    mean,
    states_of,
    told,
    variation,
)
from tests.methods.world import SIZE, Parser, make_context

LOCAL = PUBLISHED.changed(cls=23.0, cls_generator=25.0, gp=27.0)
LOCAL_DEMO = DEMO.changed(cls=23.0, cls_generator=25.0, match=27.0, gamma=29.0, every=3)
LAMBDAS = {"lambda_global": 31.0, "lambda_local": 33.0, "lambda_fusion": 35.0, "lambda_reconstruction": 9.0}
OPTIONS: dict[str, Any] = {
    "head": "masked", "lambda_change": 17.0, "lambda_smooth": 19.0, "reconstruction_every": 3,
    "segmenter_every": 2, "segmenter_anchor": 41.0, "fusion_reconstruction": "composed", "stem": "unshuffle",
}  # fmt: skip
VARIANTS: dict[str, tuple[Rules, Rules, str, dict[str, Any]]] = {
    "published": (PUBLISHED, LOCAL, "absolute", {}),
    "demo": (DEMO, LOCAL_DEMO, "absolute", OPTIONS),
    "residual": (DEMO, LOCAL_DEMO, "relative", {**OPTIONS, "head": "residual", "fusion_reconstruction": "full"}),
    "units": (
        Rules(space="action_units"), LOCAL.changed(space="action_units"), "relative",
        {"mask_space": "signed", "combine": "sum", "parts": ("mouth", "left_eye")},
    ),
    "rectangles": (PUBLISHED, LOCAL, "absolute", {"extract": "rectangles", "end_to_end": False}),
}  # fmt: skip


class Picky(Parser):
    """Sees no mouth in faces whose first pixel is bright."""

    def forward(self, images: Tensor) -> Tensor:
        mouth = F.one_hot(torch.tensor(SEGMENTATION_CLASSES.index("mouth")), 19).view(1, 19, 1, 1)
        return super().forward(images) - 9.0 * mouth * (images[:, :1, :1, :1] > 0)


def make(rules: Rules, local: Rules, form: str, **changes: Any) -> hier_seg.Method:
    torch.manual_seed(0)
    config = hier_seg.Config(
        **{
            "conv_dim": 4, "residual_blocks": 1, "local_size": 16, "local_conv_dim": 4, "local_residual_blocks": 1,
            "fusion_conv_dim": 4, "fusion_residual_blocks": 1, "least_area": 300.0, **LAMBDAS,
            "adversary": rules.config(), "local_adversary": local.config(layers=2), **changes,
        }
    )  # fmt: skip
    context = make_context(space=rules.space, form=form)
    context.pretrained["segmenter"] = Picky()
    method = hier_seg.Method(config, context)
    awake(method.generator)
    return method.train()


def faces(space: str) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    batch = labelled()
    batch["image"][:, 0, 0, 0] = torch.tensor([0.5, -0.5, -0.5, 0.5, -0.5, -0.5])
    return batch, *states_of(batch, space)


def passed(method: hier_seg.Method, images: Tensor, state: Tensor, real: bool, learn: bool) -> dict[str, Any]:
    """Eq. 1 to 4 once more. `learn`: gradients reach S."""
    config, nets = method.config, method.generator
    with torch.set_grad_enabled(learn and torch.is_grad_enabled()):
        logits = nets["segmenter"](images)
        masks = face_parts.part_masks(logits, config.phi, config.parts)
    hard = face_parts.hard_part_masks(logits.detach().argmax(1), config.parts)
    valid = (hard.sum((2, 3)) >= max(2.0, config.least_area / 64)).float()
    boxes = method.cut(images, real=real).boxes
    if config.extract == "rectangles":
        masks = torch.ones_like(masks)
    crops = face_parts.cut(images, masks, boxes, config.local_size, config.mask_space).flatten(1, 2)
    local, local_change = nets["local"].edit(crops, state)
    whole, whole_change = nets["global"].edit(images, state)

    def placed(made: Tensor) -> Tensor:
        separate = made.unflatten(1, (len(config.parts), 3))
        return face_parts.stitch(separate, valid, boxes, SIZE, config.combine, config.mask_space)

    fusion, fusion_change = nets["fusion"].blend(whole, placed(local))
    return {
        "masks": masks, "crops": crops, "valid": valid, "logits": logits, "placed": placed,
        "global": whole, "local": local, "fusion": fusion, "changes": (local_change, whole_change, fusion_change),
    }  # fmt: skip


@pytest.mark.parametrize("step", [6, 7, 9])
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_generator_minimises_eq_8(variant: str, step: int) -> None:
    rules, local, form, changes = VARIANTS[variant]
    method = make(rules, local, form, **changes)
    config, nets = method.config, method.generator
    batch, source, target = faces(rules.space)
    if method.anchor is not None:
        with torch.no_grad():
            method.segmenter.norm.bias += 5 * torch.randn(19)
    twin = copy.deepcopy(method)
    twin.load_state_dict(method.state_dict())
    found = method.generator_loss(batch, step)

    # The means of the boxes move once, by the real faces; the state before that is the twin's.
    method.mean_boxes.copy_(twin.mean_boxes)
    learn = config.end_to_end and step % config.segmenter_every == 0
    image, asked, back = batch["image"], told(source, target, form), told(target, source, form)
    out = passed(method, image, asked, True, learn)
    if "mouth" in config.parts and variant != "rectangles":
        assert set(out["valid"][:, config.parts.index("mouth")].tolist()) == {0.0, 1.0}
    total, terms = torch.zeros(()), {}
    every = config.reconstruction_every
    if lazy := step % every == 0:
        cycles = {"local": nets["local"](out["local"], back), "global": nets["global"](out["global"], back)}
        if config.fusion_reconstruction == "full":
            cycles["fusion"] = passed(method, out["fusion"], back, False, learn)["fusion"]
        else:
            cycles["fusion"] = nets["fusion"](cycles["global"], out["placed"](cycles["local"]))
    for name, weight, judge in (("global", 31, rules), ("local", 33, local), ("fusion", 35, rules)):
        valid = out["valid"] if name == "local" else None
        loss, own = judge.generator(method.discriminator[name].network, out[name], target, valid)
        if lazy:
            original = out["crops"].detach() if name == "local" else image
            away = (original - cycles[name]).abs().unflatten(1, (-1, 3)).mean((2, 3, 4))
            own["cycle"] = mean(away, valid)
            loss = loss + 9 * every * own["cycle"]
        total = total + weight * loss
        terms |= {f"{name}/{term}".removeprefix("fusion/"): value for term, value in own.items()}
    for index, part in enumerate(config.parts):
        terms[f"area/{part}"] = out["masks"][:, index].mean()
    if config.head != "direct":
        terms["change"] = sum(change.mean() for change in out["changes"])
        terms["smooth"] = sum(variation(change) for change in out["changes"])
        total = total + 17 * terms["change"] + 19 * terms["smooth"]
    if method.anchor is not None and learn:
        before = twin.anchor(image).softmax(1).detach()
        after = out["logits"].softmax(1)
        terms["anchor"] = (before * (before / after).log()).sum(1).mean()
        assert float(terms["anchor"].detach()) > 0.01
        total = total + 41 * terms["anchor"]
    assert_same(found, (total, terms), method.parameters())
    torch.testing.assert_close(batch["edited"], out["fusion"])
    assert batch["edited"].requires_grad and not batch["fake"].requires_grad


@pytest.mark.parametrize("reused", [False, True])
@pytest.mark.parametrize("step", [6, 7])
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_discriminator_minimises_its_own_loss(variant: str, step: int, reused: bool) -> None:
    rules, local, form, changes = VARIANTS[variant]
    method = make(rules, local, form, **changes).eval()
    batch, source, target = faces(rules.space)
    if reused:
        method.generator_loss(batch, step)
    torch.manual_seed(SEED)
    found = method.discriminator_loss(batch, step)
    with torch.no_grad():
        out = passed(method, batch["image"], told(source, target, form), True, False)
    torch.manual_seed(SEED)
    total, terms = torch.zeros(()), {}
    for name, judge, real in (("global", rules, batch["image"]), ("fusion", rules, batch["image"]),
                              ("local", local.changed(parts=len(method.config.parts)), out["crops"])):  # fmt: skip
        weight = out["valid"] if name == "local" else None
        loss, own = judge.discriminator(
            method.discriminator[name].network, real, out[name], source, target, step, weight
        )
        total = total + loss
        terms |= {f"{name}/{term}".removeprefix("fusion/"): value for term, value in own.items()}
    assert_same(found, (total, terms), method.parameters())
    torch.testing.assert_close(batch["fake"], out["fusion"])


def test_critics_that_are_alone_learn_the_states_of_real_faces_and_parts() -> None:
    method = make(DEMO, LOCAL_DEMO, "absolute", critic_head_start=5)
    batch, source, target = faces("expression")
    state = method.mean_boxes.clone()
    found = method.discriminator_loss(batch, 4)
    method.mean_boxes.copy_(state)
    cut = method.cut(batch["image"])
    total, terms = torch.zeros(()), {}
    for name, judge, real in (("global", DEMO, batch["image"]), ("fusion", DEMO, batch["image"]),
                              ("local", LOCAL_DEMO, cut.crops)):  # fmt: skip
        weight = cut.valid if name == "local" else None
        loss, own = judge.discriminator(method.discriminator[name].network, real, None, source, target, 4, weight)
        total = total + loss
        terms |= {f"{name}/{term}".removeprefix("fusion/"): value for term, value in own.items()}
    assert_same(found, (total, terms), method.parameters())
    assert "fake" not in batch and "global/adv" in method.discriminator_loss(faces("expression")[0], 5)[1]


def test_masks_boxes_and_validity_are_those_of_eq_1_and_2() -> None:
    method = make(PUBLISHED, LOCAL, "absolute", phi=3.0, margin=24.0, least_side=80.0).eval()
    batch, _, _ = faces("expression")
    method.mean_boxes += torch.arange(16.0).view(4, 4) / 8
    cut = method.cut(batch["image"])
    assert cut.logits is not None
    logits = method.segmenter(batch["image"])
    masks = face_parts.part_masks(logits, 3.0, method.config.parts)
    torch.testing.assert_close(cut.masks, masks)
    torch.testing.assert_close(cut.logits, logits)
    labels = logits.argmax(1)
    for face in range(6):
        for index, names in enumerate((("l_eye",), ("r_eye",), ("nose",), ("mouth", "u_lip", "l_lip"))):
            hard = sum(labels[face] == SEGMENTATION_CLASSES.index(name) for name in names)
            rows, columns = hard.nonzero().unbind(1)
            seen = len(rows) >= 300 / 64
            assert float(cut.valid[face, index]) == seen
            box = method.mean_boxes[index]
            if seen:
                box = torch.stack([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]).float()
            grown = face_parts.grow_boxes(box.view(1, 1, 4), 3.0, 10.0, SIZE)
            torch.testing.assert_close(cut.boxes[face, index], grown[0, 0])
    crops = face_parts.cut(batch["image"], masks, cut.boxes, 16, "unit").flatten(1, 2)
    torch.testing.assert_close(cut.crops, crops)


def test_a_part_counts_from_its_least_area_on_and_never_below_two_pixels() -> None:
    batch, _, _ = faces("expression")
    nose = SEGMENTATION_CLASSES.index("nose")
    for least, pixels, counts in ((256.0, 3, 0), (256.0, 4, 1), (300.0, 4, 0), (300.0, 5, 1), (1.0, 1, 0), (1.0, 2, 1)):
        method = make(PUBLISHED, LOCAL, "absolute", least_area=least).eval()
        method.segmenter.prior[nose] = -9.0
        method.segmenter.prior[nose, 15, 13 : 13 + pixels] = 9.0
        assert set(method.cut(batch["image"]).valid[:, 2].tolist()) == {float(counts)}


def test_gradients_reach_the_segmenter_unless_it_is_said_otherwise() -> None:
    method = make(PUBLISHED, LOCAL, "absolute")
    batch, _, target = faces("expression")
    before = method.mean_boxes.clone()
    assert method.cut(batch["image"]).masks.requires_grad and not torch.equal(method.mean_boxes, before)
    assert not method.cut(batch["image"], end_to_end=False).masks.requires_grad
    before = method.mean_boxes.clone()
    assert method.run(batch["image"], target)["cut"].masks.requires_grad
    assert not torch.equal(method.mean_boxes, before)
    assert not method.run(batch["image"], target, end_to_end=False)["cut"].masks.requires_grad


def test_the_mean_boxes_move_by_a_hundredth_towards_those_of_the_real_faces_that_show_the_part() -> None:
    method = make(PUBLISHED, LOCAL, "absolute")
    batch, _, _ = faces("expression")
    before = method.mean_boxes.clone()
    hard = face_parts.hard_part_masks(method.segmenter(batch["image"]).argmax(1), method.config.parts)
    tight, valid = face_parts.tight_boxes(hard), hard.sum((2, 3)) >= 300 / 64
    expected = [before[part] + 0.01 * (tight[valid[:, part], part].mean(0) - before[part]) for part in range(4)]
    method.cut(batch["image"])
    torch.testing.assert_close(method.mean_boxes, torch.stack(expected))
    method.cut(batch["image"], real=False)
    torch.testing.assert_close(method.mean_boxes, torch.stack(expected))


def test_before_training_missing_parts_are_where_apdrawing_has_them() -> None:
    boxes = make(PUBLISHED, LOCAL, "absolute").mean_boxes * 256 / SIZE
    centres, sizes = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    torch.testing.assert_close(sizes, torch.tensor([[56.0, 40.0], [56.0, 40.0], [48.0, 48.0], [64.0, 40.0]]))
    wanted = torch.tensor([[0.365, 0.375], [0.635, 0.375], [0.5, 0.53], [0.5, 0.7]]) * 256
    torch.testing.assert_close(centres, wanted, rtol=1e-4, atol=1e-3)


def test_rectangles_keep_their_size_around_the_centre_of_the_part() -> None:
    method = make(PUBLISHED, LOCAL, "absolute", extract="rectangles", end_to_end=False).eval()
    batch, _, _ = faces("expression")
    cut, free = method.cut(batch["image"]), make(PUBLISHED, LOCAL, "absolute", margin=0.0, least_side=0.0).eval()
    own = free.cut(batch["image"]).boxes
    centres = [(boxes[..., :2] + boxes[..., 2:]) / 2 for boxes in (cut.boxes, own)]
    torch.testing.assert_close(*centres)
    assert (cut.masks == 1).all()


def test_translation_is_the_fused_edit() -> None:
    for form in ("absolute", "relative"):
        method = make(PUBLISHED, LOCAL, form).eval()
        batch, source, target = faces("expression")
        with torch.no_grad():
            expected = passed(method, batch["image"], told(source, target, form), True, False)["fusion"]
            torch.testing.assert_close(method.translate(batch["image"], source, target), expected)


@pytest.mark.parametrize("end_to_end", [True, False])
def test_rates(end_to_end: bool) -> None:
    method = make(
        PUBLISHED, LOCAL, "absolute", end_to_end=end_to_end, segmenter_learning_rate=7.0,
        adversary=PUBLISHED.config(learning_rate=3.0), local_adversary=LOCAL.config(layers=2, learning_rate=5.0),
    )  # fmt: skip
    nets, critics = method.generator, method.discriminator
    wanted = [(nets[name], 1.0) for name in ("global", "local", "fusion")]
    assert_rates(method.generator_parameters(), [*wanted, *([(nets["segmenter"], 7.0)] if end_to_end else [])])
    assert_rates(
        method.discriminator_parameters(), [(critics["global"], 3.0), (critics["fusion"], 3.0), (critics["local"], 5.0)]
    )
    assert all(p.requires_grad is end_to_end for p in method.segmenter.parameters())
    assert method.averaged is method.generator


@pytest.mark.parametrize(
    ("changes", "segmenter"),
    [
        ({}, False),
        ({"segmenter_batch_norm": "train"}, True),
        ({"segmenter_batch_norm": "train", "end_to_end": False}, False),
    ],
)
def test_the_mode_of_the_segmenter(changes: dict[str, Any], segmenter: bool) -> None:
    method = make(PUBLISHED, LOCAL, "absolute", segmenter_anchor=1.0, **changes)
    assert method.segmenter.norm.training is segmenter and not method.anchor.norm.training  # type: ignore[union-attr]
    assert not any(p.requires_grad for p in method.anchor.parameters())  # type: ignore[union-attr]
    assert method.generator["global"].training and not method.eval().segmenter.norm.training


@pytest.mark.parametrize("form", [{}, {"head": "masked", "stem": "unshuffle"}])
def test_networks_have_the_shapes_of_the_settings(form: dict[str, Any]) -> None:
    sizes = {"conv_dim": 8, "residual_blocks": 2, "local_conv_dim": 12, "local_residual_blocks": 3}
    method = make(PUBLISHED, LOCAL, "absolute", **sizes, **form, fusion_conv_dim=16, fusion_residual_blocks=3)
    nets = method.generator
    for network, plain in (
        (nets["global"], hier_seg.Generator(4, conv_dim=8, residual_blocks=2, **form)),
        (nets["local"], hier_seg.Generator(4, conv_dim=12, residual_blocks=3, parts=4, **form)),
        (nets["fusion"], hier_seg.Fusion(16, 3, form.get("head", "direct"))),
    ):
        assert [p.shape for p in network.parameters()] == [p.shape for p in plain.parameters()]


def test_published_settings() -> None:
    config = hier_seg.Config()
    assert config.adversary == AdversaryConfig()
    assert config.local_adversary == dataclasses.replace(AdversaryConfig(), layers=5)
    assert (config.lambda_global, config.lambda_local, config.lambda_fusion) == (0.2, 0.3, 0.5)
    assert (config.lambda_reconstruction, config.fusion_reconstruction, config.phi) == (10.0, "full", 10.0)
    assert (config.conv_dim, config.residual_blocks, config.local_conv_dim, config.local_residual_blocks) == (
        64,
        6,
        64,
        6,
    )
    assert (config.fusion_conv_dim, config.fusion_residual_blocks, config.local_size) == (64, 4, 64)
    assert (config.extract, config.end_to_end, config.mask_space, config.combine) == (
        "segmentation",
        True,
        "unit",
        "max",
    )
    assert (config.margin, config.least_side, config.least_area) == (4.0, 16.0, 25.0)
    assert (config.segmenter_learning_rate, config.segmenter_every, config.segmenter_anchor) == (1.0, 1, 0.0)
    assert (config.segmenter_batch_norm, config.stem, config.head) == ("frozen", "conv", "direct")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"parts": ()}, "parts"), ({"parts": ("nose", "nose")}, "parts"), ({"parts": ("ear",)}, "parts"),
        ({"extract": "rectangles"}, "end_to_end"), ({"segmenter_every": 0}, "segmenter_every"), ({"phi": 0.0}, "phi"),
    ],
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        hier_seg.Config(**changes)
    assert hier_seg.Config(phi=0.5, end_to_end=False, extract="rectangles").phi == 0.5
