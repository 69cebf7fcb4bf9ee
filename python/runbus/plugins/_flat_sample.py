"""A collector's sample, flattened: numbers by name, and the rest as texts by name."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import TYPE_CHECKING, Any, NamedTuple

from runbus._secrets import is_secret_name, redacted_text

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["FlatSample", "flatten"]

_DEEPEST = 16
_MOST = 10_000
_LONGEST = 4096


class FlatSample(NamedTuple):
    """What a sample holds.

    Attributes:
        numbers: Numbers by name.
        texts: Everything else, as text.
        left_out: How many values were left out because there were too many, or too deep.
    """

    numbers: dict[str, float]
    texts: dict[str, str]
    left_out: int


def flatten(sample: Mapping[str, Any], prefix: str = "") -> FlatSample:
    """Return a sample in which nothing is nested.

    The names of nested mappings and named tuples, and the places in lists, counted from 0, are
    joined with "/". True and False are 1 and 0; NaN and the infinities are numbers. None, texts and
    all other values are texts, without secrets, cut at 4,096 characters.

    Args:
        sample: What was measured.
        prefix: What all names begin with.
    """
    numbers: dict[str, float] = {}
    texts: dict[str, str] = {}
    left_out = 0
    for name, value in _leaves(sample, prefix, 0):
        if value is _TOO_DEEP or len(numbers) + len(texts) >= _MOST:
            left_out += 1
            if left_out > _MOST:
                break
            continue
        number = _number(value)
        if number is not None:
            numbers[name] = number
        else:
            texts[name] = "***" if is_secret_name(name.rpartition("/")[2]) else _text(value)
    return FlatSample(numbers, texts, left_out)


_TOO_DEEP = object()


def _leaves(value: Any, name: str, depth: int) -> Iterator[tuple[str, Any]]:
    fields = value._asdict() if isinstance(value, tuple) and hasattr(value, "_asdict") else value
    if isinstance(fields, Mapping):
        parts: Any = fields.items()
    elif isinstance(fields, list | tuple):
        parts = enumerate(fields)
    else:
        yield name, value
        return
    if depth == _DEEPEST:
        yield name, _TOO_DEEP
        return
    for key, one in parts:
        yield from _leaves(one, f"{name}/{key}" if name else str(key), depth + 1)


def _number(given: object) -> float | None:
    if not isinstance(given, Real):
        return None
    value: Any = given
    try:
        number = float(value)
    except (OverflowError, ValueError, TypeError):
        return None
    return int(value) if type(value) is int else number


def _text(value: Any) -> str:
    try:
        return redacted_text(str(value)[:_LONGEST])
    except Exception as error:  # of a foreign __str__
        return f"<{type(value).__name__}: {type(error).__name__}>"
