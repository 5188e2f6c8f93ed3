"""Which source files decide the result of a job: the modules it starts from and all they import.

Snakemake and DVC do not follow imports. The workflow therefore names these files as inputs of its rules, so that an
edit reruns exactly the jobs whose results it can change.
"""

import ast
from collections.abc import Iterable
from functools import cache
from pathlib import Path

PACKAGE = "mimik"

NEUTRAL: frozenset[str] = frozenset(
    {
        *("cli", "console", "errors", "tracking"),
        *("settings.agreement", "settings.checks", "settings.declarations", "settings.params", "settings.place"),
        *("settings.sources", "settings.stages", "storage.moved", "storage.yaml_file"),
    }
)
"""Modules that never change a result: how a job is called, how faults are told, where results are mirrored to.

What `params` resolves reaches a job as its settings, which are watched by themselves.
"""


def source_files(package: Path, *modules: str) -> list[Path]:
    """Files that decide what the given modules do.

    Args:
        package: the folder of the package `mimik`.
        modules: where a job starts, relative to the package (`methods.stargan`); modules that code imports by a name
            from params.yaml have to be given, as no import statement shows them.

    Returns:
        the files of the modules and of everything they import from the package at any depth, with the data that
        stands beside a module under its name (geometric.json), sorted.

    Raises:
        FileNotFoundError: one of `modules` does not exist.
    """
    return list(_closure(package, tuple(sorted(set(modules)))))


@cache
def _closure(package: Path, modules: tuple[str, ...]) -> tuple[Path, ...]:
    found: set[Path] = set()
    waiting = [_file(package, module) for module in modules]
    while waiting:
        file = waiting.pop()
        if file in found:
            continue
        found.add(file)
        if (data := file.with_suffix(".json")).is_file():
            found.add(data)
        waiting.extend(_imported_files(package, file))
    return tuple(sorted(found))


def _file(package: Path, module: str) -> Path:
    """File of a module or package; raises `FileNotFoundError` when there is none."""
    base = package.joinpath(*module.split("."))
    for file in (base.with_suffix(".py"), base / "__init__.py"):
        if file.is_file():
            return file
    raise FileNotFoundError(f"{base}.py")


@cache
def _imported_files(package: Path, file: Path) -> frozenset[Path]:
    """Files of the package that an import statement of `file` names, those inside functions included."""
    files: set[Path] = set()
    for name in _imported_names(ast.parse(file.read_text(encoding="utf-8"))):
        parts = name.split(".")
        if parts[0] != PACKAGE or len(parts) < 2 or NEUTRAL & {parts[1], ".".join(parts[1:3])}:
            continue
        # "from mimik.faces import store" may name a module or a thing within one: the longest path that is a file.
        for length in range(len(parts), 1, -1):
            try:
                files.add(_file(package, ".".join(parts[1:length])))
            except FileNotFoundError:
                continue
            break
    return frozenset(files)


def _imported_names(tree: ast.AST) -> Iterable[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
