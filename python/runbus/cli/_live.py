"""What a person at a terminal sees while jobs run: a plugin like any other, fed by the bus.

The event loop only notes what happens. Words and lines are made of it by the thread that draws
them, ten times a second at most, so that neither many jobs nor loud ones are slowed down.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

from runbus.api import InTurn, JobLines
from runbus.cli._live_row import Row
from runbus.cli._live_rows import picture_of
from runbus.cli._printer import colored, format_lines, printable, state_style, unmoving
from runbus.cli._progress import CHUNKS, alert_text, ended_text, requeued_text, retrying_text
from runbus.cli._sweep_best import BestSoFar
from runbus.events import (
    JobEnded,
    JobFact,
    JobRequeued,
    JobRetrying,
    LogLines,
    MachineAlert,
    MetricBatch,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from runbus.abc import JobSpec, Scope
    from runbus.bus import EventStream
    from runbus.cli._outlet import Outlet
    from runbus.jobs import JobRecord, SweepAsked

__all__ = ["LiveProgress"]

_LINES_A_FRAME = 2_000
_BYTES_A_FRAME = 2 << 20
"""Nobody reads more in a tenth of a second: of what is more, only the last lines are shown."""


class LiveProgress:
    """Totals and a table that are drawn in place; what jobs write scrolls above them.

    Args:
        jobs: The jobs.
        known: What is known of them already.
        outlet: What draws it.
        sweeps: The sweeps that jobs are points of: each is a row.
        folder: The folder of their experiment; empty if there is none.
    """

    name = "progress"

    def __init__(
        self,
        jobs: Iterable[JobSpec],
        known: Mapping[str, JobRecord],
        outlet: Outlet,
        sweeps: Sequence[SweepAsked] = (),
        folder: str = "",
    ) -> None:
        jobs = list(jobs)
        self._rows = {job.name: Row(job.name, known.get(job.name)) for job in jobs}
        self._names = {job.run_id: job.name for job in jobs}
        self._outlet = outlet
        self._sweeps = sweeps
        runs = {job.name: job.run_folder for job in jobs}
        self._best = {
            number: BestSoFar(folder, number, sweep, runs)
            for number, sweep in enumerate(sweeps)
            if sweep.goal
        }
        self._lines = JobLines()
        self._news = _News()
        self._turn: InTurn | None = None
        self._prefix = len(self._rows) > 1

    async def setup(self, scope: Scope) -> None:
        """Subscribe and show the picture; what a plugin does."""
        await scope.enter(self._outlet.showing(self))
        lines = scope.stream(LogLines, maxsize=CHUNKS, overflow="block")
        self._turn = InTurn(lines, self._news.add)
        scope.start(self._note_lines, self._turn)
        scope.on(JobFact, self._take_in)
        scope.on(MachineAlert, self._warn)
        # Only the latest batch of a process matters to the eye.
        batches = scope.stream(
            MetricBatch,
            maxsize=512,
            overflow="conflate",
            key=lambda batch: (batch.run_id, batch.writer),
        )
        scope.start(self._follow_metrics, batches)

    async def _note_lines(self, turn: InTurn) -> None:
        async for event in turn.events():
            self._news.add(event.job, self._lines.take(event))
            self._rows[event.job].bar = self._lines.state(event.job)

    async def _follow_metrics(self, batches: EventStream[MetricBatch]) -> None:
        async for batch in batches:
            if isinstance(batch, MetricBatch) and (name := self._names.get(batch.run_id)):
                self._rows[name].measure(batch)
                for one in self._best.values():
                    one.measure(name, batch)

    def _warn(self, event: MachineAlert) -> None:
        say = self._news.add if self._turn is None else self._turn.tell
        say(event.job, colored(alert_text(event), "yellow"))

    def _take_in(self, event: JobFact) -> None:
        self._rows[event.job].take_in(event)
        match event:
            case JobEnded() if event.state != "SUCCEEDED":
                text = colored(ended_text(event), state_style(event.state))
            case JobRetrying():
                text = retrying_text(event)
            case JobRequeued():
                text = requeued_text(event)
            case _:
                return
        say = self._news.add if self._turn is None else self._turn.tell
        say(event.job, text)

    def news(self) -> str:
        """Return what jobs have written, and how they failed, since the last call."""
        lines, left_out = self._news.take()
        said = []
        if left_out:
            said.append(f"… {left_out:,} lines were left out; runbus logs shows them\n")
        for job, written in lines:
            label = f"{printable(job)} | " if self._prefix else ""
            if isinstance(written, str):
                said.append(f"{label}{written}\n")
            else:
                said.append(unmoving(format_lines(written, label)))
        return "".join(said)

    def lines(self, columns: int, rows: int) -> list[str]:
        """Return the totals and the table of the jobs."""
        jobs = list(self._rows.values())
        best = {number: one.text(jobs) for number, one in self._best.items()}
        return picture_of(jobs, columns, rows, self._sweeps, best)


class _News:
    """The newest lines, in pieces of one job each, on their way to the thread that shows them."""

    def __init__(self) -> None:
        self._pieces: deque[tuple[str, list[bytes] | str]] = deque()
        self._lines = self._bytes = self._left_out = 0
        self._lock = threading.Lock()

    def add(self, job: str, written: list[bytes] | str) -> None:
        if not written:
            return
        with self._lock:
            self._pieces.append((job, written))
            self._lines += _count(written)
            self._bytes += sum(map(len, written))
            while self._is_enough_without(oldest := self._pieces[0][1]):
                self._pieces.popleft()
                self._lines -= _count(oldest)
                self._bytes -= sum(map(len, oldest))
                self._left_out += _count(oldest)

    def _is_enough_without(self, oldest: list[bytes] | str) -> bool:
        if len(self._pieces) == 1:
            return False
        return self._lines - _count(oldest) >= _LINES_A_FRAME or self._bytes > _BYTES_A_FRAME

    def take(self) -> tuple[list[tuple[str, list[bytes] | str]], int]:
        """Return the pieces, and how many lines there were before them."""
        with self._lock:
            pieces, left_out = list(self._pieces), self._left_out
            over = self._lines - _LINES_A_FRAME
            self._pieces.clear()
            self._lines = self._bytes = self._left_out = 0
        if over > 0 and isinstance(oldest := pieces[0][1], list):
            pieces[0] = pieces[0][0], oldest[over:]
            left_out += over
        return pieces, left_out


def _count(written: list[bytes] | str) -> int:
    return 1 if isinstance(written, str) else len(written)
