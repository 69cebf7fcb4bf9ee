"""The end of a kernel: four phases under one budget, unused time goes to the next."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from runbus.bus._timers import wait_until
from runbus.events import KernelStopping, Shutdown

if TYPE_CHECKING:
    from runbus.bus import Bus
    from runbus.bus._mailbox import Mailbox
    from runbus.kernel._host import PluginHost

__all__ = ["Budget", "Shutdowns"]

logger = logging.getLogger("runbus.kernel")

# Up to which part of the whole budget the phases drain, tell, flush and close may last.
_DRAIN, _TELL, _FLUSH = 0.4, 0.6, 0.8
_MIN_SLICE_S = 0.05
_TURNS = 3


class Budget:
    """How much time is left; can be cut short while it runs."""

    def __init__(self, bus: Bus, total_s: float) -> None:
        self._bus = bus
        self._started_ns = bus.timers.monotonic_ns()
        self.total_s = total_s

    def left_s(self, part: float = 1.0) -> float:
        """Return the seconds left until `part` of the whole is used; never negative."""
        used_s = (self._bus.timers.monotonic_ns() - self._started_ns) / 1e9
        return max(self.total_s * part - used_s, 0.0)


class Shutdowns:
    """Runs the phases; what goes wrong in them is collected, and stops nothing."""

    def __init__(self, bus: Bus, hosts: list[PluginHost], total_s: float, reason: str) -> None:
        self._bus = bus
        self._hosts = hosts
        self._reason = reason
        self.budget = Budget(bus, total_s)
        self.errors: list[Exception] = []

    def hurry(self, total_s: float) -> None:
        """Leave `total_s` seconds from now for all that is still to do."""
        self.budget = Budget(self._bus, total_s)

    async def run_to_close(self) -> None:
        """Drain, tell the plugins, and flush the mailboxes; everything but closing."""
        await self._drain()
        await self._tell()
        await self._flush()

    async def _drain(self) -> None:
        self._bus.drain()
        try:
            await self._bus.publish(
                KernelStopping(reason=self._reason, budget_s=self.budget.total_s)
            )
        except Exception as error:
            self.errors.append(error)
        for host in self._hosts:
            host.ask_to_stop()
        finishing = [
            task
            for host in self._hosts
            for task, drain in host.scope.tasks.items()
            if drain and not task.done()
        ]
        for task in finishing:
            await wait_until(task, self.budget.left_s(_DRAIN), self._bus.timers)
        for task in finishing:
            task.cancel()
        await self._bus.wait_dispatched(self.budget.left_s(_DRAIN))

    async def _tell(self) -> None:
        left_s = self.budget.left_s(_TELL)
        event = Shutdown(reason=self._reason, budget_s=left_s)
        self.errors += await self._bus.teardown(event, left_s)

    async def _flush(self) -> None:
        for _ in range(_TURNS):
            await asyncio.sleep(0)  # tasks that were only just started get to their first read
        boxes = [(event, box) for event, box in self._bus.registry.boxes() if self._has_reader(box)]
        readers = [box.consumer for _, box in boxes]
        self.errors += await self._bus.end_inbox(self.budget.left_s(_FLUSH))
        self._bus.seal()
        for event, box in boxes:
            settled = await self._bus.wait_settled(box, self.budget.left_s(_FLUSH))
            if not settled and box.pending:
                logger.warning(
                    "%s did not read %d waiting %s in time",
                    box.owner,
                    box.pending,
                    event.__name__,
                )
        # A reader has work to do after its last event: writing out what it gathered, for example.
        background = {task for host in self._hosts for task in host.scope.tasks}
        for reader in readers:
            if reader in background:
                await wait_until(reader, self.budget.left_s(_FLUSH), self._bus.timers)

    def _has_reader(self, box: Mailbox) -> bool:
        if box.consumer is not None:
            return not box.consumer.done()
        owner = next((host for host in self._hosts if host.name == box.owner), None)
        return owner is not None and any(not task.done() for task in owner.scope.tasks)

    async def close(self) -> None:
        """Close the plugins in reverse order, each with its share of what time is left."""
        remaining = len(self._hosts)
        for host in reversed(self._hosts):
            await host.close(max(self.budget.left_s() / remaining, _MIN_SLICE_S))
            self.errors += host.failures
            remaining -= 1
