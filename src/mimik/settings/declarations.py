"""What a module of mimik declares, taken from its source without importing it: settings are checked without PyTorch.

The dataclasses of settings stand beside the networks that they configure, and importing these takes seconds. Whoever
checks params.yaml needs the dataclasses alone: names, types, defaults, and what `__post_init__` refuses. So only the
statement that defines a name is run, and those of the names in it.
"""

import ast
import sys
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

PACKAGE = "mimik"

_IMPORTED = frozenset({"mimik.errors", "mimik.labels"})
"""Modules that are light, and whose objects have to be the same everywhere."""


def declared(module: str, name: str) -> Any:
    """The value of a top-level name.

    Args:
        module: of mimik, relative to the package (`methods.stargan`).
        name: a class, constant or function that it defines or imports from elsewhere in mimik or the standard library;
            of a function or method only the standard library and mimik are there when it is called.

    Raises:
        AttributeError: the module defines no such name.
        FileNotFoundError: there is no such module.
    """
    full = f"{PACKAGE}.{module}"
    if full in sys.modules or full in _IMPORTED:
        return getattr(import_module(full), name)
    return _source(module).value(name)


class _Source:
    """The statements of a module by the names that they define, run one by one as they are needed."""

    def __init__(self, module: str) -> None:
        self.module = module
        self.values: dict[str, Any] = {"__name__": f"{PACKAGE}.{module}"}
        self._statements: dict[str, ast.stmt] = {}
        for statement in ast.parse(_file(module).read_text(encoding="utf-8")).body:
            for name in _defined(statement):
                self._statements[name] = statement

    def value(self, name: str) -> Any:
        if name not in self.values and not self._define(name):
            raise AttributeError(f"{PACKAGE}.{self.module} defines no {name}")
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
        code = compile(ast.Module([statement], []), str(_file(self.module)), "exec")
        exec(code, self.values)
        return True

    def _bring(self, name: str, statement: ast.Import | ast.ImportFrom) -> bool:
        alias = next(alias for alias in statement.names if (alias.asname or alias.name.partition(".")[0]) == name)
        origin = alias.name if isinstance(statement, ast.Import) else str(statement.module)
        root, _, inner = origin.partition(".")
        if root == PACKAGE and isinstance(statement, ast.ImportFrom):
            whole = ".".join(filter(None, (inner, alias.name)))
            self.values[name] = _Lazy(whole) if _exists(whole) else declared(inner, alias.name)
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
        return declared(self._module, name)


@cache
def _source(module: str) -> _Source:
    return _Source(module)


@cache
def _file(module: str) -> Path:
    base = Path(__file__).parents[1].joinpath(*module.split("."))
    for file in (base.with_suffix(".py"), base / "__init__.py"):
        if file.is_file():
            return file
    raise FileNotFoundError(f"{base}.py")


def _exists(module: str) -> bool:
    try:
        _file(module)
    except FileNotFoundError:
        return False
    return True


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
