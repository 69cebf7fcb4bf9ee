"""Converters of types that leave a choice: unions, literals, enumerations."""

from __future__ import annotations

import collections.abc
import enum
import typing
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin

from runbus.config import _scalars
from runbus.config._containers import CONTAINERS
from runbus.config._making import refuse
from runbus.config._node import Word
from runbus.config._schema import is_structured

if TYPE_CHECKING:
    from runbus.config._making import Converter, Making
    from runbus.config._node import Mistakes

__all__ = ["of_enum", "of_literal", "of_union"]


def of_literal(hint: Any, making: Making) -> Converter:
    members = get_args(hint)

    def convert(value: Any, mistakes: Mistakes) -> Any:
        for one in members:
            if type(value) is type(one) and value == one:
                return one
        if isinstance(value, Word):
            for one in members:
                if _scalars.is_written(value, one):
                    return one
        elif isinstance(value, str):
            for one in members:
                if isinstance(one, enum.Enum) and one.name == value:
                    return one
        before = len(mistakes)
        found = refuse(value, hint, making, mistakes)
        _add_near(value, [str(one) for one in members], mistakes[before:])
        return found

    return convert


def _add_near(value: Any, known: list[str], mistakes: Mistakes) -> None:
    if isinstance(value, str):
        from runbus.errors import near_matches

        for one in mistakes:
            one.near = near_matches(value, known)


def of_enum(hint: type[enum.Enum], making: Making) -> Converter:
    flags = issubclass(hint, enum.Flag)

    def convert(value: Any, mistakes: Mistakes) -> Any:
        if isinstance(value, hint):
            return value
        if isinstance(value, str) and value in hint.__members__:
            return hint[value]
        if flags and isinstance(value, str):
            names = [name.strip() for name in value.split("|") if name.strip()]
            if all(name in hint.__members__ for name in names):
                found = hint(0)
                for name in names:
                    found |= hint[name]  # type: ignore[operator]
                return found
        for member in hint:
            same = type(member.value) is type(value) and member.value == value
            if same or (isinstance(value, Word) and _scalars.is_written(value, member.value)):
                return member
        before = len(mistakes)
        found = refuse(value, hint, making, mistakes)
        _add_near(value, list(hint.__members__), mistakes[before:])
        return found

    return convert


_MAPPINGS = (dict, collections.abc.Mapping, collections.abc.MutableMapping)
_LISTS = (list, tuple, set, frozenset, collections.abc.Sequence, collections.abc.Iterable)


def of_union(hint: Any, making: Making) -> Converter:
    return _Union(hint, making)


class _Union:
    """Converts to the first type of a union that a value fits: the one it has, if that is one."""

    def __init__(self, hint: Any, making: Making) -> None:
        self._hint = hint
        self._making = making
        options = get_args(hint)
        self._converters = [making.converter(one) for one in options]
        pairs = list(zip(options, self._converters, strict=True))
        self._exact = {one: to for one, to in pairs if isinstance(one, type)}
        self._has_none = type(None) in options
        self._mappings = [to for one, to in pairs if _takes_mappings(one, making)]
        self._lists = [
            to
            for one, to in pairs
            if (get_origin(one) or one) in _LISTS or making.can_be_several(one)
        ]

    def __call__(self, value: Any, mistakes: Mistakes) -> Any:
        if value is None and self._has_none:
            return None
        if isinstance(value, Word):
            if self._has_none and value.lower() in ("none", "null"):
                return None
        elif type(value) not in CONTAINERS and type(value) in self._exact:
            return self._exact[type(value)](value, mistakes)
        told: list[Mistakes] = []
        text = self._exact.get(str)
        for convert in self._converters:
            if convert is text and not isinstance(value, str):
                continue
            wrong: Mistakes = []
            found = convert(value, wrong)
            if not wrong:
                return found
            told.append(wrong)
        return self._refused(value, told, mistakes)

    def _refused(self, value: Any, told: list[Mistakes], mistakes: Mistakes) -> Any:
        for kind, ours in ((dict, self._mappings), (list, self._lists)):
            # The mistakes within say more than that it is not one of them.
            if isinstance(value, kind) and len(ours) == 1:
                return ours[0](value, mistakes)
        if isinstance(value, dict) and self._mappings:
            nearest = min(told, key=len)
            if any(one.path for one in nearest):
                mistakes += nearest
                return value
        reasons = {one.reason for wrong in told for one in wrong if ": " in one.reason}
        return refuse(value, self._hint, self._making, mistakes, _only(reasons))


def _only(reasons: set[str]) -> str:
    return next(iter(reasons)).partition(": ")[2] if len(reasons) == 1 else ""


def _takes_mappings(hint: Any, making: Making) -> bool:
    if get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    kind = get_origin(hint) or hint
    if kind in _MAPPINGS:
        return True
    if not isinstance(kind, type) or kind in _scalars.READERS or kind in CONTAINERS:
        return False
    return is_structured(kind) or typing.is_typeddict(kind) or making.is_named(kind)
