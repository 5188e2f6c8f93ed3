"""From a plain dict (a slice of params.yaml) to a frozen dataclass, strictly."""

import dataclasses
import types
import typing
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, TypeVar

from mimik.errors import UserError, unknown_name
from mimik.storage.records import shown

T = TypeVar("T")

LARGEST = 1e18
"""Largest number that any setting may be; none comes near it."""


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
    converted = _converted(cls, values, where, build)
    needed = (dataclasses.MISSING, dataclasses.MISSING)
    absent = [
        field.name
        for field in dataclasses.fields(cls)  # type: ignore[arg-type]
        if field.name not in converted and (field.default, field.default_factory) == needed
    ]
    if absent:
        raise UserError(f"{where}: lacks {', '.join(absent)}.")
    try:
        return cls(**converted)
    except (ValueError, TypeError, OverflowError) as error:
        raise UserError(f"{where}: {error}") from error


def check(cls: type[Any], values: Mapping[str, Any], where: str) -> None:
    """Check names and types of a part of a dataclass's settings, as those of a scale; arguments like `build`'s.

    Raises:
        UserError: an unknown key, or a value of the wrong type.
    """
    _converted(cls, values, where, check)


def _converted(
    cls: type[Any], values: Mapping[str, Any], where: str, nested: Callable[[Any, Any, str], Any]
) -> dict[str, Any]:
    """The values in the types of the fields; `nested` deals with groups."""
    if not isinstance(values, Mapping):
        raise UserError(f"{where}: expected a group of settings, got {shown(values)}.")
    hints = _hints(cls)  # type: ignore[arg-type]
    known = {field.name for field in dataclasses.fields(cls)}
    if unknown := sorted(map(str, set(values) - known)):
        raise UserError(f"{where}: unknown setting {', '.join(unknown)}. {unknown_name(unknown[0], known)}")
    return {key: _convert(hints[key], value, f"{where}.{key}", nested) for key, value in values.items()}


@cache
def _hints(cls: type[Any]) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _convert(hint: Any, value: Any, where: str, nested: Callable[[Any, Any, str], Any]) -> Any:
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return value if isinstance(value, hint) else nested(hint, value, where)
    origin = typing.get_origin(hint)
    if origin in (types.UnionType, typing.Union):
        choices = typing.get_args(hint)
        if value is None and type(None) in choices:
            return None
        return _convert(next(choice for choice in choices if choice is not type(None)), value, where, nested)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise UserError(f"{where}: expected a list, got {shown(value)}.")
        arguments = typing.get_args(hint)
        return tuple(_convert(arguments[0], item, where, nested) for item in value)
    if origin is typing.Literal:
        if not any(type(value) is type(choice) and value == choice for choice in typing.get_args(hint)):
            allowed = ", ".join(map(str, typing.get_args(hint)))
            raise UserError(f"{where}: expected one of {allowed}; got {shown(value)}.")
        return value
    if isinstance(value, int | float) and not isinstance(value, bool) and not abs(value) <= LARGEST:
        raise UserError(f"{where}: expected a number of at most {LARGEST:g}, got {shown(value)}.")
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(hint, type) and (not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool)):
        raise UserError(f"{where}: expected {hint.__name__}, got {shown(value)}.")
    return value
