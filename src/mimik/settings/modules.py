"""Modules that are chosen by name, in params.yaml or in a file: only those that stand in the room of their kind.

A name from a file never reaches an import before it is found among the files of its room.
"""

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from types import MappingProxyType, ModuleType

from mimik.errors import UserError, unknown_name

PACKAGE = Path(__file__).parents[1]
"""The folder of mimik itself."""

FOLDERS: Mapping[str, str] = MappingProxyType(
    {
        "datasets": "datasets",
        "methods": "methods",
        "guidance": "guidance",
        "networks": "networks",
        "metrics": "evaluation.metrics",
        "tables": "reporting.tables",
        "figures": "reporting.figures",
    }
)
"""Kinds of modules that are chosen by name, with the folder of mimik where each is found."""


@cache
def names(kind: str) -> tuple[str, ...]:
    """The modules and packages of a kind (of `FOLDERS`), sorted; none that begins with `_`."""
    folder = PACKAGE.joinpath(*FOLDERS[kind].split("."))
    found = {entry.stem for entry in folder.iterdir() if entry.suffix == ".py" or (entry / "__init__.py").is_file()}
    return tuple(sorted(name for name in found if not name.startswith(("_", "."))))


def named(kind: str, name: object, where: str) -> ModuleType:
    """The module of a kind by its name.

    Args:
        kind: of `FOLDERS`.
        name: as it was given.
        where: what gives the name, for the message: a file and key, or a setting.

    Raises:
        UserError: no such module.
    """
    if name not in names(kind):
        raise UserError(f"{where}: there is no {name!r} in mimik.{FOLDERS[kind]}. {unknown_name(name, names(kind))}")
    return import_module(f"mimik.{FOLDERS[kind]}.{name}")
