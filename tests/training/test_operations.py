"""Operations of a run against those counted by hand."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mimik.training.operations import random_batch, run_operations
from mimik.training.schedule import Update
from tests.tasks import TASKS

SIZE = 8
FIRST = 2 * 3 * 4 * 9 * SIZE**2  # multiplications and additions of one face
SECOND = 2 * 4 * 1 * 9 * SIZE**2


class Lines(nn.Module):
    """Two convolutions; one update trains both, the other the second alone."""

    updates = (Update("both", 3, stop=10), Update("second", 1, start=4))

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, 1, 1), nn.Conv2d(4, 1, 3, 1, 1)

    def both_parameters(self) -> list[dict[str, Any]]:
        return [{"params": list(self.parameters())}]

    def second_parameters(self) -> list[dict[str, Any]]:
        return [{"params": list(self.second.parameters())}]

    def both_loss(self, batch: dict[str, Tensor], _step: int) -> tuple[Tensor, dict[str, Tensor]]:
        return self.second(self.first(batch["image"])).sum(), {}

    second_loss = both_loss


def test_every_update_counts_as_often_as_it_runs() -> None:
    task = Lines()
    before = copy.deepcopy(task.state_dict())
    # Back: of the second layer weights and inputs, of the first its weights alone, as no image needs a gradient.
    both = FIRST + SECOND + FIRST + 2 * SECOND
    second = FIRST + SECOND + SECOND
    assert run_operations(task, SIZE, 6, 20) == 6 * (both * 3 * 10 + second * 16)
    assert run_operations(task, SIZE, 6, 5) == 6 * (both * 3 * 5 + second * 1)
    assert all(torch.equal(value, before[name]) for name, value in task.state_dict().items())
    assert all(weight.requires_grad and weight.grad is None for weight in task.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(TASKS))
def test_every_task_is_counted(name: str) -> None:
    """All but CycleGAN, whose shapes depend on the classes in a batch."""
    task = TASKS[name]()
    size = getattr(task, "image_size", 32)
    assert random_batch(2, size)["image"].shape == (2, 3, size, size)
    counted = run_operations(task, size, 2, 100)
    assert (counted is None) == (name == "cyclegan")
    assert counted is None or counted > 0
