"""From a plain dict (a slice of params.yaml) to a frozen dataclass, strictly."""

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from mimik.errors import UserError

T = TypeVar("T")


def build(cls: type[T], values: Mapping[str, Any], where: str) -> T:
    """Make the dataclass `cls` from `values`; nested dataclasses are built from nested dicts.

    Lists become tuples, so that the result is hashable. Integers are accepted where a float is declared.

    Args:
        cls: a dataclass; its defaults fill what `values` leaves out.
        values: keys are field names.
        where: what the values configure, for the error message (for example "methods.hier_seg").

    Raises:
        UserError: an unknown key, a value of the wrong type, or a combination that `__post_init__` refuses.
    """
    hints = typing.get_type_hints(cls)
    known = {field.name for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    unknown = sorted(set(values) - known)
    if unknown:
        raise UserError(f"{where}: unknown setting {', '.join(unknown)}. Known settings: {', '.join(sorted(known))}.")
    converted = {key: _convert(hints[key], value, f"{where}.{key}") for key, value in values.items()}
    try:
        return cls(**converted)
    except ValueError as error:
        raise UserError(f"{where}: {error}") from error


def _convert(hint: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if isinstance(value, hint):
            return value
        if not isinstance(value, Mapping):
            raise UserError(f"{where}: expected a group of settings, got {value!r}.")
        return build(hint, value, where)
    origin = typing.get_origin(hint)
    if origin in (types.UnionType, typing.Union):
        choices = typing.get_args(hint)
        if value is None and type(None) in choices:
            return None
        return _convert(next(choice for choice in choices if choice is not type(None)), value, where)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise UserError(f"{where}: expected a list, got {value!r}.")
        arguments = typing.get_args(hint)
        return tuple(_convert(arguments[0], item, where) for item in value)
    if origin is typing.Literal:
        if value not in typing.get_args(hint):
            allowed = ", ".join(map(str, typing.get_args(hint)))
            raise UserError(f"{where}: expected one of {allowed}; got {value!r}.")
        return value
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(hint, type) and (not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool)):
        raise UserError(f"{where}: expected {hint.__name__}, got {value!r}.")
    return value
