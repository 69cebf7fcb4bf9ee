"""Spans of time in a batch file: numbers of seconds, or texts such as `90s`, `5m`, `2h30m`."""

from __future__ import annotations

from typing import Any

from runbus.config._units import parse_duration

__all__ = ["DURATIONS", "duration_schema", "no_duration", "with_seconds"]

DURATIONS = ("timeout", "queue_timeout", "idle_timeout", "backoff")
"""The keys of jobs and executors that hold one."""


def with_seconds(batch: Any) -> Any:
    """Return what a batch file says with seconds in the place of texts such as `5m`.

    What is no span of time stays as it is.
    """
    if not isinstance(batch, dict):
        return batch
    changed = dict(batch)
    if isinstance(jobs := batch.get("jobs"), list):
        changed["jobs"] = [_converted(job) for job in jobs]
    if "executor" in batch:
        changed["executor"] = _converted(batch["executor"])
    if isinstance(executors := batch.get("executors"), dict):
        changed["executors"] = {name: _converted(one) for name, one in executors.items()}
    return changed


def _converted(fields: Any) -> Any:
    if not isinstance(fields, dict):
        return fields
    return {
        key: _seconds(value) if key in DURATIONS and isinstance(value, str) else value
        for key, value in fields.items()
    }


def _seconds(text: str) -> int | float | str:
    try:
        seconds = parse_duration(text)
    except ValueError:
        return text
    return int(seconds) if seconds.is_integer() else seconds


def no_duration(text: str) -> str:
    """Return what is wrong with a text that `with_seconds` has left as it is."""
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
