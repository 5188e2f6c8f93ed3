"""Order and marks of the tests; xdist keeps the order with `--no-loadscope-reorder` (Makefile)."""

import os
from pathlib import Path

# One thread for every worker and every program that a test starts: two workers with two threads each, on two cores,
# wait for each other and take twice as long. Read when torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch

WORKFLOW = Path(__file__).with_name("workflow")


@pytest.hookimpl(tryfirst=True)  # before pytest selects by marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole workflows are slow. Files with slow tests come first: as the last file, one would leave a worker idle."""
    for item in items:
        if item.path.is_relative_to(WORKFLOW):
            item.add_marker(pytest.mark.slow)
        if item.get_closest_marker("service"):
            item.add_marker(pytest.mark.slow)
        if item.get_closest_marker("gpu") and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (not item.path.is_relative_to(WORKFLOW), item.path not in slow))
