"""What a supervisor promises: each of these falls when the line that keeps the promise goes."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import NoReturn

import anyio
import anyio.lowlevel
import pytest
from msgspec.structs import replace

from runbus.abc import (
    GRACE_S,
    Capabilities,
    JobRef,
    JobSpec,
    Observation,
    Request,
    RetryPolicy,
    Timeouts,
)
from runbus.bus import Bus
from runbus.errors import JournalError, LeaseLost
from runbus.events import (
    Dependency,
    JobEnded,
    JobFact,
    LogLines,
    ParamsLogged,
    RunFinished,
    TaskStart,
)
from runbus.jobs import (
    CancelRequest,
    FactReader,
    JobRecord,
    JobState,
    JobStore,
    StoreSync,
    ask_to_cancel,
)
from runbus.kernel import Kernel
from runbus.metrics import init
from runbus.plugins import Plugin
from runbus.supervisor import Supervisor
from runbus.supervisor._standing import GONE_LOOKS, GONE_S
from runbus.supervisor._supervisor import KILL_S, QUIET_REQUESTS_S, QUIET_S, REQUESTS_S
from runbus.testing import FakeClock

from .backend import DONE, QUEUED, RUNNING, Backend

GONE = Observation(phase="gone")
Spec = Callable[..., JobSpec]


class Killed(Exception):
    """Ends a supervisor where it stands."""


def die(*_: object) -> NoReturn:
    raise Killed


class Disk(StoreSync):
    """A sync that is done when it is said to be."""

    def __init__(self, order: list[str], error: JournalError | None) -> None:
        self._ours, self._theirs = socket.socketpair()
        self._order, self._error = order, error

    def done(self) -> None:
        self._ours.send(b".")

    def fileno(self) -> int:
        return self._theirs.fileno()

    def wait(self) -> None:
        self._order.append("synced")
        self._ours.close()
        self._theirs.close()
        if self._error is not None:
            raise self._error


class SlowStore(JobStore):
    """One whose first sync is that of `disk`, and that notes what each is of."""

    def __init__(self, folder: str, order: list[str], *, error: JournalError | None = None) -> None:
        super().__init__(folder)
        self.disk = Disk(order, error)
        self._syncs = iter([self.disk])
        self.synced: list[set[str]] = []

    def begin_sync(self) -> StoreSync:
        self.synced.append(set(self.jobs))
        return next(self._syncs, None) or super().begin_sync()


class Led:
    """A supervisor on a clock that stands still."""

    def __init__(self, bus: Bus, folder: Path, backend: Backend, clock: FakeClock) -> None:
        self.bus, self.folder, self.backend, self.clock = bus, folder, backend, clock
        self.records: list[JobRecord] = []
        self.looked = anyio.Event()
        self.looked_at = -1.0
        backend.on_look = self._note_look

    async def run(self, jobs: Sequence[JobSpec]) -> None:
        store = JobStore(str(self.folder))
        try:
            supervisor = Supervisor(
                self.bus, {self.backend.name: self.backend}, store, clock=self.clock
            )
            self.records = await supervisor.run(jobs, max_parallel=50)
            assert not store.has_unsynced_ends
        except Killed:
            pass
        finally:
            store.close()

    @asynccontextmanager
    async def leading(self, jobs: Sequence[JobSpec]) -> AsyncIterator[None]:
        """Lead jobs beside the block, to their ends; in bounded time if the block fails."""
        with anyio.fail_after(120):
            async with anyio.create_task_group() as group:
                group.start_soon(self.run, jobs)
                try:
                    yield
                except BaseException:
                    group.cancel_scope.cancel()
                    with anyio.CancelScope(shield=True):
                        await self.clock.advance(GRACE_S + KILL_S + 1)
                    raise

    async def advance(self, seconds: float) -> None:
        """Let time pass, and the supervisor look at least once after that."""
        await self.clock.advance(seconds)
        while self.looked_at < self.clock.monotonic():
            self.looked = anyio.Event()
            self.backend.tell()
            await self.looked.wait()
        await self.clock.advance(0)

    def _note_look(self, _names: set[str]) -> None:
        self.looked_at = self.clock.monotonic()
        self.looked.set()


@pytest.fixture
async def bus() -> AsyncIterator[Bus]:
    async with Kernel() as kernel:
        yield kernel.bus


async def test_a_fact_is_in_the_journal_before_anybody_is_told(spec: Spec, tmp_path: Path) -> None:
    backend = Backend()
    told: list[JobFact] = []
    unrecorded: list[JobFact] = []

    async def look(fact: JobFact) -> None:
        told.append(fact)
        if fact not in list(FactReader(str(tmp_path)).poll()):
            unrecorded.append(fact)

    backend.on_submit = lambda _name, count: setattr(
        backend, "first", DONE if count > 1 else replace(DONE, exit_code=1)
    )
    job = spec("j", retry=RetryPolicy(retries=1, backoff_s=0.0))
    async with Kernel(plugins=[Plugin("looks").on(JobFact, look)]) as kernel:
        store = JobStore(str(tmp_path))
        await Supervisor(kernel.bus, {"a": backend}, store).run([job], max_parallel=1)
        store.close()

    assert [type(fact).__name__ for fact in told] == [
        "JobIntended", "JobSubmitted", "JobStarted", "JobRetrying",
        "JobSubmitted", "JobStarted", "JobEnded",
    ]  # fmt: skip
    assert unrecorded == []


async def test_a_job_is_prepared_while_its_intent_is_written_and_submitted_after_that(
    bus: Bus, spec: Spec, tmp_path: Path
) -> None:
    order: list[str] = []
    store = SlowStore(str(tmp_path), order)

    class Preparing(Backend):
        async def make_ready(self) -> None:
            order.append("ready")

        def plan(self, job: JobSpec) -> Request:
            order.append("planned")
            store.disk.done()
            return super().plan(job)

    @asynccontextmanager
    async def told(_event: TaskStart) -> AsyncIterator[None]:
        order.append("told")
        yield

    backend = Preparing()
    backend.on_submit = lambda name, _count: order.append(f"submitted {name}")
    with closing(store), anyio.fail_after(120):
        bus.on(TaskStart, told)
        await Supervisor(bus, {"a": backend}, store).run([spec("j")], max_parallel=1)

    assert store.synced[0] == {"j"}
    assert order[:5] == ["ready", "planned", "synced", "told", "submitted j"]


async def test_nothing_is_submitted_where_the_intents_cannot_be_written(
    bus: Bus, spec: Spec, tmp_path: Path
) -> None:
    backend = Backend()
    store = SlowStore(str(tmp_path), [], error=JournalError("events.journal", "no space"))
    store.disk.done()

    with closing(store), anyio.fail_after(120), pytest.raises(JournalError, match="no space"):
        await Supervisor(bus, {"a": backend}, store).run([spec("j")], max_parallel=1)

    assert backend.submits == []


async def test_all_output_is_on_the_bus_before_the_end_is(spec: Spec, tmp_path: Path) -> None:
    backend = Backend()
    job = spec("j")
    written = b"x" * 99 + b"\n"
    await anyio.Path(job.folder, "stdout.log").write_bytes(written * 30_000 + b"the end")
    read = bytearray()
    got_all, in_time = anyio.Event(), list[bool]()

    async def note(event: LogLines) -> None:
        read.extend(event.data)
        if read.endswith(b"the end"):
            got_all.set()

    async def ended(_end: JobEnded) -> None:
        with anyio.move_on_after(120):
            await got_all.wait()
            in_time.append(True)

    plugin = Plugin("reads").stream(LogLines, note).on(JobEnded, ended)
    async with Kernel(plugins=[plugin]) as kernel:
        store = JobStore(str(tmp_path))
        await Supervisor(kernel.bus, {"a": backend}, store).run([job], max_parallel=1)
        store.close()

    assert in_time
    assert len(read) == len(written) * 30_000 + 7


async def test_what_a_run_recorded_last_is_told_before_its_end(spec: Spec, tmp_path: Path) -> None:
    told: list[str] = []
    clock = FakeClock()
    run = init(project="p")
    backend = Backend()
    backend.first = RUNNING
    job = replace(spec("j"), run_folder=run.folder, run_id=run.id)
    plugin = Plugin("told")
    for fact in (ParamsLogged, RunFinished, JobEnded):
        plugin = plugin.on(fact, lambda event: told.append(type(event).__name__))

    async with Kernel(plugins=[plugin]) as kernel:
        led = Led(kernel.bus, tmp_path, backend, clock)
        async with led.leading([job]):
            await led.advance(0)
            # The clock stands still: nobody looks for records before the end.
            run.log("x", 1.0, step=0)
            run.params(lr=0.1)
            run.finish()
            backend.show("j", DONE)

    assert told == ["ParamsLogged", "RunFinished", "JobEnded"]


async def test_a_job_that_is_gone_is_lost_only_after_a_while(
    bus: Bus, spec: Spec, tmp_path: Path
) -> None:
    backend = Backend()
    backend.first = GONE
    led = Led(bus, tmp_path, backend, FakeClock())

    async with led.leading([spec("j")]):
        await led.advance(0)
        for _ in range(GONE_LOOKS + 1):
            await led.advance(GONE_S / (GONE_LOOKS + 2))
        assert not led.records
        await led.clock.advance(GONE_S)
        backend.tell()

    assert [record.state for record in led.records] == [JobState.LOST]


def leave_record(folder: str) -> None:
    """Do what the wrapper of a job does at its end, late."""
    Path(folder, "exit.json").write_text(
        '{"status":0,"uptime":3.5,"user":"0m1s","sys":"0m0.5s","reason":""}'
    )


async def lose(led: Led, job: JobSpec) -> None:
    led.backend.first = GONE
    async with led.leading([job]):
        await led.advance(0)
        for _ in range(GONE_LOOKS + 1):
            await led.advance(GONE_S / (GONE_LOOKS + 2))
        await led.clock.advance(GONE_S)
        led.backend.tell()


@pytest.mark.parametrize("when", ["at once", "later"])
async def test_a_lost_job_whose_record_comes_late_was_not_lost(
    when: str, spec: Spec, tmp_path: Path
) -> None:
    job, clock, backend = spec("j"), FakeClock(), Backend()
    ends: list[str] = []

    async def late(end: JobEnded) -> None:
        ends.append(end.state)
        if when == "at once":
            leave_record(job.folder)

    async with Kernel(plugins=[Plugin("late").on(JobEnded, late)]) as kernel:
        led = Led(kernel.bus, tmp_path, backend, clock)
        await lose(led, job)
        if when == "later":
            assert [one.state for one in led.records] == [JobState.LOST]
            leave_record(job.folder)
            async with led.leading([job]):
                pass

    assert [(one.state, one.exit_code) for one in led.records] == [(JobState.SUCCEEDED, 0)]
    assert ends == ["LOST", "SUCCEEDED"]
    assert backend.submits == ["j"]


async def test_a_job_that_is_seen_again_was_not_gone(bus: Bus, spec: Spec, tmp_path: Path) -> None:
    backend = Backend()
    backend.first = GONE
    led = Led(bus, tmp_path, backend, FakeClock())

    async with led.leading([spec("j")]):
        await led.advance(0)
        for seen in (GONE, GONE, QUEUED, GONE, GONE):
            backend.jobs["j"] = seen
            await led.advance(0.4 * GONE_S)
        backend.show("j", DONE)

    assert [record.state for record in led.records] == [JobState.SUCCEEDED]


async def test_a_job_waits_no_longer_because_another_process_leads_it(
    bus: Bus, spec: Spec, tmp_path: Path
) -> None:
    clock = FakeClock()
    backend = Backend()
    backend.first = QUEUED
    job = spec("late", timeouts=Timeouts(queue_s=10))
    first = Led(bus, tmp_path, backend, clock)
    async with first.leading([job]):
        await first.advance(0)
        await first.advance(6)
        backend.on_look = die
        await clock.advance(1)
    second = Led(bus, tmp_path, backend, clock)
    async with second.leading([job]):
        await second.advance(2)
        assert backend.cancelled == []
        await clock.advance(2)
        backend.tell()

    (record,) = second.records
    assert (record.state, record.reason) == (
        JobState.TIMEOUT,
        "it had not started after 10 s, its queue timeout",
    )


class Queue(Backend):
    """One whose queue holds jobs back until others have ended."""

    capabilities = Capabilities(pushes=True, after="queue")


async def test_what_a_queue_has_held_back_waits_from_the_end_of_the_other_whoever_leads(
    bus: Bus, spec: Spec, tmp_path: Path
) -> None:
    clock = FakeClock()
    backend = Queue()
    backend.first = QUEUED
    jobs = [
        spec("p"),
        spec("late", timeouts=Timeouts(queue_s=10), depends_on=(Dependency(job="p"),)),
    ]
    first = Led(bus, tmp_path, backend, clock)
    async with first.leading(jobs):
        await first.advance(0)
        assert backend.submits == ["p", "late"]
        await first.advance(6)
        backend.show("p", replace(DONE, ended_ns=clock.time_ns()))
        await first.advance(6)
        backend.on_look = die
        await clock.advance(1)
    second = Led(bus, tmp_path, backend, clock)
    async with second.leading(jobs):
        await second.advance(2)
        assert backend.cancelled == []
        await clock.advance(2)
        backend.tell()

    assert [str(record.state) for record in second.records] == ["SUCCEEDED", "TIMEOUT"]


class Copying(Backend):
    """One that runs each job as several copies, and can be slow to look at them."""

    capabilities = Capabilities(pushes=True, copies=(0, 1))
    looking = 0

    def __init__(self) -> None:
        super().__init__()
        self.may_look = anyio.Event()
        self.may_look.set()

    async def observe(self, refs: Sequence[JobRef]) -> dict[JobRef, Observation]:
        self.looking += 1
        await self.may_look.wait()
        return await super().observe(refs)


async def test_an_executor_of_copies_knows_those_that_it_has_before_it_gets_others(
    bus: Bus, spec: Spec, tmp_path: Path
) -> None:
    clock = FakeClock()
    backend = Copying()
    backend.first = RUNNING
    jobs = [spec("j[0]"), spec("j[1]")]
    first = Led(bus, tmp_path, backend, clock)
    async with first.leading(jobs[:1]):
        await first.advance(0)
        backend.on_look = die
        backend.tell()
        await clock.advance(6)
    second = Led(bus, tmp_path, backend, clock)
    backend.may_look, backend.looking = anyio.Event(), 0
    async with second.leading(jobs):
        while backend.looking < 2:  # as every leader does, and to know what it has
            await clock.advance(0.1)
        submitted = [*backend.submits]
        backend.may_look.set()
        backend.first = DONE
        backend.show("j[0]", DONE)
        while not second.records:
            await clock.advance(1)
            backend.tell()

    assert submitted == ["j[0]"]
    assert backend.submits == ["j[0]", "j[1]"]


async def test_winding_up_takes_no_longer_than_it_says(
    bus: Bus, spec: Spec, tmp_path: Path
) -> None:
    clock = FakeClock()
    backend = Backend()
    backend.first = RUNNING

    async def ignore(refs: Sequence[JobRef], grace_s: float) -> None:
        backend.cancelled.extend(ref.name for ref in refs)

    backend.cancel = ignore  # type: ignore[method-assign]
    led = Led(bus, tmp_path, backend, clock)
    wound_up = anyio.Event()

    async def run() -> None:
        try:
            await led.run([spec("stubborn")])
        finally:
            wound_up.set()

    with anyio.fail_after(120):
        async with anyio.create_task_group() as group:
            group.start_soon(run)
            await led.looked.wait()
            group.cancel_scope.cancel()
            with anyio.CancelScope(shield=True):
                await clock.advance(GRACE_S + KILL_S - 0.5)
                assert not wound_up.is_set()
                await clock.advance(1)
                await wound_up.wait()

    assert backend.cancelled == ["stubborn"]


async def test_a_cancel_that_one_leader_recorded_is_heeded_by_the_next(
    bus: Bus, spec: Spec, tmp_path: Path
) -> None:
    backend = Backend()
    backend.first = RUNNING
    jobs = [spec("j")]
    cancel, killed = backend.cancel, anyio.Event()

    async def die_when_cancelled(refs: Sequence[JobRef], grace_s: float) -> None:
        killed.set()
        die()

    backend.cancel = die_when_cancelled  # type: ignore[method-assign]
    first = Led(bus, tmp_path, backend, FakeClock())
    async with first.leading(jobs):
        await first.advance(0)
        ask_to_cancel(str(tmp_path), CancelRequest("j", "not needed", 1))
        await first.clock.advance(REQUESTS_S)
    backend.cancel = cancel  # type: ignore[method-assign]
    second = Led(bus, tmp_path, backend, FakeClock())
    await second.run(jobs)

    assert killed.is_set()
    assert [record.state for record in second.records] == [JobState.CANCELLED]


async def test_a_leader_that_was_replaced_says_so_once_whoever_notices_it(
    bus: Bus, spec: Spec, tmp_path: Path
) -> None:
    store, backend = JobStore(str(tmp_path)), Backend()

    def lose(_job: str, count: int) -> None:
        if count == 1:
            (tmp_path / "leader").rename(tmp_path / "former")
            (tmp_path / "leader").touch()

    backend.on_submit = lose
    try:
        with pytest.raises(LeaseLost):
            # Each of the jobs looks before it is submitted, and after.
            await Supervisor(bus, {"a": backend}, store).run([spec("i"), spec("j")], max_parallel=2)
    finally:
        store.close()
    assert backend.submits == ["i"]


async def test_an_end_is_on_the_disk_while_other_jobs_still_run(
    bus: Bus, spec: Spec, tmp_path: Path
) -> None:
    backend = Backend()
    backend.first = RUNNING
    clock, store, over = FakeClock(), JobStore(str(tmp_path)), anyio.Event()

    async def lead() -> None:
        supervisor = Supervisor(bus, {"a": backend}, store, clock=clock)
        await supervisor.run([spec("short"), spec("long")], max_parallel=2)
        over.set()

    async def until(condition: Callable[[], bool]) -> None:
        while not condition():
            backend.tell()
            await clock.advance(0.25)

    with closing(store), anyio.fail_after(120):
        async with anyio.create_task_group() as group:
            group.start_soon(lead)
            await backend.submitted.wait()
            backend.show("short", DONE)
            await until(lambda: store.has_unsynced_ends)
            await until(lambda: not store.has_unsynced_ends)
            assert store.jobs["short"].state is JobState.SUCCEEDED
            assert not store.jobs["long"].state.is_terminal
            backend.show("long", DONE)
            await until(over.is_set)


async def test_where_nothing_happens_for_long_a_cancel_is_still_heeded_soon(
    bus: Bus, spec: Spec, tmp_path: Path
) -> None:
    backend = Backend()
    backend.first = RUNNING
    led = Led(bus, tmp_path, backend, FakeClock())
    async with led.leading([spec("j")]):
        await led.advance(0)
        for _ in range(8):
            await led.clock.advance(QUIET_S)

        ask_to_cancel(str(tmp_path), CancelRequest(None, "enough", 1))
        await led.clock.advance(QUIET_REQUESTS_S)
        await led.clock.advance(0)

        assert backend.cancelled == ["j"]
    assert [record.state for record in led.records] == [JobState.CANCELLED]
