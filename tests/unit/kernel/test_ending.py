"""Waits that no cancellation cuts short, each with its limit."""

from __future__ import annotations

import asyncio

import pytest

from runbus.kernel._ending import endure
from runbus.testing import FakeClock


async def test_who_is_cancelled_while_it_endures_waits_on_until_the_time_is_up() -> None:
    clock = FakeClock()
    future = asyncio.get_running_loop().create_future()
    enduring = asyncio.create_task(endure(future, 4.0, clock))
    for message in ("first", "last"):
        await clock.advance(1.0)
        enduring.cancel(message)
    await clock.advance(1.9)
    assert not enduring.done()
    await clock.advance(0.1)

    cancelled = await asyncio.wait_for(enduring, 50)
    assert isinstance(cancelled, asyncio.CancelledError)
    assert cancelled.args == ("last",)
    assert not future.done()


@pytest.mark.parametrize("limit_s", [4.0, None])
async def test_who_is_cancelled_while_it_endures_goes_on_once_it_is_done(
    limit_s: float | None,
) -> None:
    clock = FakeClock()
    future = asyncio.get_running_loop().create_future()
    enduring = asyncio.create_task(endure(future, limit_s, clock))
    await clock.advance(1.0)
    enduring.cancel("once")
    await clock.advance(2.9)
    assert not enduring.done()
    future.set_result(None)

    cancelled = await asyncio.wait_for(enduring, 50)
    assert isinstance(cancelled, asyncio.CancelledError)
    assert cancelled.args == ("once",)


async def test_what_is_not_done_in_time_is_waited_for_no_longer() -> None:
    clock = FakeClock()
    future = asyncio.get_running_loop().create_future()
    enduring = asyncio.create_task(endure(future, 4.0, clock))
    await clock.advance(3.9)
    assert not enduring.done()
    await clock.advance(0.1)

    assert await asyncio.wait_for(enduring, 50) is None
