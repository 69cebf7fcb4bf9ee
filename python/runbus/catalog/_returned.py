"""What the function of a job returned or raised, as its latest attempt has recorded it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from runbus.errors import RecordNotFound, ResultNotKept

if TYPE_CHECKING:
    from runbus.metrics import StoredRun

__all__ = ["error_of", "result_of"]


def result_of(run: StoredRun, attempt: int | None) -> Any:
    """Return what the function returned; None if nothing, or if it is no run of a function.

    Args:
        run: The run.
        attempt: The latest attempt of its job; None if it has no job.

    Raises:
        ResultNotKept: It returned what JSON cannot hold.
        FileUnreadable: It is not what was logged.
    """
    told = _told(run, attempt, "result")
    if isinstance(reason := told.get("not_kept"), str):
        raise ResultNotKept(run.id, reason)
    return told.get("value")


def error_of(run: StoredRun, attempt: int | None) -> dict[str, str] | None:
    """Return what the function raised: `type`, `text` and `traceback`; None if nothing.

    Args:
        run: The run.
        attempt: The latest attempt of its job; None if it has no job.

    Raises:
        FileUnreadable: It is not what was logged.
    """
    told = _told(run, attempt, "error")
    found = {name: told.get(name) for name in ("type", "text", "traceback")}
    texts = {name: value for name, value in found.items() if isinstance(value, str)}
    return texts if len(texts) == len(found) else None


def _told(run: StoredRun, attempt: int | None, name: str) -> dict[str, Any]:
    """Return what the latest attempt has recorded; a script may log other texts of that name."""
    by = "" if attempt is None else str(attempt)
    try:
        texts = run.text(name)
    except RecordNotFound:
        return {}
    for text in reversed(texts):
        try:
            told = json.loads(text.text)
        except (ValueError, RecursionError):
            continue
        if isinstance(told, dict) and told.get("attempt") == by:
            return told
    return {}
