"""Datasets that know the truth: what a face would look like with another expression.

Light to import, as the processes that render import nothing else.
"""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Protocol

import numpy.typing as npt
import pandas as pd


class Renderer(Protocol):
    """What the truth metrics need of a dataset with ground truth."""

    def with_expression(self, table: pd.DataFrame, expression: str) -> pd.DataFrame:
        """The same faces with another expression."""
        ...

    def render(self, table: pd.DataFrame, size: int, outputs: Sequence[str]) -> Any:
        """An object with `images`, uint8 (N, size, size, 3)."""
        ...


@dataclass(frozen=True)
class DatasetRenderer:
    """A dataset module with `with_expression` and `render`, by its name, so that it can be sent to other processes."""

    dataset: str

    def with_expression(self, table: pd.DataFrame, expression: str) -> pd.DataFrame:
        """The module's `with_expression`."""
        changed: pd.DataFrame = self._module().with_expression(table, expression)
        return changed

    def render(self, table: pd.DataFrame, size: int, outputs: Sequence[str]) -> Any:
        """The module's `render`."""
        return self._module().render(table, size, outputs=outputs)

    def _module(self) -> ModuleType:
        return importlib.import_module(f"mimik.datasets.{self.dataset}")


def has_ground_truth(dataset: str) -> bool:
    """Whether a module of mimik.datasets can draw true targets."""
    return hasattr(importlib.import_module(f"mimik.datasets.{dataset}"), "with_expression")


def rendered(renderer: Renderer, size: int, table: pd.DataFrame) -> dict[str, npt.NDArray[Any]]:
    """The pictures of a table, `images` uint8 (N, size, size, 3), as a piece of work for `mimik.faces.shards`."""
    return {"images": renderer.render(table, size, outputs=("images",)).images}
