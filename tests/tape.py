"""A stand-in for CUDA graphs on a CPU: operations are written down while they run, and run again on a replay.

What it shares with a graph is all that matters to who is recorded: a replay reads and writes the very tensors of the
recording, and takes no decision in Python again.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten


class Graph:
    """What was recorded."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, Any, Any, list[Any]]] = []
        self.fresh = True

    @torch.no_grad()
    def replay(self) -> None:
        """Run it again, the first time after the recording excepted: unlike a graph's, that has run already."""
        if self.fresh:
            self.fresh = False
            return
        for function, arguments, keywords, outputs in self.calls:
            again = tree_flatten(function(*arguments, **keywords))[0]
            for old, new in zip(outputs, again, strict=True):
                if isinstance(old, Tensor) and old.data_ptr() != new.data_ptr():
                    old.copy_(new)


class _Writing(TorchDispatchMode):
    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.graph = graph

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.graph.calls.append((func, args, kwargs or {}, tree_flatten(result)[0]))
        return result


@contextmanager
def recording(graph: Graph, **_: Any) -> Iterator[None]:
    """`torch.cuda.graph`."""
    with _Writing(graph):
        yield
