"""Converters of types with parts: lists, sets, tuples, mappings."""

from __future__ import annotations

import collections.abc
import typing
from typing import TYPE_CHECKING, Any, get_args

from runbus.config._making import at_step, refuse
from runbus.config._node import Word
from runbus.config._shown import shown
from runbus.config._words import read_words

if TYPE_CHECKING:
    from collections.abc import Callable

    from runbus.config._making import Converter, Making
    from runbus.config._node import Mistakes

__all__ = ["CONTAINERS", "items_of", "parts_of_word"]


def items_of(values: Any, convert: Converter, mistakes: Mistakes) -> list[Any]:
    return [at_step(index, value, convert, mistakes) for index, value in enumerate(values)]


def parts_of_word(value: Any) -> Any:
    """Return a word of a command line as the list or mapping that it writes down."""
    return read_words(value) if isinstance(value, Word) else value


def _list(hint: Any, making: Making) -> Converter:
    (of_item,) = get_args(hint) or (Any,)
    convert_item = making.converter(of_item)

    def convert(value: Any, mistakes: Mistakes) -> Any:
        value = parts_of_word(value)
        if isinstance(value, (list, tuple)):
            return items_of(value, convert_item, mistakes)
        return refuse(value, hint, making, mistakes)

    return convert


def _set(kind: type) -> Callable[[Any, Making], Converter]:
    def compiled(hint: Any, making: Making) -> Converter:
        (of_item,) = get_args(hint) or (Any,)
        convert_item = making.converter(of_item)

        def convert(value: Any, mistakes: Mistakes) -> Any:
            value = parts_of_word(value)
            if not isinstance(value, (list, tuple, set, frozenset)):
                return refuse(value, hint, making, mistakes)
            items = items_of(value, convert_item, mistakes)
            try:
                return kind(items)
            except TypeError as error:
                return refuse(value, hint, making, mistakes, str(error))

        return convert

    return compiled


def _tuple(hint: Any, making: Making) -> Converter:
    args = get_args(hint)
    if not args and hint is not tuple and hint is not typing.Tuple:  # noqa: UP006 - as written
        args_of: tuple[Converter, ...] | None = ()
    else:
        args_of = None
    if args and args[-1] is not Ellipsis:
        args_of = tuple(making.converter(one) for one in args)
    each = making.converter(args[0] if args else Any) if args_of is None else None

    def convert(value: Any, mistakes: Mistakes) -> Any:
        value = parts_of_word(value)
        if not isinstance(value, (list, tuple)):
            return refuse(value, hint, making, mistakes)
        if each is not None:
            return tuple(items_of(value, each, mistakes))
        assert args_of is not None
        if len(value) != len(args_of):
            return refuse(value, hint, making, mistakes, f"it has {len(value)} items")
        return tuple(
            at_step(index, one, convert_one, mistakes)
            for index, (one, convert_one) in enumerate(zip(value, args_of, strict=True))
        )

    return convert


def _dict(hint: Any, making: Making) -> Converter:
    of_key, of_value = get_args(hint) or (Any, Any)
    convert_key, convert_value = making.converter(of_key), making.converter(of_value)
    is_text = of_key in (str, Any)

    def key_of(key: Any, mistakes: Mistakes) -> Any:
        if is_text and type(key) is str:
            return key
        wrong: Mistakes = []
        found = convert_key(key, wrong)
        if wrong and type(key) is str:  # all keys of TOML and JSON are texts
            again: Mistakes = []
            found = convert_key(Word(key), again)
            if not again:
                return found
        for one in wrong:
            one.path = (str(key),)
            one.reason = f"the key {shown(key)}: {one.reason}"
        mistakes += wrong
        return found

    def convert(value: Any, mistakes: Mistakes) -> Any:
        value = parts_of_word(value)
        if not isinstance(value, collections.abc.Mapping):
            return refuse(value, hint, making, mistakes)
        found = {}
        for key, item in value.items():
            name = key_of(key, mistakes)
            part = at_step(str(key), item, convert_value, mistakes)
            try:
                found[name] = part
            except TypeError:
                refuse(key, of_key, making, mistakes)
        return found

    return convert


CONTAINERS: dict[Any, Callable[[Any, Making], Converter]] = {
    **dict.fromkeys(
        (
            list, collections.abc.Sequence, collections.abc.MutableSequence,
            collections.abc.Iterable, collections.abc.Collection,
        ),
        _list,
    ),
    **dict.fromkeys((set, collections.abc.Set, collections.abc.MutableSet), _set(set)),
    frozenset: _set(frozenset),
    tuple: _tuple,
    **dict.fromkeys((dict, collections.abc.Mapping, collections.abc.MutableMapping), _dict),
}  # fmt: skip
"""What makes the converter of each type with parts, by its origin."""
