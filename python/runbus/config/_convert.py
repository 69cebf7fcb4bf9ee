"""From data to values: one converter a type, compiled once a field.

Words of a command line, data of a file and values of Python go through the same ones.
"""

from __future__ import annotations

import collections.abc
import enum
import os
import sys
import types
import typing
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from runbus.config import _scalars
from runbus.config._bounds import bounds_of, checks_of, unit_of
from runbus.config._choices import of_enum, of_literal, of_union
from runbus.config._containers import CONTAINERS, items_of
from runbus.config._instances import of_callable, of_instance
from runbus.config._making import at_step, refuse
from runbus.config._node import Mistake, Node, Ref, Word
from runbus.config._schema import is_structured, values_of
from runbus.config._shown import shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from runbus.config._making import Converter, Making
    from runbus.config._node import Mistakes

__all__ = ["converter_of"]


def converter_of(hint: Any, making: Making) -> Converter:
    """Return what converts to a type.

    Args:
        hint: The type, resolved.
        making: How nested configurations are made.
    """
    _scalars.know_loaded_types()
    hint = _bare(hint)
    origin = get_origin(hint) or hint
    if hint in (Any, object) or isinstance(hint, (str, typing.ForwardRef)):
        return _anything(making)
    made = _BY_ORIGIN.get(origin) or CONTAINERS.get(origin)
    if made is not None:
        return made(hint, making)
    if not isinstance(hint, type):
        return of_instance(hint, making)
    if hint in _scalars.READERS:
        return _scalar(hint, making)
    if issubclass(hint, enum.Enum):
        return of_enum(hint, making)
    pathlib = sys.modules.get("pathlib")
    if pathlib is not None and issubclass(hint, pathlib.PurePath):
        return _scalar(hint, making, pathlib.Path)
    return of_instance(hint, making)


def _bare(hint: Any) -> Any:
    """Return the type behind names and marks that say nothing of values."""
    while True:
        if isinstance(hint, typing.NewType):
            hint = hint.__supertype__
        elif type(hint).__name__ == "TypeAliasType":
            hint = hint.__value__
        elif get_origin(hint) in _PASSED:
            hint = get_args(hint)[0]
        elif hint in _PASSED:
            hint = Any
        elif isinstance(hint, TypeVar):
            options = hint.__constraints__ or (hint.__bound__ or Any,)
            hint = Union[options]  # noqa: UP007 - of a tuple
        else:
            return type(None) if hint is None else hint


_PASSED: tuple[Any, ...] = tuple(
    one
    for name in ("Final", "ClassVar", "Required", "NotRequired", "ReadOnly")
    if (one := getattr(typing, name, None)) is not None
)


def _scalar(hint: type, making: Making, reader: Any = None) -> Converter:
    """Return the converter of a type that has no parts."""
    read = _scalars.READERS[reader or hint]

    def convert(value: Any, mistakes: Mistakes) -> Any:
        if type(value) is hint:
            return value
        try:
            found = read(value)
        except (ValueError, OverflowError, ArithmeticError) as error:
            return refuse(value, hint, making, mistakes, str(error))
        except TypeError:
            return refuse(value, hint, making, mistakes)
        return hint(found) if reader is not None and not isinstance(found, hint) else found

    return convert


def _anything(making: Making) -> Converter:
    def convert(value: Any, mistakes: Mistakes) -> Any:
        if isinstance(value, Word):
            return _scalars.guess(value)
        kind = type(value)
        if kind is list or kind is tuple or kind is set:
            return kind(items_of(value, convert, mistakes))
        if kind is dict:
            return {key: at_step(str(key), item, convert, mistakes) for key, item in value.items()}
        if is_structured(kind):
            return making.from_mapping(kind, values_of(value), mistakes)
        return making.adopted(value)

    return convert


def _annotated(hint: Any, making: Making) -> Converter:
    base, *marks = get_args(hint)
    if (unit := unit_of(marks)) is not None:
        convert_base = _with_unit(base, unit, making)
    else:
        convert_base = making.converter(base)
    bounds, checks = bounds_of(marks), checks_of(marks)
    if not bounds and not checks:
        return convert_base

    def convert(value: Any, mistakes: Mistakes) -> Any:
        known = len(mistakes)
        found = convert_base(value, mistakes)
        if found is None or isinstance(found, (Ref, Node)):
            return found
        fits = len(mistakes) == known
        for one in checks:
            mistakes += [Mistake(reason, path) for path, reason in one.find(found)]
        return bounded(value, found, mistakes) if fits else found

    def bounded(value: Any, found: Any, mistakes: Mistakes) -> Any:
        for check, expected in bounds:
            try:
                fits = check(found)
            except (TypeError, ValueError):
                continue  # of an option of a union that the bound is not about
            if not fits:
                said = shown(value)
                mistakes.append(
                    Mistake(f"expected {expected}, found {said}", expected=expected, found=said)
                )
                break
        return found

    return convert


def _with_unit(base: Any, unit: str, making: Making) -> Converter:
    """Return the converter of a number that may be written with a unit, or of a union with one."""
    convert_base = making.converter(base)
    read = _scalars.UNITS[unit]
    number = float if unit == "duration" else int

    def convert(value: Any, mistakes: Mistakes) -> Any:
        if unit == "duration" and _scalars.is_a(value, "datetime", "timedelta"):
            return value.total_seconds()
        if isinstance(value, str):
            wrong: Mistakes = []
            found = convert_base(value, wrong)
            if not wrong:
                return found
            try:
                return number(read(value))
            except ValueError as error:
                word = "a duration" if unit == "duration" else "a size"
                said = shown(value)
                mistakes.append(
                    Mistake(f"expected {word}, found {said}: {error}", expected=word, found=said)
                )
                return value
        return convert_base(value, mistakes)

    return convert


def _path(hint: Any, making: Making) -> Converter:
    del hint
    import pathlib

    _scalars.know_loaded_types()
    return _scalar(pathlib.Path, making)


_BY_ORIGIN: dict[Any, Callable[[Any, Making], Converter]] = {
    Annotated: _annotated,
    Union: of_union,
    types.UnionType: of_union,
    Literal: of_literal,
    collections.abc.Callable: of_callable,
    type: of_callable,
    os.PathLike: _path,
}
