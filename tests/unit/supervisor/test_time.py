"""What waits by the clock of the leader, and what one job's task waits for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

import anyio
import anyio.lowlevel
import pytest

from runbus.abc import JobSpec
from runbus.supervisor._decisions import Submit
from runbus.supervisor._hand import Hand
from runbus.supervisor._poll import Polls
from runbus.supervisor._time import Alarm
from runbus.testing import FakeClock

from .backend import Backend

Spec = Callable[..., JobSpec]


async def test_a_ring_is_heard_by_who_waits_then_and_by_who_comes_until_it_is_cleared() -> None:
    clock = FakeClock()
    alarm = Alarm(clock)
    with anyio.fail_after(120):
        waits = [asyncio.create_task(alarm.wait(at)) for at in (None, 5.0)]
        await clock.advance(1)
        alarm.ring()
        assert [await one for one in waits] == [True, True]
        assert await alarm.wait()
        assert await alarm.wait(clock.monotonic())

        alarm.clear()
        late = asyncio.create_task(alarm.wait(clock.monotonic() + 2))
        await clock.advance(1.5)
        assert not late.done()
        await clock.advance(0.5)
        assert not await late


async def test_who_waits_no_more_leaves_nothing_that_waits() -> None:
    clock = FakeClock()
    alarm = Alarm(clock)
    for is_rung in (True, False):
        wait = asyncio.create_task(alarm.wait(5.0))
        await clock.advance(0)
        if is_rung:
            alarm.ring()
        else:
            wait.cancel()
        await asyncio.wait([wait])
        alarm.clear()

    assert all(timer.cancelled for *_, timer in clock._timers)
    assert alarm._waiters == []


@pytest.mark.parametrize("early", [True, False], ids=["before it begins", "while it is on"])
async def test_what_is_withdrawn_is_cut_off_and_what_follows_is_not(early: bool) -> None:
    hand = Hand()
    with anyio.fail_after(120):
        for again in (False, True):
            is_cut_off = True
            if early and not again:
                hand.withdraw(3.0)
            with hand.withdrawable():
                if not early and not again:
                    asyncio.get_running_loop().call_soon(hand.withdraw, 3.0)
                for _ in range(10):
                    await anyio.lowlevel.checkpoint()
                is_cut_off = False
            hand.submitted()
            assert is_cut_off is not again
    assert hand.grace_s == 3.0


async def test_a_hand_gives_what_it_was_given_in_its_order(spec: Spec) -> None:
    hand, jobs = Hand(), [Submit(spec(name)) for name in "abc"]
    busy = [hand.is_busy]
    first = asyncio.create_task(hand.take())
    await asyncio.sleep(0)
    for job in jobs:
        hand.put(job)
    with anyio.fail_after(120):
        assert [await first, await hand.take()] == jobs[:2]
        busy.append(hand.is_busy)
        assert await hand.take() == jobs[2]
    assert [*busy, hand.is_busy] == [False, True, False]


class Looks:
    """Who wants to see no job."""

    attempts = ()

    def notice(self) -> bool:
        return False

    def deliver(self, *_: object) -> bool:
        return False

    def tick(self) -> None: ...


async def test_experiments_share_a_poll_of_an_executor_while_one_of_them_watches() -> None:
    polls, backend, clock = Polls(), Backend(), FakeClock()
    one, other = Looks(), Looks()
    with polls.joined(one, backend, clock) as poll:
        with polls.joined(other, backend, clock) as same, polls.joined(one, Backend(), clock) as no:
            assert same is poll
            assert no is not poll
            assert poll.watchers == [one, other]
        assert poll.watchers == [one]
        with polls.joined(other, backend, clock) as same:
            assert same is poll
    assert poll.watchers == []
    with suppress(OSError), polls.joined(one, backend, clock) as anew:
        assert anew is not poll
        raise OSError
    assert anew.watchers == []
