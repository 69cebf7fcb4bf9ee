"""Following a run: every point once, to the end, whatever becomes of its files."""

from __future__ import annotations

import logging
import math
import os
from pathlib import Path
from typing import Any

import anyio
import pytest

import runbus
from runbus.events import MetricBatch, MetricWindows
from runbus.metrics import Run, RunTail, RunTailer, StoredRun


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNBUS_HOME", str(tmp_path / "home"))


def journal(run: Run) -> Path:
    (path,) = Path(run.folder, "metrics").glob("*.journal")
    return path


def spoil(run: Run) -> None:
    """Put a file among the journals of a run that is none."""
    Path(run.folder, "metrics", "0.journal").write_bytes(b"what is this?" * 100)


def steps(batch: MetricBatch | MetricWindows) -> list[int]:
    assert isinstance(batch, MetricBatch)
    return memoryview(batch.steps).cast("q").tolist()


async def rest(tailer: RunTailer, tail: RunTail) -> list[MetricBatch | MetricWindows]:
    """Return everything that is committed and was not taken."""
    tail.drain()
    batches = []
    while not tail.is_drained:
        await tailer.news()
        batches += tail.take()
    return batches


async def test_a_follower_sees_every_point_once_and_ends_with_the_run() -> None:
    run = runbus.init()
    run.log("x", 0.5, step=0)
    seen = []

    async for batch in StoredRun(run.folder).follow():
        seen += steps(batch)
        if seen[-1] < 20:
            run.log("x", 0.5, step=seen[-1] + 1)
        else:
            run.finish()

    assert seen == list(range(21))


async def test_a_follower_waits_for_the_first_point() -> None:
    run = runbus.init()
    follower = StoredRun(run.folder).follow()

    async with anyio.create_task_group() as tasks:

        async def log_later() -> None:
            await anyio.sleep(0.12)  # longer than a follower needs to see that nobody writes
            run.log("x", 0.5, step=7)
            run.finish()

        tasks.start_soon(log_later)
        batches = [batch async for batch in follower]

    assert [next(batch.points())[:2] for batch in batches] == [("x", 7)]


def mixed(rows: int) -> StoredRun:
    """A finished run whose rows have one name, two names, and many points in one call."""
    with runbus.init() as run:
        for step in range(rows):
            run.log({"a": 1.0, "b": step}, step=step)
            run.log("c", step, step=step)
        run.series("d").extend([0.0] * 5_000)
    return StoredRun(run.folder)


async def points_of(stored: StoredRun, positions: dict[str, int] | None = None) -> list[Any]:
    batches = [batch async for batch in stored.follow(positions=positions)]
    return [point for batch in batches for point in batch.points()]


async def test_a_sealed_run_is_followed_in_the_order_of_its_journal() -> None:
    stored = mixed(50)
    in_journal = await points_of(stored)
    stored.seal()

    assert await points_of(stored) == in_journal
    assert [name for name, *_ in in_journal[:4]] == ["a", "b", "c", "a"]


async def test_a_follower_goes_on_from_any_position_whether_the_run_is_sealed_or_not() -> None:
    stored = mixed(80_000)
    batches = [batch async for batch in stored.follow()]
    assert len(batches) > 2
    seen, expected = 0, await points_of(stored)
    for is_sealed in (False, True):
        for batch in batches:
            seen += len(batch)
            rest = await points_of(stored, {batch.writer: batch.position})
            assert rest == expected[seen:]
        seen = 0
        if not is_sealed:
            stored.seal()
    # The positions of the segment lead on in it, too.
    for batch in [batch async for batch in stored.follow()]:
        seen += len(batch)
        assert len(batch) < 70_000 + 4_096
        assert await points_of(stored, {batch.writer: batch.position}) == expected[seen:]


async def test_a_journal_that_is_sealed_while_it_is_followed_is_read_to_its_end() -> None:
    run = runbus.init()
    with RunTailer() as tailer:
        tail = tailer.follow(run.id, run.folder)
        run.log("x", 0.5, step=0)
        first = await rest(tailer, tail)
        run.log("x", 0.5, step=1)
        run.finish()
        StoredRun(run.folder).seal()

        second = await rest(tailer, tail)
        third = await rest(tailer, tail)

    assert [steps(batch) for batch in first] == [[0]]
    assert [steps(batch) for batch in second] == [[1]]
    assert third == []


async def test_ranks_that_begin_later_are_followed_too() -> None:
    run = runbus.init()
    run.log("x", 0.5, step=0)
    with RunTailer() as tailer:
        tail = tailer.follow(run.id, run.folder)
        first = await rest(tailer, tail)
        other = runbus.metrics.Run(str(journal(run)) + "-2.journal", run.info, run.folder)
        other.log("y", 1.5, step=1)
        second = await rest(tailer, tail)
    run.finish()
    other.finish()

    assert [batch.names for batch in (*first, *second)] == [("x",), ("y",)]
    assert len({batch.writer for batch in (*first, *second)}) == 2


async def test_while_nobody_takes_the_news_no_more_than_one_batch_is_read() -> None:
    run = runbus.init()
    series = run.series("x")
    with RunTailer() as tailer:
        tail = tailer.follow(run.id, run.folder)
        assert await rest(tailer, tail) == []
        series.append(0.5, 0)
        await tailer.news()
        for step in range(1, 1000):
            series.append(0.5, step)

        held = [step for batch in tail.take() for step in steps(batch)]
        left = [step for batch in await rest(tailer, tail) for step in steps(batch)]
    run.finish()

    assert held == [0]
    assert left == list(range(1, 1000))


async def test_a_flood_comes_in_pieces() -> None:
    with runbus.init() as run:
        run.series("x").extend([0.5] * 300_000)
    with RunTailer() as tailer:
        batches = await rest(tailer, tailer.follow(run.id, run.folder))

    assert [step for batch in batches for step in steps(batch)] == list(range(300_000))
    assert max(map(len, batches)) <= 2 * 65_536


async def test_a_follower_goes_on_where_another_one_stood() -> None:
    run = runbus.init()
    run.log({"a": 1.0, "b": 2.0}, step=0)
    with RunTailer() as tailer:
        before = tailer.follow(run.id, run.folder)
        (first,) = await rest(tailer, before)
    run.log("b", 3.0, step=1)
    run.finish()

    with RunTailer() as tailer:
        tail = tailer.follow(run.id, run.folder, positions=before.positions)
        (second,) = await rest(tailer, tail)

    assert before.positions == {first.writer: first.position}
    assert isinstance(second, MetricBatch)
    assert [(name, step, value) for name, step, _, value in second.points()] == [("b", 1, 3.0)]


@pytest.mark.parametrize(("position", "told"), [(67, "67"), (10**30, str(2**64 - 1)), (-5, "")])
async def test_a_position_that_is_none_costs_a_warning_and_no_point(
    position: int, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    with runbus.init() as run:
        run.log("x", 0.5, step=0)
    with RunTailer() as tailer, caplog.at_level(logging.WARNING, "runbus.metrics"):
        writer = journal(run).stem
        tail = tailer.follow(run.id, run.folder, positions={writer: position})
        (batch,) = await rest(tailer, tail)

    assert steps(batch) == [0]
    assert (f"position {told}" in caplog.text) == bool(told)


async def test_what_lies_behind_a_hole_of_a_power_failure_is_read() -> None:
    run = runbus.init()
    positions = []
    with RunTailer() as tailer:
        tail = tailer.follow(run.id, run.folder)
        for step in range(3):
            run.log("x", 0.5, step=step)
            positions += [batch.position for batch in await rest(tailer, tail)]
    run.finish()
    # The page of the second point never came to the disk.
    with journal(run).open("r+b") as file:
        file.seek(positions[0])
        file.write(bytes(positions[1] - positions[0]))

    batches = [batch async for batch in StoredRun(run.folder).follow()]

    assert [step for batch in batches for step in steps(batch)] == [0, 2]


async def test_a_file_that_is_no_journal_is_told_once_and_hurts_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with runbus.init() as run:
        run.log("x", 0.5, step=0)
    spoil(run)

    with RunTailer() as tailer, caplog.at_level(logging.WARNING, "runbus.metrics"):
        tail = tailer.follow(run.id, run.folder)
        (batch,) = await rest(tailer, tail)
        assert await rest(tailer, tail) == []

    assert steps(batch) == [0]
    assert [record.message.count("not a runbus journal") for record in caplog.records] == [1]


async def test_a_tail_that_is_forgotten_has_no_more_news() -> None:
    run = runbus.init()
    with RunTailer() as tailer:
        gone, stays = (tailer.follow(run.id, run.folder) for _ in range(2))
        tailer.forget(gone)
        run.log("x", 0.5, step=0)

        assert [tail for tail in await tailer.news() if tail is not stays] == []
        assert gone.take() == []
    run.finish()


def test_a_forked_child_hears_nothing_and_is_not_stopped_by_it() -> None:
    async def main() -> int:
        run = runbus.init()
        run.log("x", 0.5, step=0)
        with RunTailer() as tailer:
            tail = tailer.follow(run.id, run.folder)
            await tailer.news()
            child = os.fork()
            if child == 0:
                tail.drain()
                os._exit(len(tail.take()))
            _, status = os.waitpid(child, 0)  # noqa: ASYNC222  # it ends at once
            assert [steps(batch) for batch in tail.take()] == [[0]]
        run.finish()
        return os.waitstatus_to_exitcode(status)

    assert anyio.run(main) == 0


async def test_windows_are_told_once_they_are_over() -> None:
    run = runbus.init()
    for step in range(4):
        run.log({"loss": float(step), "nan": float("nan")}, step=step)
    run.finish()

    rows = [
        row
        async for windows in StoredRun(run.folder).follow(window_s=3600)
        for row in windows.windows()
    ]

    loss = [row for row in rows if row.name == "loss"]
    assert sum(row.points for row in loss) == 4
    assert sum(row.sum for row in loss) == 6.0
    assert (loss[0].first, loss[-1].last, max(row.max for row in loss)) == (0.0, 3.0, 3.0)
    assert {row.start_ns % row.width_ns for row in rows} == {0}
    assert {(row.width_ns, row.finite, row.sum) for row in rows if row.name == "nan"} == {
        (3600 * 10**9, 0, 0.0)
    }


@pytest.mark.parametrize(
    ("width", "error"),
    [*((width, ValueError) for width in (1e-10, -1, math.nan, math.inf, 1e30)), ("x", TypeError)],
)
async def test_a_window_that_no_time_fits_is_refused(width: Any, error: type[Exception]) -> None:
    with runbus.init() as run:
        run.log("x", 0.5)
    stored = StoredRun(run.folder)
    with pytest.raises(error, match="window_s"):
        await anext(stored.follow(window_s=width))
    with pytest.raises(error, match="seconds"):
        stored.metrics("x").windows(width)
    assert len(stored.metrics("x").windows(9.2e9)) == 1
