"""How types and values read in messages, help pages and texts of configurations."""

from __future__ import annotations

import enum
import types
import typing
from typing import Annotated, Any, Literal, Union, get_args, get_origin

__all__ = ["shown", "type_name", "type_text"]

_MOST = 60

_NAMES: dict[Any, str] = {
    str: "a text",
    int: "an integer",
    float: "a number",
    bool: "true or false",
    bytes: "bytes",
    type(None): "none",
    dict: "a mapping",
    list: "a list",
    tuple: "a list",
    set: "a list",
    frozenset: "a list",
    complex: "a complex number",
}


_TIMES = {
    "timedelta": "a duration",
    "datetime": "a date and time",
    "date": "a date",
    "time": "a time of day",
}
"""What those of the module datetime are called: nobody needs to have imported it."""


def shown(value: Any) -> str:
    """Return a value as a message shows it: one line, short, without escape codes."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        value = str(value)
        text = repr(value[: _MOST + 1])
    elif isinstance(value, dict):
        text = f"a mapping of {len(value)}" if value else "an empty mapping"
    elif isinstance(value, (list, tuple, set, frozenset)):
        text = f"a list of {len(value)}" if value else "an empty list"
    else:
        try:
            text = repr(value)
        except Exception:  # of a value, which is not ours
            text = f"a {type(value).__name__}"
    text = text if text.isprintable() else ascii(text)[1:-1]
    return text if len(text) <= _MOST + 2 else text[:_MOST] + "…"


def type_text(hint: Any) -> str:
    """Return what a type asks for: `an integer`, `one of 'a', 'b'`, `a list of texts`."""
    if hint is None:
        return "none"
    origin = get_origin(hint)
    if origin is Annotated:
        return type_text(get_args(hint)[0])
    if origin in (Union, types.UnionType):
        options = list(dict.fromkeys(type_text(one) for one in get_args(hint)))
        return " or ".join([", ".join(options[:-1]), options[-1]]) if options[1:] else options[0]
    if origin is Literal:
        return _one_of([shown(getattr(one, "name", one)) for one in get_args(hint)])
    if hint in (Any, object):
        return "anything"
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return _one_of(list(hint.__members__))
    return _kind_text(hint, origin or hint)


def _kind_text(hint: Any, kind: Any) -> str:
    if kind is tuple and (args := get_args(hint)) and args[-1] is not Ellipsis:
        return f"a list of {len(args)}: {', '.join(map(type_text, args))}"
    if kind in _NAMES:
        return _NAMES[kind]
    if getattr(kind, "__module__", "") == "datetime" and kind.__name__ in _TIMES:
        return _TIMES[kind.__name__]
    if kind in (type, typing.Callable) or getattr(kind, "__name__", "") == "Callable":
        return "a class" if kind is type else "a function"
    name = getattr(kind, "__name__", None) or str(hint)
    if name in ("Sequence", "Iterable", "Collection", "MutableSequence", "Set", "MutableSet"):
        return "a list"
    if name in ("Mapping", "MutableMapping"):
        return "a mapping"
    if name in ("Path", "PurePath", "PosixPath", "PathLike"):
        return "a path"
    return f"a {name}" if name[:1] not in "AEIOU" else f"an {name}"


def type_name(hint: Any) -> str:
    """Return a type as signatures show it, short: `int`, `list[Model]`, `str | None`."""
    origin = get_origin(hint)
    if origin is Annotated:
        return type_name(get_args(hint)[0])
    if origin in (Union, types.UnionType):
        return " | ".join(map(type_name, get_args(hint)))
    if origin is Literal:
        return " | ".join(repr(getattr(one, "name", one)) for one in get_args(hint))
    if hint in (None, type(None)):
        return "None"
    if hint is Ellipsis:
        return "..."
    name = getattr(origin or hint, "__name__", None) or str(origin or hint)
    args = get_args(hint)
    if args and origin is not None and name != "Callable":
        return f"{name}[{', '.join(map(type_name, args))}]"
    return str(name)


def _one_of(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"one of {', '.join(names)}"
