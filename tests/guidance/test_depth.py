"""Depth guidance: losses against independent formulas, gradients, weights, every condition, resume through the loop."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mimik.components.adversary import AdversaryConfig
from mimik.components.conditions import Condition, ConditionConfig
from mimik.components.context import Context
from mimik.faces.prepared.store import FaceStore
from mimik.guidance.depth import Config, Guide, weigh
from mimik.methods import stargan
from mimik.networks.depth_network import DepthNetwork
from mimik.networks.stargan import Discriminator
from mimik.training.guided import Guided
from mimik.training.loop import TrainingConfig, train
from tests.methods.world import CLASSES, SIZE, make_batch, make_context, reached
from tests.tiny import make_store

CRITIC = AdversaryConfig(conv_dim=8, layers=3)
SMALL: dict[str, Any] = {"conv_dim": 8, "residual_blocks": 1}


def make_guide(geometry: Any = "depth", domains: Any = "two_way", space: Any = "expression", **changes: Any) -> Guide:
    torch.manual_seed(0)
    context = make_context(space=space)
    if changes.get("start") != "scratch":
        context.pretrained["depth_network"] = DepthNetwork(geometry, domains, **SMALL)
    return Guide(Config(**{"adversary": CRITIC, **SMALL, **changes}), context)


def edited_batch() -> dict[str, Tensor]:
    """A batch as a method leaves it: an edit with a graph, and another one without."""
    batch = make_batch()
    torch.manual_seed(4)
    batch["edited"] = (torch.rand(8, 3, SIZE, SIZE) * 2 - 1).requires_grad_()
    return batch


def test_generator_terms_are_those_of_eq_8() -> None:
    guide, batch = make_guide(), edited_batch()
    total, terms = guide.generator_loss(batch, 0)
    with torch.no_grad():
        network = guide.network.generator
        to_map, to_rgb = (torch.eye(2)[[i] * 8] for i in (1, 0))
        maps = network(batch["edited"], to_map).mean(1, keepdim=True).expand(-1, 3, -1, -1)
        realness, logits, _ = guide.adversary.network(maps)
        adv, cls = -realness.mean(), F.cross_entropy(logits[:, 0], batch["target"])
        rec = (batch["edited"] - network(maps, to_rgb)).abs().mean()
    for name, value in {"adv": adv, "cls": cls, "rec": rec}.items():
        torch.testing.assert_close(terms[name].detach(), value)
    torch.testing.assert_close(total.detach(), adv + cls + 10 * rec)


def test_the_critic_sees_true_maps_under_their_label_and_is_kept_from_certainty() -> None:
    guide, batch = make_guide(confidence_penalty=0.3), make_batch()
    batch["fake"] = torch.rand(8, 3, SIZE, SIZE) * 2 - 1
    total, terms = guide.discriminator_loss(batch, 0)
    with torch.no_grad():
        real, fake = batch["depth"].repeat(1, 3, 1, 1), guide.network.to_maps(batch["fake"])
        critic = guide.adversary.network
        (real_map, real_logits, _), (fake_map, fake_logits, _) = critic(real), critic(fake)
    adv = fake_map.mean() - real_map.mean()
    cls = F.cross_entropy(real_logits[:, 0], batch["label"])
    entropy = sum(
        torch.distributions.Categorical(logits=logits[:, 0]).entropy().mean() for logits in (real_logits, fake_logits)
    )
    for name, value in {"adv": adv, "cls": cls, "entropy": entropy}.items():
        torch.testing.assert_close(terms[name].detach(), torch.as_tensor(value))
    torch.testing.assert_close(total, adv + cls - 0.3 * entropy + 10 * terms["gp"])


def gradients(guide: Guide, terms: str, step: int = 0) -> tuple[Tensor, list[Tensor]]:
    """Gradient of the edit and of G_depth's weights; `terms` chooses between the whole loss and a single term."""
    batch = edited_batch()
    total, parts = guide.generator_loss(batch, step)
    loss = total if terms == "total" else parts[terms]
    leaves = [batch["edited"], *guide.network.parameters()]
    first, *rest = torch.autograd.grad(loss, leaves, allow_unused=True)
    return first, rest


def test_w_scales_what_the_adversary_tells_the_method_and_nothing_else() -> None:
    full, part = make_guide(weight=1.0), make_guide(weight=0.25)
    for term, factor in (("adv", 0.25), ("cls", 0.25), ("rec", 1.0)):
        torch.testing.assert_close(gradients(part, term)[0], factor * gradients(full, term)[0])
    for whole, scaled in zip(gradients(full, "total")[1], gradients(part, "total")[1], strict=True):
        torch.testing.assert_close(whole, scaled, rtol=1e-3, atol=1e-5)  # two passes in place of one


def test_nothing_reaches_the_method_where_both_weights_are_zero() -> None:
    guide = make_guide(weight=0.0, weight_reconstruction=0.0)
    edit, own = gradients(guide, "total")
    assert not edit.any() and any(g is not None and g.any() for g in own)


def test_weighing_keeps_the_values() -> None:
    values = torch.randn(3, requires_grad=True)
    assert torch.equal(weigh(values, 0.3), values)
    assert torch.allclose(torch.autograd.grad(weigh(values, 0.3).sum(), values)[0], torch.full((3,), 0.3))


def test_lazy_reconstruction_keeps_its_weight_on_average() -> None:
    always, lazy = make_guide(), make_guide(reconstruction_every=4)
    usual, never, due = (g.generator_loss(edited_batch(), s)[0] for g, s in ((always, 4), (lazy, 5), (lazy, 4)))
    torch.testing.assert_close(due - never, 4 * (usual - never), rtol=1e-4, atol=1e-5)
    assert "rec" not in lazy.generator_loss(edited_batch(), 5)[1]


def test_a_network_of_one_way_has_no_reconstruction() -> None:
    assert make_guide(domains="one_way").generator_loss(edited_batch(), 0)[1].keys() == {"adv", "cls"}


def make_task(guide: Guide, **changes: Any) -> Guided:
    torch.manual_seed(1)
    config = stargan.Config(**{**SMALL, "adversary": CRITIC, **changes})
    return Guided(stargan.Method(config, Context(guide.condition, SIZE)), {"depth": guide})


@pytest.mark.parametrize("start", ["pretrained", "scratch", "frozen"])
def test_updates_reach_their_own_networks_only(start: str) -> None:
    task = make_task(make_guide(start=start)).train()
    guide, method = task.guides["depth"], task.method
    task.discriminator_loss(make_batch(), 0)[0].backward()
    assert reached(guide.adversary) and reached(method.discriminator)
    assert not reached(guide.network) and not reached(method.generator)
    task.zero_grad(set_to_none=True)
    critics = [p for network in (guide.adversary, method.discriminator) for p in network.parameters()]
    for parameter in critics:
        parameter.requires_grad_(False)
    batch = make_batch()
    task.generator_loss(batch, 0)[0].backward()
    assert reached(method.generator) and reached(guide.network) is (start != "frozen")
    listed = {id(p) for group in task.generator_parameters() for p in group["params"]}
    expected = [*method.generator.parameters(), *(guide.network.parameters() if start != "frozen" else [])]
    assert listed == {id(p) for p in expected}
    assert {id(p) for group in task.discriminator_parameters() for p in group["params"]} == {id(p) for p in critics}
    # The depth losses alone reach the RGB generator.
    task.zero_grad(set_to_none=True)
    guide.generator_loss({**batch, "edited": method.translate(batch["image"], *_states(task, batch))}, 0)[0].backward()
    assert reached(method.generator)


def _states(task: Guided, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    return task.method.condition.source(batch), task.method.condition.target(batch)


def test_a_few_steps_lower_the_joint_loss_on_a_fixed_batch() -> None:
    task, batch = make_task(make_guide()).train(), make_batch()
    optimiser = torch.optim.Adam([p for g in task.generator_parameters() for p in g["params"]], lr=2e-3)
    totals = []
    for _ in range(10):
        total, terms = task.generator_loss(batch, 0)
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
        totals.append(float(total.detach()))
    assert totals[-1] < totals[0] and {"depth/adv", "depth/cls", "depth/rec", "cycle"} <= terms.keys()


@pytest.mark.parametrize(("space", "penalty"), [("expression", 0.1), ("attributes", 0.1), ("action_units", 0.0)])
def test_every_condition_can_be_guided(space: str, penalty: float) -> None:
    adversary = AdversaryConfig(conv_dim=8, layers=3, objective="hinge", per_class=True, r1_gamma=1.0)
    task = make_task(make_guide(space=space, confidence_penalty=penalty, adversary=adversary)).train()
    batch = make_batch()
    for loss in (task.generator_loss, task.discriminator_loss):
        total, terms = loss(batch, 0)
        assert torch.isfinite(total) and torch.isfinite(terms["depth/cls"])
    assert ("depth/entropy" in terms) is (penalty > 0)
    assert "depth" in task.reads and task.method.condition.reads <= task.reads
    critic = task.guides["depth"].adversary.network
    assert critic(batch["image"])[1].shape[2] == task.method.condition.dim


def test_action_units_have_no_confidence_to_penalise() -> None:
    with pytest.raises(ValueError, match="confidence_penalty: 0"):
        make_guide(space="action_units")


def test_normals_are_another_geometry() -> None:
    guide = make_guide("normals")
    assert "normals" in guide.reads and "depth" not in guide.reads

    def loss(without: str) -> Tensor:
        batch = make_batch()
        batch["fake"] = batch["image"]
        batch[without] = torch.zeros_like(batch[without])
        return guide.discriminator_loss(batch, 0)[1]["cls"]

    assert torch.equal(loss("depth"), loss("mask")) and not torch.equal(loss("normals"), loss("mask"))


def critic_of(classes: int = CLASSES, conv_dim: int = 8) -> Discriminator:
    torch.manual_seed(9)
    return Discriminator(SIZE, classes, conv_dim=conv_dim, layers=3)


@pytest.mark.parametrize("space", ["expression", "action_units"])
def test_the_pre_trained_critic_is_taken_over(space: str) -> None:
    """Trunk and realness always, the condition head where it was trained for the same condition."""
    context = make_context(space=space)
    network = DepthNetwork(**SMALL)
    network.critic = critic = critic_of()
    context.pretrained["depth_network"] = network
    guide = Guide(Config(adversary=CRITIC, confidence_penalty=0.0), context)
    own, given = guide.adversary.network.state_dict(), critic.state_dict()
    assert all(torch.equal(own[name], value) for name, value in given.items() if not name.startswith("class_head"))
    same = own["class_head.weight"].shape == given["class_head.weight"].shape
    assert same is (space == "expression")
    assert not same or torch.equal(own["class_head.weight"], given["class_head.weight"])
    assert sum(id(p) in {id(q) for q in critic.parameters()} for p in guide.parameters()) == 0


def test_a_critic_of_another_shape_or_no_network_is_refused() -> None:
    context = make_context()
    with pytest.raises(ValueError, match="needs a pre-trained network of the kind 'depth_network'"):
        Guide(Config(adversary=CRITIC), context)
    context.pretrained["depth_network"] = DepthNetwork(**SMALL)
    context.pretrained["depth_network"].critic = critic_of(conv_dim=16)
    with pytest.raises(ValueError, match="`adversary` differs from that of the pre-trained depth network"):
        Guide(Config(adversary=CRITIC), context)


@pytest.mark.parametrize("changes", [{"weight": -0.1}, {"reconstruction_every": 0}])
def test_values_that_make_no_sense_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        Config(**changes)


def test_the_critic_sees_the_map_that_the_generator_was_updated_on() -> None:
    task = make_task(make_guide(), reuse_fake=True, critic_updates=1).train()
    batch, fresh = make_batch(), make_batch()
    task.generator_loss(batch, 0)
    assert not batch["depth/fake"].requires_grad
    fresh["fake"] = batch["edited"].detach()
    totals = []
    for given in (batch, fresh):
        torch.manual_seed(2)
        totals.append(task.guides["depth"].discriminator_loss(given, 0)[0])
    torch.testing.assert_close(*totals)


def with_maps(directory: Path, size: int = 16) -> FaceStore:
    store = make_store(directory, size=size)
    random = np.random.default_rng(0)
    np.save(directory / f"depth_{size}.npy", random.integers(0, 256, (len(store), size, size), np.uint8))
    return FaceStore(directory, size)


def test_a_resumed_run_ends_like_an_undisturbed_one(tmp_path: Path) -> None:
    store = with_maps(tmp_path / "store")

    def run(folder: str, steps: int) -> Guided:
        torch.manual_seed(0)
        condition = Condition(ConditionConfig(), store.classes)
        context = Context(condition, store.size, {"depth_network": DepthNetwork(**SMALL)})
        critic = AdversaryConfig(conv_dim=8, layers=2)
        guide = Guide(Config(adversary=critic), context)
        method = stargan.Method(stargan.Config(**SMALL, critic_updates=2, adversary=critic), context)
        task = Guided(method, {"depth": guide})
        original = Guided.generator_loss

        def stop(self: Guided, batch: dict[str, Tensor], step: int) -> Any:
            if step == steps:
                raise RuntimeError("power cut")
            return original(self, batch, step)

        task.generator_loss = stop.__get__(task)  # type: ignore[method-assign]
        config = TrainingConfig(steps=4, batch_size=4, log_every=2, flip=False, checkpoint_seconds=0.0)
        arguments: dict[str, Any] = {"seed": 3, "fingerprint": {}, "label": "test", "device": torch.device("cpu")}
        try:
            train(task, store, store.rows("train"), config, checkpoint_dir=tmp_path / folder, **arguments)
        except RuntimeError as error:
            assert str(error) == "power cut"
        return task

    whole = run("whole", 99).state_dict()
    run("torn", 2)
    resumed = run("torn", 99).state_dict()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
