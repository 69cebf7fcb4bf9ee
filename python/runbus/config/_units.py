"""Durations and sizes, as people write them."""

from __future__ import annotations

import re
from typing import Annotated

__all__ = [
    "Duration",
    "LocalFile",
    "Located",
    "Size",
    "Unit",
    "duration_text",
    "format_size",
    "parse_duration",
    "parse_microseconds",
    "parse_size",
    "size_text",
]


class Unit:
    """Marks a number that may be written as a text with units.

    Attributes:
        kind: `duration` for seconds, `size` for bytes.
    """

    __slots__ = ("kind",)

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __repr__(self) -> str:
        return f"Unit({self.kind!r})"


class Located:
    """Marks a text that is the path of a file here: in data, relative to the file that says it."""


LocalFile = Annotated[str, Located()]
"""The path of a file here, as a text; in data relative to the file that says it."""

Duration = Annotated[float, Unit("duration")]
"""Seconds; in data a number of them, or a text such as `90s`, `2h30m` or `04:00:00`."""

Size = Annotated[int, Unit("size")]
"""Bytes; in data a number of them, or a text such as `16GiB` or `500MB`."""

_MICROSECONDS = {
    "w": 604_800_000_000, "d": 86_400_000_000, "h": 3_600_000_000, "m": 60_000_000,
    "s": 1_000_000, "ms": 1_000, "us": 1,
}  # fmt: skip
_PART = re.compile(r"(\d+(?:\.\d+)?|\.\d+)\s*(ms|us|min|sec|[wdhms])", re.ASCII)
_CLOCK = re.compile(r"(?:(\d{1,6})-)?(\d{1,6}):([0-5]\d):([0-5]\d)(\.\d{1,6})?", re.ASCII)
_SIZE = re.compile(r"(\d{1,30}(?:\.\d{1,30})?)\s*([kKMGTPE]i?B|B)", re.ASCII)
_LONGEST = 64


def parse_duration(text: str) -> float:
    """Return the seconds that a text means; see `parse_microseconds`.

    Raises:
        ValueError: It is not one; the text says what is wrong.
    """
    return parse_microseconds(text) / 1_000_000


def _exact(number: str, factor: int) -> int:
    """Return a decimal number times a whole one, without the rounding of floats."""
    whole, _, part = number.partition(".")
    return (
        round(int((whole or "0") + part) * factor / int(10 ** len(part)))
        if part
        else (int(whole) * factor)
    )


def parse_microseconds(text: str) -> int:
    """Return the microseconds that a text means: `90s`, `2h30m`, `1.5d`, `04:00:00`, `1-12:00:00`.

    Raises:
        ValueError: It is not one; the text says what is wrong.
    """
    given = text.strip()
    sign, given = (-1, given[1:]) if given.startswith("-") else (1, given)
    if len(given) > _LONGEST:
        raise ValueError("it is too long to be one")
    if clock := _CLOCK.fullmatch(given):
        days, hours, minutes, seconds, part = clock.groups()
        whole = int(days or 0) * 86_400 + int(hours) * 3_600 + int(minutes) * 60 + int(seconds)
        return sign * (whole * 1_000_000 + _exact(part or "0", 1_000_000))
    if re.fullmatch(r"\d+:\d+", given, re.ASCII):
        raise ValueError("minutes or hours? write 12h30m, or 12:30:00")
    total, end = 0, 0
    for found in _PART.finditer(given):
        if found.start() != end and given[end : found.start()].strip():
            break
        unit = {"min": "m", "sec": "s"}.get(found[2], found[2])
        total, end = total + _exact(found[1], _MICROSECONDS[unit]), found.end()
    if end == 0 or given[end:].strip():
        if re.fullmatch(r"\d+(?:\.\d+)?", given, re.ASCII):
            raise ValueError("it has no unit; write 90s, 15m or 2h")
        raise ValueError("write 90s, 2h30m or 04:00:00")
    return sign * total


def duration_text(seconds: float, microseconds: int = 0) -> str:
    """Return a duration as a text that `parse_duration` reads: `1d2h30m5.5s`.

    Args:
        seconds: Whole seconds, for an exact one; or any number of them.
        microseconds: What comes on top.
    """
    if seconds != int(seconds):
        return f"{seconds!r}s" if "e" not in repr(seconds) else f"{seconds:.6f}s"
    rest, sign = int(seconds) * 1_000_000 + microseconds, ""
    if rest < 0:
        rest, sign = -rest, "-"
    parts = []
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60)):
        count, rest = divmod(rest, length * 1_000_000)
        if count:
            parts.append(f"{count}{unit}")
    whole, part = divmod(rest, 1_000_000)
    if part:
        parts.append(f"{whole}.{part:06d}".rstrip("0") + "s")
    elif whole or not parts:
        parts.append(f"{whole}s")
    return sign + "".join(parts)


def parse_size(text: str) -> int:
    """Return the bytes that a text means: `16GiB` is 16·2³⁰, `16GB` is 16·10⁹.

    Raises:
        ValueError: It is not one; the text says what is wrong.
    """
    given = text.strip()
    found = _SIZE.fullmatch(given)
    if found is None:
        if re.fullmatch(r"\d+(?:\.\d+)?\s*[kKmMgGtTpP]", given, re.ASCII):
            raise ValueError("of 1000 or 1024? write GB or GiB")
        raise ValueError("write 16GiB or 500MB")
    unit = found[2]
    base = 1024 if "i" in unit else 1000
    factor: int = base ** ("BKMGTPE".index(unit[0].upper()))
    whole, _, part = found[1].partition(".")
    # In whole numbers: a float would lose bytes of large sizes.
    bytes_, rest = divmod(int(whole + part) * factor, int(10 ** len(part)))
    if rest:
        raise ValueError("it is no whole number of bytes")
    return bytes_


def size_text(size: int) -> str:
    """Return a size in the largest unit of 1024 that it is a whole number of."""
    for power, unit in ((4, "TiB"), (3, "GiB"), (2, "MiB"), (1, "KiB")):
        if size and size % 1024**power == 0:
            return f"{size // 1024**power}{unit}"
    return f"{size}B"


def format_size(count: int) -> str:
    """Return a number of bytes as people say it: `512 B`, `3.4 kB`, `1.2 GB`."""
    if count < 1000:
        return f"{count} B"
    size = float(count)
    for unit in ("kB", "MB", "GB"):
        size /= 1000
        if size < 999.5:
            return f"{size:.3g} {unit}"
    return f"{size / 1000:.3g} TB"
