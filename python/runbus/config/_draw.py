"""What a value of a random sweep is drawn from: the same one on every machine for the same seed.

Nothing here uses the C library's logarithm or the interpreter's generator, which may differ in the
last digit between machines: the draw is a SHA-256, and the arithmetic is decimal.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from decimal import Context, Decimal
from typing import TYPE_CHECKING, Any, ClassVar, cast

import msgspec
from msgspec.structs import force_setattr

from runbus.config._axis import given_value, given_values, of_values
from runbus.config._node import Mistake

if TYPE_CHECKING:
    from runbus.config._node import Mistakes

__all__ = ["DISTRIBUTIONS", "Choice", "Distribution", "IntUniform", "LogUniform", "Uniform", "draw"]

_CONTEXT = Context(prec=40)
_DIGITS = 6
"""To how many digits a drawn number is rounded: so fine a part of its range, or of itself."""

_PARTS = 10**20
"""Into how many parts the unit interval is divided."""

_LARGEST = 2**63


class _Range(msgspec.Struct, frozen=True):
    low: float
    high: float

    def __post_init__(self) -> None:
        force_setattr(self, "low", given_value(self.low))
        force_setattr(self, "high", given_value(self.high))


class Uniform(_Range, frozen=True):
    """A number between two others, each as likely as any.

    Attributes:
        low: The least.
        high: The greatest.
    """

    tag: ClassVar[str] = "uniform"

    @property
    def size(self) -> int | None:
        """How many values there are; None for without end."""
        return 1 if self.low == self.high else None

    @property
    def data(self) -> dict[str, Any]:
        """It as a sweep's file has it."""
        return {self.tag: [self.low, self.high]}

    def mistakes(self) -> Mistakes:
        """Return what is wrong with it."""
        return _of_bounds(self.low, self.high)

    def at(self, share: int) -> float:
        """Return the value at a place, in parts of the whole range."""
        low, high = _decimal(self.low), _decimal(self.high)
        span = _CONTEXT.subtract(high, low)
        if not span:
            return self.low
        shift = _CONTEXT.divide(_CONTEXT.multiply(span, Decimal(share)), Decimal(_PARTS))
        value = _CONTEXT.add(low, shift)
        step = Decimal(1).scaleb(span.adjusted() - _DIGITS)
        # Rounding must not lead out of the range.
        rounded = _CONTEXT.multiply(_CONTEXT.divide(value, step).to_integral_value(), step)
        return float(min(max(rounded, low), high))


class LogUniform(Uniform, frozen=True):
    """A number between two others, each order of magnitude as likely as any.

    Attributes:
        low: The least, above 0.
        high: The greatest.
    """

    tag: ClassVar[str] = "log_uniform"

    def mistakes(self) -> Mistakes:
        """Return what is wrong with it."""
        wrong = _of_bounds(self.low, self.high)
        if not wrong and self.low <= 0:
            advice = "write a number above 0, such as 1e-5, or uniform"
            wrong.append(Mistake(f"the logarithm of {self.low!r} does not exist", expected=advice))
        return wrong

    def at(self, share: int) -> float:
        """Return the value at a place, in parts of the whole range."""
        low, high = _decimal(self.low), _decimal(self.high)
        of_low = low.ln(_CONTEXT)
        span = _CONTEXT.subtract(high.ln(_CONTEXT), of_low)
        shift = _CONTEXT.divide(_CONTEXT.multiply(span, Decimal(share)), Decimal(_PARTS))
        value = _CONTEXT.add(of_low, shift).exp(_CONTEXT)
        rounded = Context(prec=_DIGITS).plus(value)
        return float(min(max(rounded, low), high))


class IntUniform(_Range, frozen=True):
    """A whole number between two others, both of which it may be.

    Attributes:
        low: The least.
        high: The greatest.
    """

    tag: ClassVar[str] = "int"

    low: int
    high: int

    @property
    def size(self) -> int:
        """How many values there are."""
        return self.high - self.low + 1

    @property
    def data(self) -> dict[str, Any]:
        """It as a sweep's file has it."""
        return {self.tag: [self.low, self.high]}

    def mistakes(self) -> Mistakes:
        """Return what is wrong with it."""
        for one in (self.low, self.high):
            given: Any = one
            if not isinstance(given, int) or isinstance(given, bool):
                advice = "write whole numbers: int: [1, 8]"
                return [Mistake(f"{given!r} is no whole number", expected=advice)]
            if abs(given) >= _LARGEST:
                return [Mistake(f"{given} takes more than 64 bits", expected="write less")]
        return _of_bounds(self.low, self.high)

    def at(self, share: int) -> int:
        """Return the value at a place, in parts of the whole range."""
        return min(self.low + share * self.size // _PARTS, self.high)


class Choice(msgspec.Struct, frozen=True):
    """One of several values.

    Attributes:
        values: The values; of an array, too, or a range.
    """

    tag: ClassVar[str] = "choice"

    values: Iterable[Any]

    def __post_init__(self) -> None:
        force_setattr(self, "values", given_values(self.values))

    @property
    def _listed(self) -> list[Any]:
        return cast("list[Any]", self.values)

    @property
    def size(self) -> int:
        """How many values there are."""
        return len(self._listed)

    @property
    def data(self) -> dict[str, Any]:
        """It as a sweep's file has it."""
        return {self.tag: list(self.values)}

    def mistakes(self) -> Mistakes:
        """Return what is wrong with it."""
        return of_values(self.values)

    def at(self, share: int) -> Any:
        """Return the value at a place, in parts of the whole range."""
        return self._listed[share * self.size // _PARTS]


Distribution = Uniform | LogUniform | IntUniform | Choice

DISTRIBUTIONS: dict[str, type[Distribution]] = {
    one.tag: one for one in (Uniform, LogUniform, IntUniform, Choice)
}


def draw(one: Distribution, seed: int, path: str, number: int) -> Any:
    """Return the value of one point: it depends on nothing but these four.

    Args:
        one: What it is drawn from.
        seed: The seed of the sweep.
        path: Which value of the point it is.
        number: Which draw it is, from 0.
    """
    digest = hashlib.sha256(f"{seed}\n{path}\n{number}".encode()).digest()
    return one.at(int.from_bytes(digest[:16], "big") % _PARTS)


def _of_bounds(low: Any, high: Any) -> Mistakes:
    for one in (low, high):
        if isinstance(one, bool) or not isinstance(one, (int, float)) or not math.isfinite(one):
            return [Mistake(f"{one!r} is no finite number", expected="write [low, high]")]
    if low > high:
        advice = f"write [{high!r}, {low!r}]"
        return [Mistake(f"the range ends before it begins: {low!r} > {high!r}", expected=advice)]
    return []


def _decimal(number: float) -> Decimal:
    """Return a number as it is written in decimal: 0.1 is a tenth."""
    return Decimal(repr(number))
