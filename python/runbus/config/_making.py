"""What the converters of all kinds of types share."""

from __future__ import annotations

from collections.abc import Callable
from types import UnionType
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    Protocol,
    Union,
    get_args,
    get_origin,
    is_typeddict,
)

from runbus.config._node import Mistake, Node, Ref
from runbus.config._shown import shown, type_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runbus.config._node import Mistakes

__all__ = ["Converter", "Making", "at_step", "classes_of", "refuse"]

Converter = Callable[[Any, "Mistakes"], Any]
"""Takes a value and a list of mistakes; returns the value in the form in which configurations hold
it. What does not fit is added to the mistakes."""


class Making(Protocol):
    """How converters make and know configurations; `_config` brings it."""

    def converter(self, hint: Any) -> Converter:
        """Return what converts to a type."""
        ...

    def from_mapping(self, kind: Any, data: Mapping[Any, Any], mistakes: Mistakes) -> Any:
        """Return the configuration of a class, or of what `type` or `_target_` in data names."""
        ...

    def from_list(self, kind: Any, items: Sequence[Any], mistakes: Mistakes) -> Any:
        """Return the configuration of the named part that several of a class make together."""
        ...

    def made_by(self, node: Node) -> tuple[type, ...] | None:
        """Return the classes of what a node may build; None if they are unknown."""
        ...

    def adopted(self, value: Any) -> Any:
        """Return the value of another library as one of ours; `value` itself if it is not one."""
        ...

    def is_named(self, kind: Any) -> bool:
        """Whether parts of a class are found by name."""
        ...

    def can_be_several(self, kind: Any) -> bool:
        """Whether a list may stand where one part of a class is wanted."""
        ...


def refuse(value: Any, hint: Any, making: Making, mistakes: Mistakes, reason: str = "") -> Any:
    """Return a value that is of no plain type but may stand where one is wanted; else tell it."""
    value = making.adopted(value)
    if isinstance(value, Ref):
        return value
    if isinstance(value, Node):
        made, wanted = making.made_by(value), classes_of(hint)
        if made is None or wanted is None or _can_fit(value, made, wanted):
            return value
        names = " or ".join(one.__qualname__ for one in made)
        what = f"found a {type(value).__name__} of {names}"
        mistakes.append(
            Mistake(
                f"expected {type_text(hint)}, {what}", expected=type_text(hint), found=repr(value)
            )
        )
        return value
    expected, found = type_text(hint), shown(value)
    mistakes.append(
        Mistake(
            f"expected {expected}, found {found}" + (f": {reason}" if reason else ""),
            expected=expected,
            found=found,
        )
    )
    return value


def _can_fit(node: Node, made: tuple[type, ...], wanted: tuple[type, ...]) -> bool:
    """Whether what a node builds may be of a class that is wanted.

    A function that says that it returns a `Model` may return one of a subclass.
    """
    is_class = isinstance(get_origin(node._shape.target) or node._shape.target, type)
    return any(
        issubclass(one, kind) or one in _SAME.get(kind, ()) or (issubclass(kind, one) > is_class)
        for one in made
        for kind in wanted
    )


_SAME: dict[type, tuple[type, ...]] = {float: (int,), complex: (int, float)}
"""Whose values stand for those of a type, though they are of no subclass."""


def classes_of(hint: Any) -> tuple[type, ...] | None:
    """Return the classes that values of a type have; None if that cannot be told of classes."""
    origin = get_origin(hint)
    if origin is Annotated:
        return classes_of(get_args(hint)[0])
    if origin is Literal:
        return tuple(type(one) for one in get_args(hint))
    if origin in (Union, UnionType):
        each = [classes_of(one) for one in get_args(hint)]
        return None if None in each else tuple(kind for one in each for kind in one or ())
    kind = type(None) if hint is None else origin or hint
    if is_typeddict(kind):
        return (dict,)
    is_told = isinstance(kind, type) and kind not in (object, Any)
    return (kind,) if is_told and not getattr(kind, "_is_protocol", False) else None


def at_step(key: str | int, value: Any, convert: Converter, mistakes: Mistakes) -> Any:
    """Convert a part of a value; the paths of its mistakes begin with its key."""
    known = len(mistakes)
    found = convert(value, mistakes)
    if len(mistakes) > known:
        for one in mistakes[known:]:
            one.path = (key, *one.path)
    return found
