"""What options mean, from the docstrings of the dataclasses that hold them, read from the source without importing it.

A docstring explains every option under `Attributes:`, several at once where one sentence says it all. Where it leads to
another class ("see `mimik.networks.stargan.Generator`"), that class explains the option of the same name.
"""

import ast
import inspect
import re
from collections.abc import Iterator, Mapping
from functools import cache

from mimik.settings import modules

PACKAGE = "mimik"

_REFERENCE = re.compile(
    r"^(?P<of>(?:[^`;.]|`[^`]*`)*?),? ?\b(?:see|like those of|like that of) `(?P<target>[\w.]+)`(?P<rest>.*)$"
)
_ENTRY = re.compile(r"^(?P<names>\w+(?:, \w+)*): (?P<text>.*)$")


@cache
def meanings(module: str, name: str) -> Mapping[str, str]:
    """What the attributes of a class mean.

    Args:
        module: of mimik, relative to the package.
        name: of a class that it defines.

    Returns:
        a text for every attribute that the docstring names, on one line and without a full stop at its end; what Python
        calls None is `empty` there, as in YAML.
    """
    found: dict[str, str] = {}
    before = ""
    for names, text in _entries(*_docstring(module, name), "Attributes:"):
        text = before if text == "likewise" else text
        before = text
        found |= {option: re.sub(r"\bNone\b", "empty", _followed(module, option, text)) for option in names}
    return found


def _followed(module: str, option: str, text: str) -> str:
    """The text, or where it leads to a class that explains the option, that explanation."""
    text = text.replace("the module's docstring", f"`{PACKAGE}.{module}`")
    reference = _REFERENCE.match(text)
    if not reference:
        return text
    place, _, name = reference["target"].removeprefix(f"{PACKAGE}.").rpartition(".")
    place = place or module
    try:
        explained = {**_arguments(place, name), **meanings(place, name)}
    except LookupError:
        return text
    # `local_conv_dim` is the `conv_dim` of a network.
    own = next((key for key in sorted(explained, key=len, reverse=True) if f"_{option}".endswith(f"_{key}")), None)
    if own is None:
        return text
    of = f"{reference['of']}: " if reference["of"] else ""
    rest = reference["rest"] if reference["rest"].startswith(". ") else ""
    return f"{of}{explained[own]}{rest}"


def _arguments(module: str, name: str) -> dict[str, str]:
    """What the arguments of a class's `__init__` mean."""
    found: dict[str, str] = {}
    for names, text in _entries(*_docstring(module, name, "__init__"), "Args:"):
        found |= {option: _followed(module, option, text) for option in names}
    return found


def _entries(docstring: str, known: frozenset[str], title: str) -> Iterator[tuple[list[str], str]]:
    """Names and text of every entry in a section of a docstring; several on one line have `known` names."""
    lines = iter(docstring.splitlines())
    entries: list[str] = []
    for line in lines:
        if line == title:
            break
    for line in lines:
        if line and not line.startswith("    "):
            break
        # A list of names may be longer than a line.
        if line.startswith("     ") or (entries and entries[-1].endswith(",") and ":" not in entries[-1]):
            entries[-1] += f" {line.strip()}"
        elif line:
            entries.append(line.strip())
    for entry in entries:
        # "width: of the first layer; blocks: their number": two entries.
        starts = "|".join(sorted(known)) or "$"
        for part in re.split(rf"; (?=(?:{starts})(?:, (?:{starts}))*: )", entry):
            if found := _ENTRY.match(part):
                yield found["names"].split(", "), found["text"].rstrip(".")


@cache
def _docstring(module: str, name: str, method: str = "") -> tuple[str, frozenset[str]]:
    """The docstring of a class or of a method of it, empty where there is none, and the names of the class's fields.

    Raises:
        LookupError: no such class.
    """
    base = modules.PACKAGE.joinpath(*module.split("."))
    file = next((file for file in (base.with_suffix(".py"), base / "__init__.py") if file.is_file()), None)
    if file is None:
        raise LookupError(f"no module {module}")
    tree = ast.parse(file.read_text(encoding="utf-8"))
    body = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}[name]
    if method:
        functions = {node.name: node for node in body.body if isinstance(node, ast.FunctionDef)}
        text = ast.get_docstring(functions[method]) if method in functions else ""
    else:
        text = ast.get_docstring(body)
    fields = [
        line.target.id for line in body.body if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name)
    ]
    return inspect.cleandoc(text or ""), frozenset(fields)
