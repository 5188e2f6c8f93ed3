from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from mimik.methods.icgan import TRAINING, Config, Method, signed
from mimik.settings import params
from mimik.training.guided import Guided
from mimik.training.loop import TrainingConfig, train
from tests.methods.world import (
    SIZE,
    check_generator_learns,
    check_round_trip,
    make_batch,
    make_context,
    reached,
    states,
)
from tests.tiny import make_store

ROOT = Path(__file__).parents[2]
SMALL: dict[str, Any] = {
    "resolution": SIZE, "noise_dim": 6, "conv_dim": 4, "encoder_conv_dim": 4, "state_hidden": 8, "gan_steps": 5,
}  # fmt: skip


def make(condition: dict[str, Any] | None = None, **changes: Any) -> Method:
    torch.manual_seed(0)
    return Method(Config(**{**SMALL, **changes}), make_context(**(condition or {})))


@pytest.mark.parametrize("space", ["expression", "attributes", "action_units"])
def test_common_checks(space: str) -> None:
    check_generator_learns(make({"space": space}))
    check_round_trip(lambda: make({"space": space}))


def test_each_update_reaches_its_own_networks_only() -> None:
    method, batch = make().train(), make_batch()
    networks = {"D": method.discriminator, **method.generator}
    for update, trained in (("discriminator", {"D"}), ("generator", {"image"}), ("encoder", {"noise", "state"})):
        for network in networks.values():
            network.requires_grad_(False)
        groups = getattr(method, f"{update}_parameters")()
        listed = [p for group in groups for p in group["params"]]
        assert {id(p) for p in listed} == {id(p) for name in trained for p in networks[name].parameters()}
        for parameter in listed:
            parameter.requires_grad_(True)
        method.zero_grad(set_to_none=True)
        getattr(method, f"{update}_loss")(batch, 0)[0].backward()
        assert {name for name, network in networks.items() if reached(network)} == trained


def test_a_few_steps_lower_the_encoders_loss_on_a_fixed_batch() -> None:
    method, batch = make().train(), make_batch()
    optimiser = torch.optim.Adam(method.encoder_parameters()[0]["params"], lr=2e-3)
    totals = []
    for _ in range(12):
        torch.manual_seed(7)
        total, _ = method.encoder_loss(batch, 9)
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
        totals.append(float(total.detach()))
    assert totals[-1] < totals[0]


def test_losses_are_log_losses_on_right_and_wrong_pairs() -> None:
    method, batch = make().eval(), make_batch()
    batch["target"] = torch.tensor([0, 2, 2, 1, 3, 0, 2, 3])
    own, other = (2 * F.one_hot(batch[name], 4).float() - 1 for name in ("label", "target"))
    image, generator, critic = batch["image"], method.generator["image"], method.discriminator
    with torch.no_grad():
        torch.manual_seed(3)
        total, terms = method.discriminator_loss(batch, 0)
        torch.manual_seed(3)
        made = generator(torch.randn(8, 6), other)
        real, fake, wrong = (torch.sigmoid(critic(*pair)) for pair in ((image, own), (made, other), (image, other)))
        torch.testing.assert_close(terms["real"], -real.log().mean())
        torch.testing.assert_close(terms["fake"], -(1 - fake).log().mean())
        differs = batch["label"] != batch["target"]
        assert differs.sum() == 4
        torch.testing.assert_close(terms["wrong"], -(1 - wrong[differs]).log().mean())
        torch.testing.assert_close(total, terms["real"] + (terms["fake"] + terms["wrong"]) / 2)
        torch.manual_seed(3)
        total, _ = method.generator_loss(batch, 0)
        torch.testing.assert_close(total, -fake.log().mean())
        method.config = Config(**SMALL, mismatched=False)
        torch.manual_seed(3)
        total, terms = method.discriminator_loss(batch, 0)
        assert set(terms) == {"real", "fake"}
        torch.testing.assert_close(total, terms["real"] + terms["fake"])


def test_encoders_learn_noise_of_pictures_and_states_of_faces() -> None:
    method, batch = make().train(), make_batch()
    before = {name: value.clone() for name, value in method.generator["image"].state_dict().items()}
    encoders = method.generator["noise"].eval(), method.generator["state"].eval()
    torch.manual_seed(3)
    total, terms = method.encoder_loss(batch, 9)
    source, target = states(method, batch)
    torch.manual_seed(3)
    noise = torch.randn(8, 6)
    with torch.no_grad():
        made = method.generator["image"].eval()(noise, 2 * target - 1)
        torch.testing.assert_close(terms["noise"], (encoders[0](made) - noise).pow(2).mean())
        torch.testing.assert_close(terms["state"], (encoders[1](batch["image"]) - (2 * source - 1)).pow(2).mean())
    torch.testing.assert_close(total, terms["noise"] + terms["state"])
    assert all(torch.equal(value, before[n]) for n, value in method.generator["image"].state_dict().items())


def test_an_edit_generates_from_what_the_encoders_see() -> None:
    batch = make_batch()
    for form in ("absolute", "relative"):
        method = make({"form": form}).eval()
        source, target = states(method, batch)
        with torch.no_grad():
            noise, seen = (method.generator[name](batch["image"]) for name in ("noise", "state"))
            wanted = signed(target) if form == "absolute" else seen + 2 * (target - source)
            expected = method.generator["image"](noise, wanted)
            torch.testing.assert_close(method.translate(batch["image"], source, target), expected)


def test_other_sizes_are_reduced_and_enlarged() -> None:
    method, batch = make(resolution=16).eval(), make_batch()
    with torch.no_grad():
        small = F.avg_pool2d(batch["image"], 2)
        source, target = states(method, batch)
        edited = method.translate(batch["image"], source, target)
        made = method.generator["image"](method.generator["noise"](small), signed(target))
    assert edited.shape == batch["image"].shape and made.shape[-1] == 16
    torch.testing.assert_close(edited, F.interpolate(made, SIZE, mode="bilinear", align_corners=False))
    with pytest.raises(ValueError, match="power of two"):
        make(resolution=48)


class Stopped(Method):
    """Breaks down in the second stage."""

    def encoder_loss(self, batch: Any, step: int) -> Any:
        if step == 7:
            raise RuntimeError("power cut")
        return super().encoder_loss(batch, step)


def test_one_stage_follows_the_other_and_resume_is_exact(tmp_path: Path) -> None:
    store = make_store(tmp_path / "s", size=SIZE)

    def run(kind: type[Method], folder: str, steps: int) -> tuple[Method, Any]:
        torch.manual_seed(0)
        method = kind(Config(**SMALL), make_context())
        settings = TrainingConfig(steps=steps, batch_size=8, ema=0.9, log_every=1, checkpoint_seconds=0.0)
        arguments: dict[str, Any] = {"seed": 1, "checkpoint_dir": tmp_path / folder, "fingerprint": {}}
        return method, train(method, store, store.rows("train"), settings, label="test", **arguments)

    whole, history = run(Method, "a", 9)
    for row in history:
        stages = {name.split("/")[0] for name in row if name != "step"}
        assert stages == ({"discriminator", "generator"} if row["step"] <= 5 else {"encoder"})
    gan, _ = run(Method, "c", 5)
    fresh = make()
    for name in ("image", "noise", "state"):
        for one, other, start in zip(
            whole.generator[name].parameters(),
            gan.generator[name].parameters(),
            fresh.generator[name].parameters(),
            strict=True,
        ):
            if name == "image":
                assert torch.equal(one, other), "the second stage changed the generator"
            else:
                assert torch.equal(other, start), "the first stage changed an encoder"
    with pytest.raises(RuntimeError, match="power cut"):
        run(Stopped, "b", 9)
    resumed, again = run(Method, "b", 9)
    assert history == again
    assert all(torch.equal(v, resumed.state_dict()[n]) for n, v in whole.state_dict().items())


def test_guides_are_refused() -> None:
    with pytest.raises(ValueError, match="no edits during training"):
        Guided(make(), {"any": torch.nn.Identity()})


@pytest.mark.parametrize("scale", ["paper", "laptop", "demo", "smoke"])
def test_every_scale_leaves_time_for_the_encoders(scale: str) -> None:
    settings = params.resolve(params.load(ROOT / "params.yaml"), "synthetic", "icgan", scale)
    steps = {**TRAINING, **settings["training"]}["steps"]
    assert Config(**settings["config"]).gan_steps < steps
