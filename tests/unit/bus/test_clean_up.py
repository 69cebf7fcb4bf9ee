"""Clean-ups and cancellation: every step is tried, the first error wins, and whose cancel it is."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from runbus.bus._failures import CleanUp
from runbus.bus._foreign import describe
from runbus.errors import HandlerCancelled, HandlerTimeout, HookError
from runbus.events import Around, Notify, Shutdown
from runbus.kernel import Kernel
from runbus.testing import FakeClock, FakePlugin


class Job(Around):
    deadline_s = 2.0


class Fact(Notify):
    deadline_s = 2.0


class Numbered(Notify):
    number: int


class Odd(BaseException):
    """As what `pytest.fail` raises."""


def wrapper(name: str, log: list[str], leaving: Any = None):
    @asynccontextmanager
    async def wrap(event):
        try:
            yield name
        finally:
            log.append(name)
            if leaving is not None:
                await leaving()

    return wrap


def raising(error: BaseException):
    async def leave():
        raise error

    return leave


async def test_a_second_cancellation_leaves_no_wrapper_entered(kernel_factory):
    log: list[str] = []
    leaving = asyncio.Event()

    async def flush():
        leaving.set()
        await asyncio.Event().wait()

    kernel = await kernel_factory(
        FakePlugin("outer", {Job: wrapper("outer", log)}),
        FakePlugin("inner", {Job: wrapper("inner", log, flush)}),
    )

    async def work():
        async with kernel.bus.around(Job()):
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    await leaving.wait()
    task.cancel()
    await asyncio.wait([task])

    assert task.cancelled()
    assert log == ["inner", "outer"]


async def test_a_scope_that_is_cancelled_leaves_no_wrapper_entered(kernel_factory):
    log: list[str] = []

    async def flush():
        await anyio.sleep(9)

    kernel = await kernel_factory(
        *(FakePlugin(name, {Job: wrapper(name, log, flush)}) for name in "abc")
    )
    with anyio.CancelScope() as scope:
        async with kernel.bus.around(Job()):
            scope.cancel()
            await anyio.sleep(9)

    assert log == ["c", "b", "a"]


@pytest.mark.parametrize("error", [Odd("odd"), ValueError("no"), KeyboardInterrupt()])
async def test_whatever_an_exit_raises_the_others_are_left(kernel_factory, error):
    log: list[str] = []
    kernel = await kernel_factory(
        FakePlugin("outer", {Job: wrapper("outer", log)}),
        FakePlugin("inner", {Job: wrapper("inner", log, raising(error))}),
    )
    with pytest.raises((type(error), HookError)):
        async with kernel.bus.around(Job()):
            pass

    assert log == ["inner", "outer"]
    assert kernel.bus.is_idle


async def test_an_exit_of_what_is_left_wins_over_what_could_not_be_entered(kernel_factory):
    log: list[str] = []

    @asynccontextmanager
    async def fails(event):
        if event is not None:
            raise ValueError("cannot enter")
        yield

    kernel = await kernel_factory(
        FakePlugin("outer", {Job: wrapper("outer", log, raising(KeyboardInterrupt()))}),
        FakePlugin("inner", {Job: fails}),
    )
    with pytest.raises(KeyboardInterrupt) as caught:
        async with kernel.bus.around(Job()):
            pass

    assert log == ["outer"]
    assert "cannot enter" in str(caught.value.__notes__)


async def test_the_first_error_wins_and_the_others_are_notes(kernel_factory):
    log: list[str] = []
    kernel = await kernel_factory(
        FakePlugin("outer", {Job: wrapper("outer", log, raising(Odd("two")))}),
        FakePlugin("inner", {Job: wrapper("inner", log, raising(ValueError("one")))}),
    )
    with pytest.raises(KeyError) as caught:
        async with kernel.bus.around(Job()):
            raise KeyError("body")

    notes = "\n".join(caught.value.__notes__)
    assert "one" in notes
    assert "Odd: two" in notes


async def test_a_cancellation_wins_over_an_error_that_came_before_it(kernel_factory):
    log: list[str] = []
    leaving = asyncio.Event()

    async def flush():
        leaving.set()
        await asyncio.Event().wait()

    kernel = await kernel_factory(FakePlugin("p", {Job: wrapper("p", log, flush)}))

    async def work():
        async with kernel.bus.around(Job()):
            raise ValueError("body")

    task = asyncio.create_task(work())
    await leaving.wait()
    task.cancel()
    await asyncio.wait([task])

    assert task.cancelled()


async def test_an_exit_is_cut_off_at_its_deadline_however_long_the_block_took(kernel_factory):
    clock = FakeClock()
    log: list[str] = []
    kernel = await kernel_factory(
        FakePlugin("outer", {Job: wrapper("outer", log)}),
        FakePlugin("inner", {Job: wrapper("inner", log, asyncio.Event().wait)}),
        timers=clock,
    )
    over = asyncio.Event()

    async def work():
        async with kernel.bus.around(Job()):
            await over.wait()

    task = asyncio.create_task(work())
    await clock.advance(100)
    over.set()
    await clock.advance(3)
    await asyncio.wait([task])

    (error,) = [task.exception()]
    assert isinstance(error, HookError)
    assert isinstance(error.__cause__, HandlerTimeout)
    assert log == ["inner", "outer"]


async def test_the_own_limit_of_a_wrapper_holds_for_entering_too(kernel_factory):
    clock = FakeClock()

    class Slow:
        async def __aenter__(self):
            await asyncio.Event().wait()

        async def __aexit__(self, *_):
            pass

    kernel = await kernel_factory(timers=clock)
    kernel.bus.on(Job, lambda event: Slow(), timeout=1.0)

    async def work():
        async with kernel.bus.around(Job()):
            pass

    task = asyncio.create_task(work())
    await clock.advance(1.1)
    assert isinstance(task.exception(), HookError)


def test_a_clean_up_keeps_the_first_error_and_lets_through_what_must_pass():
    first, second, stop = ValueError("1"), KeyError("2"), KeyboardInterrupt()
    alone = CleanUp()
    alone.add(first)
    assert alone.conclude("t") is first
    alone.add(second)
    group = alone.conclude("t")
    assert isinstance(group, ExceptionGroup)
    assert group.exceptions == (first, second)

    for_error = CleanUp(first)
    for_error.add(second)
    assert for_error.conclude("while leaving") is first
    assert first.__notes__ == ["while leaving: KeyError: '2'"]

    passing = CleanUp(first)
    passing.add(stop)
    assert passing.conclude("t") is stop


def test_an_error_without_a_text_can_be_told():
    class Broken(Exception):
        def __str__(self):
            raise ZeroDivisionError

    assert describe(Broken()) == "Broken: (its text cannot be made: ZeroDivisionError)"


async def test_an_error_whose_text_cannot_be_made_hurts_nobody(kernel_factory):
    class Broken(Exception):
        def __str__(self):
            raise ZeroDivisionError

    def breaks(event):
        raise Broken

    after = FakePlugin("after", {Fact: None})
    kernel = await kernel_factory(FakePlugin("bad", {Fact: breaks}), after)
    receipt = await kernel.bus.publish(Fact())

    assert len(receipt.errors) == 1
    assert after.seen == [Fact()]


@pytest.mark.parametrize("error", [Odd("odd"), SystemExit(3), ValueError("no")])
async def test_every_plugin_is_told_of_the_end_whatever_another_raises(error):
    told: list[str] = []

    def breaks(event):
        raise error

    async def live():
        async with Kernel(
            [
                FakePlugin("a", {Shutdown: lambda event: told.append("a")}),
                FakePlugin("b", {Shutdown: breaks}),
            ]
        ):
            pass

    with pytest.raises((BaseExceptionGroup, type(error))):
        await live()
    assert told == ["a"]


async def left_over() -> None:
    """Leave `cancelling()` of the running task at 1, as a TaskGroup does that handled an error."""

    async def fail():
        raise ValueError

    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(fail())
    except* ValueError:
        pass
    task = asyncio.current_task()
    assert task is not None
    if not task.cancelling():  # later versions of Python undo it
        task.cancel()
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            pass


async def test_an_old_cancellation_does_not_make_a_late_handler_cancel_the_publisher(
    kernel_factory,
):
    clock = FakeClock()
    after = FakePlugin("after", {Fact: None})

    async def hangs(event):
        await asyncio.Event().wait()

    async def publishes():
        await left_over()
        return await kernel.bus.publish(Fact())

    kernel = await kernel_factory(FakePlugin("bad", {Fact: hangs}), after, timers=clock)
    task = asyncio.create_task(publishes())
    await clock.advance(3)
    receipt = await task

    assert isinstance(receipt.errors[0], HandlerTimeout)
    assert after.seen == [Fact()]


async def test_an_old_cancellation_does_not_make_a_stray_one_genuine(kernel_factory):
    async def stray(event):
        raise asyncio.CancelledError

    async def publishes():
        await left_over()
        return await kernel.bus.publish(Fact())

    kernel = await kernel_factory(FakePlugin("bad", {Fact: stray}))
    receipt = await asyncio.create_task(publishes())

    assert isinstance(receipt.errors[0], HandlerCancelled)


async def test_a_queued_event_is_judged_by_the_task_that_dispatches_it(kernel_factory):
    async def stray(event):
        if event.number == 1:
            raise asyncio.CancelledError

    async def again(event):
        if event.number == 0:
            # It has seen no cancellation, but the task in which its event is dispatched has.
            receipts.append(await asyncio.create_task(kernel.bus.publish(Numbered(1))))

    async def publishes():
        await left_over()
        return await kernel.bus.publish(Numbered(0))

    receipts: list[Any] = []
    plugins = FakePlugin("asks", {Numbered: again}), FakePlugin("bad", {Numbered: stray})
    kernel = await kernel_factory(*plugins)
    await asyncio.create_task(publishes())

    assert [type(error) for error in receipts[0].errors] == [HandlerCancelled]


async def test_an_old_cancellation_does_not_disarm_the_own_limit_of_a_handler(kernel_factory):
    clock = FakeClock()

    async def hangs(event):
        await asyncio.Event().wait()

    async def publishes():
        await left_over()
        return await kernel.bus.publish(Fact())

    kernel = await kernel_factory(timers=clock)
    kernel.bus.on(Fact, hangs, timeout=0.5)
    task = asyncio.create_task(publishes())
    await clock.advance(1)

    assert isinstance((await task).errors[0], HandlerTimeout)


async def test_a_cancellation_that_is_still_to_come_goes_through_a_dispatch(kernel_factory):
    async def waits(event):
        await asyncio.sleep(0)

    after = FakePlugin("after", {Fact: None})
    kernel = await kernel_factory(FakePlugin("p", {Fact: waits}), after)

    async def publishes():
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await kernel.bus.publish(Fact())

    task = asyncio.create_task(publishes())
    await asyncio.wait([task])

    assert task.cancelled()
    assert after.seen == []
