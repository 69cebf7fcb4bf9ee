"""Whether what functions returned while a configuration was built is of their fields' types.

What a class makes is known before; a function may return anything, whatever it says.
"""

from __future__ import annotations

import collections.abc
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin

from runbus.config._node import PLAIN, Mistake, Node
from runbus.config._shape import raise_mistakes
from runbus.config._shown import shown, type_text
from runbus.config._tree import children

if TYPE_CHECKING:
    from runbus.config._node import Mistakes, Path

__all__ = ["checked", "is_unsure"]

_CONTAINERS = (dict, list, tuple, set, frozenset)
_LISTS = (list, set, frozenset, collections.abc.Sequence)
_MAPPINGS = (dict, collections.abc.Mapping)


def is_unsure(value: Any) -> bool:
    """Whether a value is built by a function, or one within it is."""
    if isinstance(value, Node):
        target = value._shape.target
        return not value._is_partial and not isinstance(get_origin(target) or target, type)
    return type(value) in _CONTAINERS and any(is_unsure(one) for _, one in children(value))


def checked(node: Node, name: str, built: Any, path: Path) -> Any:
    """Return what was built for a field, converted to its type as a value that is set.

    Raises:
        ConfigInvalid: It is not of that type.
    """
    field = node._shape.field(name)
    if _fits(built, field.type):
        return built
    wrong: Mistakes = []
    found = node._shape.convert(field, name, built, wrong)
    if not wrong and isinstance(found, Node):  # a mapping is no object with those fields
        expected, text = type_text(field.type), shown(built)
        wrong.append(
            Mistake(f"expected {expected}, found {text}", (name,), expected=expected, found=text)
        )
    for one in wrong:
        one.path = (*path, *one.path)
    raise_mistakes(node, wrong)
    return found if type(found) in PLAIN else built


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value is of a type as it is; False also where only the converter can say it."""
    if hint in (Any, object):
        return True
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        return any(_fits(value, one) for one in get_args(hint))
    kind: Any = type(None) if hint is None else origin or hint
    if origin is Annotated or not isinstance(kind, type):
        return False
    try:
        is_one = isinstance(value, kind)
    except TypeError:  # a protocol or typed dictionary, which cannot be looked for
        return False
    args = get_args(hint)
    if not is_one:
        return False
    if kind in _MAPPINGS and len(args) == 2:
        return all(_fits(k, args[0]) and _fits(one, args[1]) for k, one in value.items())
    if kind in _LISTS and len(args) == 1:
        return all(_fits(one, args[0]) for one in value)
    return not (kind is tuple and args)
