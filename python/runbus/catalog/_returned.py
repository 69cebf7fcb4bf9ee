"""What a job returned, or its function raised, as its latest attempt has recorded it."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from runbus._files import read_file
from runbus._home import RESULT, RESULT_BYTES
from runbus.errors import FileUnreadable, RecordNotFound, ResultNotKept

if TYPE_CHECKING:
    from runbus.metrics import StoredRun

__all__ = ["error_of", "result_of"]


def result_of(run: StoredRun, attempt: int | None, folder: str | None = None) -> Any:
    """Return the result of a run; None if it has none.

    That is what the job's function has returned or the run has logged as its result, and otherwise
    what the job's program has written to the file `RUNBUS_RESULT`.

    Args:
        run: The run.
        attempt: The latest attempt of its job; None if it has no job.
        folder: The folder of that attempt.

    Raises:
        ResultNotKept: It returned what JSON cannot hold, or has written what is no JSON.
        FileUnreadable: It is not what was logged.
    """
    told = _told(run, attempt, "result")
    if isinstance(reason := told.get("not_kept"), str):
        raise ResultNotKept(run.id, reason)
    if told or folder is None:
        return told.get("value")
    return _written(run, folder)


def _written(run: StoredRun, folder: str) -> Any:
    """Return what the program of a job has written as its result: it may have written anything."""
    try:
        data = read_file(os.path.join(folder, RESULT), limit=RESULT_BYTES)
        return json.loads(data.decode())
    except FileNotFoundError:
        return None
    except FileUnreadable as error:
        raise ResultNotKept(run.id, f"{RESULT}: {error.reason}") from error
    except (ValueError, RecursionError) as error:
        raise ResultNotKept(run.id, f"{RESULT} is no JSON: {error}") from error


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
