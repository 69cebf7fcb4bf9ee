"""The end of a kernel: four phases under one budget, unused time goes to the next.

Whatever fails, and whatever is late: every later step is taken, and what went wrong is collected.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from runbus.bus import describe, exc_info, is_torn_down, wait_until
from runbus.errors import PluginStuck
from runbus.events import KernelStopping, Shutdown
from runbus.kernel._ending import AGAIN_S, Deadline, Work, end_tasks, endure
from runbus.kernel._host import GRACE_S

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from runbus.bus import Bus, Mailbox
    from runbus.kernel._host import PluginHost

__all__ = ["Shutdowns"]

logger = logging.getLogger("runbus.kernel")

# Up to which part of the whole budget the phases drain, tell, flush and close may last.
_DRAIN, _TELL, _FLUSH = 0.4, 0.6, 0.8
_TURNS = 3


class Budget:
    """How much time is left for the whole end; can be cut short while it runs."""

    def __init__(self, bus: Bus, total_s: float) -> None:
        self._timers = bus.timers
        self._total_s = total_s
        self.end = Deadline(bus.timers, total_s, GRACE_S)

    def left_s(self, part: float = 1.0) -> float:
        """Return the seconds left until `part` of the whole is used; never negative."""
        return max(self.end.left_s() - (1.0 - part) * self._total_s, 0.0)

    def hurry(self, total_s: float) -> None:
        """Leave `total_s` seconds from now for all that is still to do."""
        self._total_s = total_s
        self.end.move(total_s, GRACE_S)


class Shutdowns:
    """Runs the phases; what goes wrong in them is collected, and stops nothing.

    Attributes:
        budget: How much time is left.
        errors: What went wrong, in the order in which it did.
    """

    def __init__(
        self,
        bus: Bus,
        hosts: Callable[[], list[PluginHost]],
        total_s: float,
        reason: str,
        body: asyncio.Task[Any] | None = None,
    ) -> None:
        """Begin to count the time.

        Args:
            bus: The bus.
            hosts: Returns the plugins that are there, in their order.
            total_s: How long everything may take, in seconds.
            reason: Why, in words.
            body: Who leaves the kernel: it reads no stream meanwhile.
        """
        self._bus = bus
        self._hosts = hosts
        self._reason = reason
        self._body = body
        self._closing: PluginHost | None = None
        self._to_close = 0
        self._total_s = total_s
        self.budget = Budget(bus, total_s)
        self.errors: list[BaseException] = []

    def hurry(self, total_s: float) -> None:
        """Leave `total_s` seconds from now for all that is still to do."""
        self.budget.hurry(total_s)
        if self._closing is not None:
            self._closing.hurry(self.budget.end.share_s(self._to_close))

    async def run_to_close(self) -> None:
        """Drain, tell the plugins, and flush the mailboxes; everything but closing.

        Cancelled, it goes no further, for the plugins are to be closed at once.
        """
        task = asyncio.current_task()
        for phase in (self._drain, self._tell, self._flush):
            try:
                await phase()
            except asyncio.CancelledError:
                raise
            except BaseException as error:
                if is_torn_down(error, task):
                    raise
                self._note(error)

    def _note(self, error: BaseException) -> None:
        logger.error("while the kernel stopped: %s", describe(error), exc_info=exc_info(error))
        self.errors.append(error)

    async def _within(self, work: Coroutine[Any, Any, Any], part: float, doing: str) -> Any:
        """Do some work of a phase in a task of its own, until `part` of the budget is used.

        Late, it is cancelled; if it ignores that, it is left behind, and the plugin is named whose
        handler it is in. Returns None if it was late.
        """
        begun = Work(work, f"runbus shutdown: {doing}")
        task = begun.task
        began_ns = self._bus.timers.monotonic_ns()
        try:
            await wait_until(task, self.budget.left_s(part), self._bus.timers)
        finally:
            if not task.done():
                task.cancel()
        if task.done():
            return begun.result()
        grace_s = self.budget.end.grace_s(1, self.budget.left_s(), GRACE_S)
        plugin, handler = self._bus.running_in(task) or ("application", "a handler")
        await end_tasks([task], Deadline(self._bus.timers, 0.0, 2 * grace_s), self._bus.timers)
        waited_s = round((self._bus.timers.monotonic_ns() - began_ns) / 1e9, 2)
        if task.done():
            said = "%s was cancelled after %g s, in %s of %s"
            logger.warning(said, doing, waited_s, handler, plugin)
        else:
            self.errors.append(PluginStuck(plugin, f"{handler} ignores its cancellation", waited_s))
        return None

    # -- the phases

    async def _drain(self) -> None:
        self._bus.drain()
        event = KernelStopping(reason=self._reason, budget_s=self._total_s)
        try:
            await self._within(self._bus.publish(event), _DRAIN, "publishing KernelStopping")
        except Exception as error:
            self._note(error)
        for host in self._hosts():
            host.ask_to_stop()
        finishing = [task for host in self._hosts() for task in host.tasks.finishing()]
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
        background = {task for host in self._hosts() for task in host.tasks}
        boxes = [
            (event, box)
            for event, box in self._bus.registry.boxes()
            if self._is_waited_for(box, background)
        ]
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
        for reader in readers:
            if reader in background:
                await wait_until(reader, self.budget.left_s(_FLUSH), self._bus.timers)

    def _is_waited_for(self, box: Mailbox, background: set[asyncio.Task[Any]]) -> bool:
        """Tell whether somebody will read what waits, or still works on what it has read."""
        if box.consumer is None:
            owner = next((host for host in self._hosts() if host.name == box.owner), None)
            return owner is not None and any(not task.done() for task in owner.tasks)
        if box.consumer.done() or box.consumer is self._body:
            return False
        return box.consumer in background or box.pending > 0

    async def close(self) -> None:
        """Close the plugins in reverse order, each with its share of what time is left.

        A cancellation does not cut it short, and what fails in one keeps none from being closed.
        """
        closed: set[PluginHost] = set()
        # A plugin may be there that was not when this began: one whose start was under way.
        while hosts := [host for host in self._hosts() if host not in closed]:
            closed.update(hosts)
            for number, host in enumerate(reversed(hosts)):
                await self._close_one(host, len(hosts) - number)

    async def _close_one(self, host: PluginHost, to_close: int) -> None:
        """Close one of so many that are still to be closed."""
        task = asyncio.current_task()
        self._closing, self._to_close = host, to_close
        soft_s = self.budget.end.share_s(to_close)
        grace_s = self.budget.end.grace_s(to_close, soft_s, GRACE_S)
        try:
            await host.close(soft_s, grace_s)
        except BaseException as error:
            if is_torn_down(error, task):
                raise
            self._note(error)
        finally:
            self._closing = None
        self.errors += host.failures

    async def close_bus(self) -> None:
        """Close the bus; what it waits for has the rest of the time, and is then left behind."""
        limit_s = max(self.budget.end.hard_left_s(), AGAIN_S)
        closing = Work(self._bus.close(limit_s), "runbus bus close")
        await endure(closing.task, limit_s + AGAIN_S, self._bus.timers)
        if not closing.task.done():
            self._note(PluginStuck("application", "the bus does not close", limit_s))
        if closing.error is not None:
            self._note(closing.error)
        self.errors += closing.result() or [] if closing.error is None else []
