"""What command lines ask of types: may a text stand there, and what may make a value."""

from __future__ import annotations

import types
from collections.abc import Collection, Mapping
from enum import Enum
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from runbus.config._hints import hints_of
from runbus.config._node import Node
from runbus.config._schema import is_structured, schema_of

__all__ = ["accepts_text", "is_part_of", "members_of", "part_type", "return_type"]


def _options(hint: Any) -> list[Any]:
    origin = get_origin(hint)
    if origin is Annotated:
        return _options(get_args(hint)[0])
    if origin in (Union, types.UnionType):
        return [kind for one in get_args(hint) for kind in _options(one)]
    return [hint]


def accepts_text(hint: Any) -> bool:
    """Whether a text may stand where a type is wanted: such a text is never anything else."""
    return str in _options(hint)


def is_part_of(kind: Any, hint: Any) -> bool:
    """Whether objects of a class may stand where a type is wanted, or within it."""
    for one in _options(hint):
        origin = get_origin(one) or one
        if inner := _inner(one):
            if any(is_part_of(kind, part) for part in inner):
                return True
        elif isinstance(origin, type) and isinstance(kind, type) and origin is not object:
            try:
                if issubclass(kind, origin):
                    return True
            except TypeError:
                continue
    return False


def part_type(hint: Any, step: str | int) -> Any:
    """Return the type of an item of a list, tuple or mapping; `Any` if nothing says so."""
    found: list[Any] = []
    for one in _options(hint):
        inner = _inner(one)
        if get_origin(one) is tuple and inner[-1:] != (Ellipsis,):
            found += inner[step : step + 1 or None] if isinstance(step, int) else ()
        elif inner:
            found.append(inner[0])
    if not found:
        return Any
    return Union[tuple(found)]  # noqa: UP007 - of as many as there are


def _inner(hint: Any) -> tuple[Any, ...]:
    """Return the types of what is in a list, set or mapping of a type, apart from keys."""
    origin, inner = get_origin(hint), get_args(hint)
    if not isinstance(origin, type) or not issubclass(origin, Collection):
        return ()
    return inner[1:] if issubclass(origin, Mapping) else inner


def members_of(what: Any, *, values: bool = False) -> list[str]:
    """Return what a type, or a value, has below it that has a name: fields, keys.

    Args:
        what: The type, the configuration or the mapping.
        values: Whether to return, of a type, the values instead that can be listed.
    """
    if isinstance(what, Node):
        return list(what._shape.schema.fields)
    if isinstance(what, dict):
        return [one for one in what if isinstance(one, str)]
    found: list[str] = []
    for one in _options(what):
        if values:
            found += _listed(one)
        elif is_structured(one):
            found += schema_of(one).fields
    return found


def _listed(hint: Any) -> list[str]:
    if get_origin(hint) is Literal:
        return [str(one) for one in get_args(hint)]
    if isinstance(hint, type) and issubclass(hint, Enum):
        return list(hint.__members__)
    return {bool: ["true", "false"], type(None): ["none"]}.get(hint, [])


def return_type(function: Any) -> Any:
    """Return the type that a function says it returns, resolved; None if it says nothing."""
    return hints_of(function).get("return")
