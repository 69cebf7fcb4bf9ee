"""Mappings that never change, for values that are hashed and shared."""

from __future__ import annotations

from typing import Any, NoReturn, TypeVar

__all__ = ["FrozenDict"]

K = TypeVar("K")
V = TypeVar("V")


class FrozenDict(dict[K, V]):
    """A dict that refuses every change; `|` and `{**frozen}` make a plain one.

    It is a dict because msgspec and `json` write no other mapping. It can be hashed if its values
    can, and the order of its keys does not count.
    """

    __slots__ = ()

    def _refuse(self, *values: Any, **named: Any) -> NoReturn:
        raise TypeError("it cannot be changed: make another, as {**this, name: value}")

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self.items()))

    def __reduce__(self) -> tuple[Any, ...]:
        return FrozenDict, (dict(self),)
