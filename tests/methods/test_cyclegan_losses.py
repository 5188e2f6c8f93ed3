"""CycleGAN's losses pair by pair with networks of their own: values, gradients, the buffer, what guides see."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import functional_call

from mimik.methods.cyclegan import CONDITION, Config, Method
from mimik.networks.cyclegan import Discriminator, Generator, one_part
from tests.methods.formulas import absolute, assert_rates, assert_same, awake, labelled
from tests.methods.world import SIZE, make_context

SMALL: dict[str, Any] = {
    "conv_dim": 4, "residual_blocks": 1, "critic_conv_dim": 4, "critic_layers": 2, "lambda_cycle": 9.0,
    "lambda_identity": 7.0,
}  # fmt: skip
VARIANTS: dict[str, dict[str, Any]] = {
    "published": {},
    "another hub": {"hub": "sadness", "head": "masked", "stem": "unshuffle"},
    "all": {"pairs": "all", "head": "residual"},
}


def make(**changes: Any) -> Method:
    torch.manual_seed(0)
    method = Method(Config(**{**SMALL, **changes}), make_context())
    awake(method.generator)
    return method


def directions(method: Method) -> list[tuple[int, int]]:
    """From which class to which every generator goes, in the order of the networks."""
    classes, hub = range(4), method.condition.names.index(method.config.hub)
    if method.config.pairs == "hub":
        ways = [(hub, other) for other in classes if other != hub]
    else:
        ways = [(one, other) for one in classes for other in classes if one < other]
    return ways + [(other, one) for one, other in ways]


def networks(method: Method, grouped: Any, single: Any) -> Any:
    """Network `index` of a group, with the group's own weights."""
    weights = dict(grouped.named_parameters()) | dict(grouped.named_buffers())

    def apply(index: int, images: Tensor) -> Tensor:
        made: Tensor = functional_call(single, one_part(weights, index, method.parts), (images,))
        return made

    return apply


def both(method: Method) -> tuple[Any, Any]:
    shape: dict[str, Any] = {"head": method.config.head, "stem": method.config.stem}
    generators = networks(method, method.generator, Generator(1, conv_dim=4, residual_blocks=1, **shape))
    return generators, networks(method, method.discriminator, Discriminator(1, conv_dim=4, layers=2))


def batch_of(labels: list[int], targets: list[int]) -> dict[str, Tensor]:
    batch = labelled()
    batch["label"], batch["target"] = torch.tensor(labels), torch.tensor(targets)
    return batch


@pytest.mark.parametrize("labels", [[0, 1, 2, 3, 0, 2], [0, 0, 0, 1, 0, 2]])
@pytest.mark.parametrize("variant", VARIANTS)
def test_generators_minimise_eq_3(variant: str, labels: list[int]) -> None:
    method, batch = make(**VARIANTS[variant]), batch_of(labels, [2, 3, 1, 0, 3, 1])
    image, label = batch["image"], batch["label"].clone()
    found = method.generator_loss(batch, 0)
    generate, judge = both(method)
    terms = dict.fromkeys(("adv", "cycle", "self"), torch.zeros(()))
    ways = directions(method)
    for index, (here, there) in enumerate(ways):
        inverse = ways.index((there, here))
        x, y = image[label == here], image[label == there]
        if len(x):
            fake = generate(index, x)
            terms["adv"] = terms["adv"] + ((judge(index, fake) - 1) ** 2).mean()
            terms["cycle"] = terms["cycle"] + absolute(generate(inverse, fake), x)
        if len(y):
            terms["self"] = terms["self"] + absolute(generate(index, y), y)
    total = terms["adv"] + 9 * terms["cycle"] + 7 * terms["self"]
    assert_same(found, (total, terms), method.parameters())


@pytest.mark.parametrize("reused", [False, True])
@pytest.mark.parametrize("variant", VARIANTS)
def test_discriminators_minimise_half_the_squares(variant: str, reused: bool) -> None:
    method, batch = make(**VARIANTS[variant]), batch_of([0, 0, 0, 1, 0, 2], [2, 3, 1, 0, 3, 1])
    image, label = batch["image"], batch["label"].clone()
    if reused:
        method.generator_loss(batch, 0)
        batch["fakes"] = batch["fakes"] / 2
    found = method.discriminator_loss(batch, 0)
    generate, judge = both(method)
    total = torch.zeros(())
    for index, (here, there) in enumerate(directions(method)):
        x, y = image[label == here], image[label == there]
        if len(x):
            fake = generate(index, x).detach() / (2 if reused else 1)
            total = total + 0.5 * (judge(index, fake) ** 2).mean()
        if len(y):
            total = total + 0.5 * ((judge(index, y) - 1) ** 2).mean()
    assert_same(found, (total, {"adv": total}), method.parameters())


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("update", ["generator", "discriminator"])
def test_what_guides_see(variant: str, update: str) -> None:
    method, batch = make(**VARIANTS[variant]), batch_of([0, 1, 2, 3, 0, 2], [2, 3, 1, 0, 0, 2])
    getattr(method, f"{update}_loss")(batch, 0)
    ways, (generate, _) = directions(method), both(method)
    hub = method.condition.names.index(method.config.hub)
    for face, (source, target) in enumerate(zip([0, 1, 2, 3, 0, 2], [2, 3, 1, 0, 0, 2], strict=True)):
        wanted, expected = target, batch["image"][face]
        if source != target:
            wanted = target if (source, target) in ways else hub
            expected = generate(ways.index((source, wanted)), batch["image"][face][None])[0]
        assert int(batch["target"][face]) == wanted
        torch.testing.assert_close(batch["edited"][face], expected, rtol=1e-4, atol=1e-4)
    assert batch["edited"].requires_grad is (update == "generator") and not batch["fake"].requires_grad
    assert torch.equal(batch["edited"].detach(), batch["fake"]) and not batch["fakes"].requires_grad


def test_a_full_buffer_shows_older_edits_to_the_discriminators() -> None:
    method, batch = make(buffer=1), batch_of([0, 1, 2, 3, 0, 2], [2, 3, 1, 0, 3, 1])
    generate, judge = both(method)
    image, label, ways = batch["image"], batch["label"], directions(method)
    levels = torch.arange(6.0) * 40
    method.kept.copy_(levels[:, None, None].expand(-1, 1, 3 * SIZE**2))
    method.kept_count.fill_(1)
    torch.manual_seed(5)
    found = method.discriminator_loss(batch, 0)
    # The same draws: of every place in turn whether to exchange, and with which of the kept ones.
    torch.manual_seed(5)
    members = [int((label == here).sum()) for here, _ in ways]
    kept = [torch.full((3, SIZE, SIZE), float(level) / 127.5 - 1) for level in levels]
    total, exchanged = torch.zeros(()), 0
    shown: list[list[Tensor]] = [[] for _ in ways]
    for place in range(max(members)):
        exchange = torch.rand(6) < 0.5
        torch.randint(1, (6,))
        for index, (here, _) in enumerate(ways):
            if place >= members[index]:
                continue
            made = generate(index, image[label == here])[place].detach()
            if exchange[index]:
                shown[index].append(kept[index])
                kept[index] = ((made + 1) * 127.5).round() / 127.5 - 1
                exchanged += 1
            else:
                shown[index].append(made)
    assert 0 < exchanged < sum(members)
    for index, (_, there) in enumerate(ways):
        total = total + 0.5 * (judge(index, torch.stack(shown[index])) ** 2).mean()
        total = total + 0.5 * ((judge(index, image[label == there]) - 1) ** 2).mean()
    assert_same(found, (total, {"adv": total}), method.parameters())
    for index in range(6):
        held = method.kept[index, 0].float().view(3, SIZE, SIZE) / 127.5 - 1
        torch.testing.assert_close(held, kept[index], rtol=0, atol=0.01)


def test_a_cross_fade_has_the_proportions_of_both_states() -> None:
    method, image = make().eval(), labelled()["image"][:2]
    generate, _ = both(method)
    source = torch.tensor([[0.25, 0.75, 0, 0], [0, 0, 0, 1.0]])
    target = torch.tensor([[0, 0.5, 0.5, 0], [0.5, 0, 0, 0.5]])
    with torch.no_grad():
        found = method.translate(image, source, target)
        first, second = image[:1], image[1:]
        through = generate(1, generate(3, first))
        expected = 0.125 * generate(0, first) + 0.125 * generate(1, first) + 0.375 * first + 0.375 * through
        torch.testing.assert_close(found[:1], expected, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(found[1:], 0.5 * generate(5, second) + 0.5 * second, rtol=1e-4, atol=1e-4)
        assert float(method.translate(image * 3, source, source).abs().max()) == 1


def test_rates_schedule_and_networks() -> None:
    method = make(critic_learning_rate=3.0, critic_head_start=7)
    assert_rates(method.discriminator_parameters(), [(method.discriminator, 3.0)])
    assert_rates(method.generator_parameters(), [(method.generator, 1.0)])
    assert method.averaged is method.generator and method.compiled == [method.generator]
    assert [(update.name, update.start) for update in method.updates] == [("generator", 7), ("discriminator", 0)]
    shape: dict[str, Any] = {"conv_dim": 6, "residual_blocks": 2, "head": "masked", "stem": "unshuffle"}
    method = make(**shape, critic_conv_dim=8, critic_layers=1)
    for network, plain in (
        (method.generator, Generator(6, **shape)),
        (method.discriminator, Discriminator(6, conv_dim=8, layers=1)),
    ):
        assert [p.shape for p in network.parameters()] == [p.shape for p in plain.parameters()]


def test_settings() -> None:
    config = Config()
    assert (config.pairs, config.hub, config.head, config.stem) == ("hub", "neutral", "direct", "conv")
    assert (config.conv_dim, config.residual_blocks, config.critic_conv_dim, config.critic_layers) == (64, 9, 64, 3)
    assert (config.critic_learning_rate, config.critic_head_start) == (1.0, 0)
    assert (config.lambda_cycle, config.lambda_identity, config.buffer) == (10.0, 5.0, 50)
    assert Config(buffer=1).buffer == 1 and not CONDITION
    with pytest.raises(ValueError, match="buffer"):
        Config(buffer=0)
    for condition, classes in (({"space": "attributes"}, 4), ({"form": "relative"}, 4), ({}, 1)):
        with pytest.raises(ValueError, match=r"cyclegan edits only|hub"):
            Method(Config(**SMALL), make_context(classes=classes, **condition))
