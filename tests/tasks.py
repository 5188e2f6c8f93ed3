"""Every task of the loop at a small size, and steps of the engine on one batch, for tests of the engine."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mimik.components.adversary import AdversaryConfig
from mimik.components.augmentation import AugmentationConfig
from mimik.methods import stargan
from mimik.training.engine import Engine
from mimik.training.guided import Guided
from mimik.training.loop import TrainingConfig
from tests.guidance import test_depth, test_semantic
from tests.methods import (
    test_attgan,
    test_cyclegan,
    test_ef_gan,
    test_ganimation,
    test_gannotation,
    test_icgan,
    test_methods,
    test_relative_au,
)
from tests.methods.world import make_batch, make_context, method_size

LAZY: dict[str, Any] = {
    **test_methods.DEMO,
    "reuse_fake": False,
    "critic_updates": 2,
    "critic_head_start": 2,
    "reconstruction_every": 3,
    "adversary": AdversaryConfig(
        conv_dim=8,
        layers=3,
        objective="hinge",
        per_class=True,
        r1_gamma=1.0,
        r1_every=2,
        # Colours only: a GPU resamples moved images with a gradient whose bits vary.
        augmentation=AugmentationConfig(
            adaptive=True,
            probability=0.3,
            target=0.0,
            every=8,
            images=40,
            noise=0.1,
            cutout=0.3,
            shift=0.0,
            scale=0.0,
            rotation=0.0,
            stretch=0.0,
        ),
    ),
}
"""Settings whose steps differ from each other."""


def guided(guide: Any, **condition: Any) -> Guided:
    """StarGAN with a guide."""
    torch.manual_seed(0)
    config = stargan.Config(conv_dim=8, residual_blocks=1, adversary=test_methods.ADVERSARY)
    return Guided(stargan.Method(config, make_context(**condition)), {"guide": guide})


TASKS: dict[str, Callable[[], Any]] = {
    "stargan": lambda: test_methods.make("stargan"),
    "stargan demo": lambda: test_methods.make("stargan", **test_methods.DEMO),
    "stargan lazy": lambda: test_methods.make("stargan", **LAZY),
    "stargan with masks": lambda: test_methods.make("stargan", see_masks=True),
    "hier_seg": lambda: test_methods.make("hier_seg"),
    "hier_seg full": lambda: test_methods.make("hier_seg", fusion_reconstruction="full", segmenter_every=2),
    "hier_seg anchored": lambda: test_methods.make("hier_seg", segmenter_anchor=1.0, segmenter_batch_norm="train"),
    "hier_rect": lambda: test_methods.make("hier_seg", extract="rectangles", end_to_end=False),
    "attgan": test_attgan.make,
    "ganimation": test_ganimation.make,
    "gannotation": test_gannotation.make,
    "cyclegan": test_cyclegan.make,
    "icgan": test_icgan.make,
    "relative_au": test_relative_au.make,
    "relative_au separate": lambda: test_relative_au.make(gp_step="separate"),
    "ef_gan": test_ef_gan.make,
    "depth": lambda: guided(test_depth.make_guide()),
    "semantic": lambda: guided(test_semantic.make_guide(), form="relative"),
}

PLAIN: dict[str, Any] = {"steps": 100, "precision": "fp32", "ema": 0.9, "deterministic": True, "compile": False}
"""Settings under which a step is the same to the bit however often it is computed."""


class Drawn:
    """Another batch for every position, of which only the position decides."""

    def __init__(self, method: Any, device: torch.device) -> None:
        self.size, self.device = method_size(method), device

    def at(self, position: int) -> dict[str, Tensor]:
        batch = make_batch(self.size, 4)
        order = torch.randperm(len(batch["image"]), generator=torch.Generator().manual_seed(position))
        return {name: value[order].to(self.device) for name, value in batch.items()}


def stepped(
    make: Callable[[], Any], steps: int, device: torch.device | str = "cpu", watch: Any = None, **settings: Any
) -> tuple[Any, list[dict[str, float]]]:
    """A new task after some steps of the engine, and the terms of every update on the way.

    Args:
        make: makes the task.
        steps: how many.
        device: where.
        watch: called with the engine before its first step.
        settings: of the training, beside `PLAIN`.
    """
    place = torch.device(device)
    torch.manual_seed(0)
    task = make()
    engine = Engine(task, TrainingConfig(**{**PLAIN, **settings}), place, seed=3)
    if watch:
        watch(engine)
    feed, history = Drawn(task, place), []
    with engine.running():
        for step in range(steps):
            for found in engine.run_step(step, feed):
                history.append({name: float(value) for part in found for name, value in part.items()})
    engine.check()
    return engine, history


def assert_same(one: Engine, other: Engine) -> None:
    """The same bits in everything that the next step depends on."""
    states = [flat(engine.state()) for engine in (one, other)]
    assert states[0].keys() == states[1].keys()
    for name, value in states[0].items():
        assert torch.equal(value.cpu(), states[1][name].cpu()), name


def flat(state: Any, prefix: str = "") -> dict[str, Tensor]:
    """All tensors of a nested state by their path."""
    if isinstance(state, Tensor):
        return {prefix: state}
    items = state.items() if isinstance(state, dict) else enumerate(state) if isinstance(state, list) else ()
    return {name: value for key, part in items for name, value in flat(part, f"{prefix}/{key}").items()}
