"""Jobs that are ready together go to a backend together, if it takes them so."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from msgspec.structs import replace

from runbus._clock import SYSTEM_CLOCK, AlarmClock
from runbus.abc import Capabilities, JobRef, JobSpec, Request, Timeouts
from runbus.bus import Bus
from runbus.errors import JobNotStarted, LeaseLost, RunbusError, SubmitUnknown
from runbus.events import JobDraft, JobEnded, JobTransform, TaskStart
from runbus.jobs import JobRecord, JobState, JobStore
from runbus.kernel import Kernel
from runbus.supervisor import Supervisor
from runbus.supervisor._batches import GATHER_S, NO_ROOM_S
from runbus.testing import FakeClock

from .backend import DONE, RUNNING, Backend

Spec = Callable[..., JobSpec]
Outcome = JobRef | RunbusError | None


class Batching(Backend):
    """A backend that takes several jobs in one call."""

    def __init__(self, together: str | None = None) -> None:
        super().__init__()
        self.together = together
        self.takes_lost: set[str] = set()
        self.batches: list[list[str]] = []
        self.answer: Callable[[str, int], Outcome | str] = lambda _name, _call: "taken"
        self.handing_over = anyio.Event()
        self.go_on = anyio.Event()
        self.go_on.set()
        self.ended = anyio.Event()

    async def cancel(self, refs: Sequence[JobRef], grace_s: float) -> None:
        await super().cancel(refs, grace_s)
        self.ended.set()

    @property
    def capabilities(self) -> Capabilities:
        return replace(super().capabilities, batches=True, together=self.together)

    async def submit(self, request: Request) -> JobRef:
        raise AssertionError("one by one")

    async def submit_all(self, requests: Sequence[Request]) -> list[Outcome]:
        self.batches.append(sorted(one.job.name for one in requests))
        self.handing_over.set()
        await self.go_on.wait()
        return [await self._take(one, len(self.batches)) for one in requests]

    async def _take(self, request: Request, call: int) -> Outcome:
        answer = self.answer(request.job.name, call)
        is_taken = isinstance(answer, str) or request.job.name in self.takes_lost
        ref = await super().submit(request) if is_taken else None
        return ref if isinstance(answer, str) else answer


@pytest.fixture
def backend() -> Batching:
    return Batching()


@pytest.fixture
async def bus() -> AsyncIterator[Bus]:
    async with Kernel() as kernel:
        yield kernel.bus


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


async def supervise(
    bus: Bus, folder: Path, backend: Batching, jobs: Sequence[JobSpec],
    meanwhile: Callable[[Supervisor], Coroutine[Any, Any, None]] | None = None,
    clock: AlarmClock = SYSTEM_CLOCK, others: Sequence[Batching] = (),
) -> dict[str, JobRecord]:  # fmt: skip
    store = JobStore(str(folder))
    try:
        with anyio.fail_after(120):
            backends = {one.name: one for one in (backend, *others)}
            supervisor = Supervisor(bus, backends, store, clock=clock)
            async with anyio.create_task_group() as tasks:
                if meanwhile is not None:
                    tasks.start_soon(meanwhile, supervisor)
                records = await supervisor.run(jobs, max_parallel=500)
                tasks.cancel_scope.cancel()
    finally:
        store.close()
    return {one.name: one for one in records}


def passing_time() -> tuple[Callable[[Supervisor], Coroutine[Any, Any, None]], FakeClock]:
    """Return a clock, and what makes it go on for as long as jobs are led."""
    clock = FakeClock()

    async def pass_on(_: Supervisor) -> None:
        while True:
            await clock.advance(0.25)

    return pass_on, clock


async def test_jobs_that_are_ready_together_are_handed_over_in_one_call(
    bus: Bus, folder: Path, backend: Batching, spec: Spec
) -> None:
    jobs = [spec(f"j{n}") for n in range(200)]

    records = await supervise(bus, folder, backend, jobs)

    assert backend.batches == [sorted(one.name for one in jobs)]
    assert {one.state for one in records.values()} == {JobState.SUCCEEDED}


async def test_a_plugin_that_takes_long_for_one_job_does_not_hold_up_the_others(
    folder: Path, backend: Batching, spec: Spec
) -> None:
    others_are_taken = anyio.Event()

    @asynccontextmanager
    async def slowly(event: TaskStart) -> AsyncIterator[None]:
        if event.job == "slow":
            await others_are_taken.wait()
        yield

    backend.on_submit = lambda name, _count: others_are_taken.set() if name == "quick" else None
    async with Kernel() as kernel:
        kernel.bus.on(TaskStart, slowly)
        records = await supervise(kernel.bus, folder, backend, [spec("slow"), spec("quick")])

    assert backend.batches == [["quick"], ["slow"]]
    assert {one.state for one in records.values()} == {JobState.SUCCEEDED}


async def test_jobs_that_are_decided_on_together_are_waited_for_while_plugins_prepare_them(
    folder: Path, backend: Batching, spec: Spec
) -> None:
    """The clock stands still: what is not waited for is not handed over in time, or alone."""

    async def slowly(event: JobTransform) -> JobDraft:
        for _ in range(100 if event.job == "slow" else 0):
            await anyio.lowlevel.checkpoint()
        return event.value

    async with Kernel() as kernel:
        kernel.bus.on(JobTransform, slowly)
        jobs = [spec("quick"), spec("slow")]
        await supervise(kernel.bus, folder, backend, jobs, clock=FakeClock())

    assert backend.batches == [["quick", "slow"]]


async def test_a_job_that_cannot_be_prepared_is_not_waited_for(
    folder: Path, backend: Batching, spec: Spec
) -> None:
    async def refuse(event: JobTransform) -> JobDraft:
        for _ in range(100 if event.job == "bad" else 0):
            await anyio.lowlevel.checkpoint()
        if event.job == "bad":
            raise JobNotStarted("bad", "it may not")
        return event.value

    async with Kernel() as kernel:
        kernel.bus.on(JobTransform, refuse)
        jobs = [spec("good"), spec("bad")]
        records = await supervise(kernel.bus, folder, backend, jobs, clock=FakeClock())

    assert backend.batches == [["good"]]
    assert {name: str(one.state) for name, one in records.items()} == {
        "good": "SUCCEEDED", "bad": "FAILED",
    }  # fmt: skip


async def test_a_job_that_is_cancelled_while_it_waits_for_others_is_not_handed_over(
    folder: Path, backend: Batching, spec: Spec
) -> None:
    go_on = anyio.Event()

    async def slowly(event: JobTransform) -> JobDraft:
        if event.job == "slow":
            await go_on.wait()
        return event.value

    async with Kernel() as kernel:

        async def cancel_one(supervisor: Supervisor) -> None:
            ended = kernel.bus.wait_for(JobEnded)
            for _ in range(100):
                await anyio.lowlevel.checkpoint()
            await supervisor.cancel("not that one", 3.0, "a")
            assert (await ended).job == "a"
            go_on.set()

        kernel.bus.on(JobTransform, slowly)
        jobs = [spec("a"), spec("slow")]
        await supervise(kernel.bus, folder, backend, jobs, cancel_one, FakeClock())

    assert backend.batches == [["slow"]]


async def test_who_was_replaced_while_jobs_waited_for_others_hands_none_over(
    folder: Path, backend: Batching, spec: Spec
) -> None:
    clock, is_slow = FakeClock(), anyio.Event()

    async def for_ever(event: JobTransform) -> JobDraft:
        if event.job == "slow":
            is_slow.set()
            await anyio.sleep_forever()
        return event.value

    async def replace_it(_: Supervisor) -> None:
        await is_slow.wait()
        for _turn in range(100):
            await anyio.lowlevel.checkpoint()
        (folder / "leader").rename(folder / "former")
        (folder / "leader").touch()
        await clock.advance(GATHER_S)

    async with Kernel() as kernel:
        kernel.bus.on(JobTransform, for_ever)
        with pytest.raises(ExceptionGroup) as caught:
            await supervise(
                kernel.bus, folder, backend, [spec("a"), spec("slow")], replace_it, clock
            )

    assert caught.group_contains(LeaseLost)
    assert backend.batches == []


async def test_each_job_of_a_batch_has_its_own_answer(
    bus: Bus, folder: Path, backend: Batching, spec: Spec
) -> None:
    def answer(name: str, call: int) -> Outcome | str:
        if name == "refused":
            return JobNotStarted(name, "no such partition")
        return SubmitUnknown(name, "no answer") if name == "lost" and call == 1 else "taken"

    backend.answer = answer
    records = await supervise(
        bus, folder, backend, [spec(name) for name in ("fine", "refused", "lost")]
    )

    assert {name: one.state for name, one in records.items()} == {
        "fine": JobState.SUCCEEDED, "refused": JobState.FAILED, "lost": JobState.SUCCEEDED,
    }  # fmt: skip
    assert "no such partition" in records["refused"].reason
    assert backend.finds == ["lost"]
    assert backend.batches == [["fine", "lost", "refused"], ["lost"]]


async def test_jobs_of_which_it_is_not_known_whether_they_came_go_together_once_it_is(
    bus: Bus, folder: Path, backend: Batching, spec: Spec
) -> None:
    backend.answer = lambda name, call: SubmitUnknown(name, "no answer") if call == 1 else "taken"
    find = backend.find

    async def look_up(job: JobSpec) -> JobRef | None:
        for _ in range(100 if job.name == "b" else 0):
            await anyio.lowlevel.checkpoint()
        return await find(job)

    backend.find = look_up  # type: ignore[method-assign]
    await supervise(bus, folder, backend, [spec("a"), spec("b")], clock=FakeClock())

    assert backend.batches == [["a", "b"]] * 2


async def test_jobs_for_which_there_is_no_room_are_given_again(
    bus: Bus, folder: Path, backend: Batching, spec: Spec
) -> None:
    meanwhile, clock = passing_time()
    calls: list[float] = []

    def answer(name: str, call: int) -> Outcome | str:
        if name == "j1":
            calls.append(clock.monotonic())
        return None if name == "j1" and call < 5 else "taken"

    backend.answer = answer
    jobs = [spec("j0"), spec("j1")]
    records = await supervise(bus, folder, backend, jobs, meanwhile, clock)

    assert backend.batches == [["j0", "j1"], *[["j1"]] * 4]
    assert {one.state for one in records.values()} == {JobState.SUCCEEDED}
    # Ever more seldom, but for the first time soon: some of the others were taken.
    pauses = [after - before for before, after in pairwise(calls)]
    expected = [NO_ROOM_S, NO_ROOM_S, 2 * NO_ROOM_S, 4 * NO_ROOM_S]
    assert pauses == pytest.approx(expected, abs=0.3)


async def test_a_job_that_is_cancelled_while_its_batch_is_on_the_way_is_ended_there(
    bus: Bus, folder: Path, backend: Batching, spec: Spec
) -> None:
    backend.go_on = anyio.Event()
    backend.first = RUNNING

    async def cancel_one(supervisor: Supervisor) -> None:
        await backend.handing_over.wait()
        await supervisor.cancel("not that one", 3.0, "b")
        await backend.ended.wait()
        backend.ended = anyio.Event()
        backend.go_on.set()
        await backend.ended.wait()
        await supervisor.cancel("nor the others", 0.0)

    records = await supervise(bus, folder, backend, [spec("a"), spec("b")], cancel_one)

    ended = [(ref.name, ref.handle, grace_s) for ref, grace_s in backend.asked_to_end]
    assert ended[:2] == [("b", "", 3.0), ("b", "h-b", 3.0)]
    assert {one.state for one in records.values()} == {JobState.CANCELLED}


async def test_a_batch_that_nobody_waits_for_is_given_up(
    bus: Bus, folder: Path, backend: Batching, spec: Spec
) -> None:
    backend.go_on = anyio.Event()  # the backend never answers

    async def cancel_all(supervisor: Supervisor) -> None:
        await backend.handing_over.wait()
        await supervisor.cancel("no more", 3.0)

    jobs = [spec("a"), spec("b")]
    # The clock stands still: it is heeded at once.
    records = await supervise(bus, folder, backend, jobs, cancel_all, FakeClock())

    assert {one.state for one in records.values()} == {JobState.CANCELLED}
    assert {ref.name for ref, _ in backend.asked_to_end} == {"a", "b"}


async def test_a_job_that_waits_too_long_for_its_batch_is_timed_out(
    bus: Bus, folder: Path, backend: Batching, spec: Spec
) -> None:
    backend.go_on = anyio.Event()

    jobs = [spec("a", timeouts=Timeouts(queue_s=1))]
    records = await supervise(bus, folder, backend, jobs, *passing_time())

    assert records["a"].state is JobState.TIMEOUT


def grouped(*jobs: JobSpec) -> list[JobSpec]:
    return [replace(job, group="pair") for job in jobs]


async def test_a_group_that_begins_at_once_waits_for_the_last_of_it(
    folder: Path, spec: Spec
) -> None:
    @asynccontextmanager
    async def slowly(event: TaskStart) -> AsyncIterator[None]:
        if event.job == "slow":
            await anyio.sleep(2 * GATHER_S)  # as a plugin that has something to do
        yield

    backend = Batching("a cluster")
    async with Kernel() as kernel:
        kernel.bus.on(TaskStart, slowly)
        records = await supervise(kernel.bus, folder, backend, grouped(spec("slow"), spec("quick")))

    assert backend.batches == [["quick", "slow"]]
    assert {one.state for one in records.values()} == {JobState.SUCCEEDED}


async def test_a_group_over_several_executors_that_begin_it_at_once_goes_to_one_of_them(
    bus: Bus, folder: Path, spec: Spec
) -> None:
    first, second, far = Batching("a cluster"), Batching("a cluster"), Batching("another")
    second.name, far.name = "second", "far"
    first.on_submit = lambda name, _count: second.show(name, DONE)
    jobs = grouped(spec("a"), spec("b", executor="second"), spec("c", executor="far"))
    jobs += [spec("alone", executor="second")]

    records = await supervise(bus, folder, first, jobs, others=[second, far])

    assert (first.batches, sorted(second.batches), far.batches) == (
        [["a", "b"]],
        [["alone"]],
        [["c"]],
    )
    assert {one.state for one in records.values()} == {JobState.SUCCEEDED}


async def test_one_of_a_group_that_is_found_after_a_lost_answer_is_not_waited_for(
    bus: Bus, folder: Path, spec: Spec
) -> None:
    backend = Batching("a cluster")
    backend.takes_lost = {"a"}
    backend.first = RUNNING

    def end_both(name: str, _count: int) -> None:
        if name == "b":
            backend.first = DONE
            backend.show("a", DONE)

    def answer(name: str, call: int) -> Outcome | str:
        return SubmitUnknown(name, "no answer") if call == 1 else "taken"

    backend.answer, backend.on_submit = answer, end_both
    records = await supervise(bus, folder, backend, grouped(spec("a"), spec("b")))

    assert backend.batches == [["a", "b"], ["b"]]
    assert {one.state for one in records.values()} == {JobState.SUCCEEDED}
