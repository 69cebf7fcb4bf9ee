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
    return {**job, **{key: seconds_of(job[key]) for key in texts}} if texts else job


def seconds_of(text: str) -> int | float | str:
    """Return the seconds that a text means, whole ones as an integer; the text if it means none."""
    try:
        seconds = parse_duration(text)
    except ValueError:
        return text
    return int(seconds) if seconds.is_integer() else seconds


def no_duration(text: str) -> str:
    """Return what is wrong with a text that `seconds_of` has left as it is."""
    try:
        parse_duration(text)
    except ValueError as error:
        return f"{text!r} is not a duration: {error}"
    return f"{text!r} is not a duration that can stand here"


def duration_schema(number: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON Schema of a span of time, from that of its number of seconds."""
    text = {"type": "string"}
    said = ("description", "default")
    kept: dict[str, Any] = {key: number[key] for key in said if key in number}
    rest = {key: value for key, value in number.items() if key not in kept}
    if "anyOf" in rest:
        return {"anyOf": [*rest["anyOf"], text], **kept}
    return {"anyOf": [rest, text], **kept}
