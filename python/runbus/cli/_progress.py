"""What a person sees while jobs run: a plugin like any other, fed by the bus."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import anyio.lowlevel

from runbus.cli._outlet import Outlet
from runbus.cli._printer import (
    console,
    format_bytes_of_text,
    format_duration,
    format_number,
    printable,
    unescaped,
)
from runbus.events import JobEnded, JobObserved, JobRequeued, JobStarted, LogLines, MetricBatch

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from rich.table import Table

    from runbus.abc import JobSpec, Scope
    from runbus.bus import EventStream
    from runbus.jobs import JobRecord

__all__ = ["SHOWN_METRICS", "LiveProgress", "PlainProgress"]

SHOWN_METRICS = 3
"""Of how many metrics a table shows the last value: of those that were logged first."""

_REFRESHES_PER_S = 8

_CHUNKS = 16
"""How many pieces of output may wait to be shown; one has up to 1 MiB."""

_LINES = 500
"""How many lines are shown before the event loop has its turn."""


def _lines_of(event: LogLines) -> Iterator[list[bytes]]:
    """Yield what a job wrote, some lines at a time; nothing if nobody reads it."""
    out = unescaped(sys.stderr)
    lines = event.data.splitlines()
    for first in range(0, len(lines), _LINES):
        if isinstance(out, Outlet) and out.is_full:
            out.leave_out(len(lines) - first)
            return
        yield lines[first : first + _LINES]


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

    async def setup(self, scope: Scope) -> None:
        """Subscribe; what a plugin does."""
        scope.on(JobStarted, self._started)
        scope.on(JobObserved, self._observed)
        scope.on(JobRequeued, self._requeued)
        scope.on(JobEnded, self._ended)
        lines = scope.stream(LogLines, maxsize=_CHUNKS, overflow="block")
        scope.start(self._show_lines, lines)

    async def _show_lines(self, stream: EventStream[LogLines]) -> None:
        async for event in stream:
            if not isinstance(event, LogLines):
                continue
            for lines in _lines_of(event):
                self._say(event.job, *map(format_bytes_of_text, lines))
                await anyio.lowlevel.checkpoint()

    def _started(self, event: JobStarted) -> None:
        self._say(event.job, printable(f"started on {event.host}, pid {event.pid}"))

    def _observed(self, event: JobObserved) -> None:
        words = f" ({printable(event.native_state)})" if event.native_state else ""
        self._say(event.job, f"{event.phase}{words}")

    def _requeued(self, event: JobRequeued) -> None:
        self._say(event.job, f"queued again: {printable(event.reason)}")

    def _ended(self, event: JobEnded) -> None:
        after = f" after {format_duration(event.duration_s)}" if event.duration_s else ""
        why = f": {printable(event.reason)}" if event.reason else ""
        self._say(event.job, f"{event.state}{after}{why}")

    def _say(self, job: str, *texts: str) -> None:
        label = f"{printable(job):<{self._width}} | " if self._prefix else ""
        unescaped(sys.stderr).write("".join(f"{label}{text}\n" for text in texts))


class LiveProgress:
    """A table that is redrawn in place, on standard error; what jobs write scrolls above it.

    Args:
        jobs: The jobs.
        known: What is known of them already.
    """

    name = "progress"

    def __init__(self, jobs: Iterable[JobSpec], known: Mapping[str, JobRecord]) -> None:
        self._rows = {job.name: _Row(job.run_id, known.get(job.name)) for job in jobs}
        self._names = {row.run_id: name for name, row in self._rows.items()}
        self._console = console(stderr=True)

    async def setup(self, scope: Scope) -> None:
        """Subscribe and show the table; what a plugin does."""
        from rich.live import Live

        live = Live(
            get_renderable=self._table,
            console=self._console,
            refresh_per_second=_REFRESHES_PER_S,
            transient=True,
        )
        await scope.enter(live)
        scope.on(JobStarted, self._started)
        scope.on(JobObserved, self._observed)
        scope.on(JobRequeued, self._requeued)
        scope.on(JobEnded, self._ended)
        lines = scope.stream(LogLines, maxsize=_CHUNKS, overflow="block")
        scope.start(self._show_lines, lines)
        # Only the latest batch of a run matters to the eye.
        batches = scope.stream(
            MetricBatch, maxsize=512, overflow="conflate", key=lambda batch: batch.run_id
        )
        scope.start(self._follow_metrics, batches)

    async def _show_lines(self, stream: EventStream[LogLines]) -> None:
        async for event in stream:
            if not isinstance(event, LogLines):
                continue
            label = f"{printable(event.job)} | " if len(self._rows) > 1 else ""
            for lines in _lines_of(event):
                text = "\n".join(label + format_bytes_of_text(line) for line in lines)
                self._console.print(text, markup=False, emoji=False)
                await anyio.lowlevel.checkpoint()

    async def _follow_metrics(self, batches: EventStream[MetricBatch]) -> None:
        async for batch in batches:
            if isinstance(batch, MetricBatch) and (name := self._names.get(batch.run_id)):
                self._rows[name].take_in(batch)

    def _started(self, event: JobStarted) -> None:
        row = self._rows[event.job]
        row.state, row.started = "RUNNING", time.monotonic()

    def _observed(self, event: JobObserved) -> None:
        self._rows[event.job].state = event.phase.upper()

    def _requeued(self, event: JobRequeued) -> None:
        row = self._rows[event.job]
        row.state, row.started = "QUEUED", 0.0

    def _ended(self, event: JobEnded) -> None:
        row = self._rows[event.job]
        row.state, row.duration_s = event.state, event.duration_s

    def _table(self) -> Table:
        from rich.table import Table
        from rich.text import Text

        from runbus.cli._printer import state_style

        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        for column in ("job", "state", "step", "latest", "time"):
            table.add_column(column, justify="right" if column in {"step", "time"} else "left")
        for name, row in self._rows.items():
            table.add_row(
                Text(printable(name)),
                Text(row.state, style=state_style(row.state)),
                row.step,
                Text(row.latest),
                row.time,
            )
        return table


class _Row:
    """One job in the live table."""

    def __init__(self, run_id: str, known: JobRecord | None) -> None:
        self.run_id = run_id
        self.state = str(known.state) if known else "PENDING"
        self.started = 0.0
        if known and known.started_ns:
            self.started = time.monotonic() - (time.time_ns() - known.started_ns) / 1e9
        self.duration_s = known.duration_s if known and known.state.is_terminal else None
        self._step: int | None = None
        self._latest: dict[str, float | None] = {}

    def take_in(self, batch: MetricBatch) -> None:
        """Remember the latest value of each metric: from the end, so a batch costs little."""
        series = memoryview(batch.series).cast("I")
        values = memoryview(batch.values).cast("d")
        self._step = memoryview(batch.steps).cast("q")[-1]
        for name in batch.names:  # in the order of their first points, as in the result
            self._latest.setdefault(name, None)
        missing = set(range(len(batch.names)))
        for at in range(len(series) - 1, max(-1, len(series) - 1000), -1):
            if series[at] in missing:
                missing.remove(series[at])
                self._latest[batch.names[series[at]]] = values[at]
                if not missing:
                    break

    @property
    def step(self) -> str:
        return "" if self._step is None else str(self._step)

    @property
    def latest(self) -> str:
        known = [(name, value) for name, value in self._latest.items() if value is not None]
        shown = known[:SHOWN_METRICS]
        return "  ".join(f"{printable(name)} {format_number(value)}" for name, value in shown)

    @property
    def time(self) -> str:
        if self.duration_s is not None:
            return format_duration(self.duration_s)
        return format_duration(time.monotonic() - self.started) if self.started else ""
