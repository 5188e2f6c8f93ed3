"""Weights by their released names, put one by one under the names of a network of mimik.

A release module (`stargan`, `attgan`, `face_parsing`, `celebamask_hq`) says which of its names is which of ours, and
where the order of channels differs. Here the file is read, and nothing is taken that is missing, left over or of
another shape.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mimik.errors import UserError
from mimik.storage.weights import read_pth, read_safetensors

COUNTED = "num_batches_tracked"
"""The counter of batch normalisation, which older PyTorch versions did not store and which is of no use here."""

Orders = Mapping[str, tuple[int, Sequence[int]]]
"""By a weight's name in mimik: an axis, and where each of its entries stands along the released weight's axis."""


@dataclass(frozen=True)
class Source:
    """A code whose weights are read.

    Attributes:
        what: the network, for messages.
        repository: owner and name on GitHub.
        commit: at which its code was read.
    """

    what: str
    repository: str
    commit: str


def read_weights(path: Path, what: str) -> dict[str, Any]:
    """A file of weights, .safetensors or as PyTorch saves it: tensors and plain values only, nothing is unpickled.

    Args:
        path: the file.
        what: it should hold, for the message.

    Raises:
        UserError: the file is missing, damaged, or holds anything else, or a number that is not finite.
    """
    remedy = "Name the file as it was released."
    if path.suffix == ".safetensors":
        return dict(read_safetensors(path, remedy))
    return read_pth(path, f"the weights of {what}", remedy)


def without_wrapper(state: Mapping[str, Any]) -> dict[str, Any]:
    """Weights by name, without the prefix `module.` that training on several GPUs puts before all names."""
    prefix = "module."
    wrapped = bool(state) and all(name.startswith(prefix) for name in state)
    return {name.removeprefix(prefix) if wrapped else name: value for name, value in state.items()}


def converted(
    path: Path,
    state: Mapping[str, Any],
    source: Source,
    names: Mapping[str, str],
    expected: Mapping[str, Tensor],
    orders: Orders,
    unread: Callable[[str], bool] = lambda name: False,
) -> dict[str, Tensor]:
    """Released weights under the names of mimik.

    Args:
        path: the file, for messages.
        state: what it holds, by released name.
        source: where it comes from.
        names: the released name of every weight of the network, by its name in mimik.
        expected: the network's own weights by name; only their shapes are read.
        orders: see `Orders`.
        unread: whether a released name is one that the network has no use for.

    Raises:
        UserError: a weight is missing, left over, no tensor, or of another shape; one sentence says all of it.
    """
    assert names.keys() == expected.keys(), "the release module does not name all of the network"
    taken = set(names.values())
    missing = [theirs for theirs in names.values() if theirs not in state and not theirs.endswith(COUNTED)]
    extra = [name for name in state if name not in taken and not unread(name)]
    misshapen = [
        f"{theirs} is {_shape(state[theirs])} where {tuple(expected[ours].shape)} is expected"
        for ours, theirs in names.items()
        if theirs in state and _shape(state[theirs]) != tuple(expected[ours].shape)
    ]
    told = [
        *_listed("lacks", missing),
        *_listed("holds what that network does not have:", extra),
        *_listed("", misshapen, "; "),
    ]
    if told:
        raise UserError(
            f"{path}: not the weights of {source.what} ({source.repository}) with the settings of this entry: it "
            f"{'; '.join(told)}. Name the file that goes with the entry, or set the entry as the weights were trained."
        )
    return {ours: _ordered(state.get(theirs, expected[ours]), orders.get(ours)) for ours, theirs in names.items()}


def _ordered(weight: Tensor, order: tuple[int, Sequence[int]] | None) -> Tensor:
    if order is None:
        return weight.detach().clone()
    axis, places = order
    assert sorted(places) == list(range(weight.shape[axis])), "an order names every place once"
    return weight.detach().index_select(axis, torch.tensor(places))


def _shape(value: Any) -> Any:
    return tuple(value.shape) if isinstance(value, Tensor) else f"a {type(value).__name__}"


def _listed(verb: str, names: Sequence[str], between: str = ", ", most: int = 3) -> Iterator[str]:
    if names:
        more = f" and {len(names) - most} more" if len(names) > most else ""
        yield f"{verb} {between.join(names[:most])}{more}".strip()


def normed(ours: str, theirs: str, buffers: bool = True) -> dict[str, str]:
    """Names of a normalisation's weights, with the running statistics if it has any."""
    kept = ("running_mean", "running_var", COUNTED) if buffers else ()
    return {f"{ours}.{name}": f"{theirs}.{name}" for name in ("weight", "bias", *kept)}


def label_order(known: Sequence[str], wanted: Sequence[str], before: int) -> list[int]:
    """Places of channels some of which belong to labels: first `before` others, then a label each, in another order.

    Args:
        known: labels in the order of the released weights.
        wanted: the same labels in the order of mimik.
        before: number of channels that come first and stay.
    """
    return [*range(before), *(before + known.index(name) for name in wanted)]
