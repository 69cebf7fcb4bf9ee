"""How what is decided is carried out: what is told and recorded, and what is left undone."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import pairwise
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from msgspec.structs import replace

from runbus._home import ENV_RESULT, RESULT
from runbus.abc import Capabilities, JobRef, JobSpec, Request, RetryPolicy
from runbus.bus import Bus
from runbus.errors import JournalError, LeaseLost
from runbus.events import (
    Bootstrap,
    Image,
    ImageTransform,
    JobCancelRequested,
    JobDraft,
    JobEnded,
    JobFact,
    JobStarted,
    JobSubmitted,
    JobTransform,
    LogLines,
    Resources,
)
from runbus.jobs import (
    CancelRequest,
    JobRecord,
    JobState,
    JobStore,
    ask_to_cancel,
    intend,
    read_jobs,
    read_requests,
)
from runbus.kernel import Kernel
from runbus.plugins import Plugin
from runbus.supervisor import Supervisor
from runbus.supervisor._supervisor import QUIET_REQUESTS_S, REQUESTS_S
from runbus.testing import FakeClock

from .backend import DONE, QUEUED, RUNNING, Backend
from .test_promises import Led, die
from .test_supervisor import cancel_and_wait, supervise, supervise_with

Spec = Callable[..., JobSpec]


@pytest.fixture
async def bus() -> AsyncIterator[Bus]:
    async with Kernel() as kernel:
        yield kernel.bus


def lose(folder: Path) -> None:
    """Let another process lead an experiment from now on."""
    (folder / "leader").rename(folder / "former")
    (folder / "leader").touch()


@contextmanager
def told_that_another_leads() -> Iterator[None]:
    """See that a task of the block has ended because another process leads."""
    with pytest.raises(ExceptionGroup) as caught:
        yield
    assert caught.group_contains(LeaseLost)


class FullStore(JobStore):
    """One that cannot record facts of one kind."""

    def __init__(self, folder: Path, kind: type[JobFact], error: JournalError) -> None:
        super().__init__(str(folder))
        self._kind, self._error = kind, error

    def record(self, fact: JobFact) -> JobRecord | None:
        if isinstance(fact, self._kind):
            raise self._error
        return super().record(fact)


async def test_a_job_is_ended_although_the_disk_has_no_room_for_who_asked_for_it(
    bus: Bus, spec: Spec, tmp_path: Path
) -> None:
    backend = Backend()
    backend.first = RUNNING
    store = FullStore(tmp_path, JobCancelRequested, JournalError("events.journal", "no space"))
    supervisor = Supervisor(bus, {"a": backend}, store)
    records: list[JobRecord] = []

    async def run() -> None:
        records.extend(await supervisor.run([spec("j")], max_parallel=1))

    with closing(store), anyio.fail_after(120):
        async with anyio.create_task_group() as group:
            group.start_soon(run)
            await backend.submitted.wait()
            await supervisor.cancel("not needed", 1.0)

    assert backend.cancelled == ["j"]
    assert [record.state for record in records] == [JobState.CANCELLED]


@pytest.mark.parametrize("recorded", [True, False], ids=["again", "for the first time"])
async def test_who_was_replaced_ends_no_job(
    bus: Bus, spec: Spec, tmp_path: Path, recorded: bool
) -> None:
    """A second call, with less time, records nothing: it is seen all the same who leads."""
    backend = Backend()
    backend.first = RUNNING
    ended: list[float] = []
    asked = anyio.Event()

    async def end(refs: Sequence[JobRef], grace_s: float) -> None:
        ended.append(grace_s)
        asked.set()

    backend.cancel = end  # type: ignore[method-assign]

    async def act(supervisor: Supervisor, _store: JobStore) -> None:
        await backend.submitted.wait()
        if recorded:
            await supervisor.cancel("not needed", 5.0)
            await asked.wait()
        lose(tmp_path)
        await supervisor.cancel("now", 0.0)

    with told_that_another_leads():
        await supervise_with(bus, tmp_path, backend, [spec("j")], act)

    assert ended == [5.0] * recorded


async def test_a_job_whose_submission_cannot_be_recorded_has_not_failed(
    bus: Bus, spec: Spec, tmp_path: Path
) -> None:
    backend = Backend()
    backend.first = RUNNING
    store = FullStore(tmp_path, JobSubmitted, JournalError("events.journal", "no space"))

    with closing(store), anyio.fail_after(120), pytest.raises(JournalError, match="no space"):
        await Supervisor(bus, {"a": backend}, store).run([spec("j")], max_parallel=1)

    assert backend.submits == ["j"]
    assert read_jobs(str(tmp_path))["j"].state is JobState.PENDING
    assert backend.cancelled == []


async def test_that_a_job_was_cancelled_before_it_began_is_told_before_its_end(
    spec: Spec, tmp_path: Path
) -> None:
    full = Backend(jobs=1)
    full.first = RUNNING
    told: list[str] = []

    async def note(fact: JobFact) -> None:
        if fact.job == "waits":
            told.append(type(fact).__name__)

    async with Kernel(plugins=[Plugin("notes").on(JobFact, note)]) as kernel:

        async def act(supervisor: Supervisor, _store: JobStore) -> None:
            await full.submitted.wait()
            await cancel_and_wait(kernel.bus, supervisor, "waits")
            full.show("runs", DONE)

        await supervise_with(kernel.bus, tmp_path, full, [spec("runs"), spec("waits")], act)

    assert told == ["JobIntended", "JobCancelRequested", "JobEnded"]


async def test_a_second_attempt_that_is_given_up_while_plugins_prepare_it_is_not_submitted(
    bus: Bus, spec: Spec, tmp_path: Path
) -> None:
    backend = Backend()
    backend.first = replace(DONE, exit_code=1)
    store = JobStore(str(tmp_path))
    supervisor = Supervisor(bus, {"a": backend}, store)

    async def prepare(event: JobTransform) -> JobDraft:
        if event.attempt == 2:
            backend.hang = True
            await supervisor.cancel("not needed", 3.5)
            while not store.jobs["j"].cancelling:
                await anyio.lowlevel.checkpoint()
        return event.value

    job = spec("j", retry=RetryPolicy(retries=1, backoff_s=0.0))
    with closing(store), anyio.fail_after(120):
        bus.on(JobTransform, prepare)
        (record,) = await supervisor.run([job], max_parallel=1)

    assert (record.state, record.attempt) == (JobState.CANCELLED, 2)
    assert [grace_s for _, grace_s in backend.asked_to_end] == [3.5]


class Lines:
    """What of a job's output was on the bus when its start was told, and all of it."""

    def __init__(self) -> None:
        self.read = b""
        self.before_start: bytes | None = None
        self.came = anyio.Event()

    @property
    def plugin(self) -> Plugin:
        return Plugin("lines").stream(LogLines, self._lines).on(JobStarted, self._start)

    async def _lines(self, lines: LogLines) -> None:
        self.read += lines.data
        self.came.set()

    async def _start(self, _start: JobStarted) -> None:
        self.before_start = self.read


@pytest.mark.parametrize("begun", [True, False], ids=["begun", "not begun"])
async def test_who_takes_over_tells_what_a_job_prints_while_it_runs_and_not_before(
    spec: Spec, tmp_path: Path, begun: bool
) -> None:
    job, backend, lines = spec("j"), Backend(), Lines()
    backend.first = RUNNING if begun else QUEUED
    async with Kernel() as kernel:
        first = Led(kernel.bus, tmp_path, backend, FakeClock())
        async with first.leading([job]):
            await first.advance(0)
            backend.on_look = die
            await first.clock.advance(1)
            backend.tell()
    log = anyio.Path(job.folder, "stdout.log")
    await log.write_bytes(b"from before\n")

    async with Kernel(plugins=[lines.plugin]) as kernel:
        second = Led(kernel.bus, tmp_path, backend, FakeClock())
        async with second.leading([job]):
            for _ in range(3):
                await second.advance(1)
            if not begun:
                backend.show("j", replace(QUEUED, phase="provisioning"))  # which is told
                for _ in range(3):
                    await second.advance(1)
                assert lines.read == b""
                backend.show("j", RUNNING)
                for _ in range(3):
                    await second.advance(1)
            await lines.came.wait()
            assert lines.read == b"from before\n"
            backend.show("j", DONE)

    assert lines.before_start == (None if begun else b"")
    assert backend.submits == ["j"]


async def test_a_job_that_has_ended_is_looked_at_no_more(
    bus: Bus, spec: Spec, tmp_path: Path
) -> None:
    backend = Backend()
    backend.first = RUNNING
    led = Led(bus, tmp_path, backend, FakeClock())
    async with led.leading([spec("short"), spec("long")]):
        await led.advance(1)
        backend.show("short", DONE)
        await led.advance(1)
        await led.advance(1)
        assert {"short", "long"} in backend.looks
        assert backend.looks[-1] == {"long"}
        backend.show("long", DONE)


async def test_what_may_have_been_on_its_way_is_not_withdrawn_by_who_was_replaced(
    bus: Bus, spec: Spec, tmp_path: Path
) -> None:
    backend, job = Backend(), spec("j")
    store = JobStore(str(tmp_path))
    intend(store, [job])
    store.close()
    ask_to_cancel(str(tmp_path), CancelRequest("j", "not needed", 1))
    backend.on_find = lambda _count: lose(tmp_path)

    with pytest.raises(LeaseLost):
        await supervise(bus, tmp_path, [backend], [job])

    assert backend.asked_to_end == []


async def test_a_job_of_which_it_cannot_be_noted_where_it_will_work_fails_and_leaves_nothing(
    bus: Bus, spec: Spec, tmp_path: Path
) -> None:
    class WithFiles(Backend):
        capabilities = Capabilities(pushes=True, files=True)

    backend, job = WithFiles(), spec("j", artifacts=("*.txt",))
    await anyio.Path(job.folder).rmdir()

    (record,) = await supervise(bus, tmp_path, [backend], [job])

    assert (record.state, backend.submits) == (JobState.FAILED, [])
    assert not await anyio.Path(job.run_folder).exists()


async def test_a_job_goes_to_its_backend_with_what_others_returned_and_as_plugins_want_it(
    bus: Bus, spec: Spec, tmp_path: Path
) -> None:
    planned: list[JobSpec] = []
    asked_about: list[tuple[object, ...]] = []

    class Planning(Backend):
        capabilities = Capabilities(pushes=True, images=True, gpus=2)

        def plan(self, job: JobSpec) -> Request:
            planned.append(job)
            return super().plan(job)

    async def change(event: JobTransform) -> JobDraft:
        return replace(event.value, argv=(*event.value.argv, "--fast"))

    async def image(event: ImageTransform) -> Image:
        assert event.cluster is not None
        machines = event.cluster.spec.accelerator
        asked_about.append((event.cluster.name, event.executor, machines and machines.count))
        return dataclasses.replace(event.value, pip=("numpy",))

    def filled(job: JobSpec) -> JobSpec:
        return replace(job, env={"LR": "0.1"})

    bus.on(JobTransform, change)
    bus.on(ImageTransform, image)
    bus.on(Bootstrap, lambda _event: ["module load cuda"])
    job = spec("j", outputs={"LR": {"job": "p", "key": "lr"}}, bootstrap=("cd work",))
    job = replace(job, resources=Resources(gpus=2))
    store = JobStore(str(tmp_path))
    with closing(store), anyio.fail_after(120):
        supervisor = Supervisor(bus, {"a": Planning()}, store, filled=filled)
        (record,) = await supervisor.run([job], max_parallel=1)

    assert record.reason == ""
    (asked,) = planned
    assert asked_about == [("j", "a", 2)]
    assert asked.argv == ("true", "--fast")
    assert asked.env == {"LR": "0.1", ENV_RESULT: f"{job.folder}/{RESULT}"}
    assert asked.image.pip == ("numpy",)
    assert asked.bootstrap == ("cd work", "module load cuda")


async def test_the_end_of_each_job_is_told_once_and_frees_its_seat(
    spec: Spec, tmp_path: Path
) -> None:
    backend = Backend(jobs=1)
    ends: list[str] = []

    async def note(end: JobEnded) -> None:
        ends.append(end.job)

    async with Kernel(plugins=[Plugin("notes").on(JobEnded, note)]) as kernel:
        jobs = [spec(f"j{number}") for number in range(5)]
        await supervise(kernel.bus, tmp_path, [backend], jobs, parallel=1)

    assert ends == [f"j{number}" for number in range(5)] == backend.submits


class Beating(JobStore):
    """One that notes when it is said that this process still leads."""

    def __init__(self, folder: Path) -> None:
        super().__init__(str(folder))
        self.beats: list[float] = []

    def beat(self, now: float) -> None:
        self.beats.append(now)
        super().beat(now)


async def test_a_leader_says_that_it_leads_although_nothing_happens(
    bus: Bus, spec: Spec, tmp_path: Path
) -> None:
    backend, clock, store = Backend(), FakeClock(), Beating(tmp_path)
    backend.first = RUNNING
    supervisor = Supervisor(bus, {"a": backend}, store, clock=clock)

    async def run() -> None:
        await supervisor.run([spec("j")], max_parallel=1)

    with closing(store), anyio.fail_after(120):
        async with anyio.create_task_group() as group:
            group.start_soon(run)
            await backend.submitted.wait()
            await clock.advance(30)
            backend.show("j", DONE)

    pauses = [after - before for before, after in pairwise(store.beats)]
    assert max(pauses) <= QUIET_REQUESTS_S
    assert store.beats[-1] >= 30 - QUIET_REQUESTS_S


async def test_what_was_asked_of_who_was_replaced_is_left_for_who_leads_now(
    bus: Bus, spec: Spec, tmp_path: Path
) -> None:
    backend, clock = Backend(), FakeClock()
    backend.first = RUNNING
    led = Led(bus, tmp_path, backend, clock)
    with told_that_another_leads():
        async with led.leading([spec("over"), spec("runs")]):
            await led.advance(0)
            ended = bus.wait_for(JobEnded)
            backend.show("over", DONE)
            await ended
            await clock.advance(0)
            lose(tmp_path)
            ask_to_cancel(str(tmp_path), CancelRequest("over", "too late", 1))
            # Nothing else is to be done then: not even to say that it leads.
            await clock.advance(REQUESTS_S)

    assert len(read_requests(str(tmp_path))) == 1


def take_away(folder: Path, *, for_good: bool) -> None:
    folder.rmdir()
    if for_good:
        folder.parent.rmdir()
        folder.parent.touch()


@pytest.mark.parametrize("can_be_made", [True, False])
async def test_the_folder_of_a_job_that_a_power_failure_has_taken_is_made_anew(
    bus: Bus, spec: Spec, tmp_path: Path, can_be_made: bool
) -> None:
    backend, job = Backend(), spec("j")
    store = JobStore(str(tmp_path))
    intend(store, [job])
    store.close()
    take_away(Path(job.folder), for_good=not can_be_made)
    there: list[bool] = []
    backend.on_submit = lambda _name, _count: there.append(os.path.isdir(job.folder))

    await supervise(bus, tmp_path, [backend], [job])

    assert there == [can_be_made]
