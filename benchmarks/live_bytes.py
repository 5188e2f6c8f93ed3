"""Bytes of live tensors while torch code runs, the same for real tensors and for torch's fake ones.

Every storage counts from the operation that made it to the end of its last user, whoever that is: a variable, the
autograd graph, a cache of autocast. Not counted: what an operation needs for itself while it runs.
"""

import math
import weakref
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveBytes(TorchDispatchMode):
    """Counts the storages of all tensors that operations return inside the block.

    Attributes:
        live: bytes alive now.
        peak: the most bytes that were alive since the begin or the last `restart`.
    """

    def __init__(self, unit: int = 512) -> None:
        """Sizes are rounded up to multiples of `unit`, as torch's allocator for GPUs does (1: not at all)."""
        super().__init__()
        self.unit, self.live, self.peak = unit, 0, 0
        self._counted: set[int] = set()

    def add(self, tensors: Iterable[Tensor]) -> int:
        """Count tensors that were there before; returns how many bytes they add."""
        before = self.live
        for tensor in tensors:
            storage = tensor.untyped_storage()
            identity, size = storage._cdata, math.ceil(storage.nbytes() / self.unit) * self.unit
            if identity not in self._counted:
                self._counted.add(identity)
                self.live += size
                weakref.finalize(storage, self._gone, identity, size)
        self.peak = max(self.peak, self.live)
        return self.live - before

    def _gone(self, identity: int, size: int) -> None:
        self._counted.discard(identity)
        self.live -= size

    def restart(self) -> int:
        """Begin a new peak at what is alive now; returns the one before."""
        peak, self.peak = self.peak, self.live
        return peak

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and count what it returns."""
        if func is torch.ops.aten._local_scalar_dense.default and _is_fake(args[0]):
            # A question about values that nobody computed, such as "is the loss finite": yes.
            return args[0].dtype is torch.bool or 1
        out = func(*args, **(kwargs or {}))
        self.add(leaf for leaf in tree_leaves(out) if isinstance(leaf, Tensor))
        return out


def _is_fake(tensor: Tensor) -> bool:
    from torch._subclasses.fake_tensor import FakeTensor

    return isinstance(tensor, FakeTensor)
