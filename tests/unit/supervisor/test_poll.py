"""When a backend is looked at, and for whom."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import anyio
import pytest

from runbus.abc import JobRef, JobSpec, Observation
from runbus.supervisor._attempt import Attempt
from runbus.supervisor._pace import FASTEST_S
from runbus.supervisor._poll import Poll
from runbus.testing import FakeClock

from .backend import RUNNING, Backend

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
        self._clock = clock
        self._is_read = is_read

    def notice(self) -> bool:
        if self._clock.monotonic() >= 30:
            self.scope.cancel()
        return self._is_read

    def deliver(self, _: Attempt, seen: Observation | None) -> bool:
        assert seen == RUNNING
        return not self.ticks

    def tick(self) -> None:
        self.ticks.append(self._clock.monotonic())


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
    job = spec("j")
    backend.show("j", RUNNING)
    attempt = Attempt(job, JobRef(name="j", folder=job.folder, handle="h-j"))
    watching = Watching(attempt, clock, is_read=is_read)
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
