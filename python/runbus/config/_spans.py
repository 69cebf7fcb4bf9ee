"""Spans of time and sizes in a batch file: numbers, or texts such as `90s`, `2h30m`, `16GiB`."""

from __future__ import annotations

from typing import Any

from runbus.config._units import parse_duration, parse_size

__all__ = [
    "DURATIONS",
    "SIZES",
    "no_duration",
    "no_size",
    "seconds_of",
    "with_numbers",
    "with_text",
]

DURATIONS = ("timeout", "queue_timeout", "idle_timeout", "backoff")
"""The keys of jobs and executors that hold one."""


SIZES = ("artifact_size",)
"""The keys of jobs that hold one."""


def with_numbers(job: dict[Any, Any]) -> dict[Any, Any]:
    """Return what a file says of a job with numbers in the place of texts such as `5m` or `16GiB`.

    What is no span of time, or no size, stays as it is.
    """
    spans = [key for key in DURATIONS if isinstance(job.get(key), str)]
    sizes = [key for key in SIZES if isinstance(job.get(key), str)]
    if not spans and not sizes:
        return job
    found = {key: seconds_of(job[key], is_whole=key != "backoff") for key in spans}
    return {**job, **found, **{key: _bytes_of(job[key]) for key in sizes}}


def _bytes_of(text: str) -> int | str:
    try:
        return parse_size(text)
    except ValueError:
        return text


def seconds_of(text: str, *, is_whole: bool = True) -> int | float | str:
    """Return the seconds that a text means, whole ones as an integer; the text if it means none.

    Args:
        text: The text.
        is_whole: Whether only whole seconds will do.
    """
    try:
        seconds = parse_duration(text)
    except ValueError:
        return text
    if seconds.is_integer():
        return int(seconds)
    return text if is_whole else seconds


def no_duration(text: str) -> str:
    """Return what is wrong with a text that `seconds_of` has left as it is."""
    try:
        parse_duration(text)
    except ValueError as error:
        return f"{text!r} is not a duration: {error}"
    return f"{text!r} is no whole number of seconds: write 1s, 90s or 5m"


def no_size(text: str) -> str:
    """Return what is wrong with a text that is no size."""
    try:
        parse_size(text)
    except ValueError as error:
        return f"{text!r} is not a size: {error}"
    return ""


def with_text(number: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON Schema of what may be a text instead, from that of its number."""
    text = {"type": "string"}
    said = ("description", "default")
    kept: dict[str, Any] = {key: number[key] for key in said if key in number}
    rest = {key: value for key, value in number.items() if key not in kept}
    if "anyOf" in rest:
        return {"anyOf": [*rest["anyOf"], text], **kept}
    return {"anyOf": [rest, text], **kept}
