"""EF-GAN and its cascade: every loss against its formula, whom gradients reach, boxes, starting from a trained one."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mimik.components.adversary import AdversaryConfig
from mimik.components.conditions import ConditionConfig
from mimik.errors import UserError
from mimik.faces.prepared.store import FaceStore
from mimik.methods import ef_gan
from mimik.networks.stargan import Generator
from mimik.training.loop import TrainingConfig, train
from mimik.training.runs import load_method, train_method
from mimik.training.starting import take_over
from tests.methods.world import (
    SIZE,
    check_generator_learns,
    check_round_trip,
    check_updates,
    make_batch,
    make_context,
    reached,
    states,
)
from tests.tiny import make_store

pytestmark = pytest.mark.slow

SMALL: dict[str, Any] = {
    "conv_dim": 4, "residual_blocks": 1, "local_conv_dim": 4, "local_residual_blocks": 1,
    "refiner_conv_dim": 4, "refiner_residual_blocks": 1,
    "adversary": AdversaryConfig(conv_dim=4, layers=3, lambda_classification=3000.0),
    "local_adversary": AdversaryConfig(conv_dim=4, layers=2),
}  # fmt: skip
HINGE = AdversaryConfig(conv_dim=4, layers=3, objective="hinge", per_class=True, r1_gamma=1.0, initialisation="kaiming")
DEMO: dict[str, Any] = {
    "reuse_fake": True, "stem": "unshuffle", "refiner_head": "masked", "critic_updates": 1, "adversary": HINGE,
    "face_states": True, "local_adversary": AdversaryConfig(conv_dim=4, layers=2, objective="hinge", r1_gamma=1.0),
}  # fmt: skip
VARIANTS: dict[str, dict[str, Any]] = {
    "ef_gan": {},
    "demo": DEMO,
    "global": {"branches": ()},
    "no attention": {"attention": False},
    "no refiner": {"refiner": False},
    "no spectral norm": {"spectral_norm": False, "initialisation": "normal"},
    "cascade": {"modules": 3},
    "cascade demo": {**DEMO, "modules": 2},
    "linear cascade": {"modules": 2, "interpolator": "linear"},
}


def make(condition: dict[str, Any] | None = None, **changes: Any) -> ef_gan.Method:
    torch.manual_seed(0)
    told = {**ef_gan.CONDITION, **(condition or {})}
    return ef_gan.Method(ef_gan.Config(**{**SMALL, **changes}), make_context(**told))


def parts(method: ef_gan.Method, player: str) -> list[nn.Module]:
    networks = getattr(method, player)
    found = [network for module in networks["cascade"] for network in module.values()]
    return [*found, *([networks["interpolator"]] if "interpolator" in networks else [])]


def taken(method: ef_gan.Method, batch: dict[str, Tensor]) -> tuple[list[ef_gan.Step], list[Tensor], list[Tensor]]:
    """What the generator makes of a batch, the states on the way and their pseudo targets."""
    path, pseudo = method.waypoints(*states(method, batch))
    corners = method.corners(batch.get("landmarks"), len(batch["image"]))
    return method.run(batch["image"], path, corners), path, pseudo


def judged(critic: Any, images: Tensor) -> Tensor:
    network = critic.network
    found: Tensor = network.realness_head(network.trunk(images))
    return found


@pytest.mark.parametrize("variant", ["ef_gan", "demo", "no attention", "cascade"])
def test_a_few_steps_lower_the_generator_loss_on_a_fixed_batch(variant: str) -> None:
    check_generator_learns(make(**VARIANTS[variant]), steps=6)


@pytest.mark.parametrize("variant", VARIANTS)
def test_updates_reach_their_own_networks_only(variant: str) -> None:
    method = make(**VARIANTS[variant])
    check_updates(method, parts(method, "discriminator"), parts(method, "generator"))


@pytest.mark.parametrize("variant", ["ef_gan", "demo", "global", "cascade"])
def test_state_round_trip_and_translation(variant: str) -> None:
    check_round_trip(lambda: make(**VARIANTS[variant]))


def own(critic: str) -> str:
    """What the names of a critic's terms begin with."""
    return "" if critic == "final" else f"{critic}/"


@pytest.mark.parametrize("variant", ["ef_gan", "global", "no refiner", "cascade", "linear cascade"])
def test_generator_total_is_eq_6_term_by_term(variant: str) -> None:
    # In evaluation no power iteration moves the weights between the method's pass and this one.
    method, batch = make(**VARIANTS[variant]).eval(), make_batch()
    with torch.no_grad():
        total, terms = method.generator_loss(batch, 0)
        steps, path, pseudo = taken(method, batch)
        expected = torch.zeros(())
        for index, step in enumerate(steps):
            critics, label = method.discriminator["cascade"][index], f"{index + 1}/" if index + 1 < len(steps) else ""
            module = method.generator["cascade"][index]
            for name in critics:
                adversarial = -judged(critics[name], step.made[name]).mean()
                torch.testing.assert_close(terms[f"{label}{own(name)}adv"], adversarial)
                expected = expected + adversarial
            units = critics["final"].network(step.made["final"])[1][:, 0]
            condition = (units - path[index + 1]).square().mean()
            corners = method.corners(batch.get("landmarks"), len(batch["image"]))
            back = method.module_step(module, step.made["final"], path[index + 1], path[index], corners)
            content = (back.made["final"] - step.images["face"]).abs().mean()
            attention = sum(step.attention[name].square().mean() for name in ("face", *method.extents))
            torch.testing.assert_close(terms[f"{label}cls"], condition)
            torch.testing.assert_close(terms[f"{label}cycle"], content)
            torch.testing.assert_close(terms[f"{label}attention"], torch.as_tensor(attention))
            # 3000 over the batch of 2 of the publication.
            expected = expected + 1500 * condition + 10 * content + 0.1 * attention
        if "interpolator" in method.generator:
            interpolation = torch.zeros(())
            for proposed, wanted in zip(path[1:-1], pseudo, strict=True):
                natural = method.discriminator["interpolator"](proposed).mean()
                interpolation = interpolation + (proposed - wanted).square().sum(1).sqrt().mean() - 0.1 * natural
            torch.testing.assert_close(terms["interp"], interpolation)
            expected = expected + interpolation
        else:
            assert "interp" not in terms
    torch.testing.assert_close(total, expected)


@pytest.mark.parametrize("variant", ["ef_gan", "cascade"])
def test_discriminator_total_is_eq_1_and_2_over_all_critics(variant: str) -> None:
    method, batch = make(**VARIANTS[variant]).eval(), make_batch()
    total, terms = method.discriminator_loss(batch, 0)
    with torch.no_grad():
        steps, path, _ = taken(method, batch)
    expected = torch.zeros(())
    for index, step in enumerate(steps):
        critics, label = method.discriminator["cascade"][index], f"{index + 1}/" if index + 1 < len(steps) else ""
        for name, critic in critics.items():
            adversarial = judged(critic, step.made[name]).mean() - judged(critic, steps[0].images[name]).mean()
            torch.testing.assert_close(terms[f"{label}{own(name)}adv"], adversarial)
            assert terms[f"{label}{own(name)}gp"] > 0
            expected = expected + adversarial + 10 * terms[f"{label}{own(name)}gp"]
        units = critics["final"].network(batch["image"])[1][:, 0]
        condition = (units - path[0]).square().mean()
        torch.testing.assert_close(terms[f"{label}cls"], condition)
        assert [name for name in terms if re.fullmatch(rf"{label}(\D+/)?cls", name)] == [f"{label}cls"]
        expected = expected + 1500 * condition
    if len(steps) > 1:
        expected = expected + terms["interp/adv"] + 10 * terms["interp/gp"]
    torch.testing.assert_close(total, expected)


def test_the_critic_of_action_units_is_wgan_gp() -> None:
    method, batch = make(modules=2).eval(), make_batch()
    critic = nn.Linear(17, 1, bias=False)
    method.discriminator["interpolator"] = critic
    _, terms = method.discriminator_loss(batch, 0)
    between = method.waypoints(*states(method, batch))[0][1]
    weights = critic.weight.detach()[0]
    torch.testing.assert_close(terms["interp/adv"], ((between - batch["action_units"]) @ weights).mean())
    torch.testing.assert_close(terms["interp/gp"], (weights.norm() - 1) ** 2)
    method.zero_grad()
    method.discriminator_loss(batch, 0)[0].backward()
    assert reached(critic) and not reached(method.generator)


@pytest.mark.parametrize(("reduction", "factor"), [("ganimation", 0.5), ("mean", 1.0), ("sum", 17.0)])
def test_the_norm_of_the_condition_loss_can_be_read_three_ways(reduction: str, factor: float) -> None:
    method, batch = make(cond_reduction=reduction).eval(), make_batch()
    total, terms = method.generator_loss(batch, 0)
    rest = sum(value for name, value in terms.items() if name.endswith("adv"))
    rest = rest + 10 * terms["cycle"] + 0.1 * terms["attention"]
    torch.testing.assert_close(total - rest, 3000 * factor * terms["cls"], rtol=1e-4, atol=1e-2)


def test_states_on_the_way_begin_at_the_source_and_end_at_the_target() -> None:
    batch = make_batch()
    linear = make(modules=4, interpolator="linear")
    source, target = states(linear, batch)
    path, pseudo = linear.waypoints(source, target)
    for step, state in enumerate(path):
        torch.testing.assert_close(state, torch.lerp(source, target, step / 4))
    learned = make(modules=4)
    path, same = learned.waypoints(source, target)
    assert torch.equal(path[0], source) and torch.equal(path[-1], target) and len(path) == 5
    torch.testing.assert_close(torch.stack(same), torch.stack(pseudo))
    torch.testing.assert_close(path[2], learned.generator["interpolator"](source, (target - source) / 2))
    assert make().waypoints(source, target) == ([source, target], [])


def test_proposals_start_on_the_straight_way_and_stay_near_it_while_the_critic_pulls() -> None:
    """Eq. 5 wants them near y_p; a proposal that is farther from it than the source's units is no help to anybody."""
    torch.manual_seed(0)
    method, batch = make(modules=2).train(), make_batch(count=4)
    source, target = states(method, batch)
    path, pseudo = method.waypoints(source, target)
    torch.testing.assert_close(torch.stack(path[1:-1]), torch.stack(pseudo))
    groups = method.discriminator_parameters()
    critic = torch.optim.Adam([p for group in groups for p in group["params"]], 1e-3)
    generator = torch.optim.Adam([p for group in method.generator_parameters() for p in group["params"]], 1e-3)
    for step in range(8):
        for optimiser, loss in ((critic, method.discriminator_loss), (generator, method.generator_loss)):
            optimiser.zero_grad()
            loss(dict(batch), step)[0].backward()
            optimiser.step()
    path, pseudo = method.waypoints(source, target)
    moved = torch.stack(path[1:-1]) - torch.stack(pseudo)
    unmoved = source - torch.stack(pseudo)
    assert moved.abs().max() > 0, "the interpolator learns"
    assert moved.norm(dim=2).mean() < 0.5 * unmoved.norm(dim=2).mean()


def test_a_module_is_told_its_own_part_of_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = make_batch()
    told: list[Tensor] = []
    edit = Generator.edit
    for form in ("absolute", "relative"):
        method = make({"form": form}, modules=2, interpolator="linear").eval()
        source, target = states(method, batch)

        def spy(network: Generator, images: Tensor, state: Tensor) -> Any:
            told.append(state)
            return edit(network, images, state)

        with monkeypatch.context() as patch:
            patch.setattr(Generator, "edit", spy)
            method.translate(batch["image"], source, target)
    # Four branches a module, two modules, both forms.
    half = torch.lerp(source, target, 0.5)
    torch.testing.assert_close(told, [half] * 4 + [target] * 4 + [(target - source) / 2] * 8)


def test_images_teach_the_interpolator_nothing() -> None:
    method, batch = make(modules=2, lambda_interpolation=0.0).train(), make_batch()
    method.generator_loss(batch, 0)[0].backward()
    assert not reached(method.generator["interpolator"])
    assert all(reached(network) for module in method.generator["cascade"] for network in module.values())


def test_a_cascade_is_trained_from_end_to_end_and_a_reconstruction_target_is_detached() -> None:
    method, batch = make(modules=2).train(), make_batch()
    steps, _, _ = taken(method, batch)
    steps[1].made["final"].sum().backward()
    assert all(reached(network) for network in method.generator["cascade"][0].values())
    method.zero_grad()
    with torch.no_grad():
        total = method.generator_loss(batch, 1)[0]
    assert torch.isfinite(total)
    done, critics = taken(method, batch)[0][1], method.discriminator["cascade"][1]
    given = done.images["face"].detach().requires_grad_()
    alone = ef_gan.Step({"face": given}, {n: m.detach() for n, m in done.made.items()}, {}, done.source, done.target)
    corners = method.corners(batch["landmarks"], len(batch["image"]))
    method._module_loss(1, alone, critics, corners, 0)[0].backward()
    assert given.grad is None


def test_attention_does_not_collapse_at_the_start() -> None:
    _, terms = make().train().generator_loss(make_batch(), 0)
    for name in ("face", "eyes", "nose", "mouth"):
        assert 0.2 < float(terms[f"replaced/{name}"].detach()) < 0.8


@pytest.mark.parametrize(("convention", "expected", "sign"), [("change", 0.3**2, 1), ("keep", 0.7**2, -1)])
def test_the_attention_loss_makes_sparse_what_the_mask_stands_for(convention: str, expected: float, sign: int) -> None:
    method = make(attention_convention=convention, reconstruction_every=2).eval()
    done, critics = taken(method, make_batch())[0][0], method.discriminator["cascade"][0]
    mask = torch.full((2, 1, 4, 4), 0.3, requires_grad=True)
    made = {name: image.detach() for name, image in done.made.items()}
    step = ef_gan.Step(done.images, made, {"face": mask}, done.source, done.target)
    _, terms = method._module_loss(0, step, critics, {}, 1)
    terms["attention"].backward()
    assert float(terms["attention"].detach()) == pytest.approx(expected)
    assert mask.grad is not None and (mask.grad * sign > 0).all()


def test_lazy_reconstruction_keeps_its_weight_on_average() -> None:
    always, lazy, batch = make().eval(), make(reconstruction_every=4).eval(), make_batch()
    usual, never, due = (m.generator_loss(batch, s)[0] for m, s in ((always, 4), (lazy, 5), (lazy, 4)))
    torch.testing.assert_close(due - never, 4 * (usual - never), rtol=1e-3, atol=1e-3)


def test_boxes_are_centred_on_landmarks_and_stay_inside() -> None:
    method = make().eval()
    landmarks = torch.full((2, 68, 2), 16.0)
    landmarks[0, 48:68] = torch.tensor([10.2, 21.0])
    landmarks[1, 48:68] = torch.tensor([31.0, -3.0])
    corners = method.corners(landmarks, 2)
    assert method.extents == {"eyes": (12, 24), "nose": (12, 12), "mouth": (12, 16)}
    assert corners["mouth"].tolist() == [[2, 15], [SIZE - 16, 0]]
    assert corners["nose"].tolist() == [[10, 10], [10, 10]] and corners["eyes"].tolist() == [[4, 10], [4, 10]]


def test_translations_use_the_mean_of_the_training_faces() -> None:
    method, batch = make(), make_batch()
    typical = method.corners(None, 3)
    assert torch.equal(typical["nose"], torch.tensor([[10, 12]] * 3))
    method.eval().corners(batch["landmarks"], 8)
    assert torch.equal(method.corners(None, 3)["nose"], typical["nose"])
    moved = batch["landmarks"] + torch.tensor([3.0, -2.0])
    for _ in range(500):
        method.train().corners(moved, 8)
    centre = moved[:, 27:36].mean((0, 1))
    torch.testing.assert_close(method.centres[1] * SIZE, centre, atol=0.1, rtol=0)
    assert make(branches=()).reads == {"action_units", "target_action_units"} and "landmarks" in method.reads


@pytest.mark.parametrize("last", ["eyes", "nose"])
def test_parts_are_pasted_in_the_order_of_the_branches(last: str) -> None:
    batch = make_batch()
    batch["landmarks"][:] = SIZE / 2
    first = {"eyes": "nose", "nose": "eyes"}[last]
    method = make(branches=(first, last), refiner=False).eval()
    made = taken(method, batch)[0][0].made
    expected = made["face"].clone()
    for part in (first, last):
        left = {"eyes": 4, "nose": 10}[part]
        expected[:, :, 10:22, left : left + made[part].shape[3]] = made[part]
    assert torch.equal(made["final"], expected)


def test_a_reused_fake_is_the_one_that_would_have_been_made() -> None:
    method = make(modules=2, reuse_fake=True, critic_updates=1).eval()
    assert [update.name for update in method.updates] == ["generator", "discriminator"]
    batch, fresh = make_batch(), make_batch()
    method.generator_loss(batch, 0)
    torch.manual_seed(2)
    reused, _ = method.discriminator_loss(batch, 0)
    torch.manual_seed(2)
    made, _ = method.discriminator_loss(fresh, 0)
    torch.testing.assert_close(reused, made)
    assert torch.equal(batch["fake"], batch["edited"])


def test_a_head_start_teaches_critics_that_learn_states_and_no_others() -> None:
    method, batch = make(**{**DEMO, "critic_head_start": 5}).train(), make_batch()
    total, terms = method.discriminator_loss(batch, 4)
    total.backward()
    assert set(terms) == {"cls", "match", "face/cls", "face/match"} and "fake" not in batch
    critics = method.discriminator["cascade"][0]
    assert [name for name in critics if reached(critics[name])] == ["final", "face"]


def test_every_module_of_a_cascade_starts_from_the_trained_one() -> None:
    batch, trained = make_batch(), make()
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
        trained.centres.add_(0.03)
    cascade = make(modules=2)
    assert take_over(cascade, trained).fresh == tuple(
        name for name in cascade.state_dict() if name.partition(".")[2].startswith("interpolator.")
    )
    for player in ("generator", "discriminator"):
        theirs = getattr(trained, player)["cascade"][0].state_dict()
        for module in getattr(cascade, player)["cascade"]:
            assert all(torch.equal(value, theirs[name]) for name, value in module.state_dict().items())
    assert torch.equal(cascade.centres, trained.centres)
    source, target = states(trained, batch)
    once = trained.eval().translate(batch["image"], source, target)
    path, _ = cascade.eval().waypoints(source, target)
    twice = trained.translate(trained.translate(batch["image"], source, path[1]), path[1], target)
    torch.testing.assert_close(cascade.translate(batch["image"], source, target), twice)
    assert not torch.allclose(once, twice)
    further = make(modules=2)
    assert not take_over(further, cascade).fresh
    for name, value in cascade.generator_state().items():
        assert torch.equal(value, further.generator_state()[name]), name


def test_a_cascade_starts_from_nothing_else() -> None:
    with pytest.raises(ValueError, match="one module, or from a cascade of its own length"):
        take_over(make(modules=2), make(modules=3))
    with pytest.raises(ValueError, match="the same method"):
        take_over(make(modules=2), nn.Linear(2, 2))
    with pytest.raises(ValueError, match="of the generator's numbers fit"):
        take_over(make(modules=2, conv_dim=16, local_conv_dim=16, refiner_conv_dim=16), make())


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"branches": ("ear",)}, "branches"),
        ({"branches": ("nose", "nose")}, "branches"),
        ({"nose_box": (48,)}, "two sizes"),
        ({"modules": 0}, "at least 1"),
        ({"nose_box": (40, 48)}, "the nose's box"),
    ],
)
def test_settings_that_cannot_work_are_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        make(**changes)


def test_a_cascade_needs_states_between_others() -> None:
    with pytest.raises(ValueError, match="action units"):
        make({"space": "expression"}, modules=2)
    method, batch = make({"space": "expression"}).train(), make_batch()
    _, terms = method.generator_loss(batch, 0)
    logits = method.discriminator["cascade"][0]["final"].network(batch["edited"])[1][:, 0]
    assert logits.shape == (8, 4) and torch.isfinite(terms["cls"])


def store_of(directory: Path) -> FaceStore:
    made = make_store(directory, size=SIZE)
    points = make_batch(count=len(made.table))["landmarks"].numpy() / SIZE
    np.save(directory / "landmarks.npy", points.astype(np.float32))
    return FaceStore(directory, SIZE)


class PowerCut(ef_gan.Method):
    """Dies in the middle of the run."""

    def generator_loss(self, batch: dict[str, Tensor], step: int) -> Any:
        if step == 3:
            raise RuntimeError("power cut")
        return super().generator_loss(batch, step)


def test_an_interrupted_run_ends_with_the_bits_of_an_undisturbed_one(tmp_path: Path) -> None:
    """Power iterations and the mean of the landmarks are state too."""
    store = store_of(tmp_path / "store")
    config = TrainingConfig(steps=5, batch_size=4, ema=0.9, flip=False)

    def run(kind: type[ef_gan.Method], directory: Path, **more: Any) -> ef_gan.Method:
        torch.manual_seed(0)
        method = kind(ef_gan.Config(**{**SMALL, **DEMO, "modules": 2}), make_context(**ef_gan.CONDITION))
        rows = store.rows("train")
        settings = TrainingConfig(**{**config.__dict__, **more})
        train(method, store, rows, settings, seed=1, checkpoint_dir=directory, fingerprint={}, label="test")
        return method

    undisturbed = run(ef_gan.Method, tmp_path / "a")
    with pytest.raises(RuntimeError, match="power cut"):
        run(PowerCut, tmp_path / "b", checkpoint_seconds=0.0)
    assert (tmp_path / "b" / "last.pt").exists()
    resumed = run(ef_gan.Method, tmp_path / "b")
    for (name, one), other in zip(undisturbed.state_dict().items(), resumed.state_dict().values(), strict=True):
        assert torch.equal(one, other), name
    assert not torch.equal(undisturbed.centres, make(modules=2).centres)


def settings_of(method: str, **config: Any) -> dict[str, Any]:
    plain = {"conv_dim": 4, "residual_blocks": 1, "local_conv_dim": 4, "local_residual_blocks": 1}
    critics = {"adversary": {"conv_dim": 4, "layers": 3}, "local_adversary": {"conv_dim": 4, "layers": 2}}
    refiner = {"refiner_conv_dim": 4, "refiner_residual_blocks": 1, "critic_updates": 1}
    return {
        "dataset": "synthetic", "method": method, "module": "ef_gan", "scale": "smoke", "seed": 3, "image_size": SIZE,
        "condition": {}, "guidance": {}, "config": {**plain, **critics, **refiner, **config},
        "training": {"steps": 3, "batch_size": 4, "ema": 0.9, "flip": False},
    }  # fmt: skip


def test_a_cascade_is_trained_from_results_on_disk_and_loaded_again(tmp_path: Path) -> None:
    store = store_of(tmp_path / "store")
    first, second = tmp_path / "ef_gan", tmp_path / "cascade"
    train_method(settings_of("ef_gan"), store.directory, {}, first, tmp_path / "c1")
    start = {"starts_from": first}
    train_method(settings_of("cascade", modules=2), store.directory, start, second, tmp_path / "c2")
    assert (second / "generator.safetensors").stat().st_size > 0
    batch = make_batch()
    for folder, modules in ((first, 1), (second, 2)):
        method: Any = load_method(folder)[0]
        again: Any = load_method(folder)[0]
        assert len(method.generator["cascade"]) == modules
        arguments = (batch["image"], *states(method, batch))
        with torch.inference_mode():
            result = method.translate(*arguments)
            assert torch.equal(result, again.translate(*arguments))
        assert float((result - batch["image"]).abs().mean()) > 0.01
    with pytest.raises(UserError, match=r"cascade\.starts_from: cannot start from .*one module"):
        train_method(
            settings_of("cascade", modules=3), store.directory, {"starts_from": second}, first, tmp_path / "c3"
        )


def test_the_method_is_told_action_units_by_default() -> None:
    assert ConditionConfig(**ef_gan.CONDITION).space == "action_units"
