"""The time-outs of an attempt that are kept here: how long it may wait, and how long be silent."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runbus.abc import JobSpec, Observation

__all__ = ["Patience"]

_Size = tuple[int, int]


class Patience:
    """Says when an attempt has waited for its start, or written nothing, for too long.

    A time in which the job was not seen proves nothing, and does not count as silence.

    Args:
        job: The job.
        waiting_since: When it was sent off, by the clock of `exceeded`'s `now`, in seconds.
    """

    __slots__ = ("_idle_s", "_logs", "_queue_s", "_silent_since", "_sizes", "_waiting_since")

    def __init__(self, job: JobSpec, waiting_since: float) -> None:
        self._queue_s = job.queue_timeout_s
        self._idle_s = job.idle_timeout_s
        self._logs = tuple(os.path.join(job.folder, f"{name}.log") for name in ("stdout", "stderr"))
        self._waiting_since = waiting_since
        self._silent_since: float | None = None
        self._sizes: list[_Size] = []

    def exceeded(self, seen: Observation | None, now: float) -> str | None:
        """Return, in words, which time-out is over; None if none is.

        Args:
            seen: What was seen of the job just now; None if nothing was.
            now: Seconds by a clock that is never set.
        """
        if seen is None:
            self._silent_since = None
        elif seen.phase == "queued":
            if self._queue_s is not None and now - self._waiting_since >= self._queue_s:
                return late_start(self._queue_s)
        elif seen.phase == "running" and self._idle_s is not None:
            sizes = [_size(path) for path in self._logs]
            if self._silent_since is None or sizes != self._sizes:
                self._sizes, self._silent_since = sizes, now
            elif now - self._silent_since >= self._idle_s:
                return f"it wrote nothing for {self._idle_s} s, its idle timeout"
        return None


def late_start(limit_s: int) -> str:
    """Return in words that a job has waited too long."""
    return f"it had not started after {limit_s} s, its queue timeout"


def _size(path: str) -> _Size:
    """Return what changes when a log is written to, also by one that was emptied first."""
    try:
        found = os.stat(path)
    except OSError:
        return 0, 0
    return found.st_size, found.st_mtime_ns
