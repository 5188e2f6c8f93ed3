"""Every system of params.yaml at a scale that no other test trains: its networks and losses fit its image size."""

from pathlib import Path

import pytest

from mimik.settings import params
from mimik.training.operations import random_batch
from mimik.training.untrained import untrained_method

VALUES = params.load(Path(__file__).parents[2] / "params.yaml")
MODULES = {VALUES["methods"][name]["method"]: name for name in reversed(VALUES["systems"])}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["secgan", "depth_guided", "hier_rect", *MODULES.values()])
def test_every_update_has_a_gradient_at_scale_laptop(name: str) -> None:
    task = untrained_method(VALUES, "synthetic", name, "laptop")
    batch = random_batch(2, 128)
    for update in task.updates:
        loss, terms = getattr(task, f"{update.name}_loss")(batch, 10**6)
        assert loss.isfinite() and terms
        loss.backward()
        trained = [weight for group in getattr(task, f"{update.name}_parameters")() for weight in group["params"]]
        assert any(weight.grad is not None and weight.grad.any() for weight in trained)
