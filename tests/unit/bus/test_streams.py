"""Streams: mailboxes, backpressure, deadlocks, loss: §5.4, §5.5, §6."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest

from runbus.errors import (
    BackpressureTimeout,
    BusClosed,
    BusError,
    MailboxFull,
    WouldDeadlock,
    WrongKind,
)
from runbus.events import Event, Lagged, Notify, Stream
from runbus.kernel import Kernel
from runbus.testing import FakeClock, FakePlugin, idle


class Tick(Stream, frozen=True):
    number: int = 0
    key: str = ""


class Fact(Notify, frozen=True):
    number: int = 0


def numbers(items):
    return [-item.n if isinstance(item, Lagged) else item.number for item in items]


async def fill(kernel, count, start=1):
    for number in range(start, start + count):
        await kernel.bus.emit(Tick(number))


@pytest.mark.parametrize("read", ["batch", "__anext__"])
async def test_a_stream_that_was_not_opened_is_not_waited_for(kernel_factory, read):
    kernel = await kernel_factory()
    stream = kernel.bus.stream(Tick)

    with pytest.raises(BusError, match="stream of Tick is not open: read it inside `async with`"):
        await asyncio.wait_for(getattr(stream, read)(), 120)


CASES = [
    ("drop_oldest", 3, [-2, 3, 4, 5]),
    ("drop_newest", 3, [1, 2, 3]),
    ("drop_oldest", 5, [1, 2, 3, 4, 5]),
]


@pytest.mark.parametrize(("overflow", "maxsize", "expected"), CASES)
@pytest.mark.parametrize("how", ["batch", "one by one"])
async def test_a_full_mailbox_loses_what_its_policy_says(
    kernel_factory, overflow, maxsize, expected, how
):
    kernel = await kernel_factory()
    async with kernel.bus.stream(Tick, maxsize=maxsize, overflow=overflow) as stream:
        await fill(kernel, 5)
        if how == "batch":
            got = await stream.batch()
        else:
            got = [await anext(stream) for _ in expected]
        statistics = stream.statistics()

    assert numbers(got) == expected
    assert statistics.accepted == 5
    assert statistics.dropped == 5 - sum(number > 0 for number in expected)
    assert statistics.high_water == min(maxsize, 5)


async def test_drop_newest_marks_the_loss_where_it_happened(kernel_factory):
    kernel = await kernel_factory()
    async with kernel.bus.stream(Tick, maxsize=2, overflow="drop_newest") as stream:
        await fill(kernel, 4)
        first = await anext(stream)
        await fill(kernel, 2, start=5)

        assert numbers([first, *await stream.batch()]) == [1, 2, -2, 5]


@pytest.mark.parametrize("how", ["batch", "one by one"])
@pytest.mark.parametrize("overflow", ["drop_oldest", "drop_newest", "conflate"])
@pytest.mark.parametrize("maxsize", [1, 2])
async def test_every_loss_is_told_before_the_stream_ends(kernel_factory, overflow, maxsize, how):
    kernel = await kernel_factory()
    key = (lambda event: event.number) if overflow == "conflate" else None
    got: list[Any] = []
    async with kernel.bus.stream(Tick, maxsize=maxsize, overflow=overflow, key=key) as stream:
        for start in (1, 5, 9):  # the mark of the last loss is owed when the bus is sealed
            await fill(kernel, 4, start=start)
            got.append(await anext(stream))
        kernel.bus.seal()
        if how == "batch":
            while items := await asyncio.wait_for(stream.batch(), 120):
                got += items
        else:
            got += [item async for item in stream]
        statistics = stream.statistics()

    lost = [item.n for item in got if isinstance(item, Lagged)]
    assert sum(lost) == statistics.dropped
    assert len(got) - len(lost) == statistics.delivered == 12 - statistics.dropped
    marks = [isinstance(item, Lagged) for item in got]
    assert not any(here and there for here, there in itertools.pairwise(marks))


async def test_a_stream_that_is_closed_at_once_ends_without_a_mark(kernel_factory):
    kernel = await kernel_factory()
    stream = kernel.bus.stream(Tick, maxsize=1).open()
    await fill(kernel, 3)
    stream.close()

    assert await stream.batch() == []
    assert stream.statistics().dropped == 3


async def test_a_slow_reader_gets_marks_and_events_in_turn(kernel_factory):
    kernel = await kernel_factory()
    got: list[Any] = []
    async with kernel.bus.stream(Tick, maxsize=1) as stream:
        for _ in range(4):
            await fill(kernel, 3)
            got.append(await anext(stream))

    assert [type(item).__name__ for item in got] == ["Lagged", "Tick", "Lagged", "Tick"]


async def test_conflate_keeps_the_latest_of_each_key_in_the_place_of_the_first(kernel_factory):
    kernel = await kernel_factory()
    stream = kernel.bus.stream(Tick, overflow="conflate", key=lambda event: event.key)
    async with stream:
        for number, key in enumerate("abac"):
            await kernel.bus.emit(Tick(number, key))
        got = await stream.batch()

    assert [(item.number, item.key) for item in got] == [(2, "a"), (1, "b"), (3, "c")]
    assert stream.statistics()[:5] == (4, 3, 1, 0, 1)


async def test_conflate_loses_the_oldest_key_when_there_are_too_many(kernel_factory):
    kernel = await kernel_factory()
    async with kernel.bus.stream(
        Tick, overflow="conflate", key=lambda event: event.key, maxsize=2
    ) as stream:
        for number, key in enumerate("abc"):
            await kernel.bus.emit(Tick(number, key))

        assert numbers(await stream.batch()) == [-1, 1, 2]


async def test_a_failing_key_function_loses_its_event_only(kernel_factory, caplog):
    kernel = await kernel_factory()
    async with (
        kernel.bus.stream(Tick, overflow="conflate", key=lambda event: event.nothing) as bad,
        kernel.bus.stream(Tick) as good,
    ):
        await fill(kernel, 2)

        assert numbers(await good.batch()) == [1, 2]
        assert bad.statistics().dropped == 2
    assert "the key function of application failed" in caplog.text


async def test_a_key_that_would_have_to_be_awaited_loses_its_event(kernel_factory, caplog):
    kernel = await kernel_factory()
    lost: list[Any] = []

    async def key_of(event):
        return event.key

    async with kernel.bus.stream(
        Tick, overflow="conflate", key=lambda event: key_of(event), spill=lost.append
    ) as stream:
        await fill(kernel, 2)
        kernel.bus.seal()

        assert lost == [Tick(1), Tick(2)]
        assert await stream.batch() == [Lagged(2)]
    assert "it must not be async" in caplog.text


async def test_emit_waits_for_room_and_gives_everybody_else_the_event_at_once(kernel_factory):
    kernel = await kernel_factory()
    async with (
        kernel.bus.stream(Tick, maxsize=1, overflow="block") as slow,
        kernel.bus.stream(Tick) as fast,
    ):
        await fill(kernel, 1)
        waiting = asyncio.create_task(kernel.bus.emit(Tick(2)))
        await asyncio.sleep(0)

        assert numbers(await fast.batch()) == [1, 2]
        assert not waiting.done()
        assert slow.statistics().waiting_publishers == 1
        assert (await anext(slow)).number == 1
        await waiting
        assert (await anext(slow)).number == 2


async def test_publishers_that_wait_are_let_in_in_their_order(kernel_factory):
    kernel = await kernel_factory()
    async with kernel.bus.stream(Tick, maxsize=1, overflow="block") as stream:
        tasks = [asyncio.create_task(kernel.bus.emit(Tick(number))) for number in range(5)]
        got = [(await anext(stream)).number for _ in range(5)]
        await asyncio.gather(*tasks)

    assert got == [0, 1, 2, 3, 4]


async def test_a_mailbox_that_stays_full_for_five_seconds_is_an_error_that_names_it(
    kernel_factory,
):
    clock = FakeClock()
    kernel = await kernel_factory(timers=clock)
    async with kernel.bus.stream(Tick, maxsize=1, overflow="block", owner="store") as stream:
        await fill(kernel, 1)
        waiting = asyncio.create_task(kernel.bus.emit(Tick(2)))
        await clock.advance(4.9)
        assert not waiting.done()
        await clock.advance(0.2)
        with pytest.raises(BackpressureTimeout) as caught:
            await waiting

        assert str(caught.value).startswith(
            "the mailbox of store stayed full for 5 s (1 waiting), Tick not put"
        )
        assert caught.value.retryable
        assert stream.statistics()[:4] == (1, 0, 0, 1)


async def test_two_full_mailboxes_share_one_deadline(kernel_factory):
    clock = FakeClock()
    kernel = await kernel_factory(timers=clock)
    async with (
        kernel.bus.stream(Tick, maxsize=1, overflow="block"),
        kernel.bus.stream(Tick, maxsize=1, overflow="block"),
    ):
        await fill(kernel, 1)
        waiting = asyncio.create_task(kernel.bus.emit(Tick(2)))
        await clock.advance(5.1)

        assert isinstance(waiting.exception(), BackpressureTimeout)


async def test_a_publisher_cancelled_while_it_waits_leaves_no_ghost(kernel_factory):
    kernel = await kernel_factory()
    async with kernel.bus.stream(Tick, maxsize=1, overflow="block") as stream:
        await fill(kernel, 1)
        waiting = asyncio.create_task(kernel.bus.emit(Tick(2)))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])

        assert numbers(await stream.batch()) == [1]
        assert stream.statistics() == (1, 1, 0, 0, 0, 0, 1, 0, 0, None)


async def test_emit_nowait_never_waits(kernel_factory):
    kernel = await kernel_factory()
    async with (
        kernel.bus.stream(Tick, maxsize=1, overflow="block"),
        kernel.bus.stream(Tick) as other,
    ):
        kernel.bus.emit_nowait(Tick(1))
        with pytest.raises(MailboxFull, match="is full"):
            kernel.bus.emit_nowait(Tick(2))

        assert numbers(await other.batch()) == [1, 2]


async def test_a_reader_that_ends_releases_the_publishers_that_wait(kernel_factory):
    kernel = await kernel_factory()
    async with kernel.bus.stream(Tick, maxsize=1, overflow="block") as stream:
        await fill(kernel, 1)
        waiting = asyncio.create_task(kernel.bus.emit(Tick(2)))
        await asyncio.sleep(0)
    await waiting

    assert stream.statistics()[:4] == (1, 0, 1, 0)


async def test_a_reader_that_feeds_its_own_full_mailbox_would_deadlock(kernel_factory):
    kernel = await kernel_factory()
    async with kernel.bus.stream(Tick, maxsize=1, overflow="block") as stream:
        await fill(kernel, 1)
        await anext(stream)
        await fill(kernel, 1)

        with pytest.raises(WouldDeadlock, match="read by the task that emits"):
            await kernel.bus.emit(Tick(2))
        assert stream.statistics().pending == 1


class Ping(Stream, frozen=True):
    pass


class Pong(Stream, frozen=True):
    pass


async def test_two_readers_that_feed_each_other_would_deadlock(kernel_factory):
    kernel = await kernel_factory()
    outcomes: list[Any] = []

    async def play(stream, answer):
        await anext(stream)
        try:
            for _ in range(3):
                await kernel.bus.emit(answer)
        except WouldDeadlock as error:
            outcomes.append(error)

    async with (
        kernel.bus.stream(Ping, maxsize=1, overflow="block", owner="one") as pings,
        kernel.bus.stream(Pong, maxsize=1, overflow="block", owner="two") as pongs,
    ):
        one = asyncio.create_task(play(pings, Pong()))
        two = asyncio.create_task(play(pongs, Ping()))
        await asyncio.sleep(0)
        kernel.bus.emit_nowait(Ping())
        kernel.bus.emit_nowait(Pong())
        await asyncio.wait([one, two], return_when="FIRST_COMPLETED")
        one.cancel()
        two.cancel()
        await asyncio.wait([one, two])

    (error,) = outcomes
    assert "which waits for the mailbox of" in str(error)


async def test_two_tasks_cannot_read_one_stream(kernel_factory):
    kernel = await kernel_factory()
    async with kernel.bus.stream(Tick) as stream:
        reader = asyncio.create_task(anext(stream))
        await asyncio.sleep(0)
        with pytest.raises(WouldDeadlock):
            await anext(stream)
        await fill(kernel, 1)
        assert (await reader).number == 1


async def test_a_cancelled_reader_takes_nothing(kernel_factory):
    kernel = await kernel_factory()
    async with kernel.bus.stream(Tick) as stream:
        reader = asyncio.create_task(anext(stream))
        await asyncio.sleep(0)
        await fill(kernel, 1)
        reader.cancel()
        await asyncio.wait([reader])

        assert reader.cancelled()
        assert numbers(await stream.batch()) == [1]


async def test_what_is_lost_can_be_spilled(kernel_factory):
    clock = FakeClock()
    kernel = await kernel_factory(timers=clock)
    spilled: list[Any] = []
    async with (
        kernel.bus.stream(Tick, maxsize=1, spill=spilled.append) as lossy,
        kernel.bus.stream(Tick, maxsize=1, overflow="block", spill=spilled.append) as blocking,
    ):
        await fill(kernel, 1)
        waiting = asyncio.create_task(kernel.bus.emit(Tick(2)))
        await clock.advance(5.1)
        await waiting

        assert spilled == [Tick(1), Tick(2)]
        assert lossy.statistics().spilled == blocking.statistics().spilled == 1
    assert spilled == [Tick(1), Tick(2), Tick(1), Tick(2)]


async def test_a_failing_spill_function_hurts_nobody(kernel_factory, caplog):
    kernel = await kernel_factory()

    def fails(event):
        raise OSError("disk full")

    async with kernel.bus.stream(Tick, maxsize=1, spill=fails) as stream:
        await fill(kernel, 3)

        assert stream.statistics()[:6] == (3, 0, 2, 1, 0, 0)
    assert "the spill function of application failed" in caplog.text


async def test_notifications_can_be_observed_by_stream_but_never_wait(kernel_factory):
    kernel = await kernel_factory()
    async with kernel.bus.stream(Fact) as facts, kernel.bus.stream(Event) as everything:
        await kernel.bus.publish(Fact(1))
        await kernel.bus.emit(Tick(2))

        assert numbers(await facts.batch()) == [1]
        assert numbers(await everything.batch()) == [1, 2]
    for event in (Fact, Event):
        with pytest.raises(ValueError, match="as only Stream events may"):
            kernel.bus.stream(event, overflow="block")


BAD = [
    ({"maxsize": 0}, "at least 1"),
    ({"overflow": "panic"}, "is not known"),
    ({"overflow": "conflate"}, "key=None is missing"),
    ({"key": len}, "does not go with this overflow"),
]


@pytest.mark.parametrize(("options", "said"), BAD)
async def test_a_stream_that_cannot_be_is_refused(kernel_factory, options, said):
    kernel = await kernel_factory()

    with pytest.raises(ValueError, match=said):
        kernel.bus.stream(Tick, **options)


async def test_a_stream_ends_after_what_waits_when_the_kernel_stops():
    got: list[Any] = []
    async with Kernel() as kernel:
        stream = kernel.bus.stream(Tick).open()

        async def read():
            async for item in stream:
                await asyncio.sleep(0)
                got.extend(numbers([item]))
            got.append("end")

        reader = asyncio.create_task(read())
        await fill(kernel, 3)
    await reader

    assert got == [1, 2, 3, "end"]
    assert stream.statistics()[:4] == (3, 3, 0, 0)


async def test_emit_after_the_end_is_refused():
    async with Kernel() as kernel:
        pass

    with pytest.raises(BusClosed):
        await kernel.bus.emit(Tick())
    with pytest.raises(BusClosed, match="emit_nowait"):
        kernel.bus.emit_nowait(Tick())


async def test_what_a_reader_publishes_is_caused_by_what_it_read(kernel_factory):
    from runbus.testing import record

    kernel = await kernel_factory()
    with record(kernel.bus) as recording:
        async with kernel.bus.stream(Tick) as stream:

            async def react():
                async for item in stream:
                    await kernel.bus.publish(Fact(item.number))

            reader = asyncio.create_task(react())
            await fill(kernel, 2)
            await idle(kernel.bus)
            reader.cancel()
            await asyncio.wait([reader])

    by_event = {entry.event: entry for entry in recording.entries}
    assert by_event[Fact(1)].parent == by_event[Tick(1)].seq
    assert by_event[Fact(2)].parent == by_event[Tick(2)].seq


async def test_a_stream_opened_twice_gets_everything_once(kernel_factory):
    kernel = await kernel_factory()
    async with kernel.bus.stream(Tick).open() as stream:
        await fill(kernel, 2)
        assert numbers(await stream.batch()) == [1, 2]
    assert stream.is_closed
    with pytest.raises(BusClosed):
        stream.open()


async def test_a_plugin_that_opens_many_streams_keeps_only_the_open_ones(kernel_factory):
    plugin = FakePlugin("p")
    kernel = await kernel_factory(plugin)
    for _ in range(10):
        async with plugin.scope.stream(Tick):
            await fill(kernel, 1)

    assert len(plugin.scope.streams) <= 1  # type: ignore[attr-defined]


async def test_has_readers_tells_whether_an_event_of_the_class_would_reach_anybody(kernel_factory):
    bus = (await kernel_factory()).bus

    class Narrow(Tick, frozen=True):
        pass

    def readers() -> tuple[bool, bool]:
        return bus.has_readers(Tick), bus.has_readers(Narrow)

    assert readers() == (False, False)
    async with bus.stream(Narrow):
        assert readers() == (False, True)
    async with bus.stream(Tick):
        assert readers() == (True, True)
    waits = bus.wait_for(Narrow)
    assert readers() == (False, True)
    await bus.emit(Narrow(1))
    assert readers() == (False, False)
    assert (await waits).number == 1
    with pytest.raises(WrongKind):
        bus.has_readers(int)


async def test_a_batch_makes_more_room_than_there_are_publishers_waiting(kernel_factory):
    kernel = await kernel_factory()
    async with kernel.bus.stream(Tick, maxsize=3, overflow="block") as stream:
        await fill(kernel, 3)
        waiting = asyncio.create_task(kernel.bus.emit(Tick(4)))
        await asyncio.sleep(0)
        assert len(await stream.batch()) == 3
        await waiting
        assert await stream.batch() == [Tick(4)]
