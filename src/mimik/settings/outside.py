"""What params.yaml takes from other packages, and what a file of data or results may therefore name.

A config.json or a manifest.json may come from anybody. A module of another package that such a file names is imported
only if this project's params.yaml names it too, or the variable MIMIK_MODULES does: the person at the keyboard has said
so.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

from mimik.errors import UserError
from mimik.settings import params as resolution
from mimik.settings.external import is_external, is_name
from mimik.settings.modules import full_name, named
from mimik.settings.sources import outside_files

VARIABLE = "MIMIK_MODULES"
"""Names of modules of other packages, separated by commas, that files may name besides those of params.yaml."""

_ENTRY: Mapping[str, str] = MappingProxyType(
    {
        "datasets": "datasets: NAME: {{dataset: {0}, ...}}",
        "methods": "methods: NAME: {{method: {0}}}",
        "guidance": "methods: NAME: {{guidance: {{{0}: {{}}}}, ...}}",
        "networks": "segmenters (or classifiers): NAME: {{network: {0}}}",
    }
)
"""How params.yaml names a module, for the kinds that files name."""


def modules_of(params: Mapping[str, Any]) -> dict[str, list[str]]:
    """The modules of other packages that params.yaml names, by kind (of `mimik.settings.modules.FOLDERS`), sorted."""
    datasets, methods, scales = (params[group].values() for group in ("datasets", "methods", "scales"))
    evaluations = [entry.get("evaluation", {}) for entry in (params, *datasets, *scales)]
    report = params["report"]
    groups = (*resolution.PRETRAINED.values(), "classifiers", "readers")
    found = {
        "datasets": [entry.get("dataset") for entry in datasets],
        "methods": [entry["method"] for entry in methods],
        "guidance": [guide for entry in methods for guide in entry.get("guidance", {})],
        "networks": [entry["network"] for group in groups for entry in params[group].values()],
        "metrics": [name for evaluation in evaluations for name in evaluation.get("metrics", ())],
        "tables": list(report.get("tables", ())),
        "figures": list(report.get("figures", ())),
    }
    return {kind: sorted({name for name in names if is_external(name)}) for kind, names in found.items()}


def folders_of(params: Mapping[str, Any], project: Path) -> dict[str, str]:
    """Folders and files of the project, relative to it, from which params.yaml takes modules, by package.

    With the packages that these import from the project. Installed packages are not among them.

    Raises:
        UserError: there is no such module.
    """
    modules = [full_name(kind, name) for kind, names in modules_of(params).items() for name in names]
    found = {}
    for root, place in sorted(outside_files(*modules).roots.items()):
        if place.resolve().is_relative_to(project.resolve()) and "site-packages" not in place.parts:
            found[root] = place.resolve().relative_to(project.resolve()).as_posix()
    return found


def named_in_file(kind: str, name: object, where: str) -> ModuleType:
    """The module of a kind by a name that stands in a file of data or results.

    Args:
        kind: of `mimik.settings.modules.FOLDERS`.
        name: as the file has it.
        where: the file and key, for the message.

    Raises:
        UserError: it is a module of another package that neither params.yaml nor MIMIK_MODULES names, or `named`
            refuses it.
    """
    if is_name(name) and name not in _allowed(kind):
        raise UserError(
            f"{where}: names {name!r}, a module of another package. A file may come from anybody, so only modules that "
            "params.yaml names are imported. If you trust this module and have it on this machine, add an entry for "
            f"it to params.yaml (`{_ENTRY[kind].format(name)}`), or run the same command with {VARIABLE}={name}."
        )
    return named(kind, name, where)


def _allowed(kind: str) -> set[str]:
    allowed = {name.strip() for name in os.environ.get(VARIABLE, "").split(",")}
    return allowed | set(modules_of(resolution.load())[kind]) if Path("params.yaml").is_file() else allowed
