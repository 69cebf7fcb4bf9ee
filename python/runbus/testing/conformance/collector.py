"""What every collector must do.

    class TestMine(CollectorContract):
        @pytest.fixture
        def make(self) -> CollectorFactory:
            return lambda interval_s: MyCollector(interval_s)

`make` takes the interval, in seconds, and returns what a kernel takes as a plugin: a collector, or
a `CollectorPlugin` with its configuration by `runbus.plugins.managed`. The tests are async:
pytest-asyncio runs them, in its auto mode.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

import anyio
import pytest

from runbus import Kernel
from runbus.errors import RunbusError
from runbus.events import Lagged, MetricBatch
from runbus.testing._waiting import PATIENCE_S
from runbus.testing.conformance._plugins import LoopWatch, ThreadWatch

if TYPE_CHECKING:
    from runbus.bus import EventStream

__all__ = ["CollectorContract", "CollectorFactory"]

CollectorFactory: TypeAlias = Callable[[float], Any]

_OFTEN_S = 0.02


class CollectorContract:
    """Everything that a collector must do.

    Attributes:
        deadline_s: How long to start, to stop, or anything else may take, in seconds.
    """

    deadline_s: float = PATIENCE_S

    @pytest.fixture
    def make(self) -> CollectorFactory:
        """Return a function that makes the collector; a subclass says which."""
        raise NotImplementedError("a subclass of the contract has a fixture `make`")

    async def test_it_measures_at_once_and_again_after_its_interval(
        self, make: CollectorFactory
    ) -> None:
        """Two samples come, with numbers in them."""
        async with self._sampling(make(_OFTEN_S)) as (_, samples):
            first, second = await self._next(samples, 2)
        assert len(first)
        assert len(second)

    async def test_it_does_not_measure_before_its_interval_is_over(
        self, make: CollectorFactory
    ) -> None:
        """An interval of an hour gives one sample."""
        async with self._sampling(make(3600.0)) as (_, samples):
            await self._next(samples, 1)
            # In parts: a machine that stands still passes over one of them, not over all.
            for _ in range(10):
                await anyio.sleep(0.01)
            with anyio.move_on_after(0.01) as waiting:
                await self._next(samples, 1)
            assert waiting.cancelled_caught

    async def test_its_names_begin_with_its_own_and_can_be_read(
        self, make: CollectorFactory
    ) -> None:
        """What it measures can be told from what others do, and shown."""
        plugin = make(_OFTEN_S)
        async with self._sampling(plugin) as (kernel, samples):
            (batch,) = await self._next(samples, 1)
            (host,) = kernel.hosts
            prefix = f"{host.name}/"
        for name in batch.names:
            assert name.startswith(prefix)
            assert name.isprintable()
            assert all(part.strip() for part in name.split("/")), name

    async def test_a_sample_is_not_too_large(self, make: CollectorFactory) -> None:
        """All of it is kept: less than 10,000 values, not nested deeper than 16."""
        async with self._sampling(make(_OFTEN_S)) as (kernel, samples):
            await self._next(samples, 1)
            assert (await self._health(kernel)).get("left_out", 0) == 0

    async def test_it_does_not_hold_up_the_event_loop(self, make: CollectorFactory) -> None:
        """Blocking code runs in a worker thread: the loop answers while it measures.

        A machine that stalls makes it late once, and not three times.
        """
        for _ in range(3):
            async with LoopWatch() as watch, self._sampling(make(_OFTEN_S)) as (_, samples):
                await self._next(samples, 1)
            if watch.longest_s < 0.5:
                break
        assert watch.longest_s < 0.5, f"the loop stood still for {watch.longest_s:.1f} s"

    async def test_it_measures_without_a_failure(self, make: CollectorFactory) -> None:
        """Three samples come, and none has failed."""
        async with self._sampling(make(_OFTEN_S)) as (kernel, samples):
            await self._next(samples, 3)
            assert (await self._health(kernel)).get("failed", 0) == 0

    async def test_it_measures_no_more_once_it_is_stopped(self, make: CollectorFactory) -> None:
        """`stop_plugin` ends it, in time and without an error."""
        async with self._sampling(make(_OFTEN_S)) as (kernel, samples):
            await self._next(samples, 1)
            (host,) = kernel.hosts
            with anyio.fail_after(2 * self.deadline_s):
                await kernel.stop_plugin(host.name)
            assert host.failures == []

    async def test_another_one_works_after_the_first_has_stopped(
        self, make: CollectorFactory
    ) -> None:
        """What one instance leaves behind does not keep the next one from working."""
        for _ in range(2):
            async with self._sampling(make(_OFTEN_S)) as (_, samples):
                await self._next(samples, 1)

    async def test_no_thread_of_it_outlives_it(self, make: CollectorFactory) -> None:
        """Threads that it starts end with it."""
        with ThreadWatch(self.deadline_s) as watch:
            async with self._sampling(make(_OFTEN_S)) as (_, samples):
                await self._next(samples, 1)
        assert watch.left == []

    def test_an_interval_that_is_none_is_refused(self, make: CollectorFactory) -> None:
        """Zero seconds would be all the time."""

        async def start() -> None:
            async with self._sampling(make(0.0)):
                pass

        with pytest.raises(RunbusError):
            anyio.run(start)

    @asynccontextmanager
    async def _sampling(
        self, plugin: Any
    ) -> AsyncIterator[tuple[Kernel, EventStream[MetricBatch]]]:
        """Run the collector; no sample of it is missed."""
        async with (
            Kernel(setup_timeout_s=self.deadline_s, shutdown_budget_s=self.deadline_s) as kernel,
            kernel.bus.stream(MetricBatch) as samples,
        ):
            await kernel.start_plugin(plugin)
            yield kernel, samples

    async def _next(self, samples: EventStream[MetricBatch], n: int) -> list[MetricBatch]:
        batches: list[MetricBatch] = []
        with anyio.fail_after(self.deadline_s):
            while len(batches) < n:
                batch = await anext(samples)
                assert not isinstance(batch, Lagged)
                batches.append(batch)
        return batches

    async def _health(self, kernel: Kernel) -> dict[str, Any]:
        health = await kernel.check_health()
        (plugin,) = health.plugins.values()
        assert plugin.healthy, plugin.details
        return dict(plugin.details)
