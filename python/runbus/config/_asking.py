"""What command lines ask of types: may a text stand there, and what may make a value."""

from __future__ import annotations

import types
from typing import Annotated, Any, Union, get_args, get_origin

from runbus.config._hints import hints_of

__all__ = ["accepts_text", "is_part_of", "return_type"]


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
    """Whether objects of a class may stand where a type is wanted, or within its lists."""
    for one in _options(hint):
        origin = get_origin(one) or one
        if origin in (list, tuple, set, frozenset) or getattr(origin, "__name__", "") == "Sequence":
            if any(is_part_of(kind, inner) for inner in get_args(one)):
                return True
        elif isinstance(origin, type) and isinstance(kind, type) and origin is not object:
            try:
                if issubclass(kind, origin):
                    return True
            except TypeError:
                continue
    return False


def return_type(function: Any) -> Any:
    """Return the type that a function says it returns, resolved; None if it says nothing."""
    return hints_of(function).get("return")
