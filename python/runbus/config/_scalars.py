"""Types without parts: how a value of each is read from data and from words.

Modules of types that cost time to import are not imported here: where nobody has, no value is of
them, and nobody wants one.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from runbus.config._node import Word
from runbus.config._units import parse_duration, parse_microseconds, parse_size

if TYPE_CHECKING:
    import datetime
    import decimal
    import pathlib
    from collections.abc import Callable, Mapping
    from uuid import UUID

__all__ = ["READERS", "UNITS", "guess", "is_a", "is_written", "know_loaded_types", "meant"]

_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")
_LONGEST_NUMBER = 400
_BASES = {"0o": 8, "0x": 16, "0b": 2}

UNITS: Mapping[str, Callable[[str], float | int]] = {
    "duration": parse_duration,
    "size": parse_size,
}
"""What reads a text with units."""


def _read_str(value: Any) -> str:
    if isinstance(value, Word):
        text = str(value)
        if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
            return text[1:-1]
        return text
    if isinstance(value, str):
        return str(value)
    if isinstance(value, bool):
        raise ValueError("YAML takes yes, no, on and off for true and false; quote it")
    if isinstance(value, (int, float)) or is_a(value, "datetime", "date"):
        raise ValueError("quote it to make it a text")
    raise TypeError


def _read_int(value: Any) -> int:
    if isinstance(value, Word):
        text = value.strip()
        if len(text) > _LONGEST_NUMBER:
            raise ValueError("it is too long for a number")
        if (base := _BASES.get(text.lstrip("+-")[:2].lower())) is not None:
            return int(_number(lambda one: int(one, base), text))
        number: int = _number(int, text)
        return number
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value)
    raise TypeError


def _number(kind: Callable[[str], Any], text: str) -> Any:
    try:
        return kind(text)
    except ValueError:
        raise TypeError from None  # what Python says of it helps nobody


def _read_float(value: Any) -> float:
    if isinstance(value, Word):
        if len(value) > _LONGEST_NUMBER:
            raise ValueError("it is too long for a number")
        found: float = _number(float, value)
        return found
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    raise TypeError


def _read_bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, Word):
        word = value.strip().lower()
        if word in _TRUE or word in _FALSE:
            return word in _TRUE
    raise TypeError


def _read_none(value: Any) -> None:
    if value is None or (isinstance(value, Word) and value.lower() in ("none", "null")):
        return
    raise TypeError


def _read_bytes(value: Any) -> bytes:
    if isinstance(value, (bytes, bytearray)):
        return bytes(value)
    if isinstance(value, str):
        import base64

        try:
            return base64.b64decode(value, validate=True)
        except ValueError:
            raise ValueError("bytes are written in base64") from None
    raise TypeError


def _read_complex(value: Any) -> complex:
    if isinstance(value, (int, float, complex)) and not isinstance(value, bool):
        return complex(value)
    if isinstance(value, str) and len(value) <= _LONGEST_NUMBER:
        found: complex = _number(complex, value.replace(" ", ""))
        return found
    raise TypeError


def _read_path(value: Any) -> pathlib.Path:
    import pathlib

    if isinstance(value, str):
        text = _read_str(value)
        if "\0" in text:
            raise ValueError("no path may hold a NUL")
        return pathlib.Path(text)
    if isinstance(value, pathlib.PurePath):
        return pathlib.Path(value)
    raise TypeError


def _read_datetime(value: Any) -> datetime.datetime:
    import datetime

    if isinstance(value, datetime.datetime):
        return value
    if isinstance(value, datetime.date):
        return datetime.datetime(value.year, value.month, value.day)
    if isinstance(value, str):
        return datetime.datetime.fromisoformat(value)
    raise TypeError


def _read_date(value: Any) -> datetime.date:
    import datetime

    if isinstance(value, datetime.date) and not isinstance(value, datetime.datetime):
        return value
    if isinstance(value, str):
        return datetime.date.fromisoformat(value)
    raise TypeError


def _read_time(value: Any) -> datetime.time:
    import datetime

    if isinstance(value, datetime.time):
        return value
    if isinstance(value, str):
        return datetime.time.fromisoformat(value)
    raise TypeError


def _read_timedelta(value: Any) -> datetime.timedelta:
    import datetime

    if isinstance(value, datetime.timedelta):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return datetime.timedelta(seconds=value)
    if isinstance(value, str):
        return datetime.timedelta(microseconds=parse_microseconds(value))
    raise TypeError


def _read_decimal(value: Any) -> decimal.Decimal:
    import decimal

    if isinstance(value, decimal.Decimal):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return decimal.Decimal(value)
    if isinstance(value, float):
        return decimal.Decimal(repr(value))
    if isinstance(value, str) and len(value) <= _LONGEST_NUMBER:
        return decimal.Decimal(value)
    raise TypeError


def _read_uuid(value: Any) -> UUID:
    import uuid

    if isinstance(value, uuid.UUID):
        return value
    if isinstance(value, str):
        return uuid.UUID(value)
    raise TypeError


READERS: dict[type, Callable[[Any], Any]] = {
    str: _read_str,
    int: _read_int,
    float: _read_float,
    bool: _read_bool,
    type(None): _read_none,
    bytes: _read_bytes,
    complex: _read_complex,
}
"""What reads a value of each type; TypeError if it is not one, ValueError if more can be said."""


_LATER: dict[str, Mapping[str, Callable[[Any], Any]]] = {
    "datetime": {
        "datetime": _read_datetime,
        "date": _read_date,
        "time": _read_time,
        "timedelta": _read_timedelta,
    },
    "decimal": {"Decimal": _read_decimal},
    "pathlib": {"Path": _read_path, "PurePath": _read_path},
    "uuid": {"UUID": _read_uuid},
}
"""The readers of types by the modules that they are in."""


def know_loaded_types() -> None:
    """Add the types of modules that are loaded by now."""
    for name, readers in tuple(_LATER.items()):
        module = sys.modules.get(name)
        found = {getattr(module, kind, None): read for kind, read in readers.items()}
        if None not in found:  # another thread may be about to import it
            READERS.update(found)  # type: ignore[arg-type]
            _LATER.pop(name, None)


def is_a(value: Any, module: str, name: str) -> bool:
    """Whether a value is of a class, whose module may not be loaded."""
    kind = getattr(sys.modules.get(module), name, None)
    return kind is not None and isinstance(value, kind)


def is_written(word: str, value: Any) -> bool:
    """Whether a word of a command line writes a plain value down."""
    if value is None:
        return word.lower() in ("none", "null")
    reader = READERS.get(type(value))
    if reader is None:
        return False
    try:
        return bool(reader(Word(word)) == value)
    except (TypeError, ValueError, OverflowError):
        return False


def guess(word: str) -> Any:
    """Return what a word means where no type says so: None, a bool, a number, a list, else itself.

    Nothing is evaluated: lists and mappings are read as `runbus.config._words` has them.
    """
    from runbus.config._words import read_words

    for kind in (type(None), int, float):
        try:
            return READERS[kind](Word(word))
        except (TypeError, ValueError, OverflowError):
            continue
    if word.lower() in ("true", "false"):
        return word.lower() == "true"
    if word[:1] in ("[", "{", "(") and type(found := read_words(Word(word))) is not Word:
        return meant(found)
    return _read_str(Word(word))


def meant(value: Any) -> Any:
    """Return the same with what the words in it mean, as `guess` reads each."""
    from runbus.config._words import Call

    if isinstance(value, Word):
        return guess(value)
    if isinstance(value, (list, tuple)):
        return type(value)(map(meant, value))
    if isinstance(value, dict):
        return {key: meant(one) for key, one in value.items()}
    return repr(value) if isinstance(value, Call) else value  # a call of what nobody knows
