"""When a backend is looked at, and for whom."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import pairwise

import anyio
import anyio.lowlevel
import pytest

from runbus.abc import JobRef, JobSpec, Observation
from runbus.supervisor._attempt import Attempt
from runbus.supervisor._pace import FASTEST_S, NOTICE_S
from runbus.supervisor._poll import Poll
from runbus.testing import FakeClock

from .backend import DONE, RUNNING, Backend

Spec = Callable[..., JobSpec]


class Quiet(Backend):
    """One that tells nothing: the time passes that it is waited for."""

    def __init__(self, clock: FakeClock, *, pushes: bool) -> None:
        super().__init__(pushes=pushes)
        self._clock = clock

    async def wait_for_change(self, timeout_s: float) -> bool:
        await self._clock.advance(max(timeout_s, 1e-6))  # no wait is over in no time
        return False


class Watching:
    """Who watches one attempt for half a minute."""

    def __init__(self, attempt: Attempt, clock: FakeClock, *, is_read: bool) -> None:
        self.attempts = [attempt]
        self.scope = anyio.CancelScope()
        self.ticks: list[float] = []
        self._seen: Observation | None = None
        self._clock = clock
        self._is_read = is_read

    def notice(self) -> bool:
        if self._clock.monotonic() >= 30:
            self.scope.cancel()
        return self._is_read

    def deliver(self, _: Attempt, seen: Observation | None) -> bool:
        is_new, self._seen = seen != self._seen, seen
        return is_new

    def tick(self) -> None:
        self.ticks.append(self._clock.monotonic())


def attempt_of(backend: Backend, job: JobSpec) -> Attempt:
    """Return an attempt of a job that runs there."""
    backend.show(job.name, RUNNING)
    return Attempt(job, JobRef(name=job.name, folder=job.folder, handle=f"h-{job.name}"))


@pytest.mark.parametrize(
    ("pushes", "is_read", "look_s", "tick_s"),
    [
        (True, True, 0.5, FASTEST_S),
        (True, False, 5.0, 5.0),
        (False, True, 5.0, FASTEST_S),
        (False, False, 5.0, 5.0),
    ],
    ids=["told and read", "told", "asked and read", "asked"],
)
async def test_what_happens_to_be_quiet_is_looked_at_as_rarely_as_its_readers_bear(
    spec: Spec, pushes: bool, is_read: bool, look_s: float, tick_s: float
) -> None:
    clock = FakeClock()
    backend = Quiet(clock, pushes=pushes)
    watching = Watching(attempt_of(backend, spec("j")), clock, is_read=is_read)
    looks: list[float] = []
    backend.on_look = lambda _: looks.append(clock.monotonic())
    poll = Poll(backend, clock)
    poll.watchers.append(watching)

    with watching.scope, anyio.fail_after(120):
        await poll.run()

    gaps = [after - before for before, after in pairwise(looks)]
    assert max(gaps) == pytest.approx(look_s, abs=1e-3)
    assert gaps[-1] == pytest.approx(look_s, abs=1e-3)
    gaps = [after - before for before, after in pairwise(watching.ticks)]
    assert gaps[-1] == pytest.approx(tick_s, abs=1e-3)


async def test_something_new_is_followed_by_the_next_look_at_once(spec: Spec) -> None:
    clock = FakeClock()
    backend = Quiet(clock, pushes=False)
    watching = Watching(attempt_of(backend, spec("j")), clock, is_read=False)
    looks: list[float] = []

    def look(_: set[str]) -> None:
        looks.append(clock.monotonic())
        if clock.monotonic() > 20:
            backend.show("j", DONE)

    backend.on_look = look
    poll = Poll(backend, clock)
    poll.watchers.append(watching)
    with watching.scope, anyio.fail_after(120):
        await poll.run()

    new = next(place for place, at in enumerate(looks) if at > 20)
    gaps = [after - before for before, after in pairwise(looks)]
    assert gaps[new - 1 : new + 1] == [pytest.approx(5, abs=1e-3), pytest.approx(0.025, abs=1e-3)]


class Patient(Quiet):
    """One that tells nothing, and that a long wait for is not over by itself."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock, pushes=False)
        self.waiting = 0
        self.idle = anyio.Event()

    async def wait_for_change(self, timeout_s: float) -> bool:
        self.waiting += 1
        try:
            if timeout_s >= NOTICE_S:
                self.idle.set()
                await anyio.sleep_forever()
            return await super().wait_for_change(timeout_s)
        finally:
            self.waiting -= 1

    async def looked(self) -> int:
        """Wait until there is nothing to do for some time; return how often it was looked."""
        await self.idle.wait()
        self.idle = anyio.Event()
        looks = len(self.looks)
        self.looks.clear()
        return looks


async def test_what_was_done_is_looked_at_soon_however_long_the_wait_was_to_be(spec: Spec) -> None:
    clock = FakeClock()
    backend = Patient(clock)
    poll = Poll(backend, clock)
    poll.watchers.append(Watching(attempt_of(backend, spec("j")), clock, is_read=False))
    with anyio.fail_after(120):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(poll.run)
            assert await backend.looked() > 1
            before = clock.monotonic()
            poll.quicken()
            assert await backend.looked() > 1
            assert clock.monotonic() > before
            tasks.cancel_scope.cancel()


class Hasty(Quiet):
    """One for whose jobs something is done during every wait."""

    poll: Poll

    async def wait_for_change(self, timeout_s: float) -> bool:
        if timeout_s > 1.2 * FASTEST_S:
            self.poll.quicken()
            await anyio.sleep_forever()
        return await super().wait_for_change(timeout_s)


async def test_however_much_is_done_a_backend_is_looked_at_no_more_often_than_usual(
    spec: Spec,
) -> None:
    clock = FakeClock()
    backend = Hasty(clock, pushes=False)
    watching = Watching(attempt_of(backend, spec("j")), clock, is_read=False)
    looks: list[float] = []

    def look(_: set[str]) -> None:
        looks.append(clock.monotonic())
        if len(looks) == 6:
            watching.scope.cancel()

    backend.on_look = look
    backend.poll = Poll(backend, clock)
    backend.poll.watchers.append(watching)
    with watching.scope, anyio.fail_after(120):
        await backend.poll.run()

    gaps = [after - before for before, after in pairwise(looks)]
    assert gaps == [pytest.approx(FASTEST_S, abs=1e-3)] * 5


class Telling(Quiet):
    """One that tells something as soon as it is given some time."""

    async def wait_for_change(self, timeout_s: float) -> bool:
        return timeout_s > 1.2 * FASTEST_S or await super().wait_for_change(timeout_s)


async def test_what_a_backend_tells_is_looked_at_at_once(spec: Spec) -> None:
    clock = FakeClock()
    backend = Telling(clock, pushes=True)
    watching = Watching(attempt_of(backend, spec("j")), clock, is_read=False)
    looks: list[float] = []

    def look(_: set[str]) -> None:
        looks.append(clock.monotonic())
        if len(looks) == 3:
            watching.scope.cancel()

    backend.on_look = look
    poll = Poll(backend, clock)
    poll.watchers.append(watching)
    with watching.scope, anyio.fail_after(120):
        await poll.run()

    assert looks[-1] == looks[-2]


async def test_one_looks_for_all_and_the_next_when_that_one_leaves(spec: Spec) -> None:
    clock = FakeClock()
    backend = Patient(clock)
    poll = Poll(backend, clock)
    for name in "ab":
        poll.watchers.append(Watching(attempt_of(backend, spec(name)), clock, is_read=False))
    with anyio.fail_after(120):
        async with anyio.create_task_group() as tasks:
            first, other = (asyncio.create_task(poll.run()) for _ in range(2))
            await backend.looked()
            await turns()
            assert backend.waiting == 1

            first.cancel()
            poll.quicken()
            assert await backend.looked() > 1
            other.cancel()
            await asyncio.wait([first, other])
            tasks.cancel_scope.cancel()


async def test_while_there_is_nothing_to_look_at_nobody_is_asked_anything(spec: Spec) -> None:
    clock = FakeClock()
    backend = Patient(clock)
    poll = Poll(backend, clock)
    watching = Watching(attempt_of(backend, spec("j")), clock, is_read=False)
    poll.watchers.append(watching)
    (attempt,) = watching.attempts
    with anyio.fail_after(120):
        async with anyio.create_task_group() as tasks:
            watching.attempts.clear()
            tasks.start_soon(poll.run)
            for _ in range(2):
                await turns()
                assert backend.waiting == 0
                assert backend.looks == []

                watching.attempts.append(attempt)
                poll.quicken()
                assert await backend.looked() > 1
                watching.attempts.clear()
                poll.quicken()  # what it waits for is not there any more
                await turns()
                backend.looks.clear()
            tasks.cancel_scope.cancel()


async def turns() -> None:
    for _ in range(200):
        await anyio.lowlevel.checkpoint()
