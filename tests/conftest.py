"""Order of the tests; xdist keeps it with `--no-loadscope-reorder` (Makefile). Tests of a GPU need one."""

import os

# One thread for every worker and every program that a test starts: two workers with two threads each, on two cores,
# wait for each other and take twice as long. Read when torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole workflows come first: the longest of them would else be the last file, with one worker left idle."""
    items.sort(key=lambda item: "workflow" not in item.path.parts)
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))
