"""The reader's side of a mailbox."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, TypeVar

from runbus.bus._state import BusState, Phase
from runbus.errors import BusClosed, StreamNotOpen, WouldDeadlock
from runbus.events import Event, Lagged

if TYPE_CHECKING:
    from types import TracebackType

    from runbus.bus._mailbox import Mailbox, StreamStatistics
    from runbus.bus._taps import Taps

__all__ = ["EventStream"]

E = TypeVar("E", bound=Event)


class EventStream(Generic[E]):
    """Reads the events of one mailbox: `async with` it, then `async for` or `await batch()`.

    Between events there may be a `Lagged(n)`: n events were lost there, because the reader was too
    slow for the size and policy that it chose. Never are there two in a row. What was lost after
    the last event is told before the stream ends, unless it was closed at once.
    """

    def __init__(self, state: BusState, taps: Taps, event: type[E], box: Mailbox) -> None:
        self._state = state
        self._taps = taps
        self._event = event
        self._box = box
        self._is_open = False

    def open(self) -> EventStream[E]:
        """Begin to receive events; `async with` does it. Twice is safe.

        Raises:
            BusClosed: The stream was closed, or the bus is.
            WrongLoop: This is another thread than that of the bus, or a forked child.
        """
        self._state.check_thread("stream")
        if self._box.sealed or self._state.phase in (Phase.SEALED, Phase.CLOSED):
            raise BusClosed("stream", "closed")
        if not self._is_open:
            self._is_open = True
            if self._taps.present:
                self._box.note_causes()
            self._state.registry.add_box(self._event, self._box)
        return self

    def seal(self) -> None:
        """Receive no more; what waits can be read yet, and then the stream ends. Twice is safe."""
        if not self._box.sealed:
            self._state.registry.remove_box(self._event, self._box)
            self._box.seal()

    def close(self) -> None:
        """Receive no more; what waits is spilled or dropped, and counted. Twice is safe."""
        if not self._box.closed:
            self._state.registry.remove_box(self._event, self._box)
            self._box.close()

    async def __aenter__(self) -> EventStream[E]:
        """Begin to receive events; does not yield to the event loop."""
        self.open()
        self._box.opener = asyncio.current_task()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __aiter__(self) -> EventStream[E]:
        return self

    async def __anext__(self) -> E | Lagged:
        """Return the next event; ends when the stream was closed and read to the end.

        Does not yield to the event loop while events wait. Cancelled, it takes nothing.

        Raises:
            StreamNotOpen: The stream was not opened.
        """
        box = self._box
        if box.quick:
            try:
                event: E = box.items.popleft()
            except IndexError:
                pass
            else:
                box.delivered += 1
                return event
        if not box.items and not await self._arrival():
            raise StopAsyncIteration
        if not box.quick:
            box.note_consumer(asyncio.current_task())
        item: E | Lagged = box.take()
        return item

    async def batch(self) -> list[E | Lagged]:
        """Wait for at least one event, then return everything that waits, in order.

        Returns an empty list when the stream was closed and read to the end. Cancelled, it takes
        nothing.

        Raises:
            StreamNotOpen: The stream was not opened.
        """
        box = self._box
        if not box.items and not await self._arrival():
            return []
        box.note_consumer(asyncio.current_task())
        return box.take_all()

    async def _arrival(self) -> bool:
        """Wait until there is something to take; return False at the end of the stream."""
        box = self._box
        if not self._is_open and not box.sealed:  # else this would wait for ever
            raise StreamNotOpen(self._event.__name__)
        box.note_consumer(asyncio.current_task())
        while not box.items:
            if box.owes_mark:
                return True
            if box.sealed:
                self.close()
                return False
            if box.waiter is not None and not box.waiter.done():
                raise WouldDeadlock(f"two tasks read the stream of {box.owner}")
            waiter = box.waiter = asyncio.get_running_loop().create_future()
            box.settle()
            try:
                await waiter
            finally:
                if box.waiter is waiter:
                    box.waiter = None
        return True

    @property
    def is_closed(self) -> bool:
        """Whether the stream has ended."""
        return self._box.closed

    def statistics(self) -> StreamStatistics:
        """Return what has become of the events so far."""
        return self._box.statistics()

    def __repr__(self) -> str:
        return f"<EventStream of {self._event.__name__} for {self._box.owner}>"
