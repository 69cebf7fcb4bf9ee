"""What runs log, on its way to readers that stand still."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from itertools import accumulate
from typing import TYPE_CHECKING

import anyio
import pytest
from msgspec.structs import replace

import runbus
from runbus import Kernel, Plugin
from runbus._clock import SYSTEM_CLOCK
from runbus._home import ENV_ATTEMPT, ENV_RUN
from runbus.abc import JobSpec
from runbus.attempt import LogMarks, read_cuts
from runbus.errors import LeaseLost
from runbus.events import LogLines, MetricBatch, NoteAdded
from runbus.metrics import RunInfo, make_run_folder
from runbus.supervisor._catch_up import Stragglers
from runbus.supervisor._feed import MetricFeed
from runbus.supervisor._output import JobOutput
from runbus.supervisor._pace import IDLE_S
from runbus.supervisor._positions import Positions
from runbus.supervisor._records import POLL_S
from runbus.supervisor._run_feed import RunFeed
from runbus.testing import FakeClock

from .backend import leads
from .test_ends_of_runs import open_logs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Coroutine
    from pathlib import Path

    from runbus.bus import EventStream


OTHER = MetricBatch(
    run_id="other", writer="w", names=(), series=b"", steps=b"", times=b"", values=b""
)


def job_of(folder: Path, run_id: str, run_folder: str) -> JobSpec:
    """Return a job whose attempt has its files in a folder, and what its run is."""
    return JobSpec(
        experiment_id="e", name="j", run_id=run_id, executor="local", argv=("true",), env={},
        cwd="/", folder=str(folder), run_folder=run_folder,
    )  # fmt: skip


async def waited(clock: FakeClock, step: Coroutine[None, None, None]) -> None:
    """Wait for a step, while time passes."""
    task = asyncio.create_task(step)
    with anyio.fail_after(120):
        while not task.done():
            await clock.advance(1)
            await asyncio.wait([task], timeout=0.01)
    await task


async def drained(kernel: Kernel, clock: FakeClock, job: JobSpec) -> None:
    """Have a feed hand on all that a job has logged, however long a reader stands still."""
    stragglers = Stragglers(kernel.bus)
    feed = MetricFeed(kernel.bus, SYSTEM_CLOCK, stragglers, leads)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stragglers.run)
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
    job = job_of(tmp_path, run.id, run.folder)
    clock = FakeClock()
    async with (
        Kernel(timers=clock) as kernel,
        kernel.bus.stream(MetricBatch, maxsize=1, overflow="block") as reader,
    ):
        await kernel.bus.emit(OTHER)
        await drained(kernel, clock, job)
        assert Positions(run.folder, "metrics", leads).last == {}

        # It continues; somebody leads again.
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
        job = job_of(tmp_path, run.id, run.folder)
        async with (
            Kernel(timers=clock) as kernel,
            kernel.bus.stream(MetricBatch, maxsize=1, overflow="block") as stands_still,
            kernel.bus.stream(MetricBatch) as other,
            anyio.create_task_group() as tasks,
        ):
            stragglers = Stragglers(kernel.bus)
            feed = MetricFeed(kernel.bus, SYSTEM_CLOCK, stragglers, leads)
            tasks.start_soon(stragglers.run)
            tasks.start_soon(read_on, other)
            tasks.start_soon(feed.run)
            feed.follow(job)
            for number in range(6):
                arrived.clear()
                run.log("loss", float(number))
                with anyio.fail_after(120):
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

            # A reader that reads on is waited for: the end is told after all that it is to be told.
            drain = asyncio.create_task(feed.drain(job))
            await asyncio.wait([drain], timeout=0.3)  # the clock stands still meanwhile
            assert not drain.done()
            got: list[float] = []
            with anyio.fail_after(120):
                while len(got) < 6:
                    got += values(await anext(stands_still))
                await drain
                feed.forget(job)
                # Nobody continues looking for more.
                looking = [t for t in asyncio.all_tasks() if "metrics of job" in t.get_name()]
                await asyncio.gather(*looking)
            tasks.cancel_scope.cancel()

    assert got == seen
    assert stands_still.statistics().pending == 0
    assert list(Positions(run.folder, "metrics", leads).last.values()) == ends[-1:]


async def test_a_reader_that_stood_still_is_not_told_of_the_next_attempt_before_its_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await anyio.Path(tmp_path, "runs").mkdir()
    folder = make_run_folder(str(tmp_path), RunInfo.new("run", "j", "p", {}, job="j"))

    def log(attempt: int, value: float) -> None:
        monkeypatch.setenv(ENV_RUN, folder)
        monkeypatch.setenv(ENV_ATTEMPT, str(tmp_path / str(attempt)))
        with runbus.init() as run:
            run.log("loss", value)

    job = job_of(tmp_path, "run", folder)
    clock = FakeClock()
    async with (
        Kernel(timers=clock) as kernel,
        kernel.bus.stream(MetricBatch, maxsize=1, overflow="block") as reader,
        anyio.create_task_group() as tasks,
    ):
        await kernel.bus.emit(OTHER)
        stragglers = Stragglers(kernel.bus)
        feed = MetricFeed(kernel.bus, SYSTEM_CLOCK, stragglers, leads)
        tasks.start_soon(stragglers.run)
        tasks.start_soon(feed.run)
        log(1, 1.0)
        feed.follow(job)
        await waited(clock, feed.drain(job))
        log(2, 2.0)
        assert list(await reader.batch()) == [OTHER]
        with anyio.fail_after(120):
            await feed.drain(job)
            (first,) = await reader.batch()
            feed.follow(replace(job, attempt=2))
            await feed.drain(replace(job, attempt=2))
            (second,) = await reader.batch()
        tasks.cancel_scope.cancel()

    assert isinstance(first, MetricBatch)
    assert isinstance(second, MetricBatch)
    assert [point[-1] for one in (first, second) for point in one.points()] == [1.0, 2.0]


class Printing:
    """A job that prints, a reader of lines that stands still, and one that does not."""

    def __init__(self, folder: Path, clock: FakeClock, feed: RunFeed) -> None:
        self.job = job_of(folder, "r", str(folder))
        self.folder, self.clock, self.feed = folder, clock, feed
        self.stands_still: EventStream[LogLines]
        self.seen: list[LogLines] = []

    def print(self, source: str, text: bytes) -> None:
        with (self.folder / f"{source}.log").open("ab") as log:
            log.write(text)

    async def done(self, step: Awaitable[None]) -> None:
        """Wait for a step, while time passes."""
        task = asyncio.ensure_future(step)
        with anyio.fail_after(120):
            while not task.done():
                await self.clock.advance(1)
                await asyncio.wait([task], timeout=0.01)
        await task

    async def follow(self, reader: EventStream[LogLines]) -> None:
        async for lines in reader:
            assert isinstance(lines, LogLines)
            self.seen.append(lines)

    async def read(self, size: int) -> list[LogLines]:
        """Let the reader that stood still read so many bytes."""
        got: list[LogLines] = []
        with anyio.fail_after(120):
            while sum(len(lines.data) for lines in got) < size:
                lines = await anext(self.stands_still)
                assert isinstance(lines, LogLines)
                got.append(lines)
        return got

    def marked(self) -> tuple[int, int]:
        return LogMarks(str(self.folder), self.clock).last


@asynccontextmanager
async def printing(folder: Path) -> AsyncIterator[Printing]:
    clock = FakeClock()
    async with (
        Kernel(timers=clock) as kernel,
        kernel.bus.stream(LogLines, maxsize=1, overflow="block") as stands_still,
        kernel.bus.stream(LogLines) as other,
        anyio.create_task_group() as tasks,
    ):
        feed = RunFeed(kernel.bus, clock, leads)
        one = Printing(folder, clock, feed)
        one.stands_still = stands_still
        tasks.start_soon(one.follow, other)
        tasks.start_soon(feed.run)
        feed.open(one.job)
        feed.begin(one.job)
        await clock.advance(2)
        yield one
        tasks.cancel_scope.cancel()


async def test_a_reader_of_lines_that_stood_still_gets_each_once_and_in_order_afterwards(
    tmp_path: Path,
) -> None:
    async with printing(tmp_path) as one:
        for number in range(4):
            one.print("stdout", b"out %d\n" % number)
            one.print("stderr", b"err %d\n" % number)
            await one.done(one.feed.hand_on("j"))
        one.print("stdout", b"the last one has no end")
        # The end of the attempt does not wait for ever either.
        await one.done(one.feed.drain(one.job))

        assert len(one.seen) == 9
        # It has taken the first piece, which waits in its mailbox.
        assert one.marked() == (6, 0)

        got = await one.read(4 * 12 + 23)
        assert one.stands_still.statistics().pending == 0
        with anyio.fail_after(120):
            # Nobody continues looking for more.
            looking = [t for t in asyncio.all_tasks() if "lines of job" in t.get_name()]
            await asyncio.gather(*looking)
        assert not open_logs(str(tmp_path))
        assert one.marked() == (4 * 6 + 23, 4 * 6)

    for name in ("stdout", "stderr"):
        pieces = [(lines.offset, lines.data) for lines in got if lines.source == name]
        offsets = accumulate((len(data) for _, data in pieces), initial=0)
        assert [offset for offset, _ in pieces] == list(offsets)[:-1]
        assert b"".join(data for _, data in pieces) == (tmp_path / f"{name}.log").read_bytes()


async def test_the_end_of_an_attempt_waits_for_a_reader_of_lines_that_is_slow_but_reads(
    tmp_path: Path,
) -> None:
    async with printing(tmp_path) as one:
        one.print("stdout", b"1\n")
        await one.done(one.feed.hand_on("j"))
        one.print("stdout", b"2\n")
        await one.done(one.feed.hand_on("j"))
        one.print("stdout", b"3\n")
        await one.feed.hand_on("j")  # it is not waited for again

        drain = asyncio.create_task(one.feed.drain(one.job))
        await asyncio.sleep(0)
        got = await one.read(2)
        assert not drain.done()
        got += await one.read(4)
        with anyio.fail_after(120):
            await drain
        assert [lines.data for lines in got] == [b"1\n", b"2\n", b"3\n"]


async def test_a_reader_of_lines_that_stands_still_in_one_job_is_not_waited_for_in_another(
    tmp_path: Path,
) -> None:
    (tmp_path / "k").mkdir()
    async with printing(tmp_path) as one:
        for number in range(2):
            one.print("stdout", b"%d\n" % number)
            await one.done(one.feed.hand_on("j"))
        other = replace(one.job, name="k", folder=str(tmp_path / "k"))
        one.feed.open(other)
        one.feed.begin(other)
        (tmp_path / "k" / "stdout.log").write_bytes(b"of k\n")

        with anyio.fail_after(120):  # its clock stands still
            await one.feed.hand_on("k")

        assert [lines.job for lines in await one.read(9)] == ["j", "j", "k"]


async def test_what_a_job_prints_after_it_has_emptied_its_log_comes_to_who_stood_still(
    tmp_path: Path,
) -> None:
    async with printing(tmp_path) as one:
        for text in (b"first\n", b"second\n"):
            one.print("stdout", text)
            await one.done(one.feed.hand_on("j"))
        await one.clock.advance(2)
        os.truncate(tmp_path / "stdout.log", 0)
        one.print("stdout", b"all is new, and longer than before\n")
        await one.done(one.feed.hand_on("j"))

        assert one.marked() == (0, 0)  # who leads next hands on all of it
        assert read_cuts(str(tmp_path)) == [("stdout", 13)]
        got = await one.read(6 + 7 + 35)

    assert [(lines.offset, lines.data) for lines in got] == [
        (0, b"first\n"),
        (6, b"second\n"),  # it was in hand
        (0, b"all is new, and longer than before\n"),
    ]


async def test_who_was_replaced_notes_nothing_of_a_log_that_was_emptied(tmp_path: Path) -> None:
    def replaced() -> None:
        raise LeaseLost("e")

    job = job_of(tmp_path, "r", str(tmp_path))
    (tmp_path / "stdout.log").write_bytes(b"a line\n")
    async with Kernel() as kernel:
        # Its clock stands still: there is nothing else to note.
        output = JobOutput(job, kernel.bus, FakeClock(), Stragglers(kernel.bus), replaced)
        await output.hand_on()
        os.truncate(tmp_path / "stdout.log", 0)
        with pytest.raises(LeaseLost):
            await output.hand_on()
        output.close()

    assert read_cuts(str(tmp_path)) == []


async def test_what_one_job_prints_does_not_keep_others_from_their_turn(tmp_path: Path) -> None:
    whole = 20 << 20
    (tmp_path / "stdout.log").write_bytes((b"x" * 1023 + b"\n") * (whole >> 10))
    job = job_of(tmp_path, "r", str(tmp_path))
    async with Kernel() as kernel, kernel.bus.stream(LogLines, maxsize=100) as lines:
        output = JobOutput(job, kernel.bus, FakeClock(), Stragglers(kernel.bus), leads)
        at: list[int] = []
        for final in (False, True):
            await output.hand_on(final=final)
            with anyio.fail_after(120):
                for event in await lines.batch():
                    assert isinstance(event, LogLines)
                    at.append(event.offset + len(event.data))
            assert at[-1] == whole if final else 0 < at[-1] < whole
        output.close()


async def test_what_an_attempt_has_recorded_is_told_before_it_is_said_to_be_over(
    tmp_path: Path,
) -> None:
    with runbus.init(home=tmp_path) as run:
        run.log("loss", 0.5)
        run.note("tried")
    job = job_of(tmp_path, run.id, run.folder)
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


async def test_what_nobody_reads_is_not_followed_and_who_comes_late_gets_all_of_it(
    tmp_path: Path,
) -> None:
    with runbus.init(home=tmp_path) as run:
        run.log("loss", 0.5)
    job = job_of(tmp_path, run.id, run.folder)
    clock = FakeClock()
    async with Kernel(timers=clock) as kernel:
        await drained(kernel, clock, job)
        assert Positions(run.folder, "metrics", leads).last == {}

        async with kernel.bus.stream(MetricBatch) as reader:
            await drained(kernel, clock, job)
            (batch,) = await reader.batch()

    assert isinstance(batch, MetricBatch)
    assert [value for _, _, _, value in batch.points()] == [0.5]
    assert list(Positions(run.folder, "metrics", leads).last)


async def test_who_begins_to_read_while_a_job_runs_is_soon_told_what_it_logs_and_records(
    tmp_path: Path,
) -> None:
    run = runbus.init(home=tmp_path)
    job = job_of(tmp_path, run.id, run.folder)
    clock = FakeClock()
    async with Kernel(timers=clock) as kernel, anyio.create_task_group() as group:
        feed = RunFeed(kernel.bus, clock, leads)
        group.start_soon(feed.run)
        feed.open(job)
        feed.begin(job)
        feed.follow_metrics(job)
        for _ in range(8):
            await clock.advance(IDLE_S)
        run.log("loss", 0.5)
        run.note("said")

        told = anyio.Event()

        async def take(_note: NoteAdded) -> None:
            told.set()

        with anyio.fail_after(120), kernel.bus.on(NoteAdded, take):
            async with kernel.bus.stream(MetricBatch) as reader:
                assert not feed.notice()
                await reader.batch()
                await clock.advance(2 * POLL_S)
                await told.wait()
        group.cancel_scope.cancel()
    run.finish()
