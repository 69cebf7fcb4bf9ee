"""What readers of a run get, and what their mailboxes say of it."""

from __future__ import annotations

import math
from pathlib import Path

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import runbus
from runbus import Kernel
from runbus.bus import EventStream, Overflow
from runbus.events import Lagged, MetricBatch, MetricWindow
from runbus.metrics import StoredRun

POLICIES: list[Overflow] = ["block", "drop_oldest", "drop_newest", "conflate"]
POINTS = 5_000


class Reader:
    """Reads a stream at its own pace and keeps the books."""

    def __init__(self, stream: EventStream[MetricBatch], pause_s: float) -> None:
        self.stream = stream
        self.pause_s = pause_s
        self.steps: list[int] = []
        self.batches = 0
        self.lost = 0

    async def read(self) -> None:
        async for event in self.stream:
            if isinstance(event, Lagged):
                self.lost += event.n
                continue
            self.batches += 1
            self.steps += memoryview(event.steps).cast("q").tolist()
            self.check()
            await anyio.sleep(self.pause_s)

    def check(self) -> None:
        statistics = self.stream.statistics()
        items = statistics.items
        assert items is not None
        assert statistics.delivered == self.batches
        assert items.delivered == len(self.steps)
        for law in (statistics, items):
            assert law.accepted == law.delivered + law.dropped + law.spilled + law.pending


@pytest.mark.parametrize("maxsize", [1, 3])
async def test_slow_readers_of_every_policy_keep_the_law_in_batches_and_in_points(
    maxsize: int, tmp_path: Path
) -> None:
    run = runbus.init(home=tmp_path)
    async with Kernel() as kernel, anyio.create_task_group() as tasks:
        readers = {}
        for policy in POLICIES:
            key = (lambda batch: batch.run_id) if policy == "conflate" else None
            stream = kernel.bus.stream(MetricBatch, maxsize=maxsize, overflow=policy, key=key)
            readers[policy] = Reader(stream.open(), pause_s=0.002)
            tasks.start_soon(readers[policy].read)

        loss = run.series("loss")
        loss.append(1.0, 0)
        logged, emitted = 1, 0
        async for batch in StoredRun(run.folder).follow():
            emitted += 1
            await kernel.bus.emit(batch)
            for step in range(logged, min(logged + 1 + emitted, POINTS)):
                loss.append(1 / (step + 1), step)
                logged = step + 1
            if logged == POINTS:
                run.finish()
        assert emitted > 50, "too few batches to say anything"
        kernel.bus.seal()

    for policy, reader in readers.items():
        reader.check()
        statistics = reader.stream.statistics()
        items = statistics.items
        assert items is not None
        assert (statistics.accepted, items.accepted) == (emitted, POINTS), policy
        assert (statistics.pending, items.pending) == (0, 0), policy
        assert reader.steps == sorted(set(reader.steps)), policy
        if policy == "conflate":
            assert statistics.superseded == statistics.dropped
        else:
            assert reader.lost == statistics.dropped
    assert readers["block"].steps == list(range(POINTS))


VALUES = st.floats(width=32) | st.floats(-1e3, 1e3)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.lists(st.lists(VALUES, min_size=1, max_size=30), min_size=1, max_size=6))
def test_windows_add_up_to_the_points_that_were_logged(
    data: list[list[float]], tmp_path: Path
) -> None:
    async def follow() -> list[MetricWindow]:
        run = runbus.init(home=tmp_path)
        rows: list[MetricWindow] = []

        async def read() -> None:
            async for windows in StoredRun(run.folder).follow(window_s=0.003):
                rows.extend(windows.windows())

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            for part in data:
                for value in part:
                    run.log("x", value)
                await anyio.sleep(0.001)
            run.finish()
        return rows

    rows = anyio.run(follow)

    values = [value for part in data for value in part]
    finite = [value for value in values if math.isfinite(value)]
    numbers = [value for value in values if not math.isnan(value)]
    assert sum(row.points for row in rows) == len(values)
    assert sum(row.finite for row in rows) == len(finite)
    assert all(0 <= row.first_ns - row.start_ns < row.width_ns for row in rows)
    if numbers:
        assert min(row.min for row in rows if not math.isnan(row.min)) == min(numbers)
        assert max(row.max for row in rows if not math.isnan(row.max)) == max(numbers)
    largest = max(map(abs, finite), default=0.0)
    assert math.isclose(
        math.fsum(row.sum for row in rows),
        math.fsum(finite),
        rel_tol=1e-9,
        abs_tol=1e-12 * largest * len(values),
    )
    assert [row.first_step for row in rows] == sorted(row.first_step for row in rows)
    assert rows[0].first_step == 0
    assert rows[-1].last_step == len(values) - 1
