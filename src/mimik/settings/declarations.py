"""What a module declares, taken from its source without importing it: settings are checked without PyTorch.

The dataclasses of settings are beside the networks that they configure, and importing these takes seconds. Checking
params.yaml needs only the dataclasses: names, types, defaults, and what `__post_init__` refuses. So only the statement
that defines a name is run, and those of the names in it.
"""

import ast
import sys
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from mimik.settings import external
from mimik.settings.external import OWN
from mimik.settings.sources import absolute

_IMPORTED = frozenset({"mimik.errors", "mimik.labels"})
"""Modules that are light, and whose objects have to be the same everywhere."""


def declared(module: str, name: str) -> Any:
    """The value of a top-level name of a module of mimik.

    Args:
        module: relative to the package (`methods.stargan`).
        name: a class, constant or function that it defines or imports from elsewhere in mimik or the standard library;
            of a function or method only the standard library and mimik are there when it is called.

    Raises:
        AttributeError: the module defines no such name.
        FileNotFoundError: there is no such module.
    """
    return declared_in(f"{OWN}.{module}", name)


def declared_in(full: str, name: str) -> Any:
    """The same of any module, by its full name; one of another package may import from its own package, too.

    Raises:
        AttributeError, FileNotFoundError: as of `declared`.
        Exception: of whatever the statements of another package raise; `NameError` where they need a library.
    """
    if full in _IMPORTED or (full in sys.modules and full.partition(".")[0] == OWN):
        return getattr(import_module(full), name)
    file = _file(full)
    if file is None:
        raise FileNotFoundError(f"{full.replace('.', '/')}.py")
    return _source(full, file, file.stat().st_mtime_ns).value(name)


class _Source:
    """The statements of a module by the names that they define, run one by one as they are needed."""

    def __init__(self, module: str, file: Path) -> None:
        self.module, self.file = module, file
        self.package = module if file.stem == "__init__" else module.rpartition(".")[0]
        self.values: dict[str, Any] = {"__name__": module}
        self._statements: dict[str, ast.stmt] = {}
        for statement in ast.parse(file.read_text(encoding="utf-8"), str(file)).body:
            for name in _defined(statement):
                self._statements[name] = statement

    def value(self, name: str) -> Any:
        if name not in self.values and not self._define(name):
            raise AttributeError(f"{self.module} defines no {name}")
        return self.values[name]

    def _define(self, name: str) -> bool:
        """Put a name into `values`; False for one that comes from a library, or that is defined right now."""
        statement = self._statements.pop(name, None)
        if statement is None:
            return False
        if isinstance(statement, ast.Import | ast.ImportFrom):
            return self._bring(name, statement)
        for node in ast.walk(statement):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id not in self.values:
                # What needs PyTorch stays undefined; a method that uses it cannot be called, and is not.
                with suppress(NameError):
                    self._define(node.id)
        code = compile(ast.Module([statement], []), str(self.file), "exec")
        exec(code, self.values)
        return True

    def _bring(self, name: str, statement: ast.Import | ast.ImportFrom) -> bool:
        alias = next(alias for alias in statement.names if (alias.asname or alias.name.partition(".")[0]) == name)
        origin = alias.name if isinstance(statement, ast.Import) else absolute(statement, self.package)
        root = origin.partition(".")[0]
        if root in (OWN, self.package.partition(".")[0]) and isinstance(statement, ast.ImportFrom):
            whole = f"{origin}.{alias.name}"
            self.values[name] = _Lazy(whole) if _file(whole) is not None else declared_in(origin, alias.name)
            return True
        if root not in sys.stdlib_module_names:
            return False
        imported = import_module(origin)
        if isinstance(statement, ast.ImportFrom):
            self.values[name] = getattr(imported, alias.name)
        else:
            self.values[name] = imported if alias.asname else import_module(root)
        return True


class _Lazy:
    """A module whose attributes are declared when they are asked for."""

    def __init__(self, module: str) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        return declared_in(self._module, name)


@cache
def _source(module: str, file: Path, modified: int) -> _Source:
    """Of a file that was last written at `modified`."""
    return _Source(module, file)


def _file(module: str) -> Path | None:
    root, *inner = module.split(".")
    if root != OWN:
        return external.file_of(module)
    base = Path(__file__).parents[1].joinpath(*inner)
    return next((file for file in (base.with_suffix(".py"), base / "__init__.py") if file.is_file()), None)


def _defined(statement: ast.stmt) -> list[str]:
    """Names that a top-level statement defines."""
    if isinstance(statement, ast.ClassDef | ast.FunctionDef):
        return [statement.name]
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return [alias.asname or alias.name.partition(".")[0] for alias in statement.names]
    if isinstance(statement, ast.Assign):
        return [target.id for target in statement.targets if isinstance(target, ast.Name)]
    if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and statement.value is not None:
        return [statement.target.id]
    return []
