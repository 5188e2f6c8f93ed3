"""EF-GAN's and the cascade's losses with weights of their own and every option."""

from typing import Any

import pytest
import torch
from torch import Tensor

from mimik.components.adversary import AdversaryConfig
from mimik.methods import ef_gan
from tests.methods.formulas import (
    DEMO,
    SEED,
    Rules,
    absolute,
    assert_rates,
    assert_same,
    awake,
    labelled,
    mean,
    penalty,
    states_of,
    told,
)
from tests.methods.world import SIZE, make_context

PUBLISHED = Rules(space="action_units")
LOCAL = PUBLISHED.changed(gp=21.0)
LOGISTIC = DEMO.changed(space="action_units", unit_loss="logistic")
LOCAL_DEMO = LOGISTIC.changed(gamma=23.0, every=3)
LAMBDAS = {
    "lambda_content": 9.0, "lambda_attention": 15.0, "lambda_interpolation": 17.0, "lambda_natural": 19.0,
}  # fmt: skip
OPTIONS: dict[str, Any] = {
    "reconstruction_every": 3, "stem": "unshuffle", "refiner_head": "masked", "face_states": True,
    "cond_reduction": "mean",
}  # fmt: skip
VARIANTS: dict[str, tuple[Rules, Rules, str, dict[str, Any]]] = {
    "published": (PUBLISHED, LOCAL, "absolute", {}),
    "cascade": (PUBLISHED, LOCAL, "absolute", {"modules": 3}),
    "demo": (LOGISTIC, LOCAL_DEMO, "relative", OPTIONS),
    "cascade demo": (LOGISTIC, LOCAL_DEMO, "relative", {**OPTIONS, "modules": 2}),
    "linear, keep": (PUBLISHED, LOCAL, "absolute", {
        "modules": 2, "interpolator": "linear", "attention_convention": "keep", "cond_reduction": "sum",
    }),
    "one branch": (PUBLISHED, LOCAL, "absolute", {"branches": ("mouth",), "attention": False, "refiner": False}),
}  # fmt: skip
FACTOR = {"ganimation": 0.5, "mean": 1.0, "sum": 17.0}


def make(rules: Rules, local: Rules, form: str, **changes: Any) -> ef_gan.Method:
    """In evaluation: no power iteration moves the weights between the method's pass and the test's."""
    torch.manual_seed(0)
    config = ef_gan.Config(
        **{
            "conv_dim": 4, "residual_blocks": 1, "local_conv_dim": 4, "local_residual_blocks": 1,
            "refiner_conv_dim": 4, "refiner_residual_blocks": 1, **LAMBDAS,
            "adversary": rules.config(lambda_classification_generator=None),
            "local_adversary": local.config(layers=2), **changes,
        }
    )  # fmt: skip
    method = ef_gan.Method(config, make_context(space=rules.space, form=form)).eval()
    awake(method.generator)
    if "interpolator" in method.generator:
        # As if it had learned something.
        for parameter in method.generator["interpolator"].parameters():
            parameter.data += 0.05 * torch.randn_like(parameter)
    return method


def boxes(method: ef_gan.Method, landmarks: Tensor) -> dict[str, tuple[Tensor, tuple[int, int]]]:
    """Left and top of every part's box, and its height and width."""
    points = {"eyes": [*range(17, 27), *range(36, 48)], "nose": range(27, 36), "mouth": range(48, 68)}
    found = {}
    for part in method.config.branches:
        wide, high = (round(side * SIZE / 128) for side in getattr(method.config, f"{part}_box"))
        centre = landmarks[:, list(points[part])].mean(1)
        corner = (centre - torch.tensor([wide, high]) / 2).round()
        corner = torch.stack([corner[:, 0].clamp(0, SIZE - wide), corner[:, 1].clamp(0, SIZE - high)], 1).long()
        found[part] = (corner, (high, wide))
    return found


def module(method: ef_gan.Method, index: int, images: Tensor, state: Tensor, where: Any) -> dict[str, Any]:
    """What one module makes of images: what each network was given, what it made, and its masks."""
    nets = method.generator["cascade"][index]
    given, made, masks = {"face": images, "final": images}, {}, {}
    for part, (corner, (high, wide)) in where.items():
        cuts = [face[:, y : y + high, x : x + wide] for face, (x, y) in zip(images, corner.tolist(), strict=True)]
        given[part] = torch.stack(cuts)
    for name in ("face", *where):
        made[name], mask = nets[name].edit(given[name], state)
        if mask is not None:
            masks[name] = mask
    canvas = made["face"].clone()
    for part, (corner, (high, wide)) in where.items():
        for face, (x, y) in enumerate(corner.tolist()):
            canvas[face, :, y : y + high, x : x + wide] = made[part][face]
    made["final"] = nets["refiner"](made["face"], canvas) if method.config.refiner else canvas
    return {"given": given, "made": made, "masks": masks}


def way(method: ef_gan.Method, source: Tensor, target: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """States from source to target, and the pseudo targets of those between."""
    count = method.config.modules
    pseudo = [source + (target - source) * step / count for step in range(1, count)]
    between = pseudo
    if "interpolator" in method.generator:
        between = [method.generator["interpolator"](source, wanted - source) for wanted in pseudo]
    return [source, *between, target], pseudo


def cascade(method: ef_gan.Method, batch: dict[str, Tensor], path: list[Tensor]) -> tuple[list[dict[str, Any]], Any]:
    where, images, steps = boxes(method, batch["landmarks"]), batch["image"], []
    for index in range(method.config.modules):
        one, other = (state.detach() for state in path[index : index + 2])
        steps.append(module(method, index, images, told(one, other, method.condition.config.form), where))
        images = steps[-1]["made"]["final"]
    return steps, where


def judges(rules: Rules, local: Rules, method: ef_gan.Method) -> dict[str, Rules | None]:
    """The losses of every critic: `None` stands for one that learns no states."""
    rules = rules.changed(cls=rules.cls * FACTOR[method.config.cond_reduction])
    rules = rules.changed(cls_generator=rules.cls)
    return {"final": rules, "face": rules if method.config.face_states else None} | dict.fromkeys(method.extents)


def realness(critic: Any, images: Tensor) -> Tensor:
    found: Tensor = critic.network.realness_head(critic.network.trunk(images))
    return found


@pytest.mark.parametrize("step", [6, 7])
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_generator_minimises_eq_6(variant: str, step: int) -> None:
    rules, local, form, changes = VARIANTS[variant]
    method, batch = make(rules, local, form, **changes), labelled()
    found = method.generator_loss(batch, step)
    with ef_gan.normalised_once(method.generator, method.discriminator):
        expected, made = of_the_generator(method, rules, local, form, step, batch)
    assert_same(found, expected, method.parameters())
    torch.testing.assert_close(batch["edited"], made, rtol=1e-3, atol=1e-3)
    assert batch["edited"].requires_grad and not any(
        value.requires_grad for name, value in batch.items() if name.startswith(("fake", "real", "state"))
    )


def of_the_generator(
    method: ef_gan.Method, rules: Rules, local: Rules, form: str, step: int, batch: dict[str, Tensor]
) -> tuple[tuple[Tensor, dict[str, Tensor]], Tensor]:
    """Eq. 6: total and terms; and the edit."""
    source, target = states_of(batch, rules.space)
    path, pseudo = way(method, source, target)
    steps, where = cascade(method, batch, path)
    total, terms = torch.zeros(()), {}
    for index, done in enumerate(steps):
        label = f"{index + 1}/" if index + 1 < len(steps) else ""
        one, other = path[index].detach(), path[index + 1].detach()
        for name, judge in judges(rules, local, method).items():
            critic, made = method.discriminator["cascade"][index][name], done["made"][name]
            if judge is None:
                loss = -realness(critic, made).mean()
                own = {"adv": loss}
            else:
                loss, own = judge.generator(critic.network, made, other)
            total = total + loss
            terms |= {f"{label}{name}/{term}".replace("final/", ""): value for term, value in own.items()}
        every = method.config.reconstruction_every
        if step % every == 0:
            back = module(method, index, done["made"]["final"], told(other, one, form), where)["made"]["final"]
            terms[f"{label}cycle"] = absolute(done["given"]["face"].detach(), back)
            total = total + 9 * every * terms[f"{label}cycle"]
        if method.config.attention:
            keep = method.config.attention_convention == "keep"
            squares = [((1 - mask if keep else mask) ** 2).mean() for mask in done["masks"].values()]
            terms[f"{label}attention"] = torch.stack(squares).sum()
            total = total + 15 * terms[f"{label}attention"]
            terms |= {f"{label}replaced/{name}": mask.mean() for name, mask in done["masks"].items()}
    if "interpolator" in method.generator:
        natural = method.discriminator["interpolator"]
        terms["interp"] = torch.zeros(())
        for proposed, wanted in zip(path[1:-1], pseudo, strict=True):
            away = ((proposed - wanted) ** 2).sum(1).sqrt().mean()
            terms["interp"] = terms["interp"] + away - 19 * natural(proposed).mean()
        total = total + 17 * terms["interp"]
    return (total, terms), steps[-1]["made"]["final"]


@pytest.mark.parametrize("reused", [False, True])
@pytest.mark.parametrize("step", [6, 7])
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_critic_minimises_eq_1_and_2(variant: str, step: int, reused: bool) -> None:
    rules, local, form, changes = VARIANTS[variant]
    method, batch = make(rules, local, form, **changes), labelled()
    source, target = states_of(batch, rules.space)
    if reused:
        method.generator_loss(batch, step)
    torch.manual_seed(SEED)
    found = method.discriminator_loss(batch, step)
    with torch.no_grad(), ef_gan.normalised_once(method.generator):
        path, _ = way(method, source, target)
        steps, _ = cascade(method, batch, path)
    torch.manual_seed(SEED)
    with ef_gan.normalised_once(method.discriminator):
        expected = of_the_critics(method, rules, local, step, steps, path)
    assert_same(found, expected, method.parameters())
    torch.testing.assert_close(batch["fake"], steps[-1]["made"]["final"], rtol=1e-3, atol=1e-3)


def of_the_critics(
    method: ef_gan.Method, rules: Rules, local: Rules, step: int, steps: list[dict[str, Any]], path: list[Tensor]
) -> tuple[Tensor, dict[str, Tensor]]:
    """Eq. 1 and 2 and the critic of action units: total and terms."""
    source = path[0]
    total, terms = torch.zeros(()), {}
    for index, done in enumerate(steps):
        label = f"{index + 1}/" if index + 1 < len(steps) else ""
        for name, judge in judges(rules, local, method).items():
            # Real ones are those of the photograph, whichever module it is.
            critic, real, fake = (
                method.discriminator["cascade"][index][name], steps[0]["given"][name], done["made"][name],
            )  # fmt: skip
            if judge is None:
                loss, own = of_realness(local if name in method.extents else rules, critic, real, fake, step)
            else:
                loss, own = judge.discriminator(critic.network, real, fake, source, path[index + 1], step)
            total = total + loss
            terms |= {f"{label}{name}/{term}".replace("final/", ""): value for term, value in own.items()}
    if "interpolator" in method.discriminator:
        critic = method.discriminator["interpolator"]
        fake, real = torch.cat(path[1:-1]), source.repeat(len(path) - 2, 1)
        terms["interp/adv"] = critic(fake).mean() - critic(real).mean()
        slope = penalty(lambda x: critic(x.flatten(1)), real[:, :, None, None], fake[:, :, None, None])
        terms["interp/gp"] = slope.mean()
        total = total + terms["interp/adv"] + 10 * terms["interp/gp"]
    return total, terms


def of_realness(
    rules: Rules, critic: Any, real: Tensor, fake: Tensor, step: int
) -> tuple[Tensor, dict[str, Tensor]]:  # fmt: skip
    """The loss of a critic without states."""
    judged = (realness(critic, real), realness(critic, fake))
    if rules.objective == "wgan-gp":
        terms = {"adv": judged[1].mean() - judged[0].mean()}
        terms["gp"] = mean(penalty(lambda x: realness(critic, x), real, fake))
        return terms["adv"] + rules.gp * terms["gp"], terms
    terms = {"adv": (1 - judged[0]).clamp(min=0).mean() + (1 + judged[1]).clamp(min=0).mean()}
    total = terms["adv"]
    if step % rules.every == 0:
        points = real.clone().requires_grad_()
        map_ = realness(critic, points)
        (slope,) = torch.autograd.grad(map_.sum() / map_[0].numel(), points, create_graph=True)
        terms["r1"] = slope.square().sum((1, 2, 3)).mean()
        total = total + rules.gamma / 2 * rules.every * terms["r1"]
    return total, terms


@pytest.mark.parametrize("modules", [1, 2])
def test_critics_that_are_alone_learn_the_states_of_real_faces(modules: int) -> None:
    method = make(LOGISTIC, LOCAL_DEMO, "relative", **{**OPTIONS, "modules": modules, "critic_head_start": 5})
    batch = labelled()
    source, target = states_of(batch, "action_units")
    found = method.discriminator_loss(batch, 4)
    total, terms = torch.zeros(()), {}
    for index in range(modules):
        for name in ("final", "face"):
            network = method.discriminator["cascade"][index][name].network
            loss, own = LOGISTIC.discriminator(network, batch["image"], None, source, target, 4)
            total = total + loss
            label = f"{index + 1}/" if index + 1 < modules else ""
            terms |= {f"{label}{name}/{term}".replace("final/", ""): value for term, value in own.items()}
    assert_same(found, (total, terms), method.parameters())
    assert "fake" not in batch and any(name.endswith("adv") for name in method.discriminator_loss(batch, 5)[1])


@pytest.mark.parametrize("form", ["absolute", "relative"])
def test_translation_has_the_boxes_of_the_mean_face(form: str) -> None:
    method, batch = make(PUBLISHED, LOCAL, form, modules=2), labelled()
    source, target = states_of(batch, "action_units")
    method.centres += torch.tensor([[0.1, 0.0], [-0.1, 0.1], [0.3, 0.3]])
    groups = {"eyes": [*range(17, 27), *range(36, 48)], "nose": range(27, 36), "mouth": range(48, 68)}
    for part, centre in zip(groups, method.centres, strict=True):
        batch["landmarks"][:, list(groups[part])] = centre * SIZE
    with torch.no_grad():
        steps, _ = cascade(method, batch, way(method, source, target)[0])
        found = method.translate(batch["image"], source, target)
    torch.testing.assert_close(found, steps[-1]["made"]["final"], rtol=1e-3, atol=1e-3)


def test_the_mean_face_moves_by_a_hundredth() -> None:
    method, batch = make(PUBLISHED, LOCAL, "absolute").train(), labelled()
    before = method.centres.clone()
    torch.testing.assert_close(before, torch.tensor([[0.5, 0.345], [0.5, 0.55], [0.5, 0.715]]))
    method.corners(batch["landmarks"], 6)
    for index, points in enumerate(([*range(17, 27), *range(36, 48)], range(27, 36), range(48, 68))):
        seen = batch["landmarks"][:, list(points)].mean((0, 1)) / SIZE
        torch.testing.assert_close(method.centres[index], before[index] + 0.01 * (seen - before[index]))
    after = method.centres.clone()
    method.eval().corners(batch["landmarks"], 6)
    method.train().corners(None, 6)
    assert torch.equal(method.centres, after)


def test_rates_and_what_is_averaged() -> None:
    critics = {"adversary": PUBLISHED.config(learning_rate=3.0)}
    critics["local_adversary"] = LOCAL.config(layers=2, learning_rate=5.0)
    method = make(PUBLISHED, LOCAL, "absolute", modules=2, **critics)
    wanted = [
        (critic, 3.0 if name in ("final", "face") else 5.0)
        for made in method.discriminator["cascade"]
        for name, critic in made.items()
    ]
    assert_rates(method.discriminator_parameters(), [*wanted, (method.discriminator["interpolator"], 1.0)])
    assert_rates(method.generator_parameters(), [(method.generator, 1.0)])
    assert method.averaged is method.generator


@pytest.mark.parametrize("stem", ["conv", "unshuffle"])
@pytest.mark.parametrize("spectral", [True, False])
def test_networks_are_those_of_the_settings(spectral: bool, stem: str) -> None:
    sizes = {"conv_dim": 6, "residual_blocks": 2, "local_conv_dim": 8, "local_residual_blocks": 3}
    refiner = {"refiner_conv_dim": 10, "refiner_residual_blocks": 4}
    method = make(
        PUBLISHED, LOCAL, "absolute", **sizes, **refiner, spectral_norm=spectral, refiner_head="masked", stem=stem
    )
    nets = method.generator["cascade"][0]
    kind: dict[str, Any] = {"head": "masked", "stem": stem}
    for name, plain in (
        ("face", ef_gan.Generator(17, conv_dim=6, residual_blocks=2, **kind)),
        ("nose", ef_gan.Generator(17, conv_dim=8, residual_blocks=3, **kind)),
        ("refiner", ef_gan.Refiner(10, 4, "masked")),
    ):
        outputs = ("last",) if stem == "conv" or name == "refiner" else ("decoder", "refine", "last")
        ef_gan.prepare_hidden(plain, outputs, "orthogonal", spectral)
        assert {n: p.shape for n, p in nets[name].state_dict().items()} == {
            n: p.shape for n, p in plain.state_dict().items()
        }
    for critic in method.discriminator["cascade"][0].values():
        normalised = [name for name, _ in critic.network.named_parameters() if "parametrizations" in name]
        assert bool(normalised) is spectral and not any("head" in name for name in normalised)
        weight = critic.network.trunk[2].weight.detach().flatten(1)
        torch.testing.assert_close(weight @ weight.T, torch.eye(len(weight)), atol=2e-2, rtol=0)


def test_published_settings() -> None:
    config, critic = ef_gan.Config(), ef_gan.Config().adversary
    assert (config.modules, config.interpolator, config.branches) == (1, "mlp", ("eyes", "nose", "mouth"))
    assert (config.eyes_box, config.nose_box, config.mouth_box) == ((96, 48), (48, 48), (64, 48))
    assert (config.attention, config.attention_convention, config.refiner) == (True, "change", True)
    assert (config.spectral_norm, config.initialisation, config.cond_reduction) == (True, "orthogonal", "ganimation")
    assert (config.lambda_content, config.lambda_attention) == (10.0, 0.1)
    assert (config.lambda_interpolation, config.lambda_natural) == (1.0, 0.1)
    assert (config.conv_dim, config.residual_blocks) == (config.local_conv_dim, config.local_residual_blocks) == (64, 6)
    assert (config.refiner_conv_dim, config.refiner_residual_blocks, config.refiner_head) == (64, 6, "direct")
    assert (config.face_states, config.stem) == (False, "conv")
    assert critic == AdversaryConfig(lambda_classification=3000.0) and config.local_adversary.layers == 4
    assert dict(ef_gan.CONDITION) == {"space": "action_units"}
