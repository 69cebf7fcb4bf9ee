"""Numbers that users give, checked where they are given rather than where they are needed."""

from __future__ import annotations

import math

__all__ = ["at_least_one", "positive_seconds"]


def positive_seconds(name: str, value: object) -> float:
    """Return a time in seconds that is finite and above zero.

    Raises:
        TypeError: It is no number.
        ValueError: It is zero, negative, infinite or not a number.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name}={value!r}: a number of seconds is wanted")
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name}={value!r}: a finite number of seconds above 0 is wanted")
    return float(value)


def at_least_one(name: str, value: object) -> int:
    """Return a whole number above zero.

    Raises:
        TypeError: It is no whole number.
        ValueError: It is zero or negative.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name}={value!r}: a whole number is wanted")
    if value < 1:
        raise ValueError(f"{name}={value!r}: a number of at least 1 is wanted")
    return value
