"""What the converters of all kinds of types share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, get_origin

from runbus.config._node import Mistake, Node, Ref
from runbus.config._shown import shown, type_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runbus.config._node import Mistakes

__all__ = ["Converter", "Making", "at_step", "refuse"]

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

    def made_by(self, node: Node) -> Any:
        """Return the class of what a node builds; None if it is unknown."""
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
        made = making.made_by(value)
        kind = get_origin(hint) or hint
        if made is None or not isinstance(kind, type) or _is_protocol(kind):
            return value
        if issubclass(made, kind) or (kind is float and made is int):
            return value
        what = f"found a {type(value).__name__} of {made.__qualname__}"
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


def _is_protocol(kind: type) -> bool:
    return getattr(kind, "_is_protocol", False) is True


def at_step(key: str | int, value: Any, convert: Converter, mistakes: Mistakes) -> Any:
    """Convert a part of a value; the paths of its mistakes begin with its key."""
    known = len(mistakes)
    found = convert(value, mistakes)
    if len(mistakes) > known:
        for one in mistakes[known:]:
            one.path = (key, *one.path)
    return found
