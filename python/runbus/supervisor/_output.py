"""What a job prints, on its way to the bus."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

import anyio

from runbus.attempt import LogMarks, LogTail, note_cut
from runbus.events import LogLines
from runbus.supervisor._catch_up import LOOK_S

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from runbus._clock import Clock
    from runbus.abc import JobSpec
    from runbus.attempt import Place
    from runbus.bus import Bus, Mailbox
    from runbus.supervisor._catch_up import CatchUp, Stragglers
    from runbus.supervisor._positions import CheckLead

__all__ = ["JobOutput"]

logger = logging.getLogger("runbus.supervisor")

_ROUNDS = 16
"""How much one job may hand on before the next has its turn, in pieces of at most 1 MiB."""


class JobOutput:
    """Follows the logs of one attempt.

    Args:
        job: The job; its folder need not have anything in it yet.
        bus: Where it goes; a full mailbox that blocks makes this wait.
        clock: Where the time of what happens here comes from.
        stragglers: Who serves the readers that stand still.
        check_lead: Raises if this process does not lead the experiment any more; None for one that
            only follows, and notes nothing.
        is_new: Whether nothing was handed on here before, whatever its leader has noted.
    """

    def __init__(
        self,
        job: JobSpec,
        bus: Bus,
        clock: Clock,
        stragglers: Stragglers,
        check_lead: CheckLead,
        *,
        is_new: bool = False,
    ) -> None:
        self._job = job
        self._bus = bus
        self._stragglers = stragglers
        self._marks = LogMarks(job.folder, clock)
        self._logs = tails_of(job)
        if not is_new:
            # Where the leader before stopped: lines since the last mark are handed on again.
            for tail, offset in zip(self._logs.values(), self._marks.last, strict=True):
                tail.offset = offset
        self._check_lead = check_lead
        self._behind: dict[Mailbox, tuple[_Logs, CatchUp]] = {}

    async def hand_on(self, *, final: bool = False) -> None:
        """Emit what is new.

        Args:
            final: The job has ended: emit everything that is left.

        Raises:
            LeaseLost: Another process leads the experiment now.
        """
        rounds = 0
        while (await self._hand_on_some(final)) and (final or rounds < _ROUNDS):
            rounds += 1
        self._note()

    async def drain(self) -> None:
        """The job has ended: emit everything that is left.

        Waits for readers that are behind, as long as they continue reading.

        Raises:
            LeaseLost: Another process leads the experiment now.
        """
        await self.hand_on(final=True)
        for _, reader in self._behind.values():
            reader.drain()
            await reader.settled.wait()
            reader.end()
        self._note()

    async def _hand_on_some(self, final: bool) -> bool:
        job, more = self._job, False
        for source, tail in self._logs.items():
            before = tail.place
            data = tail.poll(final=final)
            if tail.cuts > before.cuts and self._check_lead is not None:
                self._check_lead()
                note_cut(job.folder, source, before.offset)
                logger.warning(
                    "job %r has emptied its own %s.log: the %d bytes that were read of it are not "
                    "there any more, nor is what it had written since",
                    job.name, source, before.offset,
                )  # fmt: skip
            if data:
                more = True
                event = lines_of(job, source, tail, data)
                late = await self._bus.offer(event, but=self._behind, at_once=self._stragglers)
                for reader in late:
                    self._let_catch_up(reader, source, before)
        return more

    def _let_catch_up(self, reader: Mailbox, source: str, before: Place) -> None:
        """Serve a reader that did not take a piece of a log on its own from there on."""
        places = {name: tail.place for name, tail in self._logs.items()}
        logs = _Logs(self._job, {**places, source: before})
        what = f"lines of job {self._job.name!r}"
        self._behind[reader] = logs, self._stragglers.serve(reader, logs, what, self._note)

    def _note(self) -> None:
        """Note how far every reader has come."""
        if self._check_lead is not None and self._marks.is_due:
            self._check_lead()
            self._marks.note(*(self._handed_on(source) for source in self._logs))

    def _handed_on(self, source: str) -> int:
        here = self._logs[source].place
        there = [logs.places[source] for logs, _ in self._behind.values()]
        # Who has not seen yet that the log was emptied has nothing of what is in it now.
        return min([here.offset, *(at.offset if at.cuts == here.cuts else 0 for at in there)])

    def close(self) -> None:
        """Give the files back; safe to repeat."""
        for tail in self._logs.values():
            tail.close()


class _Logs:
    """The logs of one attempt, for one reader at its own pace.

    Attributes:
        places: How far the reader has come in each.
    """

    def __init__(self, job: JobSpec, places: Mapping[str, Place]) -> None:
        self.places = dict(places)
        self.is_drained = False
        self._job = job
        self._tails = tails_of(job)
        self._is_final = False

    def __enter__(self) -> None:
        for source, tail in self._tails.items():
            tail.place = self.places[source]

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for tail in self._tails.values():
            tail.close()

    async def news(self) -> list[LogLines]:
        found = self._look()
        if not found and (self.is_drained or not self._is_final):
            await anyio.sleep(LOOK_S)
            found = self._look()
        self.is_drained = self._is_final and not found
        return found

    def _look(self) -> list[LogLines]:
        return [
            lines_of(self._job, source, tail, data)
            for source, tail in self._tails.items()
            if (data := tail.poll(final=self._is_final))
        ]

    def drain(self) -> None:
        # Nobody asks for it but when the job has ended.
        self._is_final = True

    def taken(self, event: LogLines) -> None:
        self.places[event.source] = self._tails[event.source].place


def tails_of(job: JobSpec) -> dict[str, LogTail]:
    """Return what follows the logs of an attempt, by their names."""
    return {
        source: LogTail(os.path.join(job.folder, f"{source}.log"))
        for source in ("stdout", "stderr")
    }


def lines_of(job: JobSpec, source: str, tail: LogTail, data: bytes) -> LogLines:
    """Return what a tail has just read as an event."""
    return LogLines(
        experiment_id=job.experiment_id,
        job=job.name,
        attempt=job.attempt,
        source=source,
        offset=tail.offset - len(data),
        data=data,
    )
