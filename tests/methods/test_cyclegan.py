from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mimik.labels import EXPRESSIONS
from mimik.methods.cyclegan import TRAINING, Config, Method
from mimik.networks.cyclegan import one_part
from mimik.training.loop import TrainingConfig, train
from tests.methods.world import (
    CLASSES,
    SIZE,
    check_generator_learns,
    check_round_trip,
    check_updates,
    make_batch,
    make_context,
)
from tests.tiny import make_store

SMALL: dict[str, Any] = {"conv_dim": 4, "residual_blocks": 1, "critic_conv_dim": 4, "critic_layers": 2}
VARIANTS: dict[str, dict[str, Any]] = {
    "published": {},
    "demo": {"head": "masked", "stem": "unshuffle"},
    "all pairs": {"pairs": "all"},
}


def make(**changes: Any) -> Method:
    torch.manual_seed(0)
    return Method(Config(**{**SMALL, **changes}), make_context())


@pytest.mark.parametrize("variant", VARIANTS)
def test_common_checks(variant: str) -> None:
    check_generator_learns(make(**VARIANTS[variant]))
    check_updates(method := make(**VARIANTS[variant]), [method.discriminator], [method.generator])
    check_round_trip(lambda: make(**VARIANTS[variant]))


def test_every_expression_has_a_way_to_the_hub_and_back() -> None:
    method = make()
    assert method.edits_class.tolist() == [0, 0, 0, 1, 2, 3]
    assert method.first.tolist() == [[-1, 0, 1, 2], [3, -1, 3, 3], [4, 4, -1, 4], [5, 5, 5, -1]]
    assert method.shown.tolist() == [[0, 1, 2, 3], [0, 1, 0, 0], [0, 0, 2, 0], [0, 0, 0, 3]]
    every = make(pairs="all")
    assert every.parts == CLASSES * (CLASSES - 1)
    assert every.shown.tolist() == [[0, 1, 2, 3]] * 4
    off = every.first[~torch.eye(CLASSES, dtype=torch.bool)]
    assert sorted(off.tolist()) == list(range(every.parts))
    inverse = (every.first.T - every.first) % every.parts
    assert (inverse[~torch.eye(CLASSES, dtype=torch.bool)] == every.parts // 2).all()
    assert make(hub="sadness").edits_class.tolist() == [2, 2, 2, 0, 1, 3]


def part(method: Method, index: int, images: Tensor) -> Tensor:
    """Generator `index` as a network of its own."""
    network = type(method.generator)(1, conv_dim=4, residual_blocks=1)
    network.load_state_dict(one_part(method.generator.state_dict(), index, method.parts))
    made: Tensor = network(images)
    return made


def test_losses_are_those_of_the_paper_pair_by_pair() -> None:
    """Pair after pair with networks of their own, classes of unequal number, one of them absent."""
    method, batch = make().train(), make_batch()
    label = batch["label"] = torch.tensor([0, 1, 1, 0, 2, 1, 0, 0])
    image = batch["image"]
    terms = {"adv": 0.0, "cycle": 0.0, "self": 0.0}
    critics = 0.0
    network = type(method.discriminator)(1, conv_dim=4, layers=2)
    with torch.no_grad():
        for index in range(6):
            here, there = (0, index + 1) if index < 3 else (index - 2, 0)
            network.load_state_dict(one_part(method.discriminator.state_dict(), index, 6))
            x, y, inverse = image[label == here], image[label == there], (index + 3) % 6
            if len(x):
                fake = part(method, index, x)
                terms["adv"] += float(((network(fake) - 1) ** 2).mean())
                terms["cycle"] += float((part(method, inverse, fake) - x).abs().mean())
                # The buffers are empty, so that the discriminators see the new edits.
                critics += 0.5 * float((network(fake) ** 2).mean())
            if len(y):
                terms["self"] += float((part(method, index, y) - y).abs().mean())
                critics += 0.5 * float(((network(y) - 1) ** 2).mean())
        total, found = method.generator_loss(batch, 0)
        judged, _ = method.discriminator_loss(batch, 0)
    for name, value in terms.items():
        assert float(found[name]) == pytest.approx(value, rel=1e-4), name
    assert float(total) == pytest.approx(terms["adv"] + 10 * terms["cycle"] + 5 * terms["self"], rel=1e-4)
    assert float(judged) == pytest.approx(critics, rel=1e-4)


def test_a_generator_alone_is_changed_by_its_own_pair() -> None:
    method, batch = make().train(), make_batch()
    batch["label"] = torch.tensor([0, 1, 1, 0, 0, 1, 0, 0])
    method.generator_loss(batch, 0)[0].backward()
    network: Any = method.generator.network
    last = network[-1]
    sizes = [float(piece.abs().max()) for piece in last.weight.grad.chunk(6)]
    assert min(sizes[0], sizes[3]) > 0, "neutral and happiness are there"
    # Other generators see neutral faces only: forward ones as their input, backward ones for their identity.
    batch["label"] = torch.ones(8, dtype=torch.int64)
    method.zero_grad(set_to_none=True)
    method.generator_loss(batch, 0)[0].backward()
    sizes = [float(piece.abs().max()) for piece in last.weight.grad.chunk(6)]
    assert min(sizes[0], sizes[3]) > 0 and max(sizes[1], sizes[2], sizes[4], sizes[5]) == 0


def test_the_edit_that_guides_see_is_the_one_made_of_every_face() -> None:
    for pairs in ("hub", "all"):
        method, batch = make(pairs=pairs).train(), make_batch()
        image, label, target = batch["image"], batch["label"], torch.tensor([0, 2, 2, 1, 3, 0, 1, 3])
        batch["target"] = target.clone()
        method.generator_loss(batch, 0)
        direct = (label == 0) | (target == 0) | (label == target) | (pairs == "all")
        assert batch["target"].tolist() == torch.where(direct, target, 0).tolist()
        states = (F.one_hot(labels, CLASSES).float() for labels in (label, batch["target"]))
        with torch.no_grad():
            expected = method.translate(image, *states)
        torch.testing.assert_close(batch["edited"].detach(), expected, atol=1e-5, rtol=1e-4)
        assert torch.equal(batch["fake"], batch["edited"].detach())
        assert torch.equal(batch["edited"][0], image[0]), "asked for what it shows"


def test_translation_goes_through_the_hub_and_cross_fades() -> None:
    method, image = make().eval(), make_batch()["image"][:1]
    happy, sad, neutral = (torch.eye(CLASSES)[EXPRESSIONS.index(n)][None] for n in ("happiness", "sadness", "neutral"))
    with torch.no_grad():
        expected = part(method, 1, part(method, 3, image))
        found = method.translate(image, happy, sad)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(
            method.translate(image, happy, neutral), part(method, 3, image), atol=1e-5, rtol=1e-4
        )
        assert torch.equal(method.translate(image, happy, happy), image)
        faded = method.translate(image, happy, 0.25 * happy + 0.75 * sad)
        torch.testing.assert_close(faded, 0.25 * image + 0.75 * expected, atol=1e-5, rtol=1e-4)


def levels(*values: float) -> Tensor:
    """Edits (m, 6 * 3, S, S), one colour each, the same for every part."""
    return torch.tensor(values)[:, None, None, None].expand(-1, 18, SIZE, SIZE) / 127.5 - 1


def test_the_buffer_fills_then_exchanges_half() -> None:
    method = make(buffer=3)
    here = torch.ones(1, 6)
    here[0, 5] = 0
    for value in (10.0, 20.0, 30.0):
        torch.testing.assert_close(method._from_buffer(levels(value), here), levels(value))
    assert method.kept_count.tolist() == [3, 3, 3, 3, 3, 0], "an absent edit is not kept"
    seen, held = [], {10, 20, 30}
    torch.manual_seed(0)
    for value in range(40, 140):
        shown = method._from_buffer(levels(float(value)), here)
        first = round(float((shown[0, 0, 0, 0] + 1) * 127.5))
        if first != value:
            assert first in held
            held = held - {first} | {value}
        assert {int(kept[0]) for kept in method.kept[0]} == held
        seen.append(first == value)
    assert 30 < sum(seen) < 70
    assert method.kept[5].max() == 0


def test_discriminators_can_be_trained_first_on_real_faces_alone() -> None:
    method, batch = make(head="residual", critic_head_start=4).train(), make_batch()
    assert [[update.due(step) for update in method.updates] for step in (3, 4)] == [[False, True], [True, True]]
    method.discriminator_loss(batch, 0)
    assert torch.equal(batch["edited"], batch["image"]), "a residual head begins with copies"


class Stopped(Method):
    """Breaks down in step 4."""

    def generator_loss(self, batch: Any, step: int) -> Any:
        if step == 4:
            raise RuntimeError("power cut")
        return super().generator_loss(batch, step)


def test_resume_is_exact_with_the_buffer(tmp_path: Path) -> None:
    store = make_store(tmp_path / "s", size=SIZE)
    settings = TrainingConfig(steps=7, batch_size=8, ema=0.9, stratified=True, checkpoint_seconds=0.0)
    ended = []
    for folder, kinds in (("a", [Method]), ("b", [Stopped, Method])):
        for kind in kinds:
            torch.manual_seed(0)
            method = kind(Config(**SMALL, buffer=5), make_context())
            arguments: dict[str, Any] = {"seed": 1, "checkpoint_dir": tmp_path / folder, "fingerprint": {}}
            try:
                train(method, store, store.rows("train"), settings, label="test", **arguments)
            except RuntimeError as error:
                assert kind is Stopped and "power cut" in str(error)
        ended.append(method.state_dict())
    assert all(torch.equal(value, ended[1][name]) for name, value in ended[0].items())
    assert ended[0]["kept_count"].tolist() == [5] * 6 and ended[0]["kept"].float().std() > 0


def test_masks_neither_keep_nor_replace_everything_at_the_start() -> None:
    method, image = make(**VARIANTS["demo"]), make_batch()["image"]
    edited, change = method.generator.network.edit(image.repeat(1, 6, 1, 1), image.new_zeros(8, 0))  # type: ignore[operator]
    assert (
        0.1 < float(change.detach().mean()) < 0.9
        and float((edited - image.repeat(1, 6, 1, 1)).detach().abs().mean()) > 0.01
    )


def test_what_cannot_be_asked_is_refused() -> None:
    with pytest.raises(ValueError, match="not among the classes neutral, happiness"):
        make(hub="smile")
    refused: list[dict[str, Any]] = [{"space": "action_units"}, {"form": "relative"}]
    for condition in refused:
        with pytest.raises(ValueError, match="edits only expressions"):
            Method(Config(**SMALL), make_context(**condition))


def test_published_settings() -> None:
    config = Config()
    assert (config.lambda_cycle, config.lambda_identity, config.buffer) == (10.0, 5.0, 50)
    assert TRAINING["learning_rate"] == 2e-4 and TRAINING["stratified"]
