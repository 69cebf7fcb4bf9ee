"""What the runs of jobs log, on its way to the bus."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import anyio

from runbus.errors import BackpressureTimeout
from runbus.events import MetricWindows, RunStarted
from runbus.metrics import RunTailer, has_metrics
from runbus.supervisor._positions import NOTE_S, Positions

if TYPE_CHECKING:
    from runbus._clock import Clock
    from runbus.abc import JobSpec
    from runbus.bus import Bus
    from runbus.metrics import RunTail

__all__ = ["WINDOW_NS", "MetricFeed"]

logger = logging.getLogger("runbus.jobs")

WINDOW_NS = 1_000_000_000
"""How long the windows on the bus are."""


class MetricFeed:
    """Follows the runs of jobs and puts on the bus that they begin, and what they log.

    Windows are made only while somebody reads them.

    Args:
        bus: Where it goes; a full mailbox that blocks makes the feed wait, and the journals grow.
        clock: Where the time of what happens here comes from.
        leads: Whether this process leads the experiment; see `Positions`.
    """

    def __init__(self, bus: Bus, clock: Clock, *, leads: bool = True) -> None:
        self._bus = bus
        self._clock = clock
        self._leads = leads
        self._next_note_s = 0.0
        self._tailer = RunTailer()
        self._runs: dict[str, _Run] = {}

    async def run(self) -> None:
        """Feed the bus until cancelled."""
        with self._tailer:
            while True:
                tails: list[RunTail] = []
                with anyio.move_on_after(NOTE_S):
                    tails = await self._tailer.news()
                for tail in tails:
                    if (run := self._runs.get(tail.run_id)) is not None:
                        await self._hand_on(run)
                if (now := self._clock.monotonic()) >= self._next_note_s:
                    self._next_note_s = now + NOTE_S
                    for run in self._runs.values():
                        run.positions.note(run.handed_on)

    def follow(self, job: JobSpec) -> None:
        """Follow the run of a job, over all of its attempts, from now on; safe to repeat.

        What it has logged comes from where the leader before had noted last.
        """
        if job.run_id in self._runs:
            return
        positions = Positions(job.run_folder, "metrics", leads=self._leads)
        try:
            tail = self._tailer.follow(
                job.run_id, job.run_folder, positions=positions.last, window_ns=self._window_ns
            )
        except OSError as error:
            # Jobs must not fail because this process has no room for another thread.
            logger.warning("metrics of job %r cannot be followed: %s", job.name, error)
            return
        self._runs[job.run_id] = _Run(job, tail, positions)

    async def drain(self, job: JobSpec) -> None:
        """Wait until everything that a job has logged by now is on the bus."""
        if job.run_id not in self._runs and has_metrics(job.run_folder):
            self.follow(job)
        if (run := self._runs.get(job.run_id)) is not None:
            run.drained = anyio.Event()
            run.tail.drain()
            await run.drained.wait()
            run.positions.note(run.handed_on)

    def has_begun(self, job: JobSpec) -> bool:
        """Whether the run of a job is on the bus as begun."""
        run = self._runs.get(job.run_id)
        return run is not None and run.has_begun

    def forget(self, job: JobSpec) -> None:
        """Follow the run of a job no more; safe to repeat."""
        if run := self._runs.pop(job.run_id, None):
            self._tailer.forget(run.tail)

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
            try:
                await self._bus.emit(event)
            except BackpressureTimeout as error:
                # It is all in the journals: one reader that stands still must not stop the others.
                # The next leader hands on again what it did not take, and what followed.
                logger.warning("metrics of job %r were not read: %s", job.name, error)
                run.is_owed = True
        if not run.is_owed:
            run.handed_on = dict(tail.positions)
        if tail.is_drained:
            run.drained.set()

    @property
    def _window_ns(self) -> int:
        return WINDOW_NS if self._bus.has_readers(MetricWindows) else 0


class _Run:
    """A run that is followed."""

    __slots__ = ("drained", "handed_on", "has_begun", "is_owed", "job", "positions", "tail")

    def __init__(self, job: JobSpec, tail: RunTail, positions: Positions) -> None:
        self.job = job
        self.tail = tail
        self.positions = positions
        self.handed_on: dict[str, int] = {}
        self.has_begun = False
        self.is_owed = False
        self.drained = anyio.Event()
