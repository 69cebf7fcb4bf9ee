"""Changing a configuration everywhere at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runbus.config._access import assign
from runbus.config._node import Node
from runbus.config._shape import raise_mistakes
from runbus.config._tree import children, copied, names_within, nodes_of
from runbus.errors import FieldUnknown, near_matches

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from runbus.config._node import Mistakes

__all__ = ["walked"]


def walked(
    root: Node, change: Callable[[Any], Any] | None, fields: Mapping[str, Callable[[Any], Any]]
) -> Any:
    """Return a copy in which functions have changed something; see `Config.walk`."""
    new = copied(root)
    if change is not None:
        new = _changed(new, change, {})
    if fields:
        known = names_within(new)
        for name in fields:
            if name not in known:
                near = near_matches(name, known)
                raise FieldUnknown(
                    f"{root._shape.schema.name} with all its parts", name, near, tuple(known)
                )
        _set_fields(new, fields)
    return new


def _set_fields(root: Node, fields: Mapping[str, Callable[[Any], Any]]) -> None:
    mistakes: Mistakes = []
    # All of them first: what is set may itself have such a field.
    for path, node in list(nodes_of(root)):
        for name, function in fields.items():
            if name in node._shape.schema.fields:
                wrong: Mistakes = []
                assign(node, (name,), function(node), wrong)
                for one in wrong:
                    one.path = (*path, *one.path)
                mistakes += wrong
    raise_mistakes(root, mistakes)


def _changed(value: Any, change: Callable[[Any], Any], done: dict[int, Any]) -> Any:
    """Call a function with each configuration, outermost first; returns what takes its place."""
    if id(value) in done:
        return done[id(value)]
    if isinstance(value, Node):
        key, before = id(value), value
        returned = change(value)
        value = before if returned is None else returned
        done[key] = value
        if not isinstance(value, Node):
            return value
        mistakes: Mistakes = []
        for step, part in list(children(value)):
            new = _changed(part, change, done)
            if new is not part:
                assign(value, (step,), new, mistakes)
        raise_mistakes(value, mistakes)
        return value
    kind = type(value)
    if kind is dict:
        for key, part in value.items():
            value[key] = _changed(part, change, done)
    elif kind is list:
        value[:] = [_changed(part, change, done) for part in value]
    elif kind is tuple:
        parts = tuple(_changed(part, change, done) for part in value)
        return value if all(map(_is, parts, value)) else parts
    return value


def _is(one: Any, other: Any) -> bool:
    return one is other
