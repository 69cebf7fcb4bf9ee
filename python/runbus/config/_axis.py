"""The values of one axis of a sweep: made plain, as a file has them, and judged."""

from __future__ import annotations

import enum
import itertools
import json
import os
from collections.abc import Mapping, Set
from typing import Any

from runbus.config._node import Mistake, Mistakes, Word

__all__ = ["MOST_POINTS", "given_value", "given_values", "of_values"]

MOST_POINTS = 100_000
"""How many points a sweep may have: each is a job with folders of its own."""

_PLAIN = {type(None), bool, int, float, str, Word}


def given_values(values: Any) -> Any:
    """Return a list of plain values for what people have in their hands: an array, a range, a list.

    What is none of these is returned as it is: `of_values` refuses it. A set is, too, whose order
    differs from one process to the next.
    """
    if isinstance(values, (str, bytes, Mapping, Set)):
        return values
    if (listed := _of_array(values)) is None:
        try:
            each = iter(values)
        except TypeError:
            return values
        # One that never ends is refused for its size.
        most = None if isinstance(values, (list, tuple)) else MOST_POINTS + 1
        listed = [*itertools.islice(each, most)]
    if not isinstance(listed, list):  # an array of no dimension
        return values
    try:
        return [given_value(one) for one in listed]
    except RecursionError:
        return listed


def given_value(value: Any) -> Any:
    """Return a value as JSON has it: of NumPy's numbers, of paths, of kinds of texts and numbers.

    What has none is returned as it is.
    """
    if type(value) in _PLAIN:
        return value
    if isinstance(value, enum.Enum):
        return given_value(value.value) if isinstance(value, (str, int, float)) else value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, os.PathLike):
        return os.fsdecode(value)
    if isinstance(value, Mapping):
        return {given_value(key): given_value(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [given_value(one) for one in value]
    listed = _of_array(value)
    return value if listed is None else listed


def _of_array(value: Any) -> Any:
    """Return the numbers of an array, or the one of a scalar; None for what is neither."""
    convert = getattr(value, "tolist", None) or getattr(value, "to_list", None)
    has_shape = hasattr(value, "shape") and not isinstance(value, type)
    return convert() if callable(convert) and has_shape else None


def of_values(values: Any) -> Mistakes:
    """Return what is wrong with the values of an axis."""
    if not isinstance(values, (list, tuple)):
        advice = f"write a list: [{values!r}]" if values is not None else "write a list of values"
        if isinstance(values, Set):
            advice = "write a list: a set has no order"
        return [Mistake(f"expected a list of values, got {values!r}", expected=advice)]
    if not values:
        return [Mistake("the list is empty", expected="write at least one value, or leave it out")]
    wrong: Mistakes = []
    seen: set[str] = set()
    for place, value in enumerate(values):
        try:
            text = json.dumps(value, allow_nan=False, sort_keys=True)
        except (TypeError, ValueError, RecursionError):
            advice = "write text, numbers, true, false, null, lists or mappings of them"
            wrong.append(Mistake(f"{value!r} cannot be a value", (place,), expected=advice))
            continue
        if text in seen:
            wrong.append(Mistake(f"{value!r} is given twice", (place,), expected="leave one out"))
        seen.add(text)
    return wrong
