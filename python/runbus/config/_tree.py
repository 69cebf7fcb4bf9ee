"""Going through configurations: effective values, copies, comparison, paths."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from runbus.config._node import MISSING, PLAIN, Node
from runbus.config._schema import is_structured
from runbus.config._shape import new_node

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from runbus.config._node import Mistakes, Path

__all__ = [
    "children",
    "copied",
    "drawn",
    "effective",
    "given",
    "mapped",
    "names_within",
    "nodes_of",
    "same",
]


def drawn(node: Node, name: str) -> Any:
    """Return the value of a field: what was set, else its default; `MISSING` without either.

    A default that has parts is remembered: what is changed in it stays changed.
    """
    for held in (node._values, node._drawn):
        if name in held:
            value = held[name]
            if type(value) is list or type(value) is dict:
                _settle(node, name, value)
            return value
    field = node._shape.schema.fields.get(name)
    if field is None:
        return MISSING
    value = node._shape.default(name, field)
    if value is not MISSING and type(value) not in PLAIN:
        node._drawn[name] = value
    return value


def _settle(node: Node, name: str, container: Any) -> None:
    """Turn objects with fields that were added to a list or mapping since into Configs."""
    parts = container.values() if type(container) is dict else container
    if not any(is_structured(type(one)) for one in parts if not isinstance(one, Node)):
        return
    wrong: Mistakes = []
    found = node._shape.convert(node._shape.field(name), name, container, wrong)
    if wrong:
        return  # told when it is built
    if type(container) is dict:
        container.update(found)
    else:
        container[:] = found


def effective(node: Node) -> dict[str, Any]:
    """Return the values of all fields that have one, in the order of the fields."""
    found = {}
    for name in node._shape.schema.fields:
        value = drawn(node, name)
        if value is not MISSING:
            found[name] = value
    return found | {name: one for name, one in node._values.items() if name not in found}


def given(node: Node) -> dict[str, Any]:
    """Return the values that are not the defaults of themselves: set, or changed since."""
    fields = node._shape.schema.fields
    names = [*fields, *(name for name in node._values if name not in fields)]
    found = {}
    for name in names:
        if name in node._values:
            found[name] = node._values[name]
        elif name in node._drawn and not same(
            node._drawn[name], node._shape.default(name, fields[name])
        ):
            found[name] = node._drawn[name]
    return found


def children(value: Any) -> Iterator[tuple[str | int, Any]]:
    """Yield the parts of a configuration, mapping or sequence, with the steps that lead to them."""
    if isinstance(value, Node):
        yield from effective(value).items()
    elif type(value) is dict:
        for key, one in value.items():
            yield str(key), one
    elif type(value) in (list, tuple):
        yield from enumerate(value)


def nodes_of(value: Any) -> Iterator[tuple[Path, Node]]:
    """Yield all configurations within a value and it itself, outermost first, each once."""
    seen: set[int] = set()
    stack: list[tuple[Path, Any]] = [((), value)]
    while stack:
        path, one = stack.pop()
        if id(one) in seen or type(one) in PLAIN:
            continue
        seen.add(id(one))
        if isinstance(one, Node):
            yield path, one
        stack += reversed([((*path, step), part) for step, part in children(one)])


def copied(value: Any, memo: dict[int, Any] | None = None) -> Any:
    """Return a copy: configurations and containers are new, everything else is shared.

    What is in two places of the original is in two places of the copy.
    """
    memo = {} if memo is None else memo
    if type(value) in PLAIN:
        return value
    if id(value) in memo:
        return memo[id(value)]
    if isinstance(value, Node):
        twin = new_node(value._shape.target, partial=value._is_partial)
        memo[id(value)] = twin
        for name in ("_values", "_drawn"):
            for key, one in getattr(value, name).items():
                getattr(twin, name)[key] = copied(one, memo)
        return twin
    kind = type(value)
    if kind is dict:
        return memo.setdefault(id(value), {key: copied(one, memo) for key, one in value.items()})
    if kind in (list, set):
        return memo.setdefault(id(value), kind(copied(one, memo) for one in value))
    if kind is tuple:
        return tuple(copied(one, memo) for one in value)
    return value


def same(one: Any, other: Any) -> bool:
    """Whether two values are the same in a configuration: true is not 1, NaN is NaN."""
    if one is other:
        return True
    if isinstance(one, Node):
        return _same_nodes(one, other)
    kind = type(one)
    if kind is not type(other):
        return False
    if kind is dict:
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if kind in (list, tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if kind is float and math.isnan(one):
        return math.isnan(other)
    if kind is complex:
        return same(one.real, other.real) and same(one.imag, other.imag)
    try:
        return bool(one == other)
    except Exception:  # of a value, which is not ours: an array, say
        return False


def _same_nodes(one: Node, other: Any) -> bool:
    if type(one) is not type(other) or not _same_target(one._shape.target, other._shape.target):
        return False
    # What neither has set is the same, whatever its default would be now.
    names = {**one._values, **one._drawn, **other._values, **other._drawn}
    return all(same(drawn(one, name), drawn(other, name)) for name in names)


def _same_target(one: Any, other: Any) -> bool:
    return one is other or bool(one == other)


def mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    """Return a container with its parts changed; `value` itself if it is not one."""
    kind = type(value)
    if kind is dict:
        return {key: change(one) for key, one in value.items()}
    if kind in (list, tuple, set, frozenset):
        return kind(change(one) for one in value)
    return value


def names_within(value: Any) -> Mapping[str, None]:
    """Return the names of the fields of all configurations within a value."""
    return dict.fromkeys(name for _, node in nodes_of(value) for name in node._shape.schema.fields)
