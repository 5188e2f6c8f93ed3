"""What options mean, from the docstrings of the dataclasses that hold them, read from the source without importing it.

A docstring explains every option under `Attributes:`, several at once where one sentence says it all. Where it leads to
another class ("see `mimik.networks.stargan.Generator`"), that class explains the option of the same name.
"""

import ast
import inspect
import re
from collections.abc import Iterator, Mapping
from functools import cache

from mimik.settings.declarations import PACKAGE, source_file

_REFERENCE = re.compile(r"^(?P<of>[^`;.]*?),? ?\b(?:see|like those of|like that of) `(?P<target>[\w.]+)`(?P<rest>.*)$")
_ENTRY = re.compile(r"^(?P<names>\w+(?:, \w+)*): (?P<text>.*)$")


@cache
def meanings(module: str, name: str) -> Mapping[str, str]:
    """What the attributes of a class mean.

    Args:
        module: of mimik, relative to the package.
        name: of a class that it defines.

    Returns:
        a text for every attribute that the docstring names, on one line and without a full stop at its end.
    """
    found: dict[str, str] = {}
    before = ""
    for names, text in _entries(_docstring(module, name), "Attributes:"):
        text = before if text == "likewise" else text
        before = text
        for option in names:
            found[option] = _followed(module, option, text.replace("the module's docstring", f"`{PACKAGE}.{module}`"))
    return found


def _followed(module: str, option: str, text: str) -> str:
    """The text, or where it leads to a class that explains the option, that explanation."""
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
    found = {}
    for names, text in _entries(_docstring(module, name, "__init__"), "Args:"):
        found |= dict.fromkeys(names, text.replace("the module's docstring", f"`{PACKAGE}.{module}`"))
    return found


def _entries(docstring: str, title: str) -> Iterator[tuple[list[str], str]]:
    """Names and text of every entry in a section of a docstring."""
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
        # "adversary: of the faces; local_adversary: of the parts": two entries.
        for part in re.split(r"; (?=[a-z_]+(?:, [a-z_]+)*: )", entry):
            if found := _ENTRY.match(part):
                yield found["names"].split(", "), found["text"].rstrip(".")


@cache
def _docstring(module: str, name: str, method: str = "") -> str:
    """The docstring of a class or of a method of it, empty where there is none. Raises LookupError for no such class."""
    try:
        tree = ast.parse(source_file(module).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise LookupError(f"no module {module}") from error
    body = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}[name]
    if method:
        functions = {node.name: node for node in body.body if isinstance(node, ast.FunctionDef)}
        return inspect.cleandoc(ast.get_docstring(functions[method]) or "") if method in functions else ""
    return inspect.cleandoc(ast.get_docstring(body) or "")
