"""IcGAN's three losses against its formulas, with their gradients, and what a translation asks for."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from mimik.methods.icgan import Config, Method
from mimik.networks.icgan import Discriminator, Encoder, Generator
from tests.methods.formulas import SEED, assert_rates, assert_same, labelled, states_of
from tests.methods.world import SIZE, make_context

SMALL: dict[str, Any] = {
    "resolution": 16, "noise_dim": 6, "conv_dim": 4, "encoder_conv_dim": 4, "state_hidden": 8, "gan_steps": 5,
}  # fmt: skip


def make(space: str = "expression", form: str = "absolute", **changes: Any) -> Method:
    torch.manual_seed(0)
    return Method(Config(**{**SMALL, **changes}), make_context(space=space, form=form)).eval()


def reduced(method: Method, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    return F.avg_pool2d(batch["image"], SIZE // method.config.resolution)


@pytest.mark.parametrize("mismatched", [True, False])
@pytest.mark.parametrize("space", ["expression", "attributes", "action_units"])
@pytest.mark.parametrize("resolution", [16, SIZE])
def test_the_discriminator_minimises_log_losses(space: str, mismatched: bool, resolution: int) -> None:
    method, batch = make(space, mismatched=mismatched, resolution=resolution), labelled()
    batch["target"][2], batch["target_attributes"][2] = batch["label"][2], batch["attributes"][2]
    source, target = states_of(batch, space)
    torch.manual_seed(SEED)
    found = method.discriminator_loss(batch, 0)
    torch.manual_seed(SEED)
    critic, image, other = method.discriminator, reduced(method, batch), 2 * target - 1
    made = method.generator["image"](torch.randn(6, 6), other).detach()
    terms = {
        "real": -torch.sigmoid(critic(image, 2 * source - 1)).log().mean(),
        "fake": -(1 - torch.sigmoid(critic(made, other))).log().mean(),
    }
    total = terms["real"] + terms["fake"]
    if mismatched:
        wrong = [face for face in range(6) if not torch.equal(source[face], target[face])]
        assert 0 < len(wrong) <= 6 - (space != "action_units")
        terms["wrong"] = -(1 - torch.sigmoid(critic(image[wrong], other[wrong]))).log().mean()
        total = terms["real"] + (terms["fake"] + terms["wrong"]) / 2
    assert_same(found, (total, terms), method.parameters())


def test_no_wrong_pairs_are_no_loss() -> None:
    method, batch = make(), labelled()
    batch["target"] = batch["label"].clone()
    assert float(method.discriminator_loss(batch, 0)[1]["wrong"].detach()) == 0


@pytest.mark.parametrize("space", ["expression", "action_units"])
def test_the_generator_minimises_its_log_loss(space: str) -> None:
    method, batch = make(space), labelled()
    _, target = states_of(batch, space)
    torch.manual_seed(SEED)
    found = method.generator_loss(batch, 0)
    torch.manual_seed(SEED)
    other = 2 * target - 1
    made = method.generator["image"](torch.randn(6, 6), other)
    total = -torch.sigmoid(method.discriminator(made, other)).log().mean()
    assert_same(found, (total, {"adv": total}), method.parameters())


@pytest.mark.parametrize("training", [True, False])
def test_the_encoders_minimise_squared_errors_on_pictures_and_on_faces(training: bool) -> None:
    method, batch = make("attributes"), labelled()
    source, target = states_of(batch, "attributes")
    method.generator["image"].train(training)
    torch.manual_seed(SEED)
    found = method.encoder_loss(batch, 9)
    assert method.generator["image"].training is training
    torch.manual_seed(SEED)
    noise = torch.randn(6, 6)
    made = method.generator["image"].eval()(noise, 2 * target - 1).detach()
    away = {
        "noise": method.generator["noise"](made) - noise,
        "state": method.generator["state"](reduced(method, batch)) - (2 * source - 1),
    }
    terms = {name: (value**2).mean() for name, value in away.items()}
    assert_same(found, (terms["noise"] + terms["state"], terms), method.parameters())


@pytest.mark.parametrize("form", ["absolute", "relative"])
@pytest.mark.parametrize("resolution", [16, SIZE])
def test_an_edit_is_made_from_noise_and_state(form: str, resolution: int) -> None:
    method, batch = make("attributes", form, resolution=resolution), labelled()
    source, target = states_of(batch, "attributes")
    image, nets = reduced(method, batch), method.generator
    wanted = 2 * target - 1
    if form == "relative":
        wanted = nets["state"](image) + 2 * (target - source)
    with torch.no_grad():
        expected = nets["image"](nets["noise"](image), wanted)
        found = method.translate(batch["image"], source, target)
        if resolution < SIZE:
            expected = F.interpolate(expected, SIZE, mode="bilinear", align_corners=False)
        torch.testing.assert_close(found, expected)


def test_rates_stages_and_networks() -> None:
    method = make(encoder_learning_rate=3.0, gan_steps=7)
    nets = method.generator
    assert_rates(method.discriminator_parameters(), [(method.discriminator, 1.0)])
    assert_rates(method.generator_parameters(), [(nets["image"], 1.0)])
    assert_rates(method.encoder_parameters(), [(nets["noise"], 3.0), (nets["state"], 3.0)])
    assert [(update.name, update.start, update.stop) for update in method.updates] == [
        ("discriminator", 0, 7), ("generator", 0, 7), ("encoder", 7, None),
    ]  # fmt: skip
    assert method.averaged is None and not method.edits_in_training
    method = make(resolution=SIZE, noise_dim=5, conv_dim=8, encoder_conv_dim=12, state_hidden=10)
    for network, plain in (
        (method.generator["image"], Generator(4, size=SIZE, noise_dim=5, conv_dim=8)),
        (method.generator["noise"], Encoder(5, size=SIZE, conv_dim=12)),
        (method.generator["state"], Encoder(4, size=SIZE, conv_dim=12, hidden=10)),
        (method.discriminator, Discriminator(4, size=SIZE, conv_dim=8)),
    ):
        assert [p.shape for p in network.parameters()] == [p.shape for p in plain.parameters()]


def test_settings() -> None:
    config = Config()
    assert (config.resolution, config.noise_dim, config.conv_dim) == (64, 100, 64)
    assert (config.encoder_conv_dim, config.state_hidden, config.gan_steps) == (32, 512, 71_300)
    assert (config.encoder_learning_rate, config.mismatched) == (0.5, True)
    assert Config(gan_steps=1).gan_steps == 1
    with pytest.raises(ValueError, match="gan_steps"):
        Config(gan_steps=0)
