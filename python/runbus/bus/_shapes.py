"""Whether a value is of the type that an event class declares for its answers."""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence, Set
from functools import cache
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

if TYPE_CHECKING:
    from runbus.events import Event

__all__ = ["UNKNOWN", "declared", "fits", "title"]

UNKNOWN: Any = object()
"""Stands for a type that was not declared, or whose names cannot be looked up; fits everything."""


@cache
def declared(event: type[Event], base: type[Event]) -> Any:
    """Return what `event` gave `base` for its type variable; UNKNOWN where that cannot be told.

    For `class Argv(Pipeline[tuple[str, ...]])` and Pipeline it is `tuple[str, ...]`.
    """
    for cls in event.__mro__:
        for parent in getattr(cls, "__orig_bases__", ()):
            if get_origin(parent) is base:
                (shape,) = get_args(parent)
                return UNKNOWN if isinstance(shape, TypeVar) else _resolved(shape, cls)
    return UNKNOWN


def _resolved(shape: Any, cls: type) -> Any:
    """Return a type whose names were looked up where the class was written."""
    holder = types.new_class("holder", ())
    holder.__annotations__ = {"shape": shape}
    holder.__module__ = cls.__module__
    try:
        return get_type_hints(holder)["shape"]
    except Exception:
        return UNKNOWN


def fits(value: object, shape: Any) -> bool:
    """Tell whether a value is of a type; what cannot be told is taken to be."""
    if isinstance(shape, type) and get_origin(shape) is None:
        return _is_instance(value, shape)
    if shape is None:
        return value is None
    origin, args = get_origin(shape), get_args(shape)
    if origin is Annotated:
        return fits(value, args[0])
    if origin is Union or origin is types.UnionType:
        return any(fits(value, one) for one in args)
    if origin is Literal:
        return any(value == one and type(value) is type(one) for one in args)
    if origin is type:
        return isinstance(value, type)
    if isinstance(origin, type):
        return _is_instance(value, origin) and _holds(value, origin, args)
    if hasattr(shape, "__supertype__"):  # a NewType
        return fits(value, shape.__supertype__)
    return True


def _is_instance(value: object, cls: type) -> bool:
    if cls is float:
        return isinstance(value, (int, float))
    try:
        return isinstance(value, cls)
    except TypeError:  # a protocol that cannot be asked at run time
        return True


def _holds(value: Any, origin: type, args: tuple[Any, ...]) -> bool:
    """Tell whether what a container holds is of the types of its arguments."""
    if origin is tuple and not (len(args) == 2 and args[1] is Ellipsis):
        return len(value) == len(args) and all(map(fits, value, args))
    if issubclass(origin, Mapping) and len(args) == 2:
        return all(fits(k, args[0]) and fits(v, args[1]) for k, v in value.items())
    if issubclass(origin, (Sequence, Set)) and args:
        return all(fits(one, args[0]) for one in value)
    return True


def title(shape: Any) -> str:
    """Return how messages call a type."""
    if isinstance(shape, type) and get_origin(shape) is None:
        return shape.__name__
    return str(shape).replace("typing.", "")
