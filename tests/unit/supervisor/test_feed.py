"""What runs log, on its way to readers that stand still."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import anyio

import runbus
from runbus import Kernel, Plugin
from runbus._clock import SYSTEM_CLOCK
from runbus.abc import JobSpec
from runbus.events import MetricBatch, NoteAdded
from runbus.supervisor._feed import MetricFeed
from runbus.supervisor._positions import Positions
from runbus.supervisor._run_feed import RunFeed
from runbus.testing import FakeClock

from .backend import leads

if TYPE_CHECKING:
    from pathlib import Path

    from runbus.bus import EventStream


async def drained(kernel: Kernel, clock: FakeClock, job: JobSpec) -> None:
    """Have a feed hand on all that a job has logged, however long a reader stands still."""
    feed = MetricFeed(kernel.bus, SYSTEM_CLOCK, leads)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(feed.run)
        feed.follow(job)
        drain = asyncio.create_task(feed.drain(job))
        while not drain.done():
            await clock.advance(1)
            await asyncio.wait([drain], timeout=0.01)
        tasks.cancel_scope.cancel()


async def test_the_cursor_of_a_feed_moves_only_when_every_reader_took_the_batch(
    tmp_path: Path,
) -> None:
    with runbus.init(home=tmp_path) as run:
        run.log("loss", 0.5)
    job = JobSpec(
        experiment_id="e", name="j", run_id=run.id, executor="local", argv=("true",), env={},
        cwd="/", folder=str(tmp_path), run_folder=run.folder,
    )  # fmt: skip
    other = MetricBatch(
        run_id="other", writer="w", names=(), series=b"", steps=b"", times=b"", values=b""
    )
    clock = FakeClock()
    async with (
        Kernel(timers=clock) as kernel,
        kernel.bus.stream(MetricBatch, maxsize=1, overflow="block") as reader,
    ):
        await kernel.bus.emit(other)
        await drained(kernel, clock, job)
        assert Positions(run.folder, "metrics", leads).last == {}

        # It goes on; somebody leads again.
        await reader.batch()
        await drained(kernel, clock, job)
        (batch,) = await reader.batch()

    assert isinstance(batch, MetricBatch)
    assert batch.run_id == run.id
    (at,) = Positions(run.folder, "metrics", leads).last.values()
    assert at == os.stat(next((tmp_path / "experiments").rglob("metrics/*.journal"))).st_size


async def test_a_reader_that_stood_still_gets_every_point_once_and_in_order_afterwards(
    tmp_path: Path,
) -> None:
    clock = FakeClock()
    seen: list[float] = []
    ends: list[int] = []
    arrived = asyncio.Event()

    def values(batch: object) -> list[float]:
        assert isinstance(batch, MetricBatch)
        return [value for *_, value in batch.points()]

    async def read_on(reader: EventStream[MetricBatch]) -> None:
        async for batch in reader:
            seen.extend(values(batch))
            assert isinstance(batch, MetricBatch)
            ends.append(batch.position)
            arrived.set()

    with runbus.init(home=tmp_path) as run:
        job = JobSpec(
            experiment_id="e", name="j", run_id=run.id, executor="local", argv=("true",), env={},
            cwd="/", folder=str(tmp_path), run_folder=run.folder,
        )  # fmt: skip
        async with (
            Kernel(timers=clock) as kernel,
            kernel.bus.stream(MetricBatch, maxsize=1, overflow="block") as stands_still,
            kernel.bus.stream(MetricBatch) as other,
            anyio.create_task_group() as tasks,
        ):
            feed = MetricFeed(kernel.bus, SYSTEM_CLOCK, leads)
            tasks.start_soon(read_on, other)
            tasks.start_soon(feed.run)
            feed.follow(job)
            for number in range(6):
                arrived.clear()
                run.log("loss", float(number))
                with anyio.fail_after(10):
                    while not arrived.is_set():
                        await clock.advance(1)
                        await asyncio.sleep(0.001)
            # Nobody has waited for it twice, and the end of the job does not wait for ever.
            drain = asyncio.create_task(feed.drain(job))
            while not drain.done():
                await clock.advance(1)
                await asyncio.wait([drain], timeout=0.01)
            assert seen == [0, 1, 2, 3, 4, 5]
            assert list(Positions(run.folder, "metrics", leads).last.values()) == ends[:1]

            got: list[float] = []
            with anyio.fail_after(10):
                while len(got) < 6:
                    got += values(await anext(stands_still))
                await feed.drain(job)
            tasks.cancel_scope.cancel()

    assert got == seen
    assert stands_still.statistics().pending == 0
    assert list(Positions(run.folder, "metrics", leads).last.values()) == ends[-1:]


async def test_what_an_attempt_has_recorded_is_told_before_it_is_said_to_be_over(
    tmp_path: Path,
) -> None:
    with runbus.init(home=tmp_path) as run:
        run.log("loss", 0.5)
        run.note("tried")
    job = JobSpec(
        experiment_id="e", name="j", run_id=run.id, executor="local", argv=("true",), env={},
        cwd="/", folder=str(tmp_path), run_folder=run.folder,
    )  # fmt: skip
    notes: list[str] = []
    plugin = Plugin("reads").on(NoteAdded, lambda event: notes.append(event.text))
    # Nobody advances its clock: what is not handed on by the end of the attempt never is.
    async with Kernel(plugins=[plugin]) as kernel, anyio.create_task_group() as tasks:
        feed = RunFeed(kernel.bus, FakeClock(), leads)
        tasks.start_soon(feed.run)
        await asyncio.sleep(0)
        feed.open(job)
        feed.begin(job)

        await feed.drain(job)

        assert notes == ["tried"]
        tasks.cancel_scope.cancel()
