"""Modules that are chosen by name, in params.yaml or in a file: only those that stand in the room of their kind.

A name from a file never reaches an import before it is found among the files of its room.
"""

from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType

from mimik.errors import UserError, unknown_name


@cache
def names(room: str) -> tuple[str, ...]:
    """The modules and packages in a folder of mimik (`methods`, `metrics`), sorted; none that begins with `_`."""
    folder = Path(__file__).parent / room
    found = {entry.stem for entry in folder.iterdir() if entry.suffix == ".py" or (entry / "__init__.py").is_file()}
    return tuple(sorted(name for name in found if not name.startswith(("_", "."))))


def named(room: str, name: object, where: str) -> ModuleType:
    """The module of a room by its name.

    Args:
        room: a folder of mimik.
        name: as it was given.
        where: what gives the name, for the message: a file and key, or a setting.

    Raises:
        UserError: no such module.
    """
    if name not in names(room):
        raise UserError(
            f"{where}: there is no {name!r} in mimik.{room} (src/mimik/{room}). {unknown_name(name, names(room))}"
        )
    return import_module(f"mimik.{room}.{name}")
