"""Waiting for room in full mailboxes, but never for oneself."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from runbus.bus._mailbox import event_of
from runbus.bus._state import BusState, Phase
from runbus.bus._timers import wait_until
from runbus.errors import BackpressureTimeout, BusClosed, WouldDeadlock

if TYPE_CHECKING:
    from runbus.bus._mailbox import Item
    from runbus.bus._overflow import BlockMailbox, Putter

__all__ = ["BLOCK_S", "Backpressure"]

BLOCK_S = 5.0
# So long may a mailbox stay full that nobody has begun to read, but the task that opened it.
_FIRST_READ_S = 0.25


class Backpressure:
    """The publishers that wait for room."""

    def __init__(self, state: BusState) -> None:
        self._state = state
        self._blocked: dict[asyncio.Task[Any], list[BlockMailbox]] = {}

    async def wait_for_room(self, boxes: list[BlockMailbox], item: Item) -> None:
        """Wait until every one of some full mailboxes has an event, at most 5 seconds in all.

        Raises:
            BackpressureTimeout: A mailbox stayed full, and cannot spill.

        See `refusing` for the rest.
        """
        refusing = await self.refusing(boxes, item)
        if refusing:
            box = refusing[0]
            name = type(event_of(item)).__name__
            raise BackpressureTimeout(box.owner, name, box.pending, BLOCK_S)

    async def refusing(self, boxes: list[BlockMailbox], item: Item) -> list[BlockMailbox]:
        """Wait as `wait_for_room` does, and return the mailboxes that stayed full.

        Cancelled, it leaves the event out of the mailboxes that had no room.

        Raises:
            WouldDeadlock: The reader of a full mailbox waits for the caller.
            BusClosed: The bus was closed meanwhile, and a mailbox cannot spill.
        """
        task = asyncio.current_task()
        assert task is not None
        self._check_circle(task, boxes)
        loop = asyncio.get_running_loop()
        line = [(box, box.line_up(item, loop.create_future())) for box in boxes]
        self._blocked[task] = boxes
        try:
            await self._wait_in_line(task, line)
        finally:
            del self._blocked[task]
            for box, putter in line:
                box.give_up(putter)
        late = [box for box, putter in line if not putter.admitted and not box.closed]
        refusing = [box for box in late if not box.divert(item)]
        for box in refusing:
            box.refused += 1
        if (
            not refusing
            and self._state.phase == Phase.CLOSED
            and any(box.closed and not putter.admitted for box, putter in line)
        ):
            raise BusClosed("emit", "closed")
        return refusing

    async def _wait_in_line(
        self, task: asyncio.Task[Any], line: list[tuple[BlockMailbox, Putter]]
    ) -> None:
        timers = self._state.timers
        ends_ns = timers.monotonic_ns() + int(BLOCK_S * 1e9)
        for box, putter in line:
            if box.consumer is None and box.opener is task:
                await wait_until(putter.future, _FIRST_READ_S, timers)
                if not putter.future.done() and box.consumer is None:
                    raise WouldDeadlock(
                        f"nobody has begun to read the full mailbox of {box.owner}, "
                        "which was opened by the task that emits"
                    )
            left_s = (ends_ns - timers.monotonic_ns()) / 1e9
            await wait_until(putter.future, left_s, timers)

    def _check_circle(self, task: asyncio.Task[Any], boxes: list[BlockMailbox]) -> None:
        """Refuse a wait that only the waiting task itself could end.

        Raises:
            WouldDeadlock: Following each full mailbox to its reader, and each reader that waits
                itself to the mailboxes it waits for, leads back to `task`.
        """
        path = find_circle(task, boxes, self._blocked)
        if path is not None:
            raise WouldDeadlock(
                "the full mailbox of "
                + ", which waits for the mailbox of ".join(path)
                + " is read by the task that emits"
            )


def find_circle(
    task: asyncio.Task[Any],
    boxes: list[BlockMailbox],
    blocked: dict[asyncio.Task[Any], list[BlockMailbox]],
) -> list[str] | None:
    """Return the owners of the mailboxes on a way from `task` back to itself, or None."""
    ways = [(box, [box.owner]) for box in boxes]
    seen = set()
    while ways:
        box, path = ways.pop()
        if box in seen:
            continue
        seen.add(box)
        if box.consumer is task:
            return path
        if box.consumer is not None:
            ways += [(further, [*path, further.owner]) for further in blocked.get(box.consumer, ())]
    return None
