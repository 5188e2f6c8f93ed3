"""What a method is built from, and how its generator is stored with what its condition means."""

import pytest
import torch
from torch import nn

from mimik.components.context import Context, load_stored_state, stored_state
from tests.methods.world import make_context


def test_weights_and_the_meaning_of_the_condition_are_stored_together() -> None:
    torch.manual_seed(0)
    condition = make_context(space="action_units").condition
    generator, other = nn.Conv2d(3, 4, 1).to(memory_format=torch.channels_last), nn.Conv2d(3, 4, 1)
    state = stored_state(generator, condition)
    assert set(state) == {"weight", "bias", "condition.class_units"}
    assert all(value.is_contiguous() for value in state.values())
    empty = make_context(space="action_units").condition
    assert empty.class_units is not None and condition.class_units is not None
    empty.class_units.zero_()
    load_stored_state(state, other, empty)
    assert torch.equal(other.weight, generator.weight) and torch.equal(other.bias, generator.bias)
    assert torch.equal(empty.class_units, condition.class_units)
    for wrong in ({**state, "more": torch.ones(1)}, {n: v for n, v in state.items() if not n.startswith("condition.")}):
        with pytest.raises(RuntimeError):
            load_stored_state(wrong, other, empty)


def test_a_network_that_is_needed_is_there_or_named() -> None:
    context = make_context()
    assert context.needed("segmenter", "it") is context.pretrained["segmenter"]
    bare = Context(context.condition, 32)
    assert bare.pretrained == {} and Context(context.condition, 32).pretrained is not bare.pretrained
    with pytest.raises(ValueError, match="it needs a pre-trained network of the kind 'reader'"):
        context.needed("reader", "it")
