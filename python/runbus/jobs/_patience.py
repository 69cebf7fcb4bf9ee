"""The time-outs of an attempt that are kept here: how long it may wait, and how long be silent."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runbus.abc import Observation, Timeouts
    from runbus.attempt import Written

__all__ = ["Patience", "late_start"]


class Patience:
    """Says when an attempt has waited for its start, or written nothing, for too long.

    A time in which the job was not seen proves nothing, and does not count as silence.

    Args:
        timeouts: How long it may wait and be silent.
        waiting_since: When it was sent off, by the clock of `take_in`'s `now`, in seconds.
    """

    __slots__ = ("_idle_s", "_queue_s", "_silent_since", "_waiting_since", "_written")

    def __init__(self, timeouts: Timeouts, waiting_since: float) -> None:
        self._queue_s = timeouts.queue_s
        self._idle_s = timeouts.idle_s
        self._waiting_since = waiting_since
        self._silent_since: float | None = None
        self._written: Written | None = None

    def take_in(self, seen: Observation | None, written: Written, now: float) -> str | None:
        """Take note of a look and return, in words, which time-out is over; None if none is.

        Args:
            seen: What was seen of the job just now; None if nothing was.
            written: What `log_state` says of its logs.
            now: Seconds by a clock that is never set.
        """
        if seen is None or seen.phase == "suspended":
            # Nobody saw it, or it could not write.
            self._silent_since = None
        elif seen.phase in ("queued", "provisioning"):
            if self._queue_s is not None and now - self._waiting_since >= self._queue_s:
                return late_start(self._queue_s)
        elif seen.phase == "running" and self._idle_s is not None:
            if self._silent_since is None or written != self._written:
                self._written, self._silent_since = written, now
            elif now - self._silent_since >= self._idle_s:
                return f"it wrote nothing for {self._idle_s} s, its idle timeout"
        return None


def late_start(limit_s: int) -> str:
    """Return in words that a job has waited too long."""
    return f"it had not started after {limit_s} s, its queue timeout"
