"""Losses, updates and translations stay on the device: nothing is copied to or from the host, or decided there.

Everything runs on torch's `meta` device, whose tensors have shapes and no values: to code they are as far away as a
GPU's. So whatever would wait for a GPU, or cannot be recorded as a graph of its operations and replayed with other
data, another seed and another step, is refused where it happens.
"""

import contextlib
import dataclasses
import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from mimik.components.adversary import Adversary, AdversaryConfig
from mimik.components.conditions import Condition, ConditionConfig
from mimik.components.context import Context
from mimik.labels import ACTION_UNITS, EXPRESSIONS, SEGMENTATION_CLASSES
from mimik.networks import depth_network, face_classifier, face_reader, segmenter, vgg19
from mimik.pretraining.classifier import AttributeTask, ClassifierConfig, ClassifierTask
from mimik.pretraining.depth_network import DepthNetworkConfig, DepthNetworkTask
from mimik.pretraining.reader import ReaderConfig, ReaderTask
from mimik.pretraining.segmenter import SegmenterConfig, SegmenterTask
from mimik.settings import params
from mimik.settings.configuration import build
from mimik.training.guided import Guided
from mimik.training.runs import guide_module, method_module

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
SIZE, COUNT, CLASSES = 64, 4, 4
ATTRIBUTES = ("Bald", "Smiling", "Young")
LATER = 4000
"""A step after all head starts on which everything is due that is due every so many steps; the next has none of it."""


class NotOnDeviceError(AssertionError):
    """Something passed between host and device, or was decided on the host."""


def refuse(what: str) -> None:
    """Raise with the operation and the line of mimik's code that is responsible."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and f"{ROOT / 'src'}" not in frame.f_code.co_filename:
        frame = frame.f_back
    place = "the backward pass" if frame is None else f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
    raise NotOnDeviceError(f"{what} in {place}")


class WatchedCalls(TorchFunctionMode):
    """Refuses calls that read a tensor on the host, or make one from the host's memory."""

    FROM_HOST = (torch.tensor, torch.as_tensor, torch.asarray, torch.from_numpy, Tensor.new_tensor)
    TO_HOST = (
        Tensor.item, Tensor.tolist, Tensor.numpy, Tensor.cpu, Tensor.__bool__, Tensor.__int__, Tensor.__float__,
        Tensor.__index__, Tensor.__contains__, torch.equal, torch.allclose, torch.is_nonzero,
    )  # fmt: skip

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in self.FROM_HOST or func in self.TO_HOST:
            refuse(func.__name__)
        if func in (Tensor.__getitem__, Tensor.__setitem__):
            index = args[1] if isinstance(args[1], tuple) else (args[1],)
            if any(not isinstance(part, Tensor | slice | int | type(None) | type(...)) for part in index):
                refuse("an index from the host")
        return func(*args, **(kwargs or {}))


class WatchedOperations(TorchDispatchMode):
    """Refuses operations that leave the device, or whose result's shape depends on values."""

    SHAPED_BY_VALUES = frozenset(
        f"aten::{name}" for name in (
            "nonzero", "masked_select", "unique_consecutive", "_unique", "_unique2", "unique_dim", "bincount",
            "repeat_interleave", "_local_scalar_dense", "equal", "is_nonzero", "argwhere", "histc", "multinomial",
        )
    )  # fmt: skip

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name
        if name in self.SHAPED_BY_VALUES:
            refuse(name)
        indices = args[1] if name.startswith(("aten::index_put", "aten::_index_put")) or name == "aten::index" else ()
        if any(part is not None and part.dtype in (torch.bool, torch.uint8) for part in indices):
            refuse(f"{name} with a mask")
        settings = kwargs or {}
        if settings.get("device", META) != META or not on_device(args):
            refuse(f"{name} on the host")
        result = func(*args, **settings)
        if not on_device((result,)):
            refuse(f"{name} on the host")
        return result


META = torch.device("meta")


def on_device(values: Any) -> bool:
    """Whether all tensors in (nested) lists and tuples are on the device."""
    for value in values:
        if isinstance(value, Tensor):
            if not value.is_meta:
                return False
        elif isinstance(value, list | tuple) and not on_device(value):
            return False
    return True


class Step:
    """The number of a step that can be compared, and its remainders, but that no number can be made of."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __mod__(self, other: int) -> "Step":
        return Step(self.value % other)

    def __eq__(self, other: object) -> bool:
        return self.value == other

    def __lt__(self, other: int) -> bool:
        return self.value < other

    def __le__(self, other: int) -> bool:
        return self.value <= other

    def __gt__(self, other: int) -> bool:
        return self.value > other

    def __ge__(self, other: int) -> bool:
        return self.value >= other

    __hash__ = None  # type: ignore[assignment]


@contextlib.contextmanager
def watched() -> Iterator[None]:
    """Refuse whatever is not the device's business."""
    with WatchedCalls(), WatchedOperations():
        yield


def make_batch() -> dict[str, Tensor]:
    """A batch on the device with every entry that there is."""
    made = {
        "image": torch.empty(COUNT, 3, SIZE, SIZE),
        "row": torch.zeros(COUNT, dtype=torch.int64),
        "label": torch.zeros(COUNT, dtype=torch.int64),
        "action_units": torch.empty(COUNT, len(ACTION_UNITS)),
        "attributes": torch.empty(COUNT, len(ATTRIBUTES)),
        "landmarks": torch.empty(COUNT, 68, 2),
        "mask": torch.zeros(COUNT, SIZE, SIZE, dtype=torch.int64),
        "depth": torch.empty(COUNT, 1, SIZE, SIZE),
        "normals": torch.empty(COUNT, 3, SIZE, SIZE),
        "identity_descriptor": torch.empty(COUNT, 9),
    }
    targets = {f"target_{name}": made[name] for name in ("action_units", "attributes", "landmarks")}
    return {name: value.to("meta") for name, value in (made | targets | {"target": made["label"]}).items()}


PARAMS = params.load(ROOT / "params.yaml")


def make_method(name: str, scale: str = "smoke", **changes: Any) -> Any:
    """An entry of `methods` with overrides, `guidance`, `condition` and the pre-trained networks among them."""
    values = {**PARAMS, "methods": {**PARAMS["methods"], name: {**PARAMS["methods"][name], **changes}}}
    settings = params.resolve(values, "synthetic", name, scale)
    module = method_module(settings["module"])

    def networks() -> dict[str, Any]:
        made = {}
        for kind, entry in settings["pretrained"].items():
            config = getattr(params, f"resolve_{kind}")(values, "synthetic", entry, scale)["config"]
            small = {"width": 4} if kind == "segmenter" else {"conv_dim": 8, "residual_blocks": 1}
            network = importlib.import_module(f"mimik.networks.{kind}")
            made[kind] = network.build({**config, **small, "image_size": SIZE})
        return made

    condition = build(ConditionConfig, {**module.CONDITION, **settings["condition"]}, name)
    context = Context(Condition(condition, EXPRESSIONS[:CLASSES], ATTRIBUTES), SIZE, networks())
    method = module.Method(build(module.Config, settings["config"], name), context)
    guides = {
        guide: guide_module(guide).Guide(
            build(guide_module(guide).Config, chosen, name), dataclasses.replace(context, pretrained=networks())
        )
        for guide, chosen in settings["guidance"].items()
    }
    return Guided(method, guides) if guides else method


def make_segmenter(network: str, **settings: Any) -> SegmenterTask:
    config = SegmenterConfig(network=network, width=4, **settings)  # type: ignore[arg-type]
    weights = torch.ones(len(SEGMENTATION_CLASSES)) if config.class_balance else None
    return SegmenterTask(segmenter.build({**vars(config), "image_size": SIZE}), config, weights)


def make_classifier(network: str) -> ClassifierTask:
    config = ClassifierConfig(network=network)  # type: ignore[arg-type]
    # VGG-16 is large: nothing is to be drawn for it.
    with torch.device("meta" if network == "vgg16" else "cpu"):
        return ClassifierTask(face_classifier.build({"network": network}, EXPRESSIONS[:CLASSES]), config)


def make_attribute_classifier() -> ClassifierTask:
    config = ClassifierConfig(network="small", predicts="attributes", names=("Young", "Bald"))
    network = face_classifier.build({"network": "small", "predicts": "attributes"}, list(config.names))
    return AttributeTask(network, config, ATTRIBUTES)


def make_reader() -> ReaderTask:
    return ReaderTask(face_reader.build({"width": 4}, 9), ReaderConfig())


def make_depth_network(**settings: Any) -> DepthNetworkTask:
    critic = AdversaryConfig(conv_dim=8, layers=3)
    config = DepthNetworkConfig(conv_dim=8, residual_blocks=1, adversary=critic, **settings)
    adversary = Adversary(
        critic, SIZE, Condition(ConditionConfig(), EXPRESSIONS[:CLASSES]), confidence_penalty=config.confidence_penalty
    )
    vgg = vgg19.VGG19(["relu1_1", "relu2_1"]).requires_grad_(False) if config.perceptual == "vgg19" else None
    return DepthNetworkTask(depth_network.build(vars(config)), config, adversary, vgg)


AUGMENTED = {"conv_dim": 8, "layers": 3, "augmentation": {"probability": 0.3, "noise": 0.1, "cutout": 0.3}}
ADAPTIVE = {"augmentation": {"adaptive": True, "probability": 0.3}}
UNITS = {"space": "action_units", "form": "relative"}
TASKS: dict[str, Callable[[], Any]] = {
    **{name: lambda name=name: make_method(name) for name in PARAMS["systems"]},
    "cascade_ef_gan": lambda: make_method("cascade_ef_gan", modules=2),
    **{f"{name} demo": lambda name=name: make_method(name, "demo", residual_blocks=1) for name in (
        "stargan", "ganimation", "gannotation", "hier_seg", "secgan", "stargan_au", "hier_seg_depth_au",
    )},
    **{f"{name} demo": lambda name=name: make_method(name, "demo") for name in ("attgan", "relative_au")},
    "stargan augmented": lambda: make_method("stargan", adversary=AUGMENTED),
    "icgan augmented": lambda: make_method("icgan", **ADAPTIVE),
    "ef_gan augmented": lambda: make_method("ef_gan", "demo", residual_blocks=1, local_adversary=ADAPTIVE),
    "hier_seg augmented": lambda: make_method("hier_seg", "demo", residual_blocks=1, local_adversary=ADAPTIVE),
    "stargan told attributes": lambda: make_method(
        "stargan", "demo", condition={"space": "attributes", "names": ["Young", "Bald"]}
    ),
    "stargan told some units": lambda: make_method(
        "stargan", condition={"space": "action_units", "names": ["AU04", "AU12"], "source_noise": 0.1}
    ),
    "stargan vanilla": lambda: make_method("stargan", adversary={"objective": "vanilla"}),
    "stargan_concat": lambda: make_method("stargan_concat"),
    "attgan_concat": lambda: make_method("attgan_concat"),
    "attgan_no_norm": lambda: make_method("attgan_no_norm", "demo", adversary=ADAPTIVE),
    "secgan_attgan": lambda: make_method("secgan_attgan"),
    "secgan_soft": lambda: make_method("secgan_soft"),
    "relative_au_gp_separate": lambda: make_method("relative_au_gp_separate", "demo"),
    "icgan_relative": lambda: make_method("icgan_relative"),
    "hier_seg full, anchored": lambda: make_method(
        "hier_seg", fusion_reconstruction="full", segmenter_anchor=1.0, segmenter_batch_norm="train",
        local_adversary=AUGMENTED | {"per_class": True},
    ),
    "hier_seg sum": lambda: make_method("hier_seg", combine="sum", mask_space="signed", parts=["nose", "mouth"]),
    "hier_seg bisenet": lambda: make_method("hier_seg", segmenter="bisenet"),
    "depth_guided_normals": lambda: make_method("depth_guided_normals"),
    "depth_guided_one_way": lambda: make_method("depth_guided_one_way"),
    "depth_guided_frozen": lambda: make_method("depth_guided_frozen"),
    "ef_gan_expressions": lambda: make_method("ef_gan_expressions", face_states=True),
    "segmenter bisenet": lambda: make_segmenter("bisenet", ohem=True, jitter=0.5, scales=(0.75, 2.0), crop=0.875),
    "segmenter unet": lambda: make_segmenter("unet", class_balance=0.5),
    "classifier small": lambda: make_classifier("small"),
    "classifier vgg16": lambda: make_classifier("vgg16"),
    "classifier of attributes": make_attribute_classifier,
    "reader": make_reader,
    "depth network": make_depth_network,
    "depth network, head start": lambda: make_depth_network(
        critic_head_start=2, reuse_fake=True, domains="one_way", geometry="normals", perceptual="none"
    ),
}  # fmt: skip
"""Every method and every guide of the table of systems, every supervised task, and options that take other paths."""


@pytest.fixture(autouse=True)
def autocast_on_meta(monkeypatch: pytest.MonkeyPatch) -> None:
    """`torch.autocast` knows no device of the kind `meta`; there is nothing to be cast there."""
    plain = torch.autocast

    def autocast(device_type: str, *arguments: Any, **settings: Any) -> Any:
        return contextlib.nullcontext() if device_type == "meta" else plain(device_type, *arguments, **settings)

    monkeypatch.setattr(torch, "autocast", autocast)


def plain_state(task: nn.Module) -> dict[str, Any]:
    """What modules keep outside of their parameters and buffers, and where these two live."""
    state: dict[str, Any] = {}
    for name, module in task.named_modules():
        own = {key: value for key, value in vars(module).items() if not key.startswith(("_parameters", "_buffers"))}
        state[name] = {key: repr(value) for key, value in own.items() if not isinstance(value, nn.Module)}
    tensors = [*task.named_parameters(), *task.named_buffers()]
    return state | {f"address of {name}": id(tensor) for name, tensor in tensors}


def run_updates(task: Any, step: int) -> None:
    """All updates of a step with their backward passes, in their order, on one batch, watched."""
    batch = make_batch()
    owners = {update.name: getattr(task, f"{update.name}_parameters")() for update in task.updates if not update.shares}
    for update in task.updates:
        if not update.due(step):
            continue
        for name, groups in owners.items():
            for parameter in (parameter for group in groups for parameter in group["params"]):
                parameter.requires_grad_(name == (update.shares or update.name))
        with watched():
            total, terms = getattr(task, f"{update.name}_loss")(batch, Step(step))
            total.backward()
        assert all(value.is_meta for value in terms.values())
        task.zero_grad(set_to_none=True)


def capturable(task: Any) -> bool:
    return getattr(task, "capturable", True)


@pytest.mark.parametrize("name", TASKS)
def test_updates_and_translations_stay_on_the_device(name: str) -> None:
    task = TASKS[name]().to("meta").train()
    if not capturable(task):
        with pytest.raises(NotOnDeviceError):
            run_updates(task, 0)
        return
    before = plain_state(task)
    others = any(update.start or update.stop for update in task.updates)
    for step in (0, LATER, LATER + 1) if others else (LATER, LATER + 1):
        run_updates(task, step)
    assert plain_state(task) == before
    method = getattr(task, "method", task)
    if hasattr(method, "translate"):
        translate(method.eval())


@torch.no_grad()
def translate(method: Any) -> None:
    """An edit as `mimik.evaluation.translation` asks for it."""
    batch, condition = make_batch(), method.condition
    with watched():
        known = batch["attributes" if condition.space == "attributes" else "action_units"]
        source = condition.of_faces(batch["label"], known)
        target = condition.asked(source, batch["label"], batch["target"])
        assert method.translate(batch["image"], source, target).is_meta


GUILTY: dict[str, Callable[[Tensor], Any]] = {
    "tensor": lambda x: torch.tensor([1.0], device=x.device),
    "new_tensor": lambda x: x.new_tensor([1.0]),
    "an index from the host": lambda x: x[:, [0, 1]],
    "__bool__": lambda x: 1 if x.any() else 0,
    "__int__": lambda x: int(x.sum()),
    "__float__": lambda x: float(x.sum()),
    "item": lambda x: x.sum().item(),
    "tolist": lambda x: x.tolist(),
    "nonzero": lambda x: x.nonzero(),
    "with a mask": lambda x: x[x > 0],
    "index_put_ with a mask": lambda x: x.__setitem__(x > 0, x[0, 0]),
    "masked_select": lambda x: x.masked_select(x > 0),
    "unique": lambda x: x.unique(),
    "repeat_interleave": lambda x: x.repeat_interleave(x[0].long(), 0),
    "randint on the host": lambda x: torch.randint(3, (2,)),
    "rand on the host": lambda x: torch.rand(2).to(x.device),
    "_to_copy on the host": lambda x: x.to("cpu"),
    "copy_ on the host": lambda x: x.copy_(HOST),
}
HOST = torch.zeros(2, 2)


@pytest.mark.parametrize("what", GUILTY)
def test_what_leaves_the_device_is_noticed(what: str) -> None:
    values = torch.empty(2, 2, device="meta")
    with pytest.raises(NotOnDeviceError, match=what), watched():
        GUILTY[what](values)


@pytest.mark.parametrize("name", ["stargan", "cyclegan"])
def test_a_guided_method_is_as_capturable_as_by_itself(name: str) -> None:
    plain, guided = make_method(name), make_method(name, guidance={"depth": {"start": "scratch"}})
    assert isinstance(guided, Guided) and capturable(guided) is capturable(plain) is (name == "stargan")


def test_steps_make_no_numbers() -> None:
    step = Step(8)
    assert step % 4 == 0 and step >= 8 and not step < 8
    for use in (lambda: step + 1, lambda: step * 2, lambda: float(step), lambda: step / 10, lambda: (step % 4) * 0.1):
        with pytest.raises(TypeError):
            use()
