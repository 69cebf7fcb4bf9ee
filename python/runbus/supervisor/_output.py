"""What a job prints, on its way to the bus."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from runbus.attempt import LogMarks, LogTail, note_cut
from runbus.errors import BackpressureTimeout
from runbus.events import LogLines

if TYPE_CHECKING:
    from runbus._clock import Clock
    from runbus.abc import JobSpec
    from runbus.bus import Bus
    from runbus.supervisor._positions import CheckLead

__all__ = ["JobOutput"]

logger = logging.getLogger("runbus.supervisor")

_ROUNDS = 16
"""How much one job may hand on before the next has its turn, in pieces of at most 1 MiB."""


class JobOutput:
    """Follows the logs of one attempt.

    Args:
        job: The job; its folder need not have anything in it yet.
        clock: Where the time of what happens here comes from.
        check_lead: Raises if this process does not lead the experiment any more; None for one that
            only follows, and notes nothing.
    """

    def __init__(self, job: JobSpec, clock: Clock, check_lead: CheckLead) -> None:
        self._job = job
        self._marks = LogMarks(job.folder, clock)
        # Where the leader before stopped: lines since the last mark are handed on again.
        self._logs = {
            source: LogTail(os.path.join(job.folder, f"{source}.log"), offset)
            for source, offset in zip(("stdout", "stderr"), self._marks.last, strict=True)
        }
        self._check_lead = check_lead
        self._all_taken = True

    async def hand_on(self, bus: Bus, *, final: bool = False) -> None:
        """Emit what is new.

        Args:
            bus: Where it goes; a full mailbox that blocks makes this wait.
            final: The job has ended: emit everything that is left.

        Raises:
            LeaseLost: Another process leads the experiment now.
        """
        rounds = 0
        try:
            while (await self._hand_on_some(bus, final)) and (final or rounds < _ROUNDS):
                rounds += 1
        except BackpressureTimeout as error:
            # It is all in the files: one reader that stands still must not stop the others.
            # What is noted stays before it, so that the next leader hands it on once more.
            logger.warning("output of job %r was not read: %s", self._job.name, error)
            self._all_taken = False
        if self._check_lead is not None and self._all_taken and self._marks.is_due:
            self._check_lead()
            self._marks.note(*(tail.offset for tail in self._logs.values()))

    async def _hand_on_some(self, bus: Bus, final: bool) -> bool:
        job, more = self._job, False
        for source, tail in self._logs.items():
            before, cuts = tail.offset, tail.cuts
            data = tail.poll(final=final)
            if tail.cuts > cuts and self._check_lead is not None:
                self._check_lead()
                note_cut(job.folder, source, before)
                logger.warning(
                    "job %r has emptied its own %s.log: the %d bytes that were read of it are not "
                    "there any more, nor is what it had written since",
                    job.name, source, before,
                )  # fmt: skip
            if data:
                more = True
                await bus.emit(
                    LogLines(
                        experiment_id=job.experiment_id,
                        job=job.name,
                        attempt=job.attempt,
                        source=source,
                        offset=tail.offset - len(data),
                        data=data,
                    )
                )
        return more

    def close(self) -> None:
        """Give the files back; safe to repeat."""
        for tail in self._logs.values():
            tail.close()
