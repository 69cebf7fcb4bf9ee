"""A run on the bus of a manager: what it logs and records, from its start on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from runbus.metrics import RecordTail, RunTailer

if TYPE_CHECKING:
    from runbus.abc import Scope
    from runbus.events import MetricBatch
    from runbus.metrics import StoredRun

__all__ = ["FollowedRun"]

_LOOK_S = 0.1
_ALL_ATTEMPTS = 1 << 30


class FollowedRun:
    """A plugin that puts on the bus what a run logs, until the run ends or it is told to end.

    The slowest sink sets the pace: what waits for it waits in the run's own files.

    Args:
        run: The run, of this process or another one.

    Attributes:
        name: `run ID`.
    """

    def __init__(self, run: StoredRun) -> None:
        self.name = f"run {run.id}"
        self._run = run
        self._is_ending = False
        self._ended = anyio.Event()

    @property
    def has_ended(self) -> bool:
        """Whether it follows no more."""
        return self._ended.is_set()

    async def setup(self, scope: Scope) -> None:
        """Begin to follow."""
        scope.start(self._follow, scope, name="metrics and records", drain=True)

    async def finish(self) -> None:
        """Put on the bus what there is by now, and follow no more."""
        self._is_ending = True
        await self._ended.wait()

    async def _follow(self, scope: Scope) -> None:
        run = self._run
        records = RecordTail(run.id, "", run.name, run.folder)
        try:
            with RunTailer() as tailer:
                tail = tailer.follow(run.id, run.folder)
                while not tail.is_drained:
                    with anyio.move_on_after(_LOOK_S) as pause:
                        await tailer.news()
                    await self._publish(scope, records)
                    for event in tail.take():
                        await self._hand_on(scope, event)  # type: ignore[arg-type]
                    if pause.cancelled_caught and self._is_last(scope, has_begun=tail.has_begun):
                        tail.drain()
            await self._publish(scope, records)
        finally:
            self._ended.set()

    def _is_last(self, scope: Scope, *, has_begun: bool) -> bool:
        if self._is_ending or scope.stopping:
            return True
        return has_begun and not self._run.is_being_written()

    async def _publish(self, scope: Scope, records: RecordTail) -> None:
        for fact in await scope.thread(records.poll, _ALL_ATTEMPTS):
            await scope.bus.publish(fact)

    async def _hand_on(self, scope: Scope, batch: MetricBatch) -> None:
        for box in await scope.bus.offer(batch):
            while not box.sealed and not await scope.bus.hand(box, batch):
                pass
