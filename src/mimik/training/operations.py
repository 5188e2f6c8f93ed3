"""How many operations a training step takes, counted without data and without computing anything.

The step runs on fake tensors, which have shapes and no values; torch's counter adds up the products and sums of
convolutions and matrices, forward and backward. Everything else a step does is memory traffic, and is not counted.
"""

import copy
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import DynamicOutputShapeException, FakeCopyMode, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from mimik.labels import ACTION_UNITS, EXPRESSIONS, SECGAN_ATTRIBUTES, SEGMENTATION_CLASSES
from mimik.training.schedule import Update

FULL_STEP = 5040
"""A step in which terms are due that are computed on every n-th step only: it is a
multiple of all small n."""


def random_batch(batch_size: int, size: int, device: torch.device | str = "cpu") -> dict[str, Tensor]:
    """A batch with all that a task may read, in the form of `mimik.training.batches.Batches.at`.

    Args:
        batch_size: number of faces.
        size: side of the images in pixels.
        device: where the tensors are.

    Returns:
        random images in [-1, 1], labels of the 8 expressions, action units, SeCGAN's 13 attributes, landmarks in
        pixels, masks, depth and normals, with the targets of a permutation.
    """
    generator = torch.Generator().manual_seed(0)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    order = torch.randperm(batch_size, generator=generator)
    made = {
        "image": uniform(batch_size, 3, size, size) * 2 - 1,
        "row": torch.arange(batch_size),
        "label": torch.randint(len(EXPRESSIONS), (batch_size,), generator=generator),
        "action_units": uniform(batch_size, len(ACTION_UNITS)),
        "attributes": uniform(batch_size, len(SECGAN_ATTRIBUTES)).round(),
        "landmarks": (0.3 + 0.4 * uniform(batch_size, 68, 2)) * size,
        "mask": torch.randint(len(SEGMENTATION_CLASSES), (batch_size, size, size), generator=generator),
        "depth": uniform(batch_size, 1, size, size) * 2 - 1,
        "normals": uniform(batch_size, 3, size, size) * 2 - 1,
    }
    targets = {f"target_{name}": made[name][order] for name in ("action_units", "attributes", "landmarks")}
    made |= targets | {"target": made["label"][order]}
    return {name: value.to(device) for name, value in made.items()}


def run_operations(task: Any, size: int, batch_size: int, steps: int) -> int | None:
    """Floating-point operations of a run (a multiplication and an addition count as two).

    Args:
        task: a `mimik.training.loop.Task` on the CPU; it stays as it is.
        size: side of the images in pixels.
        batch_size: faces in a batch.
        steps: length of the run.

    Returns:
        those of every update in the steps in which it is due. Terms that are computed on some steps only count as if
        they were always computed. None for a task whose shapes depend on the values in a batch (CycleGAN).
    """
    try:
        # Operations grow in proportion to the batch; some networks need more than one face.
        return sum(_operations(task, update, size) * _runs(update, steps) for update in task.updates) * batch_size // 2
    except DynamicOutputShapeException:
        return None


def _runs(update: Update, steps: int) -> int:
    """How often an update runs in a run."""
    last = steps if update.stop is None else min(steps, update.stop)
    return update.repeats * max(0, last - update.start)


def _operations(task: Any, update: Update, size: int) -> int:
    """Of one update with a batch of two faces."""
    mode = FakeTensorMode()
    with FakeCopyMode(mode):
        task = copy.deepcopy(task).train()
    groups = getattr(task, f"{update.shares or update.name}_parameters")()
    trained = {id(weight) for group in groups for weight in group["params"]}
    for weight in task.parameters():
        weight.requires_grad_(id(weight) in trained and weight.requires_grad)
    step = FULL_STEP * (update.start // FULL_STEP + 1)
    with mode, OperationCounter() as counter:
        loss, _ = getattr(task, f"{update.name}_loss")(random_batch(2, size), step)
        loss.backward()
    return int(counter.total)


class OperationCounter(TorchDispatchMode):
    """Sums up operations by torch's formulas; torch's own counter fails where a gradient is taken within a loss."""

    total = 0
    """Floating-point operations so far; a multiplication and an addition count as two."""

    def __torch_dispatch__(self, function: Any, _types: Any, arguments: Any = (), named: Any = None) -> Any:
        result = function(*arguments, **(named or {}))
        packet = function._overloadpacket
        if packet is torch.ops.aten.convolution_backward:
            self.total += _backward(*arguments)
        elif packet in flop_registry:
            self.total += flop_registry[packet](*arguments, **(named or {}), out_val=result)
        return result


def _backward(
    gradient: Tensor,
    features: Tensor,
    weight: Tensor,
    _bias: Any,
    _stride: Any,
    _padding: Any,
    _dilation: Any,
    transposed: bool,
    _output_padding: Any,
    _groups: int,
    wanted: Sequence[bool],
) -> int:
    """Operations of a convolution's backward pass; torch's own formula takes grouped convolutions for dense ones."""
    pixels = math.prod((features if transposed else gradient).shape[2:]) * len(gradient)
    return 2 * pixels * weight.numel() * (wanted[0] + wanted[1])
