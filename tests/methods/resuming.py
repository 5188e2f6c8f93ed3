"""A run that breaks off and goes on ends with the bits of an undisturbed one: for tasks with state of their own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from mimik.training.loop import TrainingConfig, train
from tests.methods.world import CLASSES, SIZE
from tests.tiny import make_store


def check_resume(make: Callable[[], Any], folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, torch.Tensor]:
    """Train with and without a break; everything that the task holds must agree to the bit. Returns what it holds."""
    store = make_store(folder / "store", size=SIZE, classes=CLASSES)
    config = TrainingConfig(steps=4, batch_size=4, log_every=1, precision="fp32", ema=0.9, checkpoint_seconds=0.0)
    ends: list[dict[str, torch.Tensor]] = []
    for run, broken in (("whole", False), ("parts", True), ("parts", False)):
        torch.manual_seed(0)
        task = make()
        arguments: dict[str, Any] = {"seed": 0, "checkpoint_dir": folder / run, "fingerprint": {}, "label": run}
        if not broken:
            train(task, store, store.rows("train"), config, **arguments)
            ends.append(task.state_dict())
            continue
        plain = task.generator_loss

        def failing(batch: dict[str, torch.Tensor], step: int, plain: Any = plain) -> Any:
            if step == 2:
                raise RuntimeError("power cut")
            return plain(batch, step)

        monkeypatch.setattr(task, "generator_loss", failing)
        with pytest.raises(RuntimeError, match="power cut"):
            train(task, store, store.rows("train"), config, **arguments)
    whole, resumed = ends
    for name, value in whole.items():
        assert torch.equal(value, resumed[name]), name
    return whole
