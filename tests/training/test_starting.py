"""A training that starts from another: what is taken over by name, what is not, and what is frozen."""

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mimik.components.conditions import Condition
from mimik.components.context import Context
from mimik.errors import UserError
from mimik.labels import EXPRESSIONS
from mimik.methods import stargan
from mimik.storage.weights import read_safetensors, save_safetensors
from mimik.training.engine import Engine
from mimik.training.loop import TrainingConfig
from mimik.training.runs import load_method, train_method
from mimik.training.starting import CRITICS, _named_slices, frozen, load_critics, take_over, told
from tests.guests import method as guest
from tests.methods import test_methods, test_relative_au
from tests.methods.world import CLASSES, SIZE, Parser, make_batch, make_context
from tests.tasks import PLAIN, TASKS, Drawn
from tests.tiny import make_store
from tests.tracking.conftest import SETTINGS

METHODS: dict[str, Callable[[], Any]] = {
    **{name: make for name, make in TASKS.items() if name not in ("depth", "semantic")},
    "relative_au text": lambda: test_relative_au.make(msf="text"),
    "stargan attributes": lambda: stargan.Method(
        stargan.Config(**{**test_methods.SMALL_NETS, "adversary": test_methods.SMALL}), make_context(space="attributes")
    ),
    "guest": lambda: guest.Method(guest.Config(), make_context()),
}
KNOWN = EXPRESSIONS[:CLASSES]
UNITS = ("AU12", "AU01", "AU25", "AU04")
OWN = ("Young", "Bald", "Smiling")


def trained(make: Callable[[], Any]) -> Any:
    """A method whose weights, statistics and means are not those of its start."""
    torch.manual_seed(1)
    method = make()
    with torch.no_grad():
        for parameter in method.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
        for name, buffer in method.named_buffers():
            kept = name in method.state_dict() and "condition" not in name and "parametrizations" not in name
            if buffer.is_floating_point() and kept:
                buffer.add_(torch.rand_like(buffer) * 0.05)
    return method


def elsewhere(method: Any, classes: Sequence[str] = (), names: Sequence[str] = (), size: int = SIZE) -> Any:
    """A new method with the same settings, for other classes or, where it is told others, for other names."""
    torch.manual_seed(2)
    config, condition = method.config, method.condition
    if condition.space != "expression":
        told = dataclasses.replace(condition.config, names=tuple(names), source_noise=0.0, target_noise=0.0)
        own = Condition(told, condition.classes, condition.attributes)
    else:
        own = Condition(condition.config, tuple(classes))
    segmenter = Parser()
    if getattr(method, "segmenter", None) is not None:
        # Where it is not trained it is that of the source; where it is, this changes nothing.
        segmenter.load_state_dict(method.segmenter.state_dict())
    return type(method)(config, Context(own, size, {"segmenter": segmenter}))


def spread(condition: Any, shared: dict[str, Tensor]) -> Tensor:
    """States that are 0 but for some entries by name."""
    count = len(next(iter(shared.values())))
    return torch.stack([shared.get(name, torch.zeros(count)) for name in condition.names], 1)


def edits(method: Any, source: dict[str, Tensor], target: dict[str, Tensor]) -> Tensor:
    method.eval()
    with torch.no_grad():
        edited: Tensor = method.translate(
            make_batch()["image"][:4], *(spread(method.condition, s) for s in (source, target))
        )
    return edited


def asked(names: Sequence[str], space: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Four source and target states that use these names only."""
    if space == "action_units":
        random = torch.Generator().manual_seed(4)
        made = [{name: torch.rand(4, generator=random) for name in names} for _ in range(2)]
        return made[0], made[1]
    own = torch.arange(4) % len(names)
    return tuple(  # type: ignore[return-value]
        {name: (order == place).float() for place, name in enumerate(names)} for order in (own, own.roll(1))
    )


@pytest.mark.parametrize("name", METHODS)
def test_named_slices_are_those_of_the_weights(name: str) -> None:
    method = METHODS[name]()
    original = "parametrizations.weight.original"
    shapes = {weight.replace(original, "weight"): value.shape for weight, value in method.state_dict().items()}
    for weight, slices in _named_slices(method).items():
        for axis, keys in slices.items():
            assert len(set(keys)) == len(keys) == shapes[weight][axis], (weight, axis)


@pytest.mark.parametrize("name", [name for name in METHODS if name != "guest"])
def test_the_same_states_in_another_order_give_the_same_edits(name: str) -> None:
    source = trained(METHODS[name])
    space = source.condition.space
    names = {"expression": KNOWN, "attributes": OWN}.get(space, source.condition.names)
    other = elsewhere(source, classes=KNOWN[::-1], names=names[::-1])
    taken = take_over(other, source)
    assert taken.fresh == () and taken.partly == () and taken.share == 1
    states = asked(names, space)
    torch.testing.assert_close(edits(other, *states), edits(source, *states), atol=2e-5, rtol=1e-4)
    untouched = edits(elsewhere(source, classes=KNOWN[::-1], names=names[::-1]), *states)
    assert not torch.allclose(untouched, edits(source, *states), atol=1e-3)


ABSENT_IS_NOTHING = [
    name
    for name in METHODS
    # These are told minus one half, or minus one, for what a face does not show: a state more is a change.
    if name not in ("attgan", "icgan", "guest")
]


@pytest.mark.parametrize("name", ABSENT_IS_NOTHING)
def test_edits_between_shared_states_are_those_of_the_source(name: str) -> None:
    source = trained(METHODS[name])
    space = source.condition.space
    # Others, in another order, one of which the source does not know.
    classes = ("surprise", "contempt", "neutral", "happiness")
    names = {"expression": classes, "attributes": ("Young", "Smiling")}.get(space, UNITS)
    other = elsewhere(source, classes=classes, names=names)
    taken = take_over(other, source)
    assert taken.share > 0.6 or name == "cyclegan"
    states = asked([name for name in names if name in source.condition.names], space)
    torch.testing.assert_close(edits(other, *states), edits(source, *states), atol=2e-3, rtol=1e-3)


def test_shared_classes_keep_their_bits() -> None:
    """StarGAN's generator and critic, slice by slice, and the edit to happiness."""
    source = trained(lambda: test_methods.make("stargan", adversary=test_methods.SMALL))
    classes = ("surprise", "contempt", "happiness")
    other = elsewhere(source, classes=classes)
    initial = {name: value.clone() for name, value in other.state_dict().items()}
    taken = take_over(other, source)
    assert taken.partly == ("generator.encoder.0.weight", "discriminator.network.class_head.weight")
    assert taken.fresh == ()
    now, theirs = other.state_dict(), source.state_dict()
    planes, their_planes = now["generator.encoder.0.weight"], theirs["generator.encoder.0.weight"]
    assert torch.equal(planes[:, :3], their_planes[:, :3])
    heads, their_heads = (s["discriminator.network.class_head.weight"] for s in (now, theirs))
    assert len(heads) == 6 and len(their_heads) == 8
    for place, label in enumerate(classes):
        if label == "contempt":
            assert torch.equal(planes[:, 3 + place], initial["generator.encoder.0.weight"][:, 3 + place])
            continue
        there = KNOWN.index(label)
        assert torch.equal(planes[:, 3 + place], their_planes[:, 3 + there])
        assert torch.equal(heads[place], their_heads[there])
        assert torch.equal(heads[3 + place], their_heads[4 + there])
    said = " ".join(told(other, source, taken, critics=True))
    assert (
        "by name: surprise, happiness. New states, as initialised: contempt. Taken over in part: generator.en" in said
    )
    images, happy = make_batch()["image"], torch.ones(8)
    with torch.no_grad():
        one, two = (
            m.eval().translate(images, *[spread(m.condition, {"happiness": happy})] * 2) for m in (other, source)
        )
        verdicts = [m.discriminator.network(images) for m in (other, source)]
    torch.testing.assert_close(one, two, atol=1e-6, rtol=0)
    torch.testing.assert_close(verdicts[0][0], verdicts[1][0])
    torch.testing.assert_close(verdicts[0][1][..., 2], verdicts[1][1][..., KNOWN.index("happiness")])


def test_another_form_of_the_condition_takes_no_planes() -> None:
    source = trained(METHODS["stargan"])
    other = stargan.Method(source.config, make_context(form="relative"))
    before = other.generator.encoder[0].weight.detach().clone()
    taken = take_over(other, source)
    now, theirs = other.generator.encoder[0].weight, source.generator.encoder[0].weight
    assert taken.partly == ("generator.encoder.0.weight",)
    assert torch.equal(now[:, :3], theirs[:, :3]) and torch.equal(now[:, 3:], before[:, 3:])


def test_parts_of_a_face_find_their_place_by_name() -> None:
    source = trained(METHODS["hier_seg"])
    config = dataclasses.replace(source.config, parts=("mouth", "nose"))
    torch.manual_seed(3)
    other = type(source)(config, make_context())
    assert not take_over(other, source).fresh
    mine, theirs = other.generator["local"].state_dict(), source.generator["local"].state_dict()
    for name, value in mine.items():
        width = len(value) // 2
        for place, part in enumerate(config.parts):
            there = source.config.parts.index(part)
            assert torch.equal(value[place * width :][:width], theirs[name][there * width :][:width]), name
    assert torch.equal(other.mean_boxes, source.mean_boxes[[source.config.parts.index(part) for part in config.parts]])


def test_a_segmenter_that_is_not_trained_stays_the_one_that_was_named() -> None:
    for name, trains in (("hier_seg", True), ("hier_rect", False)):
        source, other = trained(METHODS[name]), METHODS[name]()
        take_over(other, source)
        pairs = zip(other.segmenter.parameters(), source.segmenter.parameters(), strict=True)
        assert all(torch.equal(one, two) for one, two in pairs) is trains
    source, other = trained(METHODS["stargan with masks"]), METHODS["stargan with masks"]()
    parser = {name: value.clone() for name, value in other.parser.state_dict().items()}
    take_over(other, source)
    assert all(torch.equal(value, parser[name]) for name, value in other.parser.state_dict().items())


def test_images_of_another_size_leave_what_depends_on_it() -> None:
    source = trained(METHODS["stargan"])
    taken = take_over(elsewhere(source, classes=KNOWN, size=2 * SIZE), source)
    assert taken.fresh == ("discriminator.network.class_head.weight",)
    source = trained(METHODS["hier_seg"])
    taken = take_over(elsewhere(source, classes=KNOWN, size=SIZE // 2), source)
    assert "mean_boxes" in taken.fresh and not any(name.startswith("generator.local") for name in taken.fresh)


def test_networks_that_do_not_tell_states_apart_start_where_these_are_the_same() -> None:
    source = trained(METHODS["guest"])
    other = elsewhere(source, classes=KNOWN)
    assert take_over(other, source).share == 1
    assert torch.equal(other.generator.weight, source.generator.weight)
    with pytest.raises(ValueError, match="no `named_slices` to tell states apart"):
        take_over(elsewhere(source, classes=KNOWN[::-1]), source)


def test_other_networks_are_refused() -> None:
    source = trained(METHODS["stargan"])
    with pytest.raises(ValueError, match="the same method"):
        take_over(METHODS["ganimation"](), source)
    larger = stargan.Method(dataclasses.replace(source.config, conv_dim=16), make_context())
    with pytest.raises(ValueError, match="only 0 % of the generator's numbers fit"):
        take_over(larger, source)


# On disk -------------------------------------------------------------------------------------------------------------


def settings(**changes: Any) -> dict[str, Any]:
    longer = {**SETTINGS["training"], "steps": 4, "checkpoint_seconds": 0.0, "precision": "fp32", "ema": 0.9}
    return {**SETTINGS, "training": longer, **changes}


def first_result(folder: Path) -> Path:
    """StarGAN on five classes."""
    make_store(folder / "five", classes=5)
    train_method(settings(), folder / "five", {}, folder / "first", folder / "c1")
    return folder / "first"


def test_a_run_starts_from_a_result_on_another_dataset(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    first = first_result(tmp_path)
    critics = read_safetensors(first / CRITICS, "")
    method, _ = load_method(first)
    assert load_critics(method, first)
    state: dict[str, Tensor] = method.discriminator.state_dict()
    assert critics.keys() == state.keys() and all(torch.equal(critics[name], state[name]) for name in critics)
    make_store(tmp_path / "three", classes=3, seed=1)
    # A rate of nearly zero: what comes out is what went in.
    still = {**settings()["training"], "learning_rate": 1e-12}
    where = {"starts_from": first}
    train_method(settings(training=still), tmp_path / "three", where, tmp_path / "second", tmp_path / "c2")
    said = capfd.readouterr().err
    assert f"tiny/stargan: starts from {first}. Taken over: 28 weights of generator and critics. States that " in said
    assert "by name: neutral, happiness, sadness. Optimisers start anew." in said
    second, record = load_method(tmp_path / "second")
    assert record["starts_from_sha256"] and record["starts_from_critic_sha256"] and record["freeze"] == []
    load_critics(second, tmp_path / "second")
    torch.testing.assert_close(second.generator.encoder[0].weight, method.generator.encoder[0].weight[:, :6])
    head = second.discriminator.network.class_head.weight
    torch.testing.assert_close(head, method.discriminator.network.class_head.weight[:3])


def test_a_result_without_critics_gives_its_generator(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    first = first_result(tmp_path)
    (first / CRITICS).unlink()
    train_method(settings(), tmp_path / "five", {"starts_from": first}, tmp_path / "second", tmp_path / "c2")
    said = capfd.readouterr().err
    assert said.count(f"The other result has no {CRITICS}, so critics start as initialised.") == 1
    assert json.loads((tmp_path / "second" / "config.json").read_text())["starts_from_critic_sha256"] is None


def test_critics_beside_the_generator_of_an_earlier_ef_gan_are_found(tmp_path: Path) -> None:
    source, other = trained(METHODS["ef_gan"]), METHODS["ef_gan"]()
    critics = {f"discriminator.{name}": value for name, value in source.discriminator.state_dict().items()}
    state = {**source.generator_state(), **critics}
    save_safetensors(tmp_path / "generator.safetensors", state)
    other.load_generator_state(state)
    assert load_critics(other, tmp_path)
    for name, value in source.discriminator.state_dict().items():
        assert torch.equal(value, other.discriminator.state_dict()[name]), name


def test_a_torn_file_of_critics_is_refused(tmp_path: Path) -> None:
    first = first_result(tmp_path)
    state = {name: value.clone() for name, value in read_safetensors(first / CRITICS, "").items()}
    for content, expected in ((b"torn", "expected weights"), (None, "the weights do not fit")):
        if content:
            (first / CRITICS).write_bytes(content)
        else:
            save_safetensors(first / CRITICS, dict(list(state.items())[1:]))
        with pytest.raises(UserError, match=rf"critic\.safetensors: {expected}.*start from the generator alone"):
            train_method(settings(), tmp_path / "five", {"starts_from": first}, tmp_path / "second", tmp_path / "c2")


class PowerCut(Exception):
    pass


def test_a_broken_run_that_started_from_another_ends_with_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = first_result(tmp_path)
    make_store(tmp_path / "three", classes=3, seed=1)
    frozen_run = settings(freeze=["generator.encoder.0.weight", "discriminator.network.trunk.0.*"])
    plain = stargan.Method.generator_loss

    def run(name: str) -> None:
        where = {"starts_from": first}
        train_method(frozen_run, tmp_path / "three", where, tmp_path / name, tmp_path / f"c-{name}")

    def failing(self: Any, batch: dict[str, Tensor], step: int) -> Any:
        if step == 2:
            raise PowerCut
        return plain(self, batch, step)

    run("whole")
    with monkeypatch.context() as patched:
        patched.setattr(stargan.Method, "generator_loss", failing)
        with pytest.raises(PowerCut):
            run("parts")
    assert (tmp_path / "c-parts" / "last.pt").is_file()
    run("parts")
    for file in ("generator.safetensors", CRITICS):
        whole, parts = (read_safetensors(tmp_path / name / file, "") for name in ("whole", "parts"))
        assert whole.keys() == parts.keys()
        for name, value in whole.items():
            assert torch.equal(value, parts[name]), name
    generator, critics = (
        read_safetensors(tmp_path / "parts" / file, "") for file in ("generator.safetensors", CRITICS)
    )
    before, judges = (read_safetensors(first / file, "") for file in ("generator.safetensors", CRITICS))
    assert torch.equal(generator["encoder.0.weight"], before["encoder.0.weight"][:, :6])
    assert not torch.equal(generator["last.weight"], before["last.weight"])
    assert torch.equal(critics["network.trunk.0.weight"], judges["network.trunk.0.weight"])
    assert not torch.equal(critics["network.trunk.2.weight"], judges["network.trunk.2.weight"])
    record = json.loads((tmp_path / "parts" / "config.json").read_text())
    assert record["freeze"] == frozen_run["freeze"]


# Freezing ------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_what_is_frozen_keeps_its_bits_and_the_rest_learns(name: str) -> None:
    torch.manual_seed(0)
    method = METHODS[name]()
    every = frozen(method, ["*"], "x")
    held = every[::2] if len(every) > 4 else [every[0]]
    engine = Engine(method, TrainingConfig(**PLAIN), torch.device("cpu"), seed=3, frozen=held)
    before = {name: value.detach().clone() for name, value in method.named_parameters()}
    with engine.running():
        for step in range(4):
            for _ in engine.run_step(step, Drawn(method, torch.device("cpu"))):
                pass
    now = dict(method.named_parameters())
    assert all(torch.equal(now[name], before[name]) for name in held)
    moved = [name for name in every if not torch.equal(now[name], before[name])]
    assert moved and not set(moved) & set(held)
    for average, value in (engine.average or {}).items():
        if f"generator.{average}" in held:
            assert torch.equal(value, before[f"generator.{average}"])


def test_patterns_are_of_whole_names_and_match_something() -> None:
    method = METHODS["hier_seg"]()
    names = dict(method.named_parameters())
    assert frozen(method, ["generator.segmenter.*"], "x") == [n for n in names if n.startswith("generator.segmenter.")]
    assert frozen(method, [], "x") == []
    with pytest.raises(
        UserError, match=r"methods\.h\.freeze: 'segmenter\.\*' matches no parameter.*generator\.global\.\*"
    ):
        frozen(method, ["generator.*", "segmenter.*"], "methods.h")
    # A frozen segmenter has no parameter that is trained.
    with pytest.raises(UserError, match="matches no parameter that is trained"):
        frozen(METHODS["hier_rect"](), ["generator.segmenter.*"], "x")


def test_an_update_has_to_have_something_to_train() -> None:
    method = METHODS["stargan"]()
    held = frozen(method, ["discriminator.*"], "x")
    with pytest.raises(UserError, match="freeze: nothing is left for the update of the discriminator"):
        Engine(method, TrainingConfig(**PLAIN), torch.device("cpu"), seed=0, frozen=held)


def test_a_guided_method_is_frozen_by_the_same_names(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store")
    guidance = {"tests.guests.guide": {}}
    freeze = ["generator.encoder.*"]
    results = []
    for rate, name in ((1e-3, "one"), (1e-12, "two")):
        training = {**settings()["training"], "learning_rate": rate}
        run = settings(guidance=guidance, freeze=freeze, training=training)
        train_method(run, store.directory, {}, tmp_path / name, tmp_path / f"c-{name}")
        results.append(read_safetensors(tmp_path / name / "generator.safetensors", ""))
    one, two = results
    for name, value in one.items():
        assert torch.equal(value, two[name]) is name.startswith("encoder."), name


def test_a_method_without_critics_of_that_name_keeps_none() -> None:
    assert not isinstance(getattr(METHODS["guest"](), "discriminator", None), nn.Module)
