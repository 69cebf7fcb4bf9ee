"""The supervisor against a backend that does as it is told."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from itertools import pairwise
from pathlib import Path

import anyio
import pytest
from msgspec.structs import replace

from runbus._clock import SYSTEM_CLOCK
from runbus.abc import GRACE_S, JobRef, JobSpec, RetryPolicy, Timeouts
from runbus.bus import Bus
from runbus.errors import ConnectionLost, JobNotStarted, LeaseLost, SubmitUnknown
from runbus.events import JobEnded, MetricBatch, ParamsLogged, RunFinished, RunStarted, TagsChanged
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
from runbus.metrics import init
from runbus.plugins import Plugin
from runbus.supervisor import Supervisor
from runbus.supervisor._catch_up import Stragglers
from runbus.supervisor._feed import MetricFeed
from runbus.supervisor._output import JobOutput
from runbus.supervisor._pace import POLLED_SLOWEST_S
from runbus.supervisor._positions import Positions
from runbus.supervisor._work import FIND_MAX_S, FIND_S
from runbus.testing import FakeClock

from .backend import DONE, QUEUED, RUNNING, Backend, leads


@pytest.fixture
async def bus() -> AsyncIterator[Bus]:
    async with Kernel() as kernel:
        yield kernel.bus


async def supervise(
    bus: Bus, folder: Path, backends: Sequence[Backend], jobs: Sequence[JobSpec], parallel: int = 50
) -> list[JobRecord]:
    store = JobStore(str(folder))
    try:
        with anyio.fail_after(120):
            supervisor = Supervisor(bus, {one.name: one for one in backends}, store)
            return await supervisor.run(jobs, max_parallel=parallel)
    finally:
        store.close()


async def supervised_by(
    clock: FakeClock, bus: Bus, folder: Path, backend: Backend, job: JobSpec
) -> list[JobRecord]:
    """Lead a job to its end while a clock runs as fast as it can."""
    records: list[JobRecord] = []
    store = JobStore(str(folder))
    try:
        with anyio.fail_after(120):
            async with anyio.create_task_group() as group:
                supervisor = Supervisor(bus, {backend.name: backend}, store, clock=clock)

                async def run() -> None:
                    records.extend(await supervisor.run([job], max_parallel=1))
                    group.cancel_scope.cancel()

                group.start_soon(run)
                while True:
                    await clock.advance(0.25)
    finally:
        store.close()
    return records


Spec = Callable[..., JobSpec]


async def test_all_jobs_of_a_backend_are_looked_at_in_one_go(
    bus: Bus, spec: Spec, tmp_path: Path
) -> None:
    backend = Backend()
    backend.first = RUNNING
    jobs = [spec(f"j{number}") for number in range(20)]

    def finish(names: set[str]) -> None:
        if len(names) == len(jobs):
            for name in names:
                backend.show(name, DONE)

    backend.on_look = finish
    records = await supervise(bus, tmp_path, [backend], jobs)

    assert {record.state for record in records} == {JobState.SUCCEEDED}
    assert len(backend.looks) < 3 * len(jobs)


async def test_a_backend_that_must_be_asked_is_asked_ever_more_seldom(
    bus: Bus, spec: Spec, tmp_path: Path
) -> None:
    clock, backend = FakeClock(), Backend(pushes=False)
    backend.first = RUNNING
    looked: list[float] = []

    def look(_names: set[str]) -> None:
        looked.append(clock.monotonic())
        if len(looked) == 20:
            backend.show("quiet", DONE)

    async def wait(timeout_s: float) -> bool:
        over = anyio.Event()
        clock.call_later(timeout_s + 1e-6, over.set)  # its nanoseconds may be fewer than asked for
        await over.wait()
        return False

    backend.on_look = look
    backend.wait_for_change = wait  # type: ignore[method-assign]
    (record,) = await supervised_by(clock, bus, tmp_path, backend, spec("quiet"))

    assert record.state is JobState.SUCCEEDED
    pauses = [after - before for before, after in pairwise(looked)]
    assert all(after > before - 0.001 for before, after in pairwise(pauses))
    assert pauses[-1] == pytest.approx(POLLED_SLOWEST_S)


async def test_a_submit_whose_answer_is_lost_is_looked_up_and_not_repeated(
    bus: Bus, spec: Spec, tmp_path: Path
) -> None:
    backend = Backend()

    def lose(name: str, _count: int) -> None:
        backend.jobs[name] = DONE
        raise SubmitUnknown(name, "no answer")

    backend.on_submit = lose
    (record,) = await supervise(bus, tmp_path, [backend], [spec("once")])

    assert (record.state, record.handle) == (JobState.SUCCEEDED, "h-once")
    assert (backend.submits, backend.finds) == (["once"], ["once"])


async def test_the_reason_of_a_job_that_was_not_started_says_what_to_do(
    bus: Bus, spec: Spec, tmp_path: Path
) -> None:
    backend = Backend()

    def refuse(name: str, _count: int) -> None:
        raise JobNotStarted(name, "no such key", "make one")

    backend.on_submit = refuse
    (record,) = await supervise(bus, tmp_path, [backend], [spec("far")])

    assert record.state is JobState.FAILED
    assert record.reason == "job 'far' could not be started: no such key; make one"


async def test_a_submit_that_never_arrived_is_repeated_once_that_is_known(
    bus: Bus, spec: Spec, tmp_path: Path
) -> None:
    backend = Backend()

    def lose_first(name: str, count: int) -> None:
        if count == 1:
            raise SubmitUnknown(name, "no answer")

    def down_at_first(count: int) -> None:
        if count == 1:
            raise ConnectionLost("h", "down")

    backend.on_submit, backend.on_find = lose_first, down_at_first
    (record,) = await supervise(bus, tmp_path, [backend], [spec("twice")])

    assert record.state is JobState.SUCCEEDED
    assert (backend.submits, backend.finds) == (["twice", "twice"], ["twice", "twice"])


async def test_what_an_earlier_process_submitted_without_recording_it_is_found(
    bus: Bus, spec: Spec, tmp_path: Path
) -> None:
    jobs = [spec("was sent"), spec("was not")]
    earlier = JobStore(str(tmp_path))
    intend(earlier, jobs)
    earlier.close()
    backend = Backend()
    backend.jobs["was sent"] = DONE

    records = await supervise(bus, tmp_path, [backend], jobs)

    assert {record.state for record in records} == {JobState.SUCCEEDED}
    assert sorted(backend.finds) == ["was not", "was sent"]
    assert backend.submits == ["was not"]


async def test_new_jobs_are_not_looked_up(bus: Bus, spec: Spec, tmp_path: Path) -> None:
    backend = Backend()

    await supervise(bus, tmp_path, [backend], [spec("new")])

    assert backend.finds == []


async def test_jobs_that_wait_for_a_full_executor_keep_no_others_out(
    bus: Bus, spec: Spec, tmp_path: Path
) -> None:
    full, other = Backend("full", jobs=1), Backend("other")
    full.first = RUNNING
    jobs = [spec(f"f{number}", "full") for number in range(3)] + [spec("o", "other")]

    async with anyio.create_task_group() as group:

        async def finish() -> None:
            await other.submitted.wait()
            assert full.submits == ["f0"]
            full.first = DONE
            full.show("f0", DONE)

        group.start_soon(finish)
        records = await supervise(bus, tmp_path, [full, other], jobs, parallel=2)

    assert {record.state for record in records} == {JobState.SUCCEEDED}


Supervised = Callable[[Supervisor, JobStore], Coroutine[object, object, None]]


async def supervise_with(
    bus: Bus, folder: Path, backend: Backend, jobs: Sequence[JobSpec], act: Supervised
) -> list[JobRecord]:
    """Run jobs, two at a time, and do something beside that."""
    store = JobStore(str(folder))
    try:
        with anyio.fail_after(120):
            supervisor = Supervisor(bus, {backend.name: backend}, store)
            async with anyio.create_task_group() as group:
                group.start_soon(act, supervisor, store)
                return await supervisor.run(jobs, max_parallel=2)
    finally:
        store.close()
    raise AssertionError


async def cancel_and_wait(bus: Bus, supervisor: Supervisor, job: str) -> None:
    """Cancel a job and wait until its end is reported."""
    ended = bus.wait_for(JobEnded, lambda end: end.job == job)
    await supervisor.cancel("not needed", 1, job)
    await ended


@pytest.mark.parametrize("asked", ["other", None])
async def test_jobs_that_are_not_given_are_left_alone_and_so_is_what_is_asked_of_them(
    bus: Bus, spec: Spec, tmp_path: Path, asked: str | None
) -> None:
    given, other = spec("given"), spec("other")
    earlier = JobStore(str(tmp_path))
    intend(earlier, [given, other])
    earlier.close()
    ask_to_cancel(str(tmp_path), CancelRequest(asked, "not needed", 1))
    ask_to_cancel(str(tmp_path), CancelRequest("given", "not needed", 1))
    backend = Backend()
    backend.jobs = {"given": RUNNING, "other": RUNNING}

    (record,) = await supervise(bus, tmp_path, [backend], [given])

    assert record.state is JobState.CANCELLED
    assert set(backend.cancelled) == {"given"}
    assert [request.job for request in read_requests(str(tmp_path)).values()] == [asked]
    assert read_jobs(str(tmp_path))["other"].state is JobState.PENDING


async def test_a_job_that_waits_for_a_seat_is_cancelled_at_once(
    bus: Bus, spec: Spec, tmp_path: Path
) -> None:
    full = Backend("full", jobs=1)
    full.first = RUNNING
    seen: list[JobState] = []

    async def act(supervisor: Supervisor, store: JobStore) -> None:
        await full.submitted.wait()
        await cancel_and_wait(bus, supervisor, "f2")
        await cancel_and_wait(bus, supervisor, "f1")
        seen.extend(store.jobs[f"f{number}"].state for number in range(4))
        full.first = DONE
        full.show("f0", DONE)

    jobs = [spec(f"f{number}", "full") for number in range(4)]
    records = await supervise_with(bus, tmp_path, full, jobs, act)

    assert seen[1:3] == [JobState.CANCELLED] * 2
    assert not seen[0].is_terminal
    assert not seen[3].is_terminal
    assert full.submits == ["f0", "f3"]
    assert [record.state.value for record in records] == [
        "SUCCEEDED", "CANCELLED", "CANCELLED", "SUCCEEDED",
    ]  # fmt: skip
    assert records[1].reason == "not needed"


async def test_a_job_that_waits_for_a_seat_to_be_tried_again_is_cancelled_at_once(
    bus: Bus, spec: Spec, tmp_path: Path
) -> None:
    full = Backend("full", jobs=1)
    full.first = replace(DONE, exit_code=1)
    retried = anyio.Event()

    def second_runs(name: str, _count: int) -> None:
        if name == "next":
            full.first = RUNNING
            retried.set()

    full.on_submit = second_runs

    async def act(supervisor: Supervisor, store: JobStore) -> None:
        await retried.wait()
        await cancel_and_wait(bus, supervisor, "fails")
        assert not store.jobs["next"].state.is_terminal
        full.show("next", DONE)

    fails = spec("fails", "full", retry=RetryPolicy(retries=3, on=("exit",), backoff_s=0.01))
    records = await supervise_with(bus, tmp_path, full, [fails, spec("next", "full")], act)

    assert [str(record.state) for record in records] == ["CANCELLED", "SUCCEEDED"]
    assert full.submits[-1] == "next"


async def test_a_cancelled_job_that_an_earlier_process_submitted_is_ended_and_needs_no_seat(
    bus: Bus, spec: Spec, tmp_path: Path
) -> None:
    full = Backend("full", jobs=1)
    full.first = RUNNING
    jobs = [spec("f0", "full"), spec("f1", "full")]
    store = JobStore(str(tmp_path))
    intend(store, jobs)
    store.close()
    full.jobs["f1"] = RUNNING

    async def act(supervisor: Supervisor, store: JobStore) -> None:
        await full.submitted.wait()
        await cancel_and_wait(bus, supervisor, "f1")
        full.show("f0", DONE)

    records = await supervise_with(bus, tmp_path, full, jobs, act)

    assert full.submits == ["f0"]
    assert [(str(record.state), record.signal) for record in records] == [
        ("SUCCEEDED", None),
        ("CANCELLED", 15),
    ]


async def test_a_cancelled_job_that_a_replaced_leader_may_yet_submit_is_withdrawn(
    bus: Bus, spec: Spec, tmp_path: Path
) -> None:
    backend = Backend()
    jobs = [spec("j")]
    store = JobStore(str(tmp_path))
    intend(store, jobs)
    store.close()
    ask_to_cancel(str(tmp_path), CancelRequest("j", "not needed", 1))

    records = await supervise(bus, tmp_path, [backend], jobs)

    assert backend.submits == []
    gone = JobRef(name="j", folder=jobs[0].folder, handle="")
    assert backend.asked_to_end == [(gone, GRACE_S)]
    assert [record.state for record in records] == [JobState.CANCELLED]


async def test_a_job_that_waits_too_long_in_its_queue_times_out(
    bus: Bus, spec: Spec, tmp_path: Path
) -> None:
    backend = Backend()
    backend.first = QUEUED

    (record,) = await supervise(
        bus, tmp_path, [backend], [spec("late", timeouts=Timeouts(queue_s=1))]
    )

    assert (record.state, record.reason) == (
        JobState.TIMEOUT,
        "it had not started after 1 s, its queue timeout",
    )
    assert backend.cancelled == ["late"]


async def test_a_job_that_the_backend_does_not_take_in_time_times_out(
    bus: Bus, spec: Spec, tmp_path: Path
) -> None:
    backend = Backend()
    backend.hang = True

    (record,) = await supervise(
        bus, tmp_path, [backend], [spec("late", timeouts=Timeouts(queue_s=1))]
    )

    assert (record.state, record.started_ns) == (JobState.TIMEOUT, 0)
    assert backend.cancelled == ["late"]


async def test_a_silent_job_is_ended_for_that_and_may_have_another_attempt(
    bus: Bus, spec: Spec, tmp_path: Path
) -> None:
    backend = Backend()
    backend.first = RUNNING
    job = spec(
        "hangs",
        timeouts=Timeouts(idle_s=1),
        retry=RetryPolicy(retries=1, on=("timeout",), backoff_s=0.01),
    )

    def second_is_fine(_name: str, count: int) -> None:
        if count == 2:
            backend.first = DONE

    backend.on_submit = second_is_fine
    (record,) = await supervise(bus, tmp_path, [backend], [job])

    assert (record.state, record.attempt, record.overdue) == (JobState.SUCCEEDED, 2, "")
    assert backend.cancelled == ["hangs"]


async def test_what_was_being_ended_for_its_silence_is_ended_so_by_the_next_process(
    bus: Bus, spec: Spec, tmp_path: Path
) -> None:
    job = spec("hangs", timeouts=Timeouts(idle_s=1))
    backend = Backend()
    backend.first = RUNNING

    class Stop(Exception):
        pass

    async def die(refs: Sequence[JobRef], grace_s: float) -> None:
        raise Stop

    cancel, backend.cancel = backend.cancel, die  # type: ignore[method-assign]
    with pytest.raises(Stop):
        await supervise(bus, tmp_path, [backend], [job])
    backend.cancel = cancel  # type: ignore[method-assign]

    (record,) = await supervise(bus, tmp_path, [backend], [job])

    assert (record.state, record.reason) == (
        JobState.TIMEOUT,
        "it wrote nothing for 1 s, its idle timeout",
    )


class Killed(Exception):
    """Ends a supervisor where it stands."""


class Told:
    """What was told of the run of a job: the steps of its points, and its facts."""

    def __init__(self) -> None:
        self.steps: list[int] = []
        self.facts: list[str] = []
        self.at: dict[str, int] = {}

    @property
    def plugin(self) -> Plugin:
        plugin = Plugin("told").stream(MetricBatch, self._points)
        for fact in (RunStarted, ParamsLogged, TagsChanged, RunFinished):
            plugin = plugin.on(fact, self._fact)
        return plugin

    async def _points(self, batch: MetricBatch) -> None:
        self.steps += [step for _, step, _, _ in batch.points()]
        self.at[batch.writer] = batch.position

    def _fact(self, fact: object) -> None:
        self.facts.append(type(fact).__name__)


async def test_what_a_run_logs_goes_on_where_the_process_before_had_noted(
    spec: Spec, tmp_path: Path
) -> None:
    run = init(project="p")
    backend = Backend()
    backend.first = RUNNING
    first, second = Told(), Told()
    job = replace(spec("j"), run_folder=run.folder, run_id=run.id)
    for step in range(3):
        run.log("x", 0.5, step=step)
    run.params(lr=0.1)

    def die_when_all_is_noted(_names: set[str]) -> None:
        noted = Positions(run.folder, "metrics", leads).last
        if (
            len(first.steps) == 3
            and noted == first.at
            and Positions(run.folder, "records", leads).last
        ):
            raise Killed

    backend.on_look = die_when_all_is_noted
    with pytest.raises(Killed):
        async with Kernel(plugins=[first.plugin]) as kernel:
            await supervise(kernel.bus, tmp_path, [backend], [job])
    run.log("x", 0.5, step=3)
    run.tag("t")
    run.finish()
    backend.on_look = lambda _names: None
    backend.show("j", DONE)
    async with Kernel(plugins=[second.plugin]) as kernel:
        await supervise(kernel.bus, tmp_path, [backend], [job])

    assert first.facts == ["RunStarted", "ParamsLogged"]
    assert second.steps == [3]
    assert second.facts == ["RunStarted", "TagsChanged", "RunFinished"]
    assert Positions(run.folder, "metrics", leads).last == second.at


async def drained(bus: Bus, job: JobSpec, check_lead: Callable[[], None] | None) -> None:
    """Follow a run to what it has logged by now."""
    stragglers = Stragglers(bus)
    feed = MetricFeed(bus, SYSTEM_CLOCK, stragglers, check_lead)
    with anyio.fail_after(120):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(stragglers.run)
            tasks.start_soon(feed.run)
            feed.follow(job)
            await feed.drain(job)
            tasks.cancel_scope.cancel()


async def test_who_does_not_lead_notes_nothing_and_is_told_all(spec: Spec) -> None:
    leader, other = Told(), Told()
    with init(project="p") as run:
        run.log("x", 0.5, step=0)
    job = replace(spec("j"), run_folder=run.folder, run_id=run.id)

    for _ in range(2):
        async with Kernel(plugins=[other.plugin]) as kernel:
            await drained(kernel.bus, job, None)
    assert other.steps == [0, 0]
    assert Positions(run.folder, "metrics", leads).last == {}

    for _ in range(2):
        async with Kernel(plugins=[leader.plugin]) as kernel:
            await drained(kernel.bus, job, leads)
    assert leader.steps == [0]
    assert Positions(run.folder, "metrics", leads).last == leader.at


@pytest.mark.parametrize("junk", [b"", b"{", b"[1]", b'{"a": -1, "b": 36893488147419103232}'])
def test_positions_that_are_none_are_passed_over(tmp_path: Path, junk: bytes) -> None:
    (tmp_path / "metrics.cursor").write_bytes(junk)

    assert Positions(str(tmp_path), "metrics", leads).last == {}


def test_positions_that_cannot_be_noted_stop_nothing(tmp_path: Path) -> None:
    positions = Positions(str(tmp_path / "gone"), "metrics", leads)

    positions.note({"a": 5})

    assert positions.last == {}


async def test_a_leader_that_was_replaced_notes_nothing_of_how_far_it_has_come(
    spec: Spec, tmp_path: Path
) -> None:
    """What it would note may be ahead of what the next leader has told."""
    job, clock = spec("j"), FakeClock()
    store = JobStore(str(tmp_path))
    positions = Positions(str(tmp_path), "metrics", store.check)
    await anyio.Path(job.folder, "stdout.log").write_text("a line\n")
    (tmp_path / "leader").rename(tmp_path / "former")
    (tmp_path / "leader").touch()

    async with Kernel() as kernel:
        output = JobOutput(job, kernel.bus, clock, Stragglers(kernel.bus), store.check)
        await clock.advance(2)  # a mark is due
        with pytest.raises(LeaseLost):
            positions.note({"a": 5})
        with pytest.raises(LeaseLost):
            await output.hand_on()
        output.close()
    store.close()

    assert not (tmp_path / "metrics.cursor").exists()
    left = [path.name async for path in anyio.Path(job.folder).iterdir()]
    assert left == ["stdout.log"]


async def test_a_submission_that_is_given_up_is_withdrawn_with_the_grace_that_was_asked_for(
    bus: Bus, spec: Spec, tmp_path: Path
) -> None:
    backend = Backend()
    backend.hang = True
    job = spec("j")
    store = JobStore(str(tmp_path))
    supervisor = Supervisor(bus, {"a": backend}, store)
    with anyio.fail_after(120):
        async with anyio.create_task_group() as group:

            async def cancel() -> None:
                await backend.submitted.wait()
                await supervisor.cancel("not needed", 3.5)

            group.start_soon(cancel)
            (record,) = await supervisor.run([job], max_parallel=1)
    store.close()

    assert (record.state, record.reason) == (JobState.CANCELLED, "not needed")
    assert backend.asked_to_end == [(JobRef(name="j", folder=job.folder, handle=""), 3.5)]


async def test_jobs_whose_leader_is_cancelled_are_ended_and_say_so(
    bus: Bus, spec: Spec, tmp_path: Path
) -> None:
    backend = Backend()
    backend.first = RUNNING
    job = spec("j")
    with anyio.fail_after(120):
        async with anyio.create_task_group() as group:
            group.start_soon(supervise, bus, tmp_path, [backend], [job])
            await backend.submitted.wait()
            group.cancel_scope.cancel()

    record = read_jobs(str(tmp_path))["j"]
    assert (record.state, record.reason) == (JobState.CANCELLED, "the experiment was cancelled")
    ref = JobRef(name="j", folder=job.folder, handle="h-j")
    assert backend.asked_to_end == [(ref, GRACE_S)]


async def test_a_backend_that_cannot_tell_whether_a_job_is_there_is_asked_ever_more_seldom(
    bus: Bus, spec: Spec, tmp_path: Path
) -> None:
    clock, backend, job = FakeClock(), Backend(), spec("j")
    asked: list[float] = []

    async def find(_: JobSpec) -> JobRef | None:
        asked.append(clock.monotonic())
        if len(asked) < 8:
            raise ConnectionLost("h", "the line is cut")
        return None

    backend.find = find  # type: ignore[method-assign, assignment]
    store = JobStore(str(tmp_path))
    intend(store, [job])
    store.close()
    await supervised_by(clock, bus, tmp_path, backend, job)

    pauses = [after - before for before, after in pairwise(asked)]
    assert all(after > before - 0.01 for before, after in pairwise(pauses))
    assert pauses[:2] == pytest.approx([FIND_S, 2 * FIND_S])
    assert pauses[-1] == pytest.approx(FIND_MAX_S)
    assert backend.submits == ["j"]
    assert backend.asked_to_end == []  # it is wanted
