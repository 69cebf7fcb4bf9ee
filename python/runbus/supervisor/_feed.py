"""What the runs of jobs log, on its way to the bus."""

from __future__ import annotations

import logging
import sys
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING

import anyio

from runbus.events import (
    Event,
    MachineAlert,
    MetricBatch,
    MetricWindows,
    ResourceSample,
    RunFinished,
    RunRecorded,
    RunStarted,
    descendants,
)
from runbus.metrics import RunTailer, has_metrics, is_sampler
from runbus.supervisor._alerts import Alerts
from runbus.supervisor._catch_up import LOOK_S
from runbus.supervisor._pace import IDLE_S
from runbus.supervisor._positions import NOTE_S, Positions

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import TracebackType

    from runbus._clock import Clock
    from runbus.abc import JobSpec
    from runbus.bus import Bus, Mailbox
    from runbus.metrics import RunTail
    from runbus.supervisor._catch_up import CatchUp, Stragglers
    from runbus.supervisor._positions import CheckLead

__all__ = ["WINDOW_NS", "MetricFeed"]

logger = logging.getLogger("runbus.supervisor")

_TOLD: tuple[type[Event], ...] = (
    MetricBatch, MetricWindows, ResourceSample, RunStarted, RunFinished, *descendants(MachineAlert),
    *descendants(RunRecorded),
)  # fmt: skip

WINDOW_NS = 1_000_000_000
"""How long the windows on the bus are."""


class MetricFeed:
    """Follows the runs of jobs and puts on the bus that they begin, and what they log.

    Windows are made only while somebody reads them. A full mailbox that blocks makes the feed wait,
    and the journals grow. A reader that takes nothing for 5 seconds does not stop the others: it
    gets the batches of that run at its own pace from then on, each once and in order.

    Args:
        bus: Where it goes.
        clock: Where the time of what happens here comes from.
        stragglers: Who serves the readers that stand still.
        check_lead: See `Positions`.
    """

    def __init__(
        self, bus: Bus, clock: Clock, stragglers: Stragglers, check_lead: CheckLead
    ) -> None:
        self._bus = bus
        self._stragglers = stragglers
        self._clock = clock
        self._check_lead = check_lead
        self._next_note_s = 0.0
        self._is_ahead = False
        self._tailer = RunTailer()
        self._runs: dict[str, _Run] = {}
        self._unread: dict[str, JobSpec] = {}
        self._left: dict[str, Positions] = {}

    async def run(self) -> None:
        """Feed the bus until cancelled."""
        with self._tailer:
            while True:
                self.notice()
                tails: list[RunTail] = []
                # What was noted already need not be noted again.
                with anyio.move_on_after(NOTE_S if self._is_ahead else IDLE_S):
                    tails = await self._tailer.news()
                for tail in tails:
                    if (run := self._runs.get(tail.run_id)) is not None:
                        await self._hand_on(run)
                        self._is_ahead = True
                if (now := self._clock.monotonic()) >= self._next_note_s:
                    self._next_note_s = now + NOTE_S
                    # Of a reader that is served on its own nothing tells how far it has come.
                    self._is_ahead = any(run.behind for run in self._runs.values())
                    for run in self._runs.values():
                        run.note()

    def follow(self, job: JobSpec) -> None:
        """Follow the run of a job up to this attempt, from now on; safe to repeat.

        What it has logged comes from where the leader before had noted last. What a later attempt
        logs is not told before the end of the one before.
        """
        if (run := self._runs.get(job.run_id)) is not None:
            run.reach(job.attempt)
            return
        if not self._is_read:
            self._unread[job.run_id] = job
            return
        positions = self._left.pop(job.run_id, None)
        positions = positions or Positions(job.run_folder, "metrics", self._check_lead)
        try:
            tail = self._tailer.follow(
                job.run_id,
                job.run_folder,
                positions=positions.last,
                window_ns=self._window_ns,
                last_attempt=job.attempt,
            )
        except OSError as error:
            # Jobs must not fail because this process has no room for another thread.
            logger.warning("metrics of job %r cannot be followed: %s", job.name, error)
            return
        self._runs[job.run_id] = _Run(job, tail, positions)

    @property
    def _is_read(self) -> bool:
        """Whether anybody waits for what runs log, or that they begin: else nothing is read."""
        return self._bus.has_readers(*_TOLD)

    def notice(self) -> None:
        """Follow the runs that nobody had waited for, now that somebody does."""
        if self._unread and self._is_read:
            unread, self._unread = self._unread, {}
            for job in unread.values():
                self.follow(job)

    async def drain(self, job: JobSpec) -> None:
        """Wait until everything that a job has logged by now is on the bus."""
        if job.run_id in self._runs or has_metrics(job.run_folder, job.attempt):
            self.follow(job)
        run = self._runs.get(job.run_id)
        if run is not None and (run.has_begun or has_metrics(job.run_folder, job.attempt)):
            run.drained = anyio.Event()
            run.tail.drain()
            await run.drained.wait()
            for _, reader in run.behind.values():
                reader.drain()
                await reader.settled.wait()
            run.note()

    def has_begun(self, job: JobSpec) -> bool:
        """Whether the run of a job is on the bus as begun."""
        run = self._runs.get(job.run_id)
        return run is not None and run.has_begun

    def forget(self, job: JobSpec, *, may_go_on: bool = False) -> None:
        """Follow the run of a job no more, unless it may continue and does; safe to repeat."""
        self._unread.pop(job.run_id, None)
        if run := self._runs.pop(job.run_id, None):
            if may_go_on:
                self._left[job.run_id] = run.positions
            self._tailer.forget(run.tail)
            for _, reader in run.behind.values():
                reader.end()

    async def _hand_on(self, run: _Run) -> None:
        job, tail = run.job, run.tail
        events = tail.take()
        tail.make_windows(self._window_ns)
        if tail.has_begun and not run.has_begun:
            await self._bus.publish(
                RunStarted(
                    run_id=job.run_id,
                    experiment_id=job.experiment_id,
                    job=job.name,
                    time_ns=self._clock.time_ns(),
                )
            )
            run.has_begun = True
        for event in events:
            if not isinstance(event, MetricBatch):
                await self._bus.offer(event, at_once=self._stragglers)
                continue
            behind = await self._bus.offer(event, but=run.behind, at_once=self._stragglers)
            for reader in behind:
                self._let_catch_up(run, reader)
            run.handed_on[event.writer] = event.position
            if is_sampler(event.writer):
                await self._hand_on_samples(run, event)
        run.handed_on = dict(tail.positions)
        if tail.is_drained:
            run.drained.set()

    async def _hand_on_samples(self, run: _Run, event: MetricBatch) -> None:
        """Tell of a machine what its samples are, to who reads them, and what they mean."""
        if self._bus.has_readers(ResourceSample):
            for sample in _rows_of(event):
                await self._bus.offer(sample, at_once=self._stragglers)
        for alert in run.alerts.of(event):
            await self._bus.publish(alert)

    def _let_catch_up(self, run: _Run, reader: Mailbox) -> None:
        """Serve a reader that did not take a batch on its own from here on."""
        source = _Journals(run.job, run.attempt, run.handed_on)
        what = f"metrics of job {run.job.name!r}"
        run.behind[reader] = source, self._stragglers.serve(reader, source, what, run.note)

    @property
    def _window_ns(self) -> int:
        return WINDOW_NS if self._bus.has_readers(MetricWindows) else 0


def _rows_of(batch: MetricBatch) -> Iterator[ResourceSample]:
    """Yield the rows of a sampler: its points of one time."""
    for time_ns, points in groupby(batch.points(), key=itemgetter(2)):
        values = {name: float(value) for name, _, _, value in points}
        yield ResourceSample(
            run_id=batch.run_id, writer=batch.writer, time_ns=time_ns, values=values
        )


class _Run:
    """A run that is followed."""

    __slots__ = (
        "alerts", "attempt", "behind", "drained", "handed_on", "has_begun", "job", "positions",
        "tail",
    )  # fmt: skip

    def __init__(self, job: JobSpec, tail: RunTail, positions: Positions) -> None:
        self.job = job
        self.alerts = Alerts(job)
        self.attempt = job.attempt
        self.tail = tail
        self.positions = positions
        self.handed_on: dict[str, int] = {}
        self.has_begun = False
        self.behind: dict[Mailbox, tuple[_Journals, CatchUp]] = {}
        self.drained = anyio.Event()

    def reach(self, attempt: int) -> None:
        """What an attempt logs may be told from now on."""
        if attempt > self.attempt:
            self.attempt = attempt
            self.tail.reach(attempt)
            for source, _ in self.behind.values():
                source.reach(attempt)

    def note(self) -> None:
        """Note how far every reader has come."""
        slowest = dict(self.handed_on)
        for reader, _ in self.behind.values():
            slowest = {
                writer: min(at, reader.positions[writer])
                for writer, at in slowest.items()
                if writer in reader.positions
            }
        self.positions.note(slowest)


class _Journals:
    """What a run logs, for one reader at its own pace.

    Attributes:
        positions: How far the reader has come, by writer.
    """

    def __init__(self, job: JobSpec, attempt: int, positions: Mapping[str, int]) -> None:
        self.positions = dict(positions)
        self._job = job
        self._attempt = attempt
        self._tailer = RunTailer()
        self._tail: RunTail

    def __enter__(self) -> None:
        job = self._job
        self._tailer.__enter__()
        try:
            self._tail = self._tailer.follow(
                job.run_id,
                job.run_folder,
                positions=self.positions,
                last_attempt=self._attempt,
            )
        except BaseException:
            self._tailer.__exit__(*sys.exc_info())
            raise

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._tailer.__exit__(exc_type, exc, traceback)

    @property
    def is_drained(self) -> bool:
        return self._tail.is_drained

    def reach(self, attempt: int) -> None:
        self._attempt = attempt

    async def news(self) -> list[MetricBatch]:
        self._tail.reach(self._attempt)
        with anyio.move_on_after(LOOK_S):
            await self._tailer.news()
        return [event for event in self._tail.take() if isinstance(event, MetricBatch)]

    def drain(self) -> None:
        self._tail.drain()

    def taken(self, event: MetricBatch) -> None:
        self.positions[event.writer] = event.position
