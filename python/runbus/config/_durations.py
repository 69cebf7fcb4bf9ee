"""Spans of time in a batch file: numbers of seconds, or texts such as `90s`, `5m`, `2h30m`."""

from __future__ import annotations

from typing import Any

from runbus.config._units import parse_duration

__all__ = ["DURATIONS", "duration_schema", "no_duration", "seconds_of", "with_seconds"]

DURATIONS = ("timeout", "queue_timeout", "idle_timeout", "backoff")
"""The keys of jobs and executors that hold one."""


def with_seconds(job: dict[Any, Any]) -> dict[Any, Any]:
    """Return what a file says of a job with seconds in the place of texts such as `5m`.

    What is no span of time stays as it is.
    """
    texts = [key for key in DURATIONS if isinstance(job.get(key), str)]
    seconds = {key: seconds_of(job[key], is_whole=key != "backoff") for key in texts}
    return {**job, **seconds} if texts else job


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


def duration_schema(number: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON Schema of a span of time, from that of its number of seconds."""
    text = {"type": "string"}
    said = ("description", "default")
    kept: dict[str, Any] = {key: number[key] for key in said if key in number}
    rest = {key: value for key, value in number.items() if key not in kept}
    if "anyOf" in rest:
        return {"anyOf": [*rest["anyOf"], text], **kept}
    return {"anyOf": [rest, text], **kept}
