"""Jobs that come while others are led."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from msgspec.structs import replace

from runbus.abc import EarlyStop, Executor, JobRef, JobSpec, Request
from runbus.bus import Bus
from runbus.errors import JournalError
from runbus.events import Dependency, JobEnded, JobFact, JobIntended, JobStarted, JobSubmitted
from runbus.jobs import (
    STOPPED_EARLY,
    JobRecord,
    JobState,
    JobStore,
    StoreSync,
    intend,
    read_jobs,
)
from runbus.kernel import Kernel
from runbus.metrics import init
from runbus.supervisor import Supervisor
from runbus.testing import FakeClock

from .backend import DONE, RUNNING, Backend
from .test_promises import Disk, Queue
from .test_work import FullStore

Spec = Callable[..., JobSpec]


@pytest.fixture
async def bus() -> AsyncIterator[Bus]:
    async with Kernel() as kernel:
        yield kernel.bus


class Store(JobStore):
    """One whose syncs are done when it is said so, once `disk` is there."""

    disk: Disk | None = None

    def begin_sync(self) -> StoreSync:
        disk, self.disk = self.disk, None
        return disk or super().begin_sync()


class Adding:
    """A supervisor that leads a job called "first" until it is told that this is done."""

    def __init__(self, bus: Bus, folder: Path, backend: Backend) -> None:
        self.backend = backend
        backend.first = RUNNING
        self.store = Store(str(folder))
        self.supervisor = Supervisor(bus, {"a": backend}, self.store, clock=FakeClock())
        self.records: list[JobRecord] = []
        self.is_over = False

    async def run(self, jobs: Sequence[JobSpec]) -> None:
        self.records = await self.supervisor.run(jobs, max_parallel=10)
        self.is_over = True

    @asynccontextmanager
    async def leading(self, first: JobSpec, *others: JobSpec) -> AsyncIterator[None]:
        """Lead jobs, and what is added in the block, to their ends."""
        with closing(self.store), anyio.fail_after(120):
            async with anyio.create_task_group() as group:
                group.start_soon(self.run, [first, *others])
                await self.backend.submitted.wait()
                self.backend.first = DONE
                yield
                self.backend.show(first.name, DONE)

    async def add(self, *jobs: JobSpec, executors: Mapping[str, Executor] | None = None) -> None:
        await self.supervisor.add(jobs, executors)


async def turns() -> None:
    """Let all others do what they can do."""
    for _ in range(200):
        await anyio.lowlevel.checkpoint()


async def test_a_job_that_is_added_is_submitted_after_its_intent_is_on_the_disk(
    bus: Bus, spec: Spec, tmp_path: Path
) -> None:
    adding, order = Adding(bus, tmp_path, Backend()), list[str]()

    async def told(fact: JobFact) -> None:
        order.append(f"{type(fact).__name__} {fact.job}")

    async with adding.leading(spec("first")):
        bus.on(JobIntended, told)
        adding.backend.on_submit = lambda name, _count: order.append(f"submitted {name}")
        disk = adding.store.disk = Disk(order, None)
        async with anyio.create_task_group() as group:
            group.start_soon(adding.add, spec("more"))
            await turns()
            assert order == ["JobIntended more"]
            disk.done()

    assert order == ["JobIntended more", "synced", "submitted more"]
    assert [(one.name, str(one.state)) for one in adding.records] == [
        ("first", "SUCCEEDED"), ("more", "SUCCEEDED"),
    ]  # fmt: skip
    assert adding.backend.finds == []  # nobody can have submitted it before


async def test_the_last_job_may_end_while_another_is_added(
    bus: Bus, spec: Spec, tmp_path: Path
) -> None:
    adding = Adding(bus, tmp_path, Backend())
    async with adding.leading(spec("first")):
        disk = adding.store.disk = Disk([], None)
        async with anyio.create_task_group() as group:
            group.start_soon(adding.add, spec("more"))
            await turns()
            ended = bus.wait_for(JobEnded)
            adding.backend.show("first", DONE)
            await ended
            await turns()
            assert not adding.is_over
            disk.done()

    assert [one.state for one in adding.records] == [JobState.SUCCEEDED] * 2


async def test_what_cannot_be_recorded_is_not_submitted_and_keeps_nothing_from_its_end(
    bus: Bus, spec: Spec, tmp_path: Path
) -> None:
    adding = Adding(bus, tmp_path, Backend())
    async with adding.leading(spec("first")):
        adding.store.disk = Disk([], JournalError("events.journal", "no space"))
        adding.store.disk.done()
        with pytest.raises(JournalError, match="no space"):
            await adding.add(spec("more"))

    assert [one.name for one in adding.records] == ["first"]
    assert adding.backend.submits == ["first"]


async def test_one_sync_of_the_journal_begins_when_the_one_before_is_done(
    bus: Bus, spec: Spec, tmp_path: Path
) -> None:
    adding = Adding(bus, tmp_path, Backend())
    disks = [Disk([], None) for _ in range(3)]
    begun: list[int] = []

    def begin() -> StoreSync:
        begun.append(len(begun))
        return disks[begun[-1]]

    begin_sync, adding.store.begin_sync = adding.store.begin_sync, begin  # type: ignore[method-assign]
    with closing(adding.store), anyio.fail_after(120):
        async with anyio.create_task_group() as group:
            group.start_soon(adding.run, [spec("first")])
            group.start_soon(adding.add, spec("x"))
            group.start_soon(adding.add, spec("y"))
            for number, disk in enumerate(disks):
                await turns()
                assert begun == list(range(number + 1))
                disk.done()
            await adding.backend.submitted.wait()
            adding.store.begin_sync = begin_sync  # type: ignore[method-assign]
            adding.backend.first = DONE
            for name in ("first", "x", "y"):
                adding.backend.show(name, DONE)

    assert [one.state for one in adding.records] == [JobState.SUCCEEDED] * 3


async def test_who_gives_up_adding_a_job_waits_for_the_disk(
    bus: Bus, spec: Spec, tmp_path: Path
) -> None:
    adding, order = Adding(bus, tmp_path, Backend()), list[str]()
    async with adding.leading(spec("first")):
        disk = adding.store.disk = Disk(order, None)
        async with anyio.create_task_group() as group:
            group.start_soon(adding.add, spec("more"))
            await turns()
            group.cancel_scope.cancel()
            with anyio.CancelScope(shield=True):
                await turns()
                order.append("done")
                disk.done()

    assert order == ["done", "synced"]


async def test_a_job_that_is_added_again_by_who_leads_now_is_looked_up(
    bus: Bus, spec: Spec, tmp_path: Path
) -> None:
    adding = Adding(bus, tmp_path, Backend())
    more = spec("more")
    intend(adding.store, [more])
    async with adding.leading(spec("first")):
        adding.backend.jobs["more"] = DONE
        found = bus.wait_for(JobSubmitted, lambda fact: fact.job == "more")
        await adding.add(more)
        await found
        adding.backend.tell()

    assert [one.state for one in adding.records] == [JobState.SUCCEEDED] * 2
    assert adding.backend.submits == ["first"]


class Ready(Backend):
    """One that says when it is ready, and how many jobs it has at the same time."""

    def __init__(self, name: str, *, jobs: int | None = None) -> None:
        super().__init__(name, jobs=jobs)
        self.order: list[str] = []
        self.most = 0

    async def make_ready(self) -> None:
        await turns()
        self.order.append("ready")

    async def submit(self, request: Request) -> JobRef:
        self.order.append(request.job.name)
        ref = await super().submit(request)
        self.most = max(self.most, sum(one.phase != "ended" for one in self.jobs.values()))
        return ref


async def test_what_is_added_may_bring_its_own_executor_with_its_own_places(
    bus: Bus, spec: Spec, tmp_path: Path
) -> None:
    adding, other = Adding(bus, tmp_path, Backend()), Ready("b", jobs=1)
    other.first = RUNNING

    async def end_it(start: JobStarted) -> None:
        if start.job != "first":
            other.show(start.job, DONE)

    bus.on(JobStarted, end_it)
    async with adding.leading(spec("first")):
        jobs = [spec("x", "b"), spec("y", "b"), spec("z")]
        not_taken = Ready("a")
        await adding.add(*jobs, executors={"b": other, "a": not_taken})

    assert [str(one.state) for one in adding.records] == ["SUCCEEDED"] * 4
    assert other.order == ["ready", "x", "y"]
    assert other.most == 1
    assert not_taken.order == []


async def test_a_queue_that_comes_with_what_is_added_holds_jobs_back(
    bus: Bus, spec: Spec, tmp_path: Path
) -> None:
    adding, queue = Adding(bus, tmp_path, Backend()), Queue("q")
    queue.first = RUNNING
    jobs = [spec("parent", "q"), spec("child", "q", depends_on=(Dependency(job="parent"),))]
    async with adding.leading(spec("first")):
        begun = bus.wait_for(JobSubmitted, lambda fact: fact.job == "child")
        await adding.add(*jobs, executors={"q": queue})
        await begun  # while its parent runs
        for job in jobs:
            queue.show(job.name, DONE)

    assert [str(one.state) for one in adding.records] == ["SUCCEEDED"] * 3


@pytest.mark.parametrize("is_added", [True, False], ids=["added", "given"])
async def test_a_job_is_ended_by_its_own_rule(
    bus: Bus, spec: Spec, tmp_path: Path, is_added: bool
) -> None:
    adding = Adding(bus, tmp_path, Backend())
    with init(project="p") as run:
        run.log("loss", float("nan"), step=0)
    stops = spec("stops", stop=EarlyStop(stop_when="loss is nan"))
    stops = replace(stops, run_folder=run.folder, run_id=run.id)
    begun = bus.wait_for(JobStarted, lambda fact: fact.job == "stops")
    ended = bus.wait_for(JobEnded, lambda fact: fact.job == "stops")
    async with adding.leading(spec("first"), *([] if is_added else [stops])):
        if is_added:
            adding.backend.first = RUNNING
            await adding.add(stops)
        await begun
        await turns()
        adding.backend.tell()
        end = await ended

    assert end.state is JobState.CANCELLED
    assert end.reason.startswith(STOPPED_EARLY)


async def test_what_is_added_before_jobs_are_led_waits_for_that(
    bus: Bus, spec: Spec, tmp_path: Path
) -> None:
    adding = Adding(bus, tmp_path, Backend())
    async with anyio.create_task_group() as group:
        group.start_soon(adding.add, spec("more"))
        await turns()
        assert adding.store.jobs == {}
        async with adding.leading(spec("first")):
            pass

    assert [one.name for one in adding.records] == ["first", "more"]


async def test_a_job_whose_addition_is_cancelled_is_led_once_it_is_on_record(
    bus: Bus, spec: Spec, tmp_path: Path
) -> None:
    adding = Adding(bus, tmp_path, Backend())
    async with adding.leading(spec("first")):
        disk = adding.store.disk = Disk([], None)
        async with anyio.create_task_group() as group:
            group.start_soon(adding.add, spec("more"), spec("most"))
            bus.on(JobIntended, lambda _: group.cancel_scope.cancel())
            with anyio.CancelScope(shield=True):
                await turns()
                disk.done()

    assert [(one.name, one.state) for one in adding.records] == [
        (name, JobState.SUCCEEDED) for name in ("first", "more", "most")
    ]


async def test_a_job_whose_addition_is_cancelled_before_is_on_no_record(
    bus: Bus, spec: Spec, tmp_path: Path
) -> None:
    adding = Adding(bus, tmp_path, Backend())
    async with adding.leading(spec("first")):
        with anyio.CancelScope() as scope:
            scope.cancel()
            await adding.add(spec("more"))

    assert scope.cancelled_caught
    assert set(read_jobs(str(tmp_path))) == {"first"}


async def test_what_is_added_when_all_is_over_does_not_happen(
    bus: Bus, spec: Spec, tmp_path: Path
) -> None:
    adding = Adding(bus, tmp_path, Backend())
    async with adding.leading(spec("first")):
        pass
    await adding.add(spec("late"))

    assert set(read_jobs(str(tmp_path))) == {"first"}
    assert adding.backend.submits == ["first"]


async def test_what_is_added_where_nothing_can_be_led_does_not_wait_for_it(
    bus: Bus, spec: Spec, tmp_path: Path
) -> None:
    backend = Backend()
    store = FullStore(tmp_path, JobIntended, JournalError("events.journal", "no space"))
    supervisor = Supervisor(bus, {"a": backend}, store)
    with closing(store), anyio.fail_after(120):
        async with anyio.create_task_group() as group:
            group.start_soon(supervisor.add, [spec("more")])
            with pytest.raises(JournalError, match="no space"):
                await supervisor.run([spec("first")], max_parallel=1)

    assert backend.submits == []
