"""What a publisher gets back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from runbus.bus._causality import CAUSE, Frame
from runbus.errors import WouldDeadlock

if TYPE_CHECKING:
    # A Receipt is never encoded, so nobody reads its annotations.
    import asyncio  # noqa: TC004
    from collections.abc import Generator, Sequence  # noqa: TC004

    from runbus.errors import PluginError  # noqa: TC004

__all__ = ["Receipt"]


class Receipt(msgspec.Struct, eq=False):
    """What became of a published event.

    Await it to wait for the end of the dispatch; that takes no time unless `queued`.

    Attributes:
        seq: The event's number, which grows with every event of the process.
        handled: How many handlers were called and succeeded.
        errors: What the other handlers failed with, in the order of the calls.
        queued: The event was published by a handler of its own kind of event; it is dispatched
            when that one is, before the outermost `publish` returns.
    """

    seq: int
    handled: int = 0
    errors: Sequence[PluginError] = ()
    queued: bool = False
    _done: asyncio.Future[None] | None = None
    _holder: Frame | None = None

    def __repr__(self) -> str:
        queued = ", queued" if self.queued else ""
        return f"<Receipt {self.seq}: {self.handled} handled, {len(self.errors)} failed{queued}>"

    def queue(self, holder: Frame, done: asyncio.Future[None]) -> None:
        """Note that the event waits for `holder` to end; `done` is resolved after its dispatch."""
        self.queued = True
        self._holder = holder
        self._done = done

    def finish(self) -> None:
        """Note that a queued event was dispatched or dropped."""
        if self._done is not None and not self._done.done():
            self._done.set_result(None)
        self._holder = None

    def __await__(self) -> Generator[Any, None, Receipt]:
        if self._done is not None and not self._done.done():
            frame = CAUSE.get()
            while isinstance(frame, Frame):
                if frame is self._holder:
                    raise WouldDeadlock(
                        f"{type(frame.event).__name__} is dispatched again only after the handler "
                        "that awaits its receipt returns"
                    )
                frame = frame.place.up
            yield from self._done.__await__()
        return self
