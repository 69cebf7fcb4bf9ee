"""Serving a reader that stood still: at its own pace, from the journals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from runbus.events import MetricBatch
from runbus.metrics import RunTailer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runbus.abc import JobSpec
    from runbus.bus import Bus, Mailbox

__all__ = ["CatchUp"]

_LOOK_S = 0.1


class CatchUp:
    """Hands what one run logs to one reader, from the first batch on that it did not take.

    What waits for the reader waits in the journals: no more than one batch is held for it.

    Args:
        bus: Where the reader reads.
        job: Whose run it is.
        reader: The mailbox of the reader.
        positions: Where it stood still, by writer.

    Attributes:
        positions: Where it has come to since.
        settled: Set when the reader has all that there was at the last `drain`, or takes nothing.
    """

    def __init__(
        self, bus: Bus, job: JobSpec, reader: Mailbox, positions: Mapping[str, int]
    ) -> None:
        self._bus = bus
        self._job = job
        self._reader = reader
        self._is_last = False
        self._wants_all = False
        self.positions = dict(positions)
        self.settled = anyio.Event()

    async def run(self) -> None:
        """Hand on until the reader has ended, or has all that there is to come."""
        try:
            with RunTailer() as tailer:
                tail = tailer.follow(
                    self._job.run_id, self._job.run_folder, positions=self.positions
                )
                while not self._reader.sealed:
                    if self._wants_all:
                        self._wants_all = False
                        tail.drain()
                    with anyio.move_on_after(_LOOK_S):
                        await tailer.news()
                    for event in tail.take():
                        if isinstance(event, MetricBatch):
                            await self._hand(event)
                    if tail.is_drained and not self._wants_all:
                        self.settled.set()
                        if self._is_last:
                            return
        finally:
            self.settled.set()

    async def _hand(self, batch: MetricBatch) -> None:
        while not await self._bus.hand(self._reader, batch):
            self.settled.set()
        if not self._reader.sealed:
            self.positions[batch.writer] = batch.position

    def drain(self) -> None:
        """Hand on all that is committed by now, and then set `settled`."""
        self._wants_all = True
        self.settled = anyio.Event()

    def end(self) -> None:
        """Let it end when all that is committed by now was handed on."""
        self._wants_all = self._is_last = True
