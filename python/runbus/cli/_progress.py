"""What is told while jobs run, line by line: a plugin like any other, fed by the bus."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import anyio.lowlevel

from runbus.cli._job_lines import JobLines
from runbus.cli._outlet import Outlet
from runbus.cli._printer import format_duration, format_lines, printable, unescaped
from runbus.events import JobEnded, JobObserved, JobRequeued, JobRetrying, JobStarted, LogLines

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from runbus.abc import JobSpec, Scope
    from runbus.bus import EventStream
    from runbus.jobs import JobRecord

__all__ = ["CHUNKS", "PlainProgress", "ended_text", "requeued_text", "retrying_text"]

CHUNKS = 16
"""How many pieces of output may wait to be shown; one has up to 1 MiB."""

_LINES = 500
"""How many lines are shown before the event loop has its turn."""

_ENDS = {"TIMEOUT": "timed out", "PREEMPTED": "was preempted", "LOST": "was lost"}


def ended_text(event: JobEnded) -> str:
    """Return how a job ended."""
    after = f" after {format_duration(event.duration_s)}" if event.duration_s else ""
    why = f": {printable(event.reason)}" if event.reason else ""
    return f"{event.state}{after}{why}"


def retrying_text(event: JobRetrying) -> str:
    """Return how an attempt ended, and when the next one begins."""
    why = f": {printable(event.reason)}" if event.reason else ""
    delay = f"{event.delay_s:.2g} s" if event.delay_s < 10 else format_duration(event.delay_s)
    again = f"again in {delay}" if event.delay_s else "again now"
    return f"attempt {event.attempt} {_ENDS.get(event.state, 'failed')}{why}; {again}"


def requeued_text(event: JobRequeued) -> str:
    """Return why a job's backend has queued it again."""
    return f"queued again: {printable(event.reason)}"


class PlainProgress:
    """A line for each start and end, and each line that a job writes, on standard error.

    Args:
        jobs: The jobs.
        known: What is known of them already.
    """

    name = "progress"

    def __init__(self, jobs: Iterable[JobSpec], known: Mapping[str, JobRecord]) -> None:
        del known  # what happened before is for status to tell
        names = [printable(job.name) for job in jobs]
        self._prefix = len(names) > 1
        self._width = max(map(len, names))
        self._lines = JobLines()

    async def setup(self, scope: Scope) -> None:
        """Subscribe; what a plugin does."""
        scope.on(JobStarted, self._started)
        scope.on(JobObserved, self._observed)
        scope.on(JobRequeued, self._requeued)
        scope.on(JobRetrying, self._retrying)
        scope.on(JobEnded, self._ended)
        lines = scope.stream(LogLines, maxsize=CHUNKS, overflow="block")
        scope.start(self._show_lines, lines)

    async def _show_lines(self, stream: EventStream[LogLines]) -> None:
        out = unescaped(sys.stderr)
        async for event in stream:
            if not isinstance(event, LogLines):
                continue
            lines = self._lines.take(event)
            for first in range(0, len(lines), _LINES):
                if isinstance(out, Outlet) and out.is_full:
                    out.leave_out(len(lines) - first)
                    break
                some = lines[first : first + _LINES]
                unescaped(sys.stderr).write(format_lines(some, self._label(event.job)))
                await anyio.lowlevel.checkpoint()

    def _started(self, event: JobStarted) -> None:
        self._say(event.job, printable(f"started on {event.host}, pid {event.pid}"))

    def _observed(self, event: JobObserved) -> None:
        words = f" ({printable(event.native_state)})" if event.native_state else ""
        self._say(event.job, f"{event.phase}{words}")

    def _requeued(self, event: JobRequeued) -> None:
        self._say(event.job, requeued_text(event))

    def _retrying(self, event: JobRetrying) -> None:
        self._say(event.job, retrying_text(event))

    def _ended(self, event: JobEnded) -> None:
        self._say(event.job, ended_text(event))

    def _say(self, job: str, text: str) -> None:
        unescaped(sys.stderr).write(f"{self._label(job)}{text}\n")

    def _label(self, job: str) -> str:
        return f"{printable(job):<{self._width}} | " if self._prefix else ""
