"""The result of a run: a value that JSON can hold, marked with the attempt that it comes from."""

from __future__ import annotations

import json
import os
from typing import Any

from runbus._home import ENV_ATTEMPT

__all__ = ["NAME", "not_kept_text", "result_text", "told_text"]

NAME = "result"
"""What the text is called that holds it."""


def result_text(value: Any) -> str:
    """Return the text that records a result.

    Raises:
        TypeError: JSON cannot hold it.
    """
    try:
        return told_text({"value": value})
    except (TypeError, ValueError, RecursionError) as error:
        raise TypeError(f"JSON cannot hold it: {error}") from error


def not_kept_text(reason: str) -> str:
    """Return the text that records why a result is not kept."""
    return told_text({"not_kept": reason})


def told_text(told: dict[str, Any]) -> str:
    """Return what this attempt tells, as a text; outside of a job it is of no attempt."""
    attempt = os.path.basename(os.environ.get(ENV_ATTEMPT, ""))
    return json.dumps({**told, "attempt": attempt}, default=_plain)


def _plain(value: Any) -> Any:
    """Return a scalar of numpy or torch as a number: JSON knows no others.

    Raises:
        TypeError: It is something else.
    """
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        return value.item()
    raise TypeError(f"{type(value).__qualname__} is neither text, number, list nor mapping")
