"""What is reported while jobs run, line by line: a plugin like any other, fed by the bus."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import anyio.lowlevel

from runbus._clock import format_duration
from runbus.api import InTurn, JobLines
from runbus.cli._outlet import Outlet
from runbus.cli._printer import format_lines, printable, unescaped
from runbus.config import format_size
from runbus.events import (
    DiskNearlyFull,
    GpuLost,
    JobEnded,
    JobFact,
    JobObserved,
    JobRequeued,
    JobRetrying,
    JobStarted,
    LogLines,
    MachineAlert,
    MemoryNearlyFull,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from runbus.abc import JobSpec, Scope
    from runbus.jobs import JobRecord

__all__ = ["CHUNKS", "PlainProgress", "alert_text", "ended_text", "requeued_text", "retrying_text"]

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
    again = f"again in {format_duration(event.delay_s)}" if event.delay_s else "again now"
    return f"attempt {event.attempt} {_ENDS.get(event.state, 'failed')}{why}; {again}"


def requeued_text(event: JobRequeued) -> str:
    """Return why a job's backend has queued it again."""
    return f"queued again: {printable(event.reason)}"


def alert_text(event: MachineAlert) -> str:
    """Return what is wrong with the machine of a job."""
    match event:
        case GpuLost():
            what = f"{event.gpu} is lost"
        case MemoryNearlyFull():
            of = "the memory that its control group may have" if event.is_limit else "memory"
            left, total = format_size(int(event.left)), format_size(int(event.total))
            what = f"{left} of {total} of {of} are left"
        case DiskNearlyFull():
            what = f"the disk of its run has {format_size(int(event.free))} left"
        case _:
            what = type(event).__name__
    return f"{f'{event.node}: ' if event.node else ''}{printable(what)}"


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
        turn = InTurn(scope.stream(LogLines, maxsize=CHUNKS, overflow="block"), self._say)
        scope.start(self._show_lines, turn)
        scope.on(JobFact, lambda event: self._take_in(event, turn))
        scope.on(MachineAlert, lambda event: turn.tell(event.job, alert_text(event)))

    async def _show_lines(self, turn: InTurn) -> None:
        out = unescaped(sys.stderr)
        async for event in turn.events():
            lines = self._lines.take(event)
            for first in range(0, len(lines), _LINES):
                if isinstance(out, Outlet) and out.is_full:
                    out.leave_out(len(lines) - first)
                    break
                some = lines[first : first + _LINES]
                unescaped(sys.stderr).write(format_lines(some, self._label(event.job)))
                await anyio.lowlevel.checkpoint()

    def _take_in(self, event: JobFact, turn: InTurn) -> None:
        match event:
            case JobStarted():
                text = printable(f"started on {event.host}, pid {event.pid}")
            case JobObserved():
                words = f" ({printable(event.native_state)})" if event.native_state else ""
                text = f"{event.phase}{words}"
            case JobRequeued():
                text = requeued_text(event)
            case JobRetrying():
                text = retrying_text(event)
            case JobEnded():
                text = ended_text(event)
            case _:
                return
        turn.tell(event.job, text)

    def _say(self, job: str, text: str) -> None:
        unescaped(sys.stderr).write(f"{self._label(job)}{text}\n")

    def _label(self, job: str) -> str:
        return f"{printable(job):<{self._width}} | " if self._prefix else ""
