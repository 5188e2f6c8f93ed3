from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mimik.components.adversary import AdversaryConfig
from mimik.faces import alignment
from mimik.faces.prepared.store import FaceStore
from mimik.methods import gannotation
from mimik.methods.gannotation import Config, Method, fitted
from mimik.training.batches import mirrored_landmarks
from mimik.training.loop import TrainingConfig, train
from tests.methods.world import (
    CLASSES,
    SIZE,
    check_generator_learns,
    check_round_trip,
    check_updates,
    make_batch,
    make_context,
    states,
)
from tests.tiny import make_store

ADVERSARY = AdversaryConfig(conv_dim=8, layers=3, lambda_classification=10.0)
SMALL: dict[str, Any] = {"conv_dim": 8, "residual_blocks": 1, "adversary": ADVERSARY}
DEMO: dict[str, Any] = {
    "reuse_fake": True, "head": "masked", "stem": "unshuffle", "critic_updates": 1, "lambda_adversarial": 1.0,
    "adversary": AdversaryConfig(conv_dim=8, layers=3, objective="hinge", per_class=True, r1_gamma=1.0),
}  # fmt: skip


def make(**changes: Any) -> Method:
    torch.manual_seed(0)
    return Method(Config(**{**SMALL, **changes}), make_context())


@pytest.mark.parametrize("changes", [{}, DEMO, {"lambda_triple": 0.0}], ids=["published", "demo", "no triple"])
def test_common_checks(changes: dict[str, Any]) -> None:
    check_generator_learns(make(**changes))
    check_updates(method := make(**changes), [method.discriminator], [method.generator])
    check_round_trip(lambda: make(**changes))


def test_totals_are_the_weighted_terms() -> None:
    method, batch = make().train(), make_batch()
    total, terms = method.generator_loss(batch, 0)
    expected = 0.01 * (terms["adv"] + 10 * terms["cls"]) + terms["cycle"] + terms["triple"]
    torch.testing.assert_close(total, expected)
    total, terms = method.discriminator_loss(batch, 0)
    torch.testing.assert_close(total, terms["adv"] + 10 * terms["cls"] + 10 * terms["gp"])


def test_consistencies_are_those_of_the_paper() -> None:
    """One pass at a time, with transforms of `mimik.faces.alignment`, against the terms of the loss."""
    method, batch = make().eval(), make_batch()
    own, others = (batch[name].double() / SIZE for name in ("landmarks", "target_landmarks"))

    def brought(shape: torch.Tensor, to: torch.Tensor) -> torch.Tensor:
        moved = [
            alignment.apply(alignment.similarity(a.numpy(), b.numpy()), a.numpy())
            for a, b in zip(shape, to, strict=True)
        ]
        return torch.from_numpy(np.stack(moved))

    asked = brought(others, own)
    third = brought(torch.cat([asked[1:], asked[:1]]), own)
    image, make_edit = batch["image"], method.generator
    with torch.no_grad():
        edited = make_edit(image, asked.float())
        back = make_edit(edited, own.float())
        through, direct = make_edit(edited, third.float()), make_edit(image, third.float())
        _, terms = method.generator_loss(batch, 0)
    torch.testing.assert_close(batch["edited"], edited, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(terms["cycle"], (image - back).abs().mean())
    torch.testing.assert_close(terms["triple"], (direct - through).abs().mean())
    method.config = Config(**SMALL, consistency_every=3)
    for step, sparse in ((3, True), (4, False)):
        total, terms = method.generator_loss(batch, step)
        assert ("cycle" in terms) is sparse
        expected = 0.01 * (terms["adv"] + 10 * terms["cls"])
        expected = expected + 3 * (terms["cycle"] + terms["triple"]) if sparse else expected
        torch.testing.assert_close(total, expected)


def test_fitting_undoes_a_similarity_transform_and_never_mirrors() -> None:
    random = np.random.default_rng(0)
    points = random.random((3, 68, 2))
    turned = np.stack([alignment.apply(np.array([[0.8, -0.5, 3.0], [0.5, 0.8, -1.0]]), p) for p in points])
    found = fitted(torch.from_numpy(points), torch.from_numpy(turned))
    torch.testing.assert_close(found, torch.from_numpy(turned))
    mirrored = points * [-1, 1]
    found = fitted(torch.from_numpy(points), torch.from_numpy(mirrored))
    for one, shape, goal in zip(found, points, mirrored, strict=True):
        expected = alignment.apply(alignment.similarity(shape, goal), shape)
        torch.testing.assert_close(one, torch.from_numpy(expected))
    single = torch.full((1, 68, 2), 0.3)
    assert torch.isfinite(fitted(single, torch.rand(1, 68, 2))).all()


def test_mean_shapes_are_the_means_of_the_faces_seen() -> None:
    method = make().train()
    batches = [make_batch() for _ in range(3)]
    for number, batch in enumerate(batches):
        batch["landmarks"] = batch["landmarks"] + number
        batch["label"] = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2])
        method.discriminator_loss(batch, 0)
    shapes = torch.cat([batch["landmarks"] for batch in batches]) / SIZE
    labels = torch.cat([batch["label"] for batch in batches])
    for label in range(3):
        torch.testing.assert_close(method.class_landmarks[label], shapes[labels == label].mean(0))
    assert (method.class_landmarks[3] == 0.5).all(), "no face of this class was seen"
    before = method.class_landmarks.clone()
    method.generator_loss(batches[0], 0)
    method.translate(batches[0]["image"], *states(method, batches[0]))
    assert torch.equal(method.class_landmarks, before)


def test_translation_asks_for_the_mean_shape_fitted_to_the_sources() -> None:
    method, batch = make().eval(), make_batch()
    method.class_landmarks.copy_(torch.rand(CLASSES, 68, 2))
    seen: list[torch.Tensor] = []
    method.generator.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[1]))
    source, target = torch.eye(CLASSES)[:2]
    with torch.no_grad():
        for share in (0.0, 0.5, 1.0):
            method.translate(batch["image"][:1], source[None], torch.lerp(source, target, share)[None])
    own, wanted = method.class_landmarks[:2].double().numpy()
    for asked, share in zip(seen, (0.0, 0.5, 1.0), strict=True):
        shape = (1 - share) * own + share * wanted
        expected = alignment.apply(alignment.similarity(shape, own), shape)
        torch.testing.assert_close(asked[0].double(), torch.from_numpy(expected), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(seen[0][0], method.class_landmarks[0])


def test_the_critic_is_told_labels_alone_during_its_head_start() -> None:
    method, batch = make(critic_head_start=5, reuse_fake=True).train(), make_batch()
    _, terms = method.discriminator_loss(batch, 4)
    assert set(terms) == {"cls"} and "fake" not in batch
    assert [(update.name, update.start) for update in method.updates] == [("generator", 5), ("discriminator", 0)]


def test_the_mask_neither_keeps_nor_replaces_everything_at_the_start() -> None:
    method, batch = make(**DEMO).train(), make_batch()
    assert 0.1 < float(method.generator_loss(batch, 0)[1]["change"].detach()) < 0.9


@pytest.mark.parametrize("condition", [{"space": "action_units"}, {"form": "relative"}])
def test_other_conditions_are_refused(condition: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="edits only expressions"):
        Method(Config(**SMALL), make_context(**condition))


def store_with_landmarks(directory: Path) -> FaceStore:
    store = make_store(directory, size=SIZE)
    points = np.random.default_rng(1).random((len(store), 68, 2)).astype(np.float32)
    np.save(directory / "landmarks.npy", points)
    return FaceStore(directory, SIZE)


class Stopped(Method):
    """Breaks down in step 3."""

    def generator_loss(self, batch: Any, step: int) -> Any:
        if step == 3:
            raise RuntimeError("power cut")
        return super().generator_loss(batch, step)


def test_resume_is_exact(tmp_path: Path) -> None:
    store = store_with_landmarks(tmp_path / "s")
    settings = TrainingConfig(steps=6, batch_size=8, ema=0.9, checkpoint_seconds=0.0)
    ended = []
    for folder, kinds in (("a", [Method]), ("b", [Stopped, Method])):
        for kind in kinds:
            torch.manual_seed(0)
            method = kind(Config(**{**SMALL, **DEMO}), make_context())
            arguments: dict[str, Any] = {"seed": 1, "checkpoint_dir": tmp_path / folder, "fingerprint": {}}
            try:
                train(method, store, store.rows("train"), settings, label="test", **arguments)
            except RuntimeError as error:
                assert kind is Stopped and "power cut" in str(error)
        ended.append(method.state_dict())
    assert all(torch.equal(value, ended[1][name]) for name, value in ended[0].items())
    assert float(ended[0]["class_faces"].sum()) == 6 * 8


def test_landmarks_of_other_faces_come_with_the_batch(tmp_path: Path) -> None:
    from mimik.errors import UserError
    from mimik.training.batches import Batches

    store = store_with_landmarks(tmp_path)
    rows = store.rows("train")
    batch = Batches(store, rows, 16, seed=0, reads={"landmarks", "target_landmarks", "target_action_units"}).at(0)
    units = torch.from_numpy(np.asarray(store.action_units()))
    assert store.landmarks is not None
    flipped = 0
    for row, own, asked, wanted in zip(
        *(batch[n] for n in ("row", "landmarks", "target_landmarks", "target_action_units")), strict=True
    ):
        other = int((units == wanted).all(1).nonzero()[0])
        mirrored = not np.array_equal(own.numpy(), store.landmarks[row])
        expected = store.landmarks[other]
        flipped += mirrored
        assert np.array_equal(asked.numpy(), mirrored_landmarks(expected, SIZE) if mirrored else expected)
    assert 0 < flipped < 16
    (tmp_path / "landmarks.npy").unlink()
    with pytest.raises(UserError, match="no landmarks"):
        Batches(FaceStore(tmp_path, SIZE), rows, 16, seed=0, reads={"target_landmarks"})


def test_published_settings() -> None:
    config = Config()
    assert config.adversary.lambda_classification == ADVERSARY.lambda_classification
    assert (config.lambda_adversarial, config.lambda_self, config.lambda_triple) == (0.01, 1.0, 1.0)
    assert gannotation.TRAINING["betas"] == (0.5, 0.9) and config.critic_updates == 4
