"""Small tensors that never change, made once for every device.

`torch.tensor(values, device=...)` and an index that is a Python list copy from the host's memory and wait for the
device each time. What losses need of such kind comes from here; what belongs to one module may be a buffer of it.
"""

from collections.abc import Hashable, Sequence
from typing import Any

import torch
from torch import Tensor

_made: dict[Hashable, Tensor] = {}


def constant(values: Sequence[Any], dtype: torch.dtype, device: torch.device | str) -> Tensor:
    """A tensor of given values, not to be changed: the next caller gets the same one.

    On other devices than the CPU every value is written by an operation of the device, so that nothing is copied from
    the host the first time either.

    Args:
        values: numbers, or sequences of equal length of them, as deep as needed.
        dtype, device: of the tensor.

    Returns:
        of the shape of `values`.
    """
    device = torch.device(device)
    # A compiler writes values into its code. Memory that a graph of CUDA operations is captured in belongs to it.
    if torch.compiler.is_compiling() or (device.type == "cuda" and torch.cuda.is_current_stream_capturing()):
        return _make(values, dtype, device)
    # Who traces with tensors of a kind of its own, fake ones for instance, gets these.
    if type(torch.empty(0, device=device)) is not Tensor:
        return _make(values, dtype, device)
    key = (_frozen(values), dtype, device)
    if key not in _made:
        with torch.inference_mode(False), torch.no_grad():
            _made[key] = _make(values, dtype, device)
    return _made[key]


def _make(values: Sequence[Any], dtype: torch.dtype, device: torch.device) -> Tensor:
    if device.type == "cpu":
        return torch.tensor(values, dtype=dtype)
    return torch.stack([_on_device(value, dtype, device) for value in values])


def _on_device(value: Any, dtype: torch.dtype, device: torch.device) -> Tensor:
    if isinstance(value, Sequence):
        return _make(value, dtype, device)
    return torch.full((), value, dtype=dtype, device=device)


def _frozen(values: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(_frozen(value) if isinstance(value, Sequence) else value for value in values)
