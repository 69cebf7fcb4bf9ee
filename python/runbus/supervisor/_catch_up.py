"""Serving readers that stood still: each at its own pace, from the files."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import anyio

from runbus.errors import BusClosed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from runbus.bus import Bus, Mailbox
    from runbus.events import Stream

__all__ = ["LOOK_S", "CatchUp", "Source", "Stragglers"]

logger = logging.getLogger("runbus.supervisor")

LOOK_S = 0.1
"""How often the files are looked at where nothing tells that they grew."""

S = TypeVar("S", bound="Stream")


class Source(Protocol[S]):
    """What a job wrote, from the first event on that one reader did not take.

    Entering it opens the files.
    """

    @property
    def is_drained(self) -> bool:
        """Whether `news` has returned all that there was at the last `drain`."""
        ...

    def __enter__(self) -> object: ...

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> object: ...

    async def news(self) -> Iterable[S]:
        """Return what comes next; waits a tenth of a second for it at most."""
        ...

    def drain(self) -> None:
        """Find all that is in the files by now."""
        ...

    def taken(self, event: S) -> None:
        """Note that the reader has an event of those that `news` returned."""
        ...


class CatchUp:
    """Hands what one job writes to one reader.

    What waits for the reader waits in the files: no more than one look at them is held for it.

    Args:
        bus: Where the reader reads.
        reader: The mailbox of the reader.
        source: What it did not take.

    Attributes:
        settled: Set when the reader has all that there was at the last `drain`, or takes nothing.
    """

    def __init__(self, bus: Bus, reader: Mailbox, source: Source[Any]) -> None:
        self._bus = bus
        self._reader = reader
        self._source = source
        self._is_last = False
        self._wants_all = False
        self.settled = anyio.Event()

    async def run(self) -> None:
        """Hand on until the reader has ended, or has all that there is to come."""
        try:
            with self._source:
                while not self._reader.sealed:
                    if self._wants_all:
                        self._wants_all = False
                        self._source.drain()
                    for event in await self._source.news():
                        await self._hand(event)
                    if self._source.is_drained and not self._wants_all:
                        self.settled.set()
                        if self._is_last:
                            return
        finally:
            self.settled.set()

    async def _hand(self, event: Stream) -> None:
        while not await self._bus.hand(self._reader, event):
            self.settled.set()
        if not self._reader.sealed:
            self._source.taken(event)

    def drain(self) -> None:
        """Hand on all that is there by now, and then set `settled`."""
        self._wants_all = True
        self.settled = anyio.Event()

    def end(self) -> None:
        """Let it end when all that is there by now was handed on."""
        self._wants_all = self._is_last = True


class Stragglers:
    """The readers that are served on their own, because they stood still; `in` asks for one.

    Who is behind in what one job writes need not be waited for in what another does.

    Args:
        bus: Where they read.
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._behind: dict[Mailbox, set[CatchUp]] = {}
        self._tasks: anyio.abc.TaskGroup

    async def run(self) -> None:
        """Serve them until cancelled."""
        async with anyio.create_task_group() as self._tasks:
            await anyio.sleep_forever()

    def __contains__(self, reader: object) -> bool:
        return reader in self._behind

    def serve(
        self, reader: Mailbox, source: Source[Any], what: str, note: Callable[[], None]
    ) -> CatchUp:
        """Serve a reader on its own from here on.

        Args:
            reader: Its mailbox, which did not take an event.
            source: Where that and what follows it comes from.
            what: What that is, for messages.
            note: Called when the reader has everything.
        """
        logger.warning("%s are not read by %s: they wait in the files", what, reader.owner)
        catch_up = CatchUp(self._bus, reader, source)
        self._behind.setdefault(reader, set()).add(catch_up)
        self._tasks.start_soon(
            self._serve, reader, catch_up, what, note, name=f"{what} for {reader.owner}"
        )
        return catch_up

    async def _serve(
        self, reader: Mailbox, catch_up: CatchUp, what: str, note: Callable[[], None]
    ) -> None:
        try:
            await catch_up.run()
            note()
        except (BusClosed, OSError) as error:
            # What is noted stays before what it did not take, so the next leader hands that on.
            logger.warning("%s are not handed on to %s: %s", what, reader.owner, error)
        finally:
            self._behind[reader].discard(catch_up)
            if not self._behind[reader]:
                del self._behind[reader]
