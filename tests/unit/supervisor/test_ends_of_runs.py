"""What is told of runs about the ends of attempts, and what is not told any more after that."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from msgspec.structs import replace

import runbus
from runbus import Kernel, Plugin
from runbus._clock import SYSTEM_CLOCK
from runbus._home import ENV_ATTEMPT, ENV_RUN
from runbus.abc import JobRef, JobSpec, Observation, Timeouts
from runbus.bus import Bus
from runbus.events import (
    JobEnded,
    LogLines,
    MetricBatch,
    MetricWindows,
    NoteAdded,
    RunFinished,
    RunStarted,
)
from runbus.jobs import End, Facts, JobState
from runbus.metrics import Run, RunInfo, make_run_folder
from runbus.supervisor._attempt import Attempt
from runbus.supervisor._catch_up import Stragglers
from runbus.supervisor._feed import MetricFeed
from runbus.supervisor._poll import Polls
from runbus.supervisor._records import POLL_S
from runbus.supervisor._run_feed import RunFeed
from runbus.supervisor._watch import Watch
from runbus.testing import FakeClock

from .backend import DONE, RUNNING, Backend, leads

Spec = Callable[..., JobSpec]


class Logging:
    """A job whose attempts log, on a clock that stands still."""

    def __init__(self, job: JobSpec, monkeypatch: pytest.MonkeyPatch) -> None:
        self.job, self.clock = job, FakeClock()
        self._monkeypatch = monkeypatch
        self.told: list[str] = []

    def attempt(self, number: int) -> JobSpec:
        folder = os.path.join(os.path.dirname(self.job.folder), str(number))
        os.makedirs(folder, exist_ok=True)
        return replace(self.job, attempt=number, folder=folder)

    def run(self, attempt: int) -> Run:
        self._monkeypatch.setenv(ENV_RUN, self.job.run_folder)
        self._monkeypatch.setenv(ENV_ATTEMPT, self.attempt(attempt).folder)
        return runbus.init()

    def ended(self, state: JobState = JobState.SUCCEEDED) -> JobEnded:
        return Facts(self.clock).ended(self.job, End(state, "", None))

    @property
    def plugin(self) -> Plugin:
        plugin = Plugin("told").on(NoteAdded, self._note).stream(MetricBatch, self._batch)
        return plugin.on(RunStarted, self._fact).on(RunFinished, self._fact)

    async def _note(self, note: NoteAdded) -> None:
        self.told.append(note.text)

    async def _fact(self, fact: RunStarted | RunFinished) -> None:
        self.told.append(type(fact).__name__)

    async def _batch(self, batch: MetricBatch) -> None:
        self.told += [str(value) for *_, value in batch.points()]


@pytest.fixture
def one(spec: Spec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Logging:
    job = spec("j")
    (tmp_path / "runs").mkdir()
    info = RunInfo.new(job.run_id, "j", "p", {}, job="j")
    job = replace(job, run_folder=make_run_folder(str(tmp_path), info))
    monkeypatch.setenv("RUNBUS_SYSTEM", "0")
    return Logging(job, monkeypatch)


@asynccontextmanager
async def fed(bus: Bus, one: Logging, check: Callable[[], None] | None) -> AsyncIterator[RunFeed]:
    feed = RunFeed(bus, one.clock, check)
    with anyio.fail_after(120):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(feed.run)
            yield feed
            tasks.cancel_scope.cancel()


async def test_all_that_each_attempt_has_logged_is_on_the_bus_when_it_is_said_to_be_over(
    one: Logging,
) -> None:
    count = 200_000
    async with (
        Kernel() as kernel,
        kernel.bus.stream(MetricBatch, maxsize=10_000) as reader,
        anyio.create_task_group() as tasks,
    ):
        stragglers = Stragglers(kernel.bus)
        feed = MetricFeed(kernel.bus, SYSTEM_CLOCK, stragglers, leads)
        tasks.start_soon(stragglers.run)
        tasks.start_soon(feed.run)
        for number in (1, 2):
            with one.run(number) as run:
                for step in range(count):
                    run.log("loss", float(number), step=step)
            job = one.attempt(number)
            feed.follow(job)
            with anyio.fail_after(120):
                await feed.drain(job)
            got = 0
            while reader.statistics().pending:  # it is all there: nothing is waited for
                for batch in await reader.batch():
                    assert isinstance(batch, MetricBatch)
                    got += len(batch.values) // 8
            assert got == count
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("late", [True, False], ids=["later", "from the start"])
async def test_windows_are_told_once_each_to_who_reads_them(one: Logging, late: bool) -> None:
    run = one.run(1)
    async with (
        Kernel() as kernel,
        kernel.bus.stream(MetricBatch) as batches,
        fed(kernel.bus, one, leads) as feed,
        AsyncExitStack() as stack,
    ):
        job = one.attempt(1)
        feed.open(job)
        feed.begin(job)
        feed.follow_metrics(job)
        if late:
            run.log("early", 0.5)
            await batches.batch()
        windows = await stack.enter_async_context(kernel.bus.stream(MetricWindows))
        # Who has just begun to read is seen at the next look.
        run.log("early", 0.5)
        await batches.batch()
        run.log("loss", 0.5, step=0)
        run.log("loss", 1.5, step=1)
        run.finish()
        await feed.drain(job)
        await feed.end(job, one.ended())
        told: list[object] = []
        while windows.statistics().pending:
            told += await windows.batch()

    counts = [
        row.points
        for one in told
        if isinstance(one, MetricWindows)
        for row in one.windows()
        if row.name == "loss"
    ]
    assert sum(counts) == 2


async def test_that_a_run_has_begun_is_not_told_before_the_start_of_its_job_is(
    one: Logging,
) -> None:
    with one.run(1) as run:
        run.log("loss", 0.5)
    async with Kernel() as kernel, fed(kernel.bus, one, leads) as feed:
        job, told = one.attempt(1), anyio.Event()

        async def begun(_fact: RunStarted) -> None:
            told.set()

        kernel.bus.on(RunStarted, begun)
        feed.open(job)
        feed.follow_metrics(job)
        with anyio.move_on_after(0.3):
            await told.wait()
        assert not told.is_set()
        feed.begin(job)
        feed.follow_metrics(job)
        await told.wait()


@pytest.mark.parametrize("begun", [True, False])
async def test_what_an_attempt_records_is_told_while_it_runs_once_its_start_is(
    one: Logging, begun: bool
) -> None:
    run = one.run(1)
    run.log("loss", 0.5)
    run.note("said")
    async with Kernel(plugins=[one.plugin]) as kernel, fed(kernel.bus, one, leads) as feed:
        job = one.attempt(1)
        started = kernel.bus.wait_for(RunStarted)
        feed.open(job)
        feed.begin(job)
        feed.follow_metrics(job)
        await started
        second = one.attempt(2)
        if not begun:
            await feed.drain(job)
        feed.open(second)
        with one.run(2) as again:
            again.note("said again")
        if begun:
            feed.begin(second)
        for _ in range(20):
            await one.clock.advance(POLL_S)
        assert [text for text in one.told if text.startswith("said")] == (
            ["said", "said again"] if begun else ["said"]
        )
    run.finish()


async def test_nothing_is_told_of_the_run_of_a_job_that_has_none(one: Logging) -> None:
    async with Kernel(plugins=[one.plugin]) as kernel, fed(kernel.bus, one, leads) as feed:
        job = one.attempt(1)
        feed.open(job)
        feed.begin(job)
        await feed.drain(job)
        await feed.end(job, one.ended())

    assert one.told == []


async def test_what_is_recorded_after_the_end_is_not_told(one: Logging) -> None:
    run = one.run(1)
    run.log("loss", 0.5)
    async with Kernel(plugins=[one.plugin]) as kernel, fed(kernel.bus, one, leads) as feed:
        job = one.attempt(1)
        feed.open(job)
        feed.begin(job)
        await feed.drain(job)
        run.note("last")
        await feed.end(job, one.ended())
        run.note("late")
        for _ in range(20):
            await one.clock.advance(POLL_S)
    run.finish()

    assert [text for text in one.told if text != "0.5"] == ["RunStarted", "last", "RunFinished"]


@pytest.mark.parametrize("check", [leads, None], ids=["leader", "follower"])
async def test_a_run_that_goes_on_after_its_end_is_told_from_there(
    one: Logging, check: Callable[[], None] | None
) -> None:
    """Who only follows notes nothing on the disk."""
    async with Kernel(plugins=[one.plugin]) as kernel, fed(kernel.bus, one, check) as feed:
        for number, state in ((1, JobState.PREEMPTED), (2, JobState.SUCCEEDED)):
            with one.run(number) as run:
                run.log("loss", float(number))
                run.note(f"attempt {number}")
            job = one.attempt(number)
            feed.open(job)
            feed.begin(job)
            await feed.drain(job)
            await feed.end(job, one.ended(state))

    assert [text for text in one.told if not text.endswith(".0")] == [
        "RunStarted", "attempt 1", "RunFinished", "RunStarted", "attempt 2", "RunFinished",
    ]  # fmt: skip
    assert [text for text in one.told if text.endswith(".0")] == ["1.0", "2.0"]


def open_logs(folder: str) -> list[str]:
    """Return the files below a folder that this process has open."""
    links = (os.path.join("/proc/self/fd", number) for number in os.listdir("/proc/self/fd"))
    targets = [os.readlink(link) for link in links if os.path.islink(link)]
    return [target for target in targets if target.startswith(folder)]


@pytest.mark.parametrize("drained", [True, False], ids=["it is over", "nobody follows any more"])
async def test_the_logs_of_an_attempt_are_closed(one: Logging, drained: bool) -> None:
    job = one.attempt(1)
    await anyio.Path(job.folder, "stdout.log").write_text("a line\n")
    async with Kernel() as kernel:
        async with fed(kernel.bus, one, leads) as feed:
            feed.open(job)
            feed.begin(job)
            await feed.hand_on("j")
            assert open_logs(job.folder)
            if drained:
                await feed.drain(job)
                assert not open_logs(job.folder)
        assert not open_logs(job.folder)


async def test_what_was_seen_of_one_attempt_is_not_taken_for_the_next(one: Logging) -> None:
    taken: list[tuple[int, Observation | None]] = []
    backend = Backend()
    async with Kernel() as kernel:
        watch = Watch(
            backend, RunFeed(kernel.bus, one.clock, leads),
            lambda attempt, seen: taken.append((attempt.job.attempt, seen)), one.clock, Polls(),
        )  # fmt: skip
        first, second = (
            Attempt(job, JobRef(name="j", folder=job.folder, handle=f"h{job.attempt}"))
            for job in (one.attempt(1), one.attempt(2))
        )
        watch.add(first)
        assert watch.deliver(first, DONE)
        watch.remove(first)
        watch.add(second)
        assert not watch.deliver(first, DONE)
        backend.show("j", RUNNING)
        watch.tick()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch.run)
            with anyio.fail_after(120):
                while not taken:
                    await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()

    assert set(taken) == {(2, RUNNING)}


async def test_what_jobs_write_is_waited_for_by_who_reads_it_and_by_who_times_their_silence(
    one: Logging,
) -> None:
    job = one.attempt(1)
    silent = replace(job, timeouts=Timeouts(idle_s=5))
    async with Kernel() as kernel:
        feed = RunFeed(kernel.bus, one.clock, leads)
        watch = Watch(Backend(), feed, lambda *_: None, one.clock, Polls())
        ref = JobRef(name="j", folder=job.folder, handle="h")
        noticed = [watch.notice()]
        watch.add(Attempt(job, ref))
        noticed.append(watch.notice())
        async with kernel.bus.stream(LogLines):
            noticed.append(watch.notice())
        watch.add(Attempt(silent, ref))
        noticed.append(watch.notice())

    assert noticed == [False, False, True, True]
