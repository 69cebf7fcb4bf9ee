"""Times as people write them in a condition."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

__all__ = ["Period", "period_of"]

_CLOCK = r"(\d\d):(\d\d)(?::(\d\d))?\s?(Z|[+-]\d\d:?\d\d)?"
_TIME = re.compile(rf"(\d{{4}})(?:-(\d\d)(?:-(\d\d)(?:[T ]{_CLOCK})?)?)?", re.ASCII)
_FIRST = (1, 1, 1, 0, 0, 0)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Period(NamedTuple):
    """What a written time covers: `2026-11-29` is a day. Unix times in nanoseconds.

    Attributes:
        start_ns: Its first moment.
        end_ns: The first moment after it.
    """

    start_ns: int
    end_ns: int


def period_of(text: str) -> Period | None:
    """Return what an ISO date or time covers, in the local zone if it names none; None for others.

    Args:
        text: A year, a month, a day, a minute or a second: `2026-11-29T04:50`.
    """
    if not (found := _TIME.fullmatch(text.strip())):
        return None
    *numbers, zone = found.groups()
    given = [int(number) for number in numbers if number is not None]
    year, month, day, hour, minute, second = (*given, *_FIRST[len(given) :])
    try:
        start = datetime(year, month, day, hour, minute, second)
        return Period(_ns(start, zone), _ns(_next(start, len(given)), zone))
    except (ValueError, OverflowError):
        return None


def _next(start: datetime, numbers: int) -> datetime:
    """Return the first moment after what so many numbers, of the year and so on, name."""
    match numbers:
        case 1:
            return start.replace(year=start.year + 1)
        case 2:
            return (start + timedelta(days=31)).replace(day=1)
        case 3:
            return start + timedelta(days=1)
        case 5:
            return start + timedelta(minutes=1)
    return start + timedelta(seconds=1)


def _ns(time: datetime, zone: str | None) -> int:
    if zone is not None:
        time = time.replace(tzinfo=datetime.strptime(zone, "%z").tzinfo)
    return (time.astimezone(UTC) - _EPOCH) // timedelta(microseconds=1) * 1000
