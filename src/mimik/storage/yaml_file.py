"""Strict reading of YAML: whatever YAML would guess, drop or expand without bounds is refused with its line."""

from pathlib import Path
from typing import Any

import yaml

from mimik.errors import UserError
from mimik.storage.files import first_line

MOST_VALUES = 1_000_000
"""Most values that a file may stand for: aliases of aliases make billions out of a few lines."""

DEEPEST = 50
"""Groups within groups that a file may hold."""


_Safe: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The fast one where PyYAML was built with libyaml."""


class _Loader(_Safe):
    """YAML's safe loader, of which a number that Python does not read is a fault with a line."""

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        try:
            number: int = super().construct_yaml_int(node)
        except ValueError as error:
            raise _Fault(
                f"line {node.start_mark.line + 1}: not a whole number, or one with thousands of digits"
            ) from error
        return number


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)


class _Fault(Exception):
    """What is wrong, with its line."""


def read_yaml(path: Path | str, missing: str) -> Any:
    """Read a YAML file.

    Args:
        path: the file.
        missing: what to do when there is none.

    Raises:
        UserError: the file is missing, not UTF-8, no YAML, holds a key twice in one group or a key that is no text, or
            stands for more than `MOST_VALUES` values.
    """
    try:
        content = Path(path).read_bytes()
        text = content.decode("utf-8-sig")
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file. {missing}") from error
    except OSError as error:
        raise UserError(f"{path}: expected a readable file, but: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        wide = content[:2] in (b"\xff\xfe", b"\xfe\xff")
        like = "it looks like UTF-16" if wide else f"line {line} is in another encoding"
        raise UserError(
            f"{path}: expected text in UTF-8; {like}. Save it as UTF-8 and run the same command again."
        ) from error
    try:
        _check_depth(text)
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _check(node)
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except _Fault as error:
        raise UserError(f"{path}: {error}.") from error
    except yaml.YAMLError as error:
        told = str(error).replace('in "<unicode string>", ', "in ").replace("\n", " ")
        raise UserError(f"{path}: not readable as YAML: {' '.join(told.split())[:400]}.") from error
    except (ValueError, TypeError, AttributeError, KeyError) as error:  # dates and numbers that YAML's tags get wrong
        raise UserError(f"{path}: not readable as YAML: {first_line(error)}.") from error


def _check_depth(text: str) -> None:
    """Raise `_Fault` for groups deeper than `DEEPEST`, before anything follows them down."""
    depth = 0
    for event in yaml.parse(text, Loader=_Safe):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise _Fault(f"groups are nested more than {DEEPEST} deep")


def _check(root: yaml.Node) -> None:
    """Raise `_Fault` for keys (see `_check_keys`), aliases for more values than `MOST_VALUES`, and loops of aliases."""
    sizes: dict[int, int] = {}

    def size(node: yaml.Node, depth: int) -> int:
        line = node.start_mark.line + 1
        if depth > DEEPEST:
            raise _Fault(f"line {line}: groups are nested more than {DEEPEST} deep, or one contains itself")
        if id(node) not in sizes:
            parts: list[yaml.Node] = []
            if isinstance(node, yaml.SequenceNode):
                parts = node.value
            elif isinstance(node, yaml.MappingNode):
                _check_keys(node)
                parts = [part for pair in node.value for part in pair]
            sizes[id(node)] = 1 + sum(size(part, depth + 1) for part in parts)
        if sizes[id(node)] > MOST_VALUES:
            raise _Fault(f"line {line}: its aliases expand to more than {MOST_VALUES:,} values")
        return sizes[id(node)]

    size(root, 0)


def _check_keys(node: yaml.MappingNode) -> None:
    """Raise `_Fault` for a key that is no text or stands twice. To be called before `<<` brings others' keys in."""
    seen: dict[str, int] = {}
    for key, _ in node.value:
        line = key.start_mark.line + 1
        if key.tag not in ("tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"):
            name = str(key.value)[:40] if isinstance(key, yaml.ScalarNode) else "a group"
            raise _Fault(f"line {line}: the key {name!r} is not read as text; put it in quotes")
        if key.value in seen:
            raise _Fault(
                f"line {line}: the key {key.value!r} occurs twice in its group, first in line {seen[key.value]}"
            )
        seen[key.value] = line
