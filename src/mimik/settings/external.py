"""Modules of other packages, named with a dot in params.yaml: found without being imported, then imported in one place.

`lab.methods.mygan` is the file lab/methods/mygan.py in a folder beside params.yaml, or in an installed package. The
folder beside params.yaml is the current one, as for every command of mimik. It stands last in Python's search path, so
that nothing in it can take the place of an installed library; a package that is in both places is refused.
"""

import importlib
import re
import sys
import traceback
from collections.abc import Iterator
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType

from mimik.errors import UserError

OWN = "mimik"

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)+", re.ASCII)


def is_external(name: object) -> bool:
    """Whether a name of params.yaml means a module of another package: it has a dot."""
    return isinstance(name, str) and "." in name


def is_name(name: object) -> bool:
    """Whether it can be the full name of a module of another package."""
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


def fault(name: str) -> str | None:
    """Why there is no such module, as a sentence; None where there is one. Nothing is imported."""
    try:
        find(name)
    except UserError as error:
        return str(error)
    return None


def find(name: str) -> Path:
    """The source file of a module of another package, by its full name, without importing anything.

    Raises:
        UserError: it is no such name, there is no such file, or its package is both installed and beside params.yaml.
    """
    root = name.partition(".")[0]
    if not is_name(name):
        raise UserError(f"{name!r} is not the name of a module; expected PACKAGE.MODULE, such as lab.methods.mygan.")
    if root == OWN:
        raise UserError(f"{name!r}: a module of mimik itself is named without a dot: {name.rpartition('.')[2]}.")
    if root in sys.stdlib_module_names:
        raise UserError(f"{name!r}: {root!r} is a module of Python's standard library. Rename the package.")
    file = file_of(name)
    if file is None:
        looked = [str(Path.cwd() / root), *map(str, _installed(root))]
        path = name.replace(".", "/")
        raise UserError(
            f"there is no module {name!r}: expected {path}.py or {path}/__init__.py beside params.yaml, or in an "
            f"installed package. Looked in {', '.join(looked)}."
        )
    return file


def file_of(name: str) -> Path | None:
    """The source file of a module or package by its full name; None where there is none.

    Raises:
        UserError: its package is both installed and beside params.yaml.
    """
    return next((found for place in places(name.partition(".")[0]) if (found := _inside(place, name))), None)


def places(root: str) -> list[Path]:
    """Where a top-level package or module stands: its folder or its file; several of a package in several parts.

    Raises:
        UserError: it is both installed and beside params.yaml.
    """
    beside, installed = _beside(root), _installed(root)
    if beside and installed:
        raise UserError(
            f"{root!r} is both beside params.yaml ({beside[0]}) and an installed package ({installed[0]}). Rename the "
            "one beside params.yaml."
        )
    return beside or installed


def only_beside(root: str) -> bool:
    """Whether a top-level package or module stands beside params.yaml and nowhere else."""
    return bool(_beside(root)) and not _installed(root)


def load(name: str, where: str) -> ModuleType:
    """Import a module of another package.

    Args:
        name: its full name.
        where: what gives the name, for the message.

    Raises:
        UserError: there is none, it cannot be imported, or another one of this name is imported already.
    """
    try:
        file = find(name)
    except UserError as error:
        raise UserError(f"{where}: {error}") from error
    project = Path.cwd()
    if not any(Path(entry or ".").resolve() == project for entry in sys.path):
        sys.path.append(str(project))
    importlib.invalidate_caches()
    try:
        module = importlib.import_module(name)
    except (Exception, SystemExit) as error:
        told = f"{type(error).__name__}: {error}".rstrip(". ")
        raise UserError(f"{where}: {name} cannot be imported: {_place(error, name)}: {told}.") from error
    imported = Path(str(module.__file__)).resolve()
    if imported != file.resolve():
        raise UserError(f"{where}: {name} is {file}, but {imported} is already imported under this name.")
    return module


def _beside(root: str) -> list[Path]:
    """A folder with Python files, or a file, of this name in the project's folder."""
    folder, file = Path.cwd() / root, Path.cwd() / f"{root}.py"
    if file.is_file():
        return [file]
    # data/, results/ and other folders of the project hold no source files.
    return [folder] if folder.is_dir() and next(_sources(folder), None) else []


def _sources(folder: Path) -> Iterator[Path]:
    yield from folder.glob("*.py")
    yield from folder.glob("*/*.py")
    yield from folder.glob("*/*/*.py")


def _installed(root: str) -> list[Path]:
    """Folders or file of an installed top-level package or module, found and not imported."""
    project = Path.cwd()
    path = [entry for entry in sys.path if Path(entry or ".").resolve() != project]
    for finder in sys.meta_path:
        search = getattr(finder, "find_spec", None)
        spec = PathFinder.find_spec(root, path) if finder is PathFinder else search and search(root, None)
        if spec is None:
            continue
        found = [Path(folder) for folder in spec.submodule_search_locations or ()]
        if not found and spec.origin and Path(spec.origin).is_file():
            found = [Path(spec.origin)]
        found = [place.absolute() for place in found if place.resolve().parent != project]
        if found:
            return found
    return []


def _inside(place: Path, name: str) -> Path | None:
    _, *inner = name.split(".")
    if place.is_file():
        return None if inner else place
    base = place.joinpath(*inner)
    candidates = [base / "__init__.py"]
    if inner:
        candidates.insert(0, base.with_name(f"{base.name}.py"))
    return next((file for file in candidates if file.is_file()), None)


def _place(error: BaseException, name: str) -> str:
    """File and line where an import failed: the last ones in the package of the module."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}, line {error.lineno}"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<")]
    folders = places(name.partition(".")[0])
    own = [frame for frame in frames if any(Path(frame.filename).is_relative_to(folder) for folder in folders)]
    frame = (own or frames)[-1]
    return f"{frame.filename}, line {frame.lineno}"
