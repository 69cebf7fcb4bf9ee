"""Whose a cancellation of the block is: the kernel's own is taken back, another's is not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from runbus.kernel import Kernel
from runbus.kernel._body import Body


async def forever() -> None:
    await asyncio.Event().wait()


async def leave_a_cancellation_count_behind() -> None:
    """Handle the failure of a task group, after which CPython counts one cancellation too many."""

    async def fails() -> None:
        raise ValueError

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(fails())
    except* ValueError:
        pass


async def swallow_a_cancellation() -> None:
    try:
        await forever()
    except asyncio.CancelledError:
        pass


async def taken_back(
    block: Callable[[], Awaitable[Any]], *steps: Callable[[asyncio.Task[Any], Body], Any]
) -> tuple[bool, int]:
    """Run a block and what is done to it, and return whether that was taken back, and the count.

    Each step is taken when the block waits again.
    """
    body = Body()
    result: list[tuple[bool, int]] = []

    async def run() -> None:
        body.enter()
        failure: BaseException | None = None
        try:
            await block()
        except BaseException as error:
            failure = error
        is_ours = body.take_back(failure)
        result.append((is_ours, asyncio.current_task().cancelling()))  # type: ignore[union-attr]

    task = asyncio.create_task(run())
    for step in steps:
        for _ in range(20):
            await asyncio.sleep(0)
        step(task, body)
    await asyncio.wait([task])
    return result[0]


def stop(_: asyncio.Task[Any], body: Body) -> None:
    body.cancel()


def cancel_and_stop(task: asyncio.Task[Any], body: Body) -> None:
    task.cancel()
    body.cancel()


async def test_a_block_that_must_be_cancelled_twice_was_cancelled_by_nobody_else() -> None:
    async def stubborn() -> None:
        await swallow_a_cancellation()
        await forever()

    assert await taken_back(stubborn, stop, stop) == (True, 0)


async def test_a_cancellation_that_came_with_a_stop_is_kept_even_if_the_block_swallows_it() -> None:
    async def stubborn() -> None:
        await swallow_a_cancellation()
        await forever()

    assert await taken_back(stubborn, cancel_and_stop, stop) == (False, 1)


async def test_a_block_that_was_not_cancelled_has_nothing_to_take_back() -> None:
    async def ends() -> None:
        pass

    assert await taken_back(ends) == (False, 0)


@pytest.mark.parametrize("error", [None, ValueError(), asyncio.CancelledError("its own")], ids=repr)
async def test_whatever_a_stopped_block_ends_with_the_stop_is_taken_back(
    error: BaseException | None,
) -> None:
    async def ends() -> None:
        await swallow_a_cancellation()
        if error is not None:
            raise error

    assert await taken_back(ends, stop) == (True, 0)


@pytest.mark.parametrize("error", [None, ValueError()], ids=repr)
async def test_a_count_that_was_left_behind_is_nobodys_cancellation(
    error: BaseException | None,
) -> None:
    async def ends() -> None:
        await leave_a_cancellation_count_behind()
        await swallow_a_cancellation()
        if error is not None:
            raise error

    is_ours, _ = await taken_back(ends, stop)
    assert is_ours


async def test_only_a_block_that_runs_is_cancelled_and_only_it_takes_that_back() -> None:
    body = Body()
    assert (body.cancel(), body.is_cancelled) == (False, False)

    async def run() -> None:
        body.enter()
        await forever()

    task = asyncio.create_task(run())
    await asyncio.sleep(0)
    assert (body.cancel(), body.is_cancelled) == (True, True)
    assert not body.take_back(None)
    await asyncio.wait([task])
    assert not body.cancel()


async def test_the_end_of_the_kernel_can_be_awaited_by_whom_it_does_not_wait_for() -> None:
    async def waits() -> str:
        await kernel.stop("enough")
        return "it has ended"

    async with Kernel() as kernel:
        waiting = asyncio.create_task(waits())
        await forever()

    assert await waiting == "it has ended"
