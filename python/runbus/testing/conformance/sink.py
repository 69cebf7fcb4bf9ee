"""What every sink must do.

    class TestMine(SinkContract):
        @pytest.fixture
        def make(self, tmp_path: Path) -> SinkFactory:
            return lambda: MySink(tmp_path / "metrics")

        @pytest.fixture
        def taken(self, tmp_path: Path) -> Taken:
            return lambda: read_back(tmp_path / "metrics")

`make` returns what a kernel takes as a plugin: a sink, a `BackendPlugin`, or one with its
configuration by `runbus.plugins.managed`. `taken` returns the points that have arrived where the
sink hands them to, as name, step and value, in their order. The tests are async: pytest-asyncio
runs them, in its auto mode.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from runbus.events import MetricBatch, ParamsLogged, TextLogged
from runbus.testing import idle
from runbus.testing._waiting import PATIENCE_S
from runbus.testing.conformance._plugins import (
    LoopWatch,
    ThreadWatch,
    batch_of,
    entered,
)

if TYPE_CHECKING:
    from runbus import Kernel

__all__ = ["SinkContract", "SinkFactory", "Taken"]

SinkFactory: TypeAlias = Callable[[], Any]
Taken: TypeAlias = Callable[[], Iterable[tuple[str, int, float]]]


class SinkContract:
    """Everything that a sink must do.

    Attributes:
        deadline_s: How long to start, to stop, or anything else may take, in seconds.
    """

    deadline_s: float = PATIENCE_S

    @pytest.fixture
    def make(self) -> SinkFactory:
        """Return a function that makes the sink; a subclass says which."""
        raise NotImplementedError("a subclass of the contract has a fixture `make`")

    @pytest.fixture
    def taken(self) -> Taken:
        """Return a function that reads back what has arrived."""
        raise NotImplementedError("a subclass of the contract has a fixture `taken`")

    async def test_it_starts_and_stops_where_nothing_is_measured(self, make: SinkFactory) -> None:
        """A kernel with nothing but the sink stops cleanly and in time."""
        async with entered(make(), self.deadline_s):
            pass

    async def test_every_point_arrives_once_and_in_order(
        self, make: SinkFactory, taken: Taken
    ) -> None:
        """What was emitted has arrived when the kernel has stopped, whole and in order."""
        async with entered(make(), self.deadline_s) as kernel:
            for start in range(0, 300, 30):
                await kernel.bus.emit(points(range(start, start + 30)))
        assert [*taken()] == [("loss", step, float(step)) for step in range(300)]

    async def test_a_sink_that_is_stopped_has_taken_what_waited(
        self, make: SinkFactory, taken: Taken
    ) -> None:
        """`stop_plugin` lets it have what was emitted before."""
        async with entered(make(), self.deadline_s) as kernel:
            await kernel.bus.emit(points(range(1000)))
            (host,) = kernel.hosts
            await kernel.stop_plugin(host.name)
            assert len([*taken()]) == 1000

    async def test_it_takes_what_is_not_finite(self, make: SinkFactory, taken: Taken) -> None:
        """NaN and the infinities are values; those that come after them arrive, too."""
        values = [math.nan, math.inf, -math.inf, 1.0]
        async with entered(make(), self.deadline_s) as kernel:
            await kernel.bus.emit(batch_of("loss", values))
            await self._settle(kernel)
            await self._is_well(kernel)
        assert [*taken()][-1] == ("loss", 3, 1.0)

    async def test_it_takes_any_name(self, make: SinkFactory, taken: Taken) -> None:
        """Names have slashes, blanks and letters of any language."""
        names = ["train/loss", "a b", "größe", "损失", "x" * 300]
        async with entered(make(), self.deadline_s) as kernel:
            for name in names:
                await kernel.bus.emit(batch_of(name, [1.0]))
        assert [name for name, _, _ in taken()] == names

    async def test_it_takes_large_steps_and_integers(self, make: SinkFactory, taken: Taken) -> None:
        """Steps have 64 bits, and so may integer values."""
        async with entered(make(), self.deadline_s) as kernel:
            await kernel.bus.emit(batch_of("n", [(1 << 60) + 1], step=(1 << 62)))
        ((name, step, value),) = taken()
        assert (name, step) == ("n", 1 << 62)
        assert float(value) == float((1 << 60) + 1)

    async def test_it_does_not_hold_up_the_event_loop(
        self, make: SinkFactory, taken: Taken
    ) -> None:
        """Blocking code runs in a worker thread: the loop answers while the sink writes.

        A machine that stalls makes it late once, and not three times.
        """
        async with entered(make(), self.deadline_s) as kernel:
            for _ in range(3):
                async with LoopWatch() as watch:
                    await kernel.bus.emit(points(range(50)))
                    await self._settle(kernel)
                if watch.longest_s < 0.5:
                    break
            assert watch.longest_s < 0.5, f"the loop stood still for {watch.longest_s:.1f} s"

    async def test_it_takes_or_passes_over_other_records(self, make: SinkFactory) -> None:
        """Params and texts do it no harm, whether it wants them or not."""
        about: dict[str, Any] = {"run_id": "r", "experiment_id": "e", "job": "j", "time_ns": 1}
        async with entered(make(), self.deadline_s) as kernel:
            await kernel.bus.publish(ParamsLogged(params={"lr": 0.1, "opt/name": "adam"}, **about))
            await kernel.bus.publish(TextLogged(name="t", step=None, text="hello", **about))
            await self._settle(kernel)
            await self._is_well(kernel)

    async def test_it_says_how_it_is(self, make: SinkFactory) -> None:
        """`health` answers in time."""
        async with entered(make(), self.deadline_s) as kernel:
            await self._is_well(kernel)

    async def test_another_one_works_after_the_first_has_stopped(
        self, make: SinkFactory, taken: Taken
    ) -> None:
        """What one instance leaves behind does not keep the next one from working."""
        for step in range(2):
            async with entered(make(), self.deadline_s) as kernel:
                await kernel.bus.emit(points([step]))
        assert [*taken()][-1] == ("loss", 1, 1.0)

    async def test_no_thread_of_it_outlives_it(self, make: SinkFactory) -> None:
        """Threads that it starts end with it."""
        with ThreadWatch(self.deadline_s) as watch:
            async with entered(make(), self.deadline_s) as kernel:
                await kernel.bus.emit(points(range(10)))
        assert watch.left == []

    async def _settle(self, kernel: Kernel) -> None:
        await idle(kernel.bus, timeout=self.deadline_s)

    async def _is_well(self, kernel: Kernel) -> None:
        health = await kernel.check_health()
        (plugin,) = health.plugins.values()
        assert plugin.healthy, plugin.details
        assert plugin.details.get("lost", 0) == 0


def points(steps: Iterable[int]) -> MetricBatch:
    """Return points whose values are their steps."""
    steps = [*steps]
    return batch_of("loss", [float(step) for step in steps], step=steps[0])
