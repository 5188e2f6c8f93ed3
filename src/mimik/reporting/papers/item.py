"""An item of a paper with the results that it shows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mimik.reporting.results import ReportSettings, Result
from mimik.settings.params import Params


@dataclass(frozen=True)
class Item:
    """What a module of `mimik.reporting.papers.plots` draws from.

    Attributes:
        name: such as `hier_seg/fig3a`.
        results: gathered results of one dataset, those that exist, in the order of the item's methods.
        positions: which of the item's methods each of `results` is, from 0.
        options: of the item.
        settings: the section `report` of params.yaml, with the item's own `seed`.
        params: validated params.
        wanted: dataset and methods that the item shows, whether or not they have results.
    """

    name: str
    results: Sequence[Result]
    positions: Sequence[int]
    options: Mapping[str, Any]
    settings: ReportSettings
    params: Params
    wanted: tuple[str, Sequence[str]]
