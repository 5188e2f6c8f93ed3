"""Order of the tests; xdist keeps it with `--no-loadscope-reorder` (Makefile)."""

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole workflows come first: the longest of them would else be the last file, with one worker left idle."""
    items.sort(key=lambda item: "workflow" not in item.path.parts)
