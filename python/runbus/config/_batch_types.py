"""What is wrong with data that should have been Structs: every field and entry by itself."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

import msgspec

from runbus import codec
from runbus.config._flat import field_types, nested, options
from runbus.config._node import Mistake
from runbus.config._spans import DURATIONS, SIZES, no_duration, no_size
from runbus.errors import near_matches
from runbus.events.values import INVALID_FORM, hint_of, worded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runbus.config._node import Mistakes, Path

__all__ = ["check_struct", "check_value", "words_in"]


def check_struct(data: dict[Any, Any], shape: type[msgspec.Struct], at: Path) -> Mistakes:
    """Check each field by itself, so that one mistake does not hide the next."""
    problems: Mistakes = []
    known = field_types(shape)
    for key in data:
        if key not in known:
            near = ("retries",) if key == "retry" else near_matches(str(key), known)
            hint = f"; did you mean {near[0]!r}" if near else f"; there are {', '.join(known)}"
            problems.append(Mistake(f"unknown key {key!r}{hint}", (*at, str(key))))
    for name, (of_value, is_needed) in known.items():
        if name in DURATIONS and isinstance(data.get(name), str):
            problems.append(Mistake(no_duration(data[name]), (*at, name)))
        elif name in SIZES and isinstance(data.get(name), str):
            problems.append(Mistake(no_size(data[name]), (*at, name)))
        elif name in data and of_value is not Any:
            problems += check_value(data[name], of_value, (*at, name))
        elif is_needed and name not in data:
            problems.append(Mistake(f"the key {name!r} is missing", at))
    return problems


def check_value(value: Any, shape: Any, at: Path) -> Mistakes:
    """Check a value against a type; what is wrong within it is reported entry by entry."""
    try:
        codec.convert(nested(value, shape), shape)
    except codec.DecodeError as error:
        problems = list(_entries(value, options(shape), at))
        told = worded(str(error), hint_of(shape))
        return problems or [Mistake(f"{told}{_advice(value, shape, told)}", at)]
    return []


def _advice(value: Any, shape: Any, told: str) -> str:
    """Return what to write for a text of an invalid form, for a list, or one of a few values."""
    if told == INVALID_FORM:
        return f"; {hint_of(shape)}"
    allowed = [
        repr(one)
        for kind in options(shape)
        if get_origin(kind) is Literal
        for one in get_args(kind)
    ]
    if allowed and isinstance(value, str):
        return f"; there are {', '.join(allowed)}"
    is_list = any(get_origin(one) in (list, tuple) for one in options(shape))
    return f": write {words_in(value)}" if is_list and isinstance(value, str) else ""


def words_in(line: str) -> str:
    """Return a line of a shell as the list that a batch takes."""
    try:
        words = shlex.split(line)
    except ValueError:
        words = line.split()
    return json.dumps(words, ensure_ascii=False)


def _entries(value: Any, kinds: tuple[Any, ...], at: Path) -> Iterator[Mistake]:
    """Check the entries of a mapping or list that is of none of some types."""
    for option in kinds:
        if isinstance(value, list) and get_origin(option) in (list, tuple):
            for index, item in enumerate(value):
                yield from check_value(item, get_args(option)[0], (*at, index))
        elif isinstance(value, dict) and get_origin(option) is dict:
            of_key, of_value = get_args(option)
            for key, item in value.items():
                here = (*at, str(key))
                for wrong in check_value(key, of_key, here):
                    wrong.reason = f"the key {key!r}: {wrong.reason}"
                    yield wrong
                yield from check_value(item, of_value, here)
    structs = [option for option in kinds if isinstance(option, type(msgspec.Struct))]
    if isinstance(value, dict) and structs:
        yield from check_struct(value, structs[0], at)
