"""Every transformation against a computation of its own, and how p follows the critic."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mimik.components.adversary import Adversary, AdversaryConfig
from mimik.components.augmentation import STRENGTHS, Augmentation, AugmentationConfig, coloured, moved
from mimik.components.conditions import Condition, ConditionConfig
from mimik.components.realness import Realness
from mimik.labels import EXPRESSIONS

NOTHING = AugmentationConfig(**dict.fromkeys(STRENGTHS, 0.0))  # type: ignore[arg-type]
SHAPE = (6, 3, 16, 24)

STATES = Condition(ConditionConfig(), EXPRESSIONS[:4])


def only(**strengths: float) -> AugmentationConfig:
    """One transformation at a time."""
    return replace(NOTHING, **strengths)  # type: ignore[arg-type]


def pictures(seed: int = 0, shape: tuple[int, ...] = SHAPE) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def smooth(shape: tuple[int, ...] = SHAPE) -> Tensor:
    """Waves that bilinear interpolation follows well."""
    rows, columns = np.mgrid[: shape[2], : shape[3]]
    waves = [np.sin(0.2 * rows + 0.3 * k) * np.cos(0.15 * columns + k) for k in range(shape[0] * shape[1])]
    return torch.from_numpy(np.stack(waves).reshape(shape)).float()


def looked_up(image: Tensor, x: float, y: float) -> Tensor:
    """Bilinear value of one image (c, H, W) at a pixel position inside it."""
    left, top = math.floor(x), math.floor(y)
    a, b = x - left, y - top
    square = image[:, top : top + 2, left : left + 2]
    if square.shape[1:] != (2, 2):
        raise IndexError
    weights = torch.tensor([[(1 - a) * (1 - b), a * (1 - b)], [(1 - a) * b, a * b]])
    return (square * weights).sum((1, 2))


def drawn_moves(config: AugmentationConfig, count: int, seed: int) -> dict[str, Tensor]:
    """The random numbers of `moved`, in its order."""
    torch.manual_seed(seed)
    torch.rand(5, count)
    whole, part = (2 * torch.rand(2, count, 2) - 1) * config.shift
    angle = (2 * torch.rand(count) - 1) * math.radians(config.rotation)
    scale, stretch = torch.randn(2, count)
    return {"whole": whole, "part": part, "angle": angle, "scale": scale, "stretch": stretch}


def test_whole_shifts_are_exact_and_reflect_at_the_border() -> None:
    """Where only the whole-pixel shift is chosen, pixels move as they are; p is given per image for that."""
    images, config = pictures(), only(shift=0.25)
    torch.manual_seed(5)
    gates = torch.rand(5, len(images))
    p = 0.5
    drawn = drawn_moves(config, len(images), 5)
    torch.manual_seed(5)
    seen = moved(images, config, p)
    alone = (gates[0] < p) & (gates[1] >= p)
    assert alone.any()
    for index in alone.nonzero().flatten().tolist():
        dx, dy = (round(float(drawn["whole"][index, axis]) * side) for axis, side in ((0, 24), (1, 16)))
        padded = np.pad(images[index].numpy(), ((0, 0), (8, 8), (8, 8)), mode="symmetric")
        expected = padded[:, 8 - dy : 24 - dy, 8 - dx : 32 - dx]
        torch.testing.assert_close(seen[index], torch.from_numpy(expected), atol=1e-5, rtol=0)


@pytest.mark.parametrize("strengths", [{"shift": 0.1}, {"scale": 0.3}, {"rotation": 40.0}, {"stretch": 0.3}], ids=str)
def test_moves_are_what_they_are_called(strengths: dict[str, float]) -> None:
    """Every pixel of the result whose origin is inside the image, followed back by hand."""
    images, config = smooth(), only(**strengths)
    drawn = drawn_moves(config, len(images), 3)
    torch.manual_seed(3)
    seen, checked = moved(images, config, 1.0), 0
    for index in range(len(images)):
        whole = [round(float(drawn["whole"][index, axis]) * side) for axis, side in ((0, 24), (1, 16))]
        part = [float(drawn["part"][index, axis]) * side for axis, side in ((0, 24), (1, 16))]
        size, wide = (2 ** float(drawn[name][index] * getattr(config, name)) for name in ("scale", "stretch"))
        turn, centre = complex(np.exp(1j * float(drawn["angle"][index]))), complex(11.5, 7.5)
        for row in range(16):
            for column in range(24):
                place = complex(column, row) - centre - complex(*part)
                place = complex(place.real / wide, place.imag * wide) * turn.conjugate() / size
                place += centre - complex(*whole)
                try:
                    expected = looked_up(images[index], place.real, place.imag)
                except IndexError:
                    continue
                if min(place.real, place.imag) < 0:
                    continue
                torch.testing.assert_close(seen[index, :, row, column], expected, atol=2e-4, rtol=0)
                checked += 1
    assert checked > 1000 and not torch.equal(seen, images)


def test_a_turn_is_clockwise_for_positive_angles_and_magnification_enlarges() -> None:
    spot = torch.zeros(1, 1, 33, 33)
    spot[..., 16, 26] = 1.0
    drawn = drawn_moves(only(rotation=90.0), 1, 2)
    torch.manual_seed(2)
    seen = moved(spot, only(rotation=90.0), 1.0)[0, 0]
    row, column = divmod(int(seen.argmax()), 33)
    angle = float(drawn["angle"][0])
    assert abs(math.atan2(row - 16, column - 16) - angle) < 0.1 and abs(math.hypot(row - 16, column - 16) - 10) < 1
    drawn = drawn_moves(only(scale=0.5), 1, 2)
    torch.manual_seed(2)
    seen = moved(spot, only(scale=0.5), 1.0)[0, 0]
    row, column = divmod(int(seen.argmax()), 33)
    assert row == 16 and abs((column - 16) - 10 * 2 ** (0.5 * float(drawn["scale"][0]))) < 1


def by_hand(name: str, image: Tensor, amount: float, place: tuple[float, float]) -> Tensor:
    """A transformation of the colours of one image (3, H, W), pixel by pixel."""
    made = image.clone()
    for row in range(image.shape[1]):
        for column in range(image.shape[2]):
            pixel = image[:, row, column]
            grey = pixel.sum() / 3
            across, down = (column + 0.5) / image.shape[2] - place[0], (row + 0.5) / image.shape[1] - place[1]
            made[:, row, column] = {
                "brightness": pixel + 0.3 * amount,
                "contrast": pixel * 2 ** (0.3 * amount),
                "saturation": grey + (pixel - grey) * 2 ** (0.3 * amount),
                "cutout": pixel * (max(abs(across), abs(down)) >= 0.15),
            }[name]
    return made


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation", "cutout"])
def test_colours_are_what_they_are_called(name: str) -> None:
    images = pictures()
    torch.manual_seed(4)
    torch.rand(5, len(images))
    amounts, place = torch.randn(4, len(images)), torch.rand(2, len(images))
    torch.manual_seed(4)
    seen = coloured(images, only(**{name: 0.3}), 1.0)
    row = {"brightness": 0, "contrast": 1, "saturation": 2, "cutout": 3}[name]
    for index in range(len(images)):
        expected = by_hand(
            name, images[index], float(amounts[row, index]), (float(place[0, index]), float(place[1, index]))
        )
        torch.testing.assert_close(seen[index], expected, atol=1e-5, rtol=1e-5)


def test_noise_has_the_deviation_of_its_image() -> None:
    images = pictures(shape=(8, 3, 64, 64))
    torch.manual_seed(4)
    torch.rand(5, 8)
    deviations = 0.2 * torch.randn(4, 8)[3].abs()
    torch.manual_seed(4)
    added = coloured(images, only(noise=0.2), 1.0) - images
    torch.testing.assert_close(added.flatten(1).std(1), deviations, rtol=0.05, atol=0)
    assert float(added.mean().abs()) < 0.01


EVERYTHING = AugmentationConfig(probability=1.0, noise=0.1, cutout=0.3)


@pytest.mark.parametrize("name", STRENGTHS)
def test_every_image_changes_and_each_in_its_own_way(name: str) -> None:
    strength = {"rotation": 20.0, "shift": 0.25}.get(name, 0.3)
    config = replace(only(**{name: strength}), probability=1.0)
    # The same image six times; a cutout may lie anywhere, but hides something of each.
    images = pictures(shape=(1, *SHAPE[1:])).expand(SHAPE)
    torch.manual_seed(0)
    seen = Augmentation(config)(images)
    assert seen.shape == images.shape and torch.isfinite(seen).all()
    assert (seen != images).flatten(1).any(1).all()
    assert len({tuple(image.flatten().tolist()) for image in seen}) == len(images)


@pytest.mark.parametrize("channels", [3, 6])
def test_images_side_by_side_are_transformed_on_their_own(channels: int) -> None:
    one = pictures(shape=(2, 3, 16, 16))
    torch.manual_seed(0)
    seen = Augmentation(EVERYTHING)(torch.cat([one] * (channels // 3), 1))
    torch.manual_seed(0)
    alone = Augmentation(EVERYTHING)(one.repeat_interleave(channels // 3, 0))
    assert torch.equal(seen.unflatten(1, (-1, 3)).flatten(0, 1), alone)


def test_at_zero_nothing_changes_to_the_bit_and_switched_off_nothing_is_drawn() -> None:
    images = pictures()
    images[0, 0, 0, 0] = -0.0
    adaptive = Augmentation(replace(EVERYTHING, probability=0.0, adaptive=True))
    assert torch.equal(adaptive(images).view(torch.int32), images.view(torch.int32))
    torch.manual_seed(0)
    assert Augmentation(AugmentationConfig())(images) is images
    assert torch.rand(1) == torch.rand(1, generator=torch.Generator().manual_seed(0))


def test_about_the_share_p_of_images_changes() -> None:
    images = pictures(shape=(2000, 3, 4, 4))
    torch.manual_seed(0)
    for config in (only(brightness=0.3), only(rotation=30.0)):
        seen = Augmentation(replace(config, probability=0.3))(images)
        changed = float((seen != images).flatten(1).any(1).float().mean())
        assert abs(changed - 0.3) < 0.04


def test_gradients_pass_through() -> None:
    """Against differences: the transformations are smooth in the image, and nearly all are linear in it."""
    images = pictures(shape=(2, 3, 8, 8)).double().requires_grad_()
    direction = pictures(1, (2, 3, 8, 8)).double()
    augmentation = Augmentation(EVERYTHING)

    def value(points: Tensor) -> Tensor:
        torch.manual_seed(0)
        return augmentation(points).square().sum()

    (slope,) = torch.autograd.grad(value(images), images)
    step = 1e-2
    with torch.no_grad():
        difference = (value(images + step * direction) - value(images - step * direction)) / (2 * step)
    torch.testing.assert_close((slope * direction).sum(), difference.to(slope.dtype), rtol=2e-3, atol=1e-3)
    assert (slope != 0).flatten(1).any(1).all()


def test_maps_are_moved_and_keep_their_colours() -> None:
    """A constant map stays what it is wherever it is moved."""
    maps = torch.full((4, 12, 16, 16), 0.25)
    torch.manual_seed(0)
    torch.testing.assert_close(Augmentation(EVERYTHING, channels=12, colours=False)(maps), maps)
    seen = Augmentation(EVERYTHING, channels=12, colours=False)(pictures(shape=(4, 12, 16, 16)))
    assert not torch.equal(seen, pictures(shape=(4, 12, 16, 16)))


def after(signs: list[float], **settings: Any) -> list[float]:
    """p after every batch of 4 real images with that mean sign."""
    augmentation = Augmentation(AugmentationConfig(adaptive=True, images=100, **{"every": 8, **settings}))
    found = []
    for sign in signs:
        augmentation.observe(torch.full((4, 1), sign))
        augmentation.adapt()
        found.append(round(float(augmentation.p), 6))
    return found


def test_p_rises_while_the_critic_is_sure_and_falls_while_it_is_not() -> None:
    assert after([1.0] * 4) == [0.0, 0.08, 0.08, 0.16]
    assert after([0.0] * 4, probability=0.5) == [0.5, 0.42, 0.42, 0.34]
    # The mean of both batches counts, against the target.
    assert after([1.0, 0.5, 1.0, 0.0]) == [0.0, 0.08, 0.08, 0.0]
    assert after([0.5] * 2, target=0.4) == [0.0, 0.08]
    assert after([-1.0] * 2) == [0.0, 0.0] and after([1.0] * 40)[-1] == 0.8 == after([1.0] * 40, most=0.8)[-1]


def test_the_surer_of_two_judgements_counts() -> None:
    for realness, given, rises in ((1.0, -1.0, True), (-1.0, 1.0, True), (0.5, 0.5, False)):
        augmentation = Augmentation(AugmentationConfig(adaptive=True, probability=0.4, every=1, images=10))
        augmentation.observe(torch.full((2, 1), realness), torch.full((2, 1), given))
        augmentation.adapt()
        torch.testing.assert_close(augmentation.p, torch.tensor(0.6 if rises else 0.2))


def test_only_images_with_the_part_count() -> None:
    augmentation = Augmentation(AugmentationConfig(adaptive=True, every=2, images=10))
    signs = torch.tensor([[1.0, -1.0], [1.0, -1.0], [1.0, -1.0]])
    augmentation.observe(signs, weight=torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 1.0]]))
    torch.testing.assert_close(augmentation.fresh, torch.tensor([1.0, 1.0, 2.0]))
    augmentation.adapt()
    # r_t is 1/2: below the target of 0.6.
    assert augmentation.p == 0 and augmentation.fresh.eq(0).all() and augmentation.tally.eq(0).all()


def adversary(**settings: Any) -> Adversary:
    torch.manual_seed(0)
    return Adversary(AdversaryConfig(conv_dim=4, layers=3, objective="hinge", **settings), 16, STATES)


@pytest.mark.parametrize("per_class", [False, True])
@pytest.mark.parametrize(("bias", "given"), [(100.0, -1.0), (-100.0, 1.0), (-100.0, 0.0)])
def test_the_critic_tells_how_sure_it_is(bias: float, given: float, per_class: bool) -> None:
    rules = AugmentationConfig(adaptive=True, every=1, images=10)
    critic = adversary(per_class=per_class, augmentation=rules)
    with torch.no_grad():
        critic.network.realness_head.weight.zero_()
        critic.network.realness_head.bias = torch.nn.Parameter(torch.full((1,), bias))
        if per_class:
            critic.network.class_head.weight.zero_()
            logits = torch.cat([torch.zeros(4), torch.full((4,), given)])
            critic.network.class_head.bias = torch.nn.Parameter(logits)
    real, state = pictures(shape=(4, 3, 16, 16)), STATES.of_labels(torch.arange(4))
    _, terms = critic.discriminator_loss(real, real, state, state, 0)
    assert terms["p"] == 0
    expected = math.copysign(4, bias)
    found = critic.augmentation.fresh.tolist()
    assert found[0] == expected and found[2] == 4 and found[1] == (4 * given if per_class else expected)
    # Nothing is counted while the critic is trained alone, and when the generator is.
    critic.discriminator_loss(real, None, state, state, 0)
    critic.generator_loss(real, state)
    assert critic.augmentation.fresh[2] == 4


def test_penalties_are_taken_at_what_the_critic_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    """R1 at transformed real faces, the other penalty between transformed real and fake ones; without states too."""
    rules = AugmentationConfig(probability=1.0)
    real, fake = pictures(shape=(4, 3, 16, 16)), pictures(1, (4, 3, 16, 16))
    state = STATES.of_labels(torch.arange(4))
    torch.manual_seed(3)
    seen = Augmentation(rules)(torch.cat([real, fake]))
    for objective in ("hinge", "wgan-gp"):
        settings = AdversaryConfig(
            conv_dim=4, layers=3, objective=objective, r1_gamma=float(objective == "hinge"), augmentation=rules
        )
        for critic in (Adversary(settings, 16, STATES), Realness(settings)):
            asked: list[Tensor] = []
            plain = critic.network.input_gradient

            def watch(points: Tensor, *more: Any, plain: Any = plain, asked: list[Tensor] = asked) -> Tensor:
                asked.append(points)
                return plain(points, *more)  # type: ignore[no-any-return]

            monkeypatch.setattr(critic.network, "input_gradient", watch)
            torch.manual_seed(3)
            critic.discriminator_loss(real, fake, state, state, 0)
            torch.manual_seed(3)
            Augmentation(rules)(torch.cat([real, fake]))
            share = torch.rand(4, 1, 1, 1)
            expected = seen[:4] if objective == "hinge" else torch.lerp(seen[4:], seen[:4], share)
            assert len(asked) == 1 and torch.equal(asked[0], expected)


def test_the_state_is_loaded_with_and_without_p() -> None:
    """A critic may start from one whose p was not adaptive, and the other way round."""
    adaptive, plain = adversary(augmentation=AugmentationConfig(adaptive=True)), adversary()
    adaptive.augmentation.p.fill_(0.25)
    again = adversary(augmentation=AugmentationConfig(adaptive=True))
    again.load_state_dict(adaptive.state_dict())
    assert again.augmentation.p == 0.25
    again.load_state_dict(plain.state_dict())
    assert again.augmentation.p == 0.25
    assert "augmentation.p" in adaptive.state_dict() and not any("augm" in name for name in plain.state_dict())
    plain.load_state_dict(adaptive.state_dict())


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"probability": -0.1}, "probability"),
        ({"probability": 1.1}, "probability"),
        ({"most": 0.0}, "most"),
        ({"adaptive": True, "probability": 0.9}, "above most"),
        ({"target": 1.0}, "target"),
        ({"images": 0}, "images"),
        ({"every": 0}, "every"),
        ({"noise": -0.1}, "noise"),
        ({"shift": 0.6}, "shift"),
        ({"rotation": 181.0}, "rotation"),
        ({"cutout": 1.5}, "cutout"),
        ({"probability": 0.1, **dict.fromkeys(STRENGTHS, 0.0)}, "every transformation"),
    ],
    ids=str,
)
def test_settings_that_make_no_sense(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        AugmentationConfig(**wrong)


def test_what_a_critic_refuses() -> None:
    with pytest.raises(ValueError, match="use augmentation"):
        AdversaryConfig(augment=0.1)
    with pytest.raises(ValueError, match="wgan-gp"):
        AdversaryConfig(augmentation=AugmentationConfig(adaptive=True))
    AdversaryConfig(objective="vanilla", augmentation=AugmentationConfig(adaptive=True))
    usual = AugmentationConfig()
    assert not usual.on and AugmentationConfig(adaptive=True).on and AugmentationConfig(probability=0.1).on
    assert (usual.target, usual.images, usual.most) == (0.6, 500_000, 0.8)
