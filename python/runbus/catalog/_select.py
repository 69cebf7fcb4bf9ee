"""Choosing, ordering and tabulating runs by what is known of them."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, NamedTuple

from runbus.catalog._fields import FIELDS, Fields, Value
from runbus.catalog._html import time_text
from runbus.catalog._times import period_of
from runbus.errors import UsageError, near_matches
from runbus.jobs import JobState

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Self

    from runbus.catalog._rows import RunRow

__all__ = ["Condition", "ordered", "selected"]

_CONDITION = re.compile(r"\s*(.+?)\s*(<=|>=|!=|==?|<|>|~)\s*(.*?)\s*", re.DOTALL)

_AND = re.compile(r"\s+and\s+", re.IGNORECASE)
_OR = re.compile(r"\s+or\s+", re.IGNORECASE)

_CUT_SHORT = re.compile(r"(^|\s)(and|or)$", re.IGNORECASE)

_ORDERS = ("<", "<=", ">", ">=")

_STATES = (*JobState, "UNREADABLE")


class Condition(NamedTuple):
    """What a run must fulfil, such as `lr>=0.01`.

    Attributes:
        name: A field, a param or a metric.
        operator: `=`, `!=`, `<`, `<=`, `>`, `>=`, or `~` for "contains".
        value: What it is compared with: as numbers if both are, and as times if it is `created`,
            where a date is its first moment and equals all of the day.
    """

    name: str
    operator: str
    value: str

    @classmethod
    def parse(cls, text: str) -> list[Self]:
        """Read a condition, or several that are joined by `and`.

        Raises:
            UsageError: It is none, or no run is ever in that state; or it is joined by `or`.
        """
        # Within a text to look for, as in `name~this and that`, they are words like others.
        parts = _AND.split(text)
        if not all(map(_CONDITION.fullmatch, parts)):
            parts = [text]
        for part in parts:
            if len(ways := _OR.split(part)) > 1 and all(map(_CONDITION.fullmatch, ways)):
                raise UsageError(f"{text!r} has an or, and conditions are only joined by and")
        return [cls._of(part) for part in parts]

    @classmethod
    def _of(cls, text: str) -> Self:
        if not (found := _CONDITION.fullmatch(text)):
            raise UsageError(
                f"{text!r} is no condition: write lr>=0.01, state=FAILED or name~net, several "
                "joined by and"
            )
        name, operator, value = found[1], found[2].replace("==", "="), found[3]
        if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
            value = value[1:-1]  # as people write a text in SQL
        elif _CUT_SHORT.search(value):
            raise UsageError(f"{text!r} is no condition: another one is missing at its end")
        if operator in _ORDERS and (not value or value[0] in "<>=!~"):
            raise UsageError(f"{text!r} is no condition: write a value, as in {name}{operator}0.01")
        if name == "state" and operator in {"=", "!="}:
            value = value.upper()
            if value not in _STATES:
                states = near_matches(value, _STATES) or [", ".join(_STATES)]
                raise UsageError(f"there is no state {found[3]!r}; did you mean {states[0]}")
        if name == "created" and operator != "~" and period_of(value) is None:
            raise UsageError(
                f"{value!r} is no time that created is compared with: write created>=2030-01-31 or "
                "'created>2030-01-31 12:00', in local time"
            )
        return cls(name, operator, value)

    def holds(self, row: RunRow, fields: Fields) -> bool:
        """Whether a run fulfils it; one that has no such value fulfils only `!=`."""
        known = fields.of(row, self.name)
        if known is None or (self.name == "created" and not known):
            return self.operator == "!="
        if self.name == "created":
            return self._is_at(row.created_ns)
        if self.operator == "~":
            return self.value.lower() in str(known).lower()
        if isinstance(known, bool):
            return _compare(str(known).lower(), self.operator, self.value.lower())
        number, other = _number(known), _number(self.value)
        if number is not None and other is not None:
            return _compare(number, self.operator, other)
        is_mixed = isinstance(known, int | float) or other is not None
        if is_mixed and self.is_of_order and self.name not in FIELDS:
            return False  # a number is neither before nor after a text, or what is no number
        return _compare(str(known), self.operator, self.value)

    @property
    def is_of_order(self) -> bool:
        """Whether it asks what is less or more."""
        return self.operator in _ORDERS

    def _is_at(self, time_ns: int) -> bool:
        """Whether a time fulfils it."""
        if self.operator == "~":
            return self.value in time_text(time_ns)
        period = period_of(self.value)
        assert period is not None, "it is looked at as it is parsed"
        if self.is_of_order:
            return _compare(time_ns, self.operator, period.start_ns)
        return (period.start_ns <= time_ns < period.end_ns) == (self.operator == "=")

    def check(self, rows: Sequence[RunRow], fields: Fields) -> None:
        """Make sure that it can be asked of runs.

        Raises:
            UsageError: None of them has what it names, or each has a number, and it names none.
        """
        fields.check(rows, self.name)
        if not self.is_of_order or self.name in FIELDS or _number(self.value) is not None:
            return
        values = [value for row in rows if (value := fields.of(row, self.name)) is not None]
        if values and all(isinstance(value, int | float) for value in values):
            raise UsageError(f"{self.value!r} is not a number, and {self.name} is compared with it")


def selected(
    rows: Iterable[RunRow], conditions: Sequence[Condition], fields: Fields | None = None
) -> list[RunRow]:
    """Return the runs that fulfil all conditions.

    Args:
        rows: The runs.
        conditions: The conditions.
        fields: What reads the runs, and has perhaps read some of them.

    Raises:
        UsageError: A condition names what none of the runs has, or compares numbers with a text.
    """
    rows, fields = list(rows), fields or Fields()
    for condition in conditions:
        condition.check(rows, fields)
    return [row for row in rows if all(one.holds(row, fields) for one in conditions)]


def ordered(rows: Iterable[RunRow], name: str, fields: Fields | None = None) -> list[RunRow]:
    """Return runs by what `Fields` reads of a name, smallest first; those without come last.

    Args:
        rows: The runs.
        name: By what; with a "-" before it, largest first.
        fields: What reads the runs, and has perhaps read some of them.

    Raises:
        UsageError: None of the runs has it.
    """
    rows, fields = list(rows), fields or Fields()
    is_falling = name.startswith("-")
    name = name.removeprefix("-")
    fields.check(rows, name)
    keys = [(row, fields.of(row, name)) for row in rows]
    known = [(row, value) for row, value in keys if value is not None]
    known.sort(key=lambda one: _key(one[1]), reverse=is_falling)
    return [row for row, _ in known] + [row for row, value in keys if value is None]


def _number(value: object) -> float | None:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return None if math.isnan(number) else number


def _compare(one: float | str, operator: str, other: float | str) -> bool:
    match operator:
        case "=":
            return one == other
        case "!=":
            return one != other
    assert type(one) is type(other)
    pair = (one, other)
    smaller = bool(pair[0] < pair[1])  # type: ignore[operator]
    match operator:
        case "<":
            return smaller
        case "<=":
            return smaller or one == other
        case ">":
            return not smaller and one != other
    return not smaller


def _key(value: Value) -> tuple[int, float, str]:
    """Return what numbers and texts are ordered by: numbers first."""
    number = _number(value)
    return (0, number, "") if number is not None else (1, 0.0, str(value))
