"""What the function of a job returned or raised, as its latest attempt has recorded it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from runbus.errors import RecordNotFound, ResultNotKept

if TYPE_CHECKING:
    from runbus.catalog._runs import RunRecord

__all__ = ["error_of", "result_of"]


def result_of(run: RunRecord) -> Any:
    """Return what the function returned; None if nothing, or if it is no run of a function.

    Raises:
        ResultNotKept: It returned what JSON cannot hold.
        FileUnreadable: It is not what was logged.
    """
    told = _told(run, "result")
    if isinstance(reason := told.get("not_kept"), str):
        raise ResultNotKept(run.id, reason)
    return told.get("value")


def error_of(run: RunRecord) -> dict[str, str] | None:
    """Return what the function raised: `type`, `text` and `traceback`; None if nothing.

    Raises:
        FileUnreadable: It is not what was logged.
    """
    told = _told(run, "error")
    found = {name: told.get(name) for name in ("type", "text", "traceback")}
    texts = {name: value for name, value in found.items() if isinstance(value, str)}
    return texts if len(texts) == len(found) else None


def _told(run: RunRecord, name: str) -> dict[str, Any]:
    """Return what the latest attempt has recorded; a script may log other texts of that name."""
    try:
        texts = run.text(name)
    except RecordNotFound:
        return {}
    for text in reversed(texts):
        try:
            told = json.loads(text.text)
        except (ValueError, RecursionError):
            continue
        if isinstance(told, dict) and told.get("attempt") == _attempt(run):
            return told
    return {}


def _attempt(run: RunRecord) -> str:
    return str(run.job.attempt) if run.job else ""
