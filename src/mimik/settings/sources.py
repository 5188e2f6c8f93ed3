"""Which source files decide the result of a job: the modules it starts from and all they import.

Snakemake and DVC do not follow imports. The workflow therefore names these files as inputs of its rules, so that an
edit reruns exactly the jobs whose results it can change.

Imports are followed within mimik, within the package of a module that params.yaml takes from elsewhere, and to other
packages that stand beside params.yaml; not into libraries, which are pinned.
"""

import ast
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

from mimik.settings import external
from mimik.settings.external import OWN

NEUTRAL: frozenset[str] = frozenset(
    {
        *("__init__", "cli", "console", "errors", "tracking"),
        *("settings.agreement", "settings.checks", "settings.declarations", "settings.external", "settings.outside"),
        *("settings.imported", "settings.merging", "settings.params", "settings.place", "settings.reading"),
        *("settings.references", "settings.replicates", "settings.sources", "settings.stages", "settings.trained"),
        *("storage.moved", "storage.yaml_file"),
    }
)
"""Modules that never change a result: how a job is called, how faults are told, where results are mirrored to.

`__init__` of the package itself holds names for people only, which are looked up where they stand when they are used.

What `params` resolves reaches a job as its settings, which are watched by themselves.
"""


class Outside(NamedTuple):
    """Files of other packages.

    Attributes:
        files: that modules consist of and import from packages other than mimik, sorted.
        roots: folder, or file, of each of these packages, by its name.
    """

    files: list[Path]
    roots: Mapping[str, Path]


def source_files(package: Path, *modules: str) -> dict[str, Path]:
    """Files that decide what the given modules do.

    Args:
        package: the folder of the package `mimik`.
        modules: where a job starts, by full names (`mimik.methods.stargan`, `lab.methods.mygan`); modules that code
            imports by a name from params.yaml have to be given, as no import statement shows them.

    Returns:
        the files of the modules and of everything they import at any depth, with the data that stands beside a module
        under its name (geometric.json). Keys are paths that are the same on every machine, and sorted:
        `methods/stargan.py` of mimik, `lab:methods/mygan.py` of others.

    Raises:
        FileNotFoundError: one of `modules` does not exist.
    """
    return dict(sorted(_closure(package, Path.cwd(), tuple(sorted(set(modules))))))


def outside_files(*modules: str) -> Outside:
    """Files of other packages that modules of theirs consist of, by full names; see `source_files`.

    Raises:
        FileNotFoundError: one of `modules` does not exist.
    """
    found = dict(_closure(None, Path.cwd(), tuple(sorted(set(modules)))))
    roots = {}
    for label, file in found.items():
        root = label.partition(":")[0]
        roots[root] = next(place for place in external.places(root) if file.is_relative_to(place))
    return Outside(sorted(found.values()), roots)


@cache
def _closure(package: Path | None, project: Path, modules: tuple[str, ...]) -> frozenset[tuple[str, Path]]:
    """Without `package` nothing of mimik. `project`, the current folder, is where other packages may stand."""
    found: dict[str, tuple[str, Path]] = {}
    waiting = []
    for module in modules:
        file = _file(package, module)
        if file is None:
            raise FileNotFoundError(f"{module.replace('.', '/')}.py, the module {module}")
        waiting.append((module, file))
    while waiting:
        module, file = waiting.pop()
        if module in found:
            continue
        found[module] = (_label(module, file), file)
        waiting.extend(_imported(package, project, module, file))
    entries = set(found.values())
    data = {(f"{label.removesuffix('.py')}.json", file.with_suffix(".json")) for label, file in entries}
    return frozenset(entries | {(label, file) for label, file in data if file.is_file()})


def _file(package: Path | None, module: str) -> Path | None:
    """File of a module or package by its full name; None where there is none."""
    root, _, inner = module.partition(".")
    if root != OWN:
        return external.file_of(module)
    if package is None or not inner:
        return None
    base = package.joinpath(*inner.split("."))
    return next((file for file in (base.with_suffix(".py"), base / "__init__.py") if file.is_file()), None)


def _label(module: str, file: Path) -> str:
    root, *inner = module.split(".")
    above = inner if file.stem == "__init__" else inner[:-1]
    path = "/".join([*above, file.name])
    return path if root == OWN else f"{root}:{path}"


@cache
def _imported(package: Path | None, project: Path, module: str, file: Path) -> tuple[tuple[str, Path], ...]:
    """Modules that are loaded with one: those that its import statements name, also inside functions."""
    root, *inner = module.split(".")
    # Of other packages the files of the folders run too; those of mimik hold nothing but their docstring.
    above = [".".join([root, *inner[:length]]) for length in range(len(inner))] if root != OWN else []
    found = []
    for name in (*above, *_imported_names(file, module)):
        parts = name.split(".")
        if parts[0] == OWN and (len(parts) < 2 or NEUTRAL & {parts[1], ".".join(parts[1:3])}):
            continue
        if not _followed(parts[0], root):
            continue
        # "from mimik.faces import store" may name a module or a thing within one: the longest path that is a file.
        for length in range(len(parts), 1 if parts[0] == OWN else 0, -1):
            whole = ".".join(parts[:length])
            if (other := _file(package, whole)) is not None:
                found.append((whole, other))
                break
    return tuple(found)


def _followed(root: str, own: str) -> bool:
    """Whether imports of a package are followed from a module of the package `own`."""
    if own == OWN or root in (OWN, own):
        return root in (OWN, own)
    return root not in sys.stdlib_module_names and external.only_beside(root)


def _imported_names(file: Path, module: str) -> tuple[str, ...]:
    """Full names that the import statements of a file bring, `package.module.thing`."""
    package = module if file.stem == "__init__" else module.rpartition(".")[0]
    names: list[str] = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            origin = absolute(node, package)
            names += [f"{origin}.{alias.name}" for alias in node.names]
    return tuple(names)


def absolute(statement: ast.ImportFrom, package: str) -> str:
    """The full name of the module of a `from ... import`, in a module of `package`."""
    if statement.level == 0:
        return str(statement.module)
    beginning = package.split(".")[: len(package.split(".")) - statement.level + 1]
    return ".".join([*beginning, *([statement.module] if statement.module else [])])
