"""Which slices of a network's weights belong to which state or part, by name: so that they find their place elsewhere.

A network that is told K states, or judges them, has a slice of some weights for each. Another network of the same
design may know other states, or the same in another order. Networks with such weights have a method `named_slices`.
"""

from collections.abc import Hashable, Mapping, Sequence

from torch import nn

Slices = Mapping[int, Sequence[Hashable]]
"""Of a weight: names of all slices along an axis, by axis. Along the other axes weights have to have the same size."""


def behind(size: int, axis: int, states: Sequence[Hashable]) -> Slices:
    """Of a weight with `size` slices along an axis, the last of which belong to the states."""
    return {axis: (*range(size - len(states)), *states)}


def judged(states: Sequence[Hashable], matching: int) -> list[Hashable]:
    """Names of a critic's logits: one for every state, then `matching` ones for realness given the state.

    Those are one for every state, one that all share, and one for the square of every action unit, as far as they go
    (`mimik.components.adversary.matching_logits`).
    """
    given = [*states, None, *(("squared", state) for state in states)][:matching]
    return [*(("shows", state) for state in states), *(("given", state) for state in given)]


def side_by_side(network: nn.Module, parts: Sequence[Hashable]) -> dict[str, Slices]:
    """Of all weights of networks side by side as one grouped network: every part has its share of the first axis."""
    return {
        name: {0: [(part, index) for part in parts for index in range(len(value) // len(parts))]}
        for name, value in network.state_dict().items()
    }
