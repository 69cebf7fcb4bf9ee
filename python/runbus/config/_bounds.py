"""What `Annotated` says of a value beyond its type.

It understands the marks of any library that has fields of these names: msgspec's Meta,
annotated-types, pydantic.
"""

from __future__ import annotations

import functools
import operator
import re
from typing import TYPE_CHECKING, Any

from runbus.config._units import Unit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from runbus.config._node import Path

__all__ = ["Check", "bounds_of", "checks_of", "unit_of"]


class Check:
    """Marks a value that a function looks at: `Annotated[list[str], Check(find)]`.

    Args:
        find: Takes the value, of whose parts some may be of a wrong type, and yields what is wrong:
            the steps to the part, and the reason.
    """

    __slots__ = ("find",)

    def __init__(self, find: Callable[[Any], Iterable[tuple[Path, str]]]) -> None:
        self.find = find


_COMPARED: dict[str, tuple[Callable[[Any, Any], Any], str]] = {
    "gt": (operator.gt, "more than {}"),
    "ge": (operator.ge, "at least {}"),
    "lt": (operator.lt, "less than {}"),
    "le": (operator.le, "at most {}"),
}


def unit_of(marks: Iterable[Any]) -> str | None:
    """Return which unit a number may be written with; None if with none."""
    return next((one.kind for one in marks if isinstance(one, Unit)), None)


def checks_of(marks: Iterable[Any]) -> list[Check]:
    """Return the checks among marks."""
    return [one for one in marks if isinstance(one, Check)]


def bounds_of(marks: Iterable[Any]) -> list[tuple[Callable[[Any], Any], str]]:
    """Return the checks that marks ask for, and what each expects."""
    return [found for mark in marks for found in _checks(mark)]


def _checks(mark: Any) -> Iterator[tuple[Callable[[Any], Any], str]]:
    inner = getattr(mark, "metadata", None)  # of pydantic's Field
    if isinstance(inner, (list, tuple)):
        for one in inner:
            yield from _checks(one)
    for name, (compare, words) in _COMPARED.items():
        if (bound := getattr(mark, name, None)) is not None:
            yield functools.partial(_compared, compare, bound), words.format(bound)
    if (step := getattr(mark, "multiple_of", None)) is not None:
        yield (lambda value: value % step == 0), f"a multiple of {step}"
    least, most = getattr(mark, "min_length", None), getattr(mark, "max_length", None)
    if least:
        yield (lambda value: len(value) >= least), f"a length of at least {least}"
    if most is not None:
        yield (lambda value: len(value) <= most), f"a length of at most {most}"
    if isinstance(pattern := getattr(mark, "pattern", None), str):
        matches = re.compile(pattern).search
        yield matches, f"a text like {pattern}"


def _compared(compare: Callable[[Any, Any], Any], bound: Any, value: Any) -> bool:
    return bool(compare(value, bound))
