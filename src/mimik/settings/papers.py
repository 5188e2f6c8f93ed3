"""The papers' tables and figures as items: which results each needs, and on which dataset.

Items are the tables of `published` and the figures of `items` in params.yaml, by names such as `hier_seg/table1`. The
papers' datasets are under licence; `dataset` of params.yaml puts another one in the place of all of them.

This module stays light (no torch, no pandas): the Snakefile imports it.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from mimik.errors import UserError, unknown_name
from mimik.settings import params as resolution
from mimik.settings.modules import named
from mimik.settings.params import Experiment, Params

ATTRIBUTES = ("celeba", "celeba_hq", "celebamask_hq")
"""Modules of datasets whose faces have attributes."""


class Place(NamedTuple):
    """Where a row of a table, or a picture in a figure, is to be found here.

    Attributes:
        experiment: dataset and method.
        mapped: whether the dataset is not the paper's.
        stand_in: whether the method edits expressions in the place of one that edits attributes.
    """

    experiment: Experiment
    mapped: bool
    stand_in: bool


def names(params: Params) -> list[str]:
    """All items, tables before figures, paper by paper."""
    found = [*params.get("published", {}), *params.get("items", {})]
    papers = list(dict.fromkeys(name.partition("/")[0] for name in found))
    return sorted(found, key=lambda name: papers.index(name.partition("/")[0]))


def place(params: Params, dataset: str, method: str, expressions: str | None = None) -> Place:
    """Where something that the paper shows of a method on a dataset is to be found.

    Args:
        params: validated params; `dataset` of them, if set, takes the place of the paper's.
        dataset, method: of the paper, by their entries.
        expressions: the entry that stands in for the method where faces have no attributes; None: the method itself.
    """
    chosen = params.get("dataset") or dataset
    stand_in = expressions is not None and resolution.dataset_module(params, chosen) not in ATTRIBUTES
    return Place(Experiment(chosen, expressions if stand_in and expressions else method), chosen != dataset, stand_in)


def places(params: Params, item: str) -> list[Place]:
    """Of every row of a table, or every picture of a figure, in order; empty for an item that is not drawn.

    Raises:
        UserError: there is no such item.
    """
    if item in params.get("published", {}):
        rows = params["published"][item]["rows"]
        return [place(params, row["dataset"], row["method"], row.get("expressions")) for row in rows]
    if item not in params.get("items", {}):
        raise UserError(f"{item!r} is not in params.yaml under 'published' or 'items'. {_known(params, item)}")
    entry = params["items"][item]
    methods = entry.get("methods", [])
    stand_ins = entry.get("expressions", [None] * len(methods))
    found = [
        place(params, dataset, method, stand_in)
        for dataset in entry.get("datasets", [])
        for method, stand_in in zip(methods, stand_ins, strict=True)
    ]
    return list(dict.fromkeys(found))


def experiments(params: Params, items: Iterable[str]) -> list[Experiment]:
    """The trainings that some items need, each once, with all `replicates`."""
    pairs = dict.fromkeys(found.experiment for item in items for found in places(params, item))
    return [Experiment(at, name) for at, method in pairs for name in resolution.trainings_of(params, at, method)]


def wanted(params: Params) -> list[Experiment]:
    """The trainings that all items need, and with `dataset` also those that the claims need on it, each once."""
    found = experiments(params, names(params))
    dataset = params.get("dataset")
    if dataset:
        methods = dict.fromkeys(
            method for name in params.get("claims", {}) for method in compared(params, name, dataset)
        )
        found += [
            Experiment(dataset, name) for one in methods for name in resolution.trainings_of(params, dataset, one)
        ]
    return list(dict.fromkeys(found))


def compared(params: Params, claim: str, dataset: str) -> list[str]:
    """The methods that a claim compares on a dataset; none where it is not meant for it."""
    declared = params["claims"][claim]
    if dataset not in declared.get("datasets", [dataset]):
        return []
    instead = declared.get("instead", {})
    other = instead["names"] if dataset in instead.get("datasets", ()) else {}
    sides = [
        test[side] for test in (*declared.get("tests", ()), *declared.get("truth", ())) for side in ("better", "than")
    ]
    methods = [name for side in sides for name in ([side] if isinstance(side, str) else side)]
    return [other.get(name, name) for name in dict.fromkeys(methods)]


def unobtainable(params: Params, prepared: Path, raw: Path) -> dict[str, str]:
    """Why results on a dataset cannot be made here, by dataset: its archive, which you have to place, is not there.

    Args:
        params: validated params.
        prepared, raw: data/prepared and data/raw.
    """
    found = {}
    for dataset in dict.fromkeys(where.experiment.dataset for item in names(params) for where in places(params, item)):
        if (prepared / dataset / "manifest.json").is_file():
            continue
        settings = resolution.resolve_dataset(params, dataset)
        module = named("datasets", settings["module"], f"params.yaml: datasets.{dataset}.dataset")
        try:
            module.check(raw / settings["module"], settings["options"], resolution.mirror_of(params))
        except UserError as error:
            found[dataset] = f"`mimik data check {dataset}` says what to obtain ({str(error).splitlines()[0][:200]})"
    return found


def _known(params: Params, item: str) -> str:
    return unknown_name(item, names(params))
