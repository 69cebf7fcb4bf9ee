"""Readers that stood still, and what hands them what is in the files."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import anyio.lowlevel
import pytest

from runbus import Kernel
from runbus.bus import EventStream, Mailbox
from runbus.events import LogLines
from runbus.supervisor._catch_up import CatchUp, Stragglers


class Shelf:
    """What a job wrote: one event a look, and the last is known to be that only after a `drain`."""

    def __init__(self, *texts: str, problem: OSError | None = None) -> None:
        self._left = [lines(text) for text in texts]
        self._problem = problem
        self._is_final = False
        self.is_drained = False
        self.drains = 0
        self.has_taken: list[bytes] = []

    def __enter__(self) -> None:
        if self._problem is not None:
            raise self._problem

    def __exit__(self, *_: object) -> None: ...

    async def news(self) -> list[LogLines]:
        await anyio.lowlevel.checkpoint()
        self.is_drained = self._is_final and not self._left
        return [self._left.pop(0)] if self._left else []

    def drain(self) -> None:
        self.drains += 1
        self._is_final = True

    def taken(self, event: LogLines) -> None:
        self.has_taken.append(event.data)


def lines(text: str) -> LogLines:
    return LogLines(
        experiment_id="e", job="j", attempt=1, source="stdout", offset=0, data=text.encode()
    )


class Behind:
    """A reader that did not take what it was offered."""

    def __init__(
        self, stragglers: Stragglers, mailbox: Mailbox, reader: EventStream[LogLines]
    ) -> None:
        self.stragglers, self.mailbox, self.reader = stragglers, mailbox, reader
        self.notes: list[str] = []

    def serve(self, shelf: Shelf, what: str) -> CatchUp:
        note = lambda: self.notes.append(what)  # noqa: E731
        return self.stragglers.serve(self.mailbox, shelf, what, note)

    async def read(self, count: int) -> list[bytes]:
        events = [await anext(self.reader) for _ in range(count)]
        return [one.data for one in events if isinstance(one, LogLines)]


@asynccontextmanager
async def behind() -> AsyncIterator[Behind]:
    with anyio.fail_after(120):
        async with (
            Kernel() as kernel,
            kernel.bus.stream(LogLines, maxsize=1, overflow="block") as reader,
            anyio.create_task_group() as tasks,
        ):
            stragglers = Stragglers(kernel.bus)
            tasks.start_soon(stragglers.run)
            await anyio.lowlevel.checkpoint()
            await kernel.bus.emit(lines("before"))
            (mailbox,) = await kernel.bus.offer(lines("late"), at_once=Everybody())
            yield Behind(stragglers, mailbox, reader)
            tasks.cancel_scope.cancel()


class Everybody:
    def __contains__(self, _: object) -> bool:
        return True


async def settled(one: CatchUp, shelf: Shelf) -> list[bytes]:
    """Return what the reader had when it was said to have all."""
    one.drain()
    await one.settled.wait()
    return list(shelf.has_taken)


async def ended(one: Behind) -> None:
    while one.mailbox in one.stragglers:
        await anyio.lowlevel.checkpoint()


async def test_a_reader_has_all_that_there_is_when_it_is_said_so() -> None:
    async with behind() as one:
        shelf = Shelf("late", *"abcde")
        catch_up = one.serve(shelf, "lines")
        assert await one.read(2) == [b"before", b"late"]
        assert shelf.drains == 0  # nobody has asked for all yet

        had = asyncio.create_task(settled(catch_up, shelf))
        assert await one.read(5) == [b"a", b"b", b"c", b"d", b"e"]
        assert await had == [b"late", b"a", b"b", b"c", b"d", b"e"]
        for _ in range(10):
            await anyio.lowlevel.checkpoint()
        assert one.mailbox in one.stragglers  # more may come
        catch_up.end()
        await ended(one)


async def test_a_reader_is_behind_until_it_has_all_of_every_job() -> None:
    async with behind() as one:
        shelves = Shelf("of a"), Shelf("of b")
        first, second = (one.serve(shelf, what) for shelf, what in zip(shelves, "ab", strict=True))
        assert one.mailbox in one.stragglers
        assert sorted(await one.read(3)) == [b"before", b"of a", b"of b"]

        first.end()
        while not one.notes:
            await anyio.lowlevel.checkpoint()
        assert one.notes == ["a"]
        assert one.mailbox in one.stragglers

        second.end()
        await ended(one)
        assert one.notes == ["a", "b"]


async def test_files_that_cannot_be_read_are_told_and_leave_the_note_where_it_was(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with behind() as one:
        catch_up = one.serve(Shelf("late", problem=OSError("the disk is gone")), "lines of job 'j'")
        await ended(one)

        assert catch_up.settled.is_set()  # nobody waits for what does not come
        assert one.notes == []
        owner = one.mailbox.owner
        # That the machine stood still for a second is told, too.
        told = [one.message for one in caplog.records if one.name == "runbus.supervisor"]
        assert told == [
            f"lines of job 'j' are not read by {owner}: they wait in the files",
            f"lines of job 'j' are not handed on to {owner}: the disk is gone",
        ]
