"""The values of the secrets that this process has read.

Plugins and services know them, and may repeat them in an error, a log line or their health.
"""

from __future__ import annotations

from _thread import allocate_lock  # `threading` would be loaded with every run that logs
from typing import Any

__all__ = ["cause_of", "remember", "unrevealed", "unrevealed_data"]

_SHORTEST = 4
"""A shorter value is in too many words."""
_MOST = 1_000
_STARS = "***"

_lock = allocate_lock()
_values: dict[str, frozenset[str]] = {}
_forms: tuple[str, ...] = ()


def remember(value: str) -> str:
    """Have a value replaced from now on in what is told of plugins, and return it.

    So are its forms in a URL, in JSON and as Python shows it. The last 1,000 values count.
    """
    global _forms
    text = value.strip()
    if len(text) < _SHORTEST or text in _values:
        return value
    with _lock:
        _values[text] = _forms_of(text)
        for oldest in [*_values][:-_MOST]:
            del _values[oldest]
        # The longest first: one may be a part of another.
        _forms = tuple(sorted(frozenset().union(*_values.values()), key=len, reverse=True))
    return value


def _forms_of(text: str) -> frozenset[str]:
    from json import dumps
    from urllib.parse import quote, quote_plus

    shown = (repr(text)[1:-1], dumps(text)[1:-1], dumps(text, ensure_ascii=False)[1:-1])
    data = text.encode("utf-8", "surrogateescape")
    return frozenset((text, *shown, quote(data, safe=""), quote(data), quote_plus(data)))


def unrevealed(text: str) -> str:
    """Return a text with the values that were remembered replaced."""
    for form in _forms:
        text = text.replace(form, _STARS)
    return text


def unrevealed_data(value: Any) -> Any:
    """Return data with the values that were remembered replaced in it; other objects stay."""
    if not _forms or isinstance(value, bool):
        return value
    if isinstance(value, dict):
        return {unrevealed_data(key): unrevealed_data(one) for key, one in value.items()}
    if isinstance(value, list):
        return [unrevealed_data(one) for one in value]
    if not isinstance(value, str | int | float):
        return value
    text = str(value)
    return value if unrevealed(text) == text else unrevealed(text)


def cause_of(error: BaseException | None) -> BaseException | None:
    """Return an error as the cause of another one; None if its traceback would show a secret."""
    if not _forms:
        return error
    seen: list[BaseException] = []
    rest = [error]
    while rest:
        one = rest.pop()
        if one is None or one in seen:
            continue
        seen.append(one)
        told = "\n".join([_text(one), *map(str, getattr(one, "__notes__", ()))])
        if unrevealed(told) != told:
            return None
        rest += [one.__cause__, one.__context__]
        if isinstance(one, BaseExceptionGroup):
            rest += one.exceptions
    return error


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # of somebody else's class
        return ""
