"""A follower is told the same as its leader, and changes nothing."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from msgspec.structs import replace

from runbus import LocalExecutor
from runbus._clock import SYSTEM_CLOCK, AlarmClock
from runbus._home import ENV_RUN
from runbus.abc import JobSpec, RetryPolicy
from runbus.attempt import Journal, LogMarks
from runbus.events import (
    Event,
    JobEnded,
    JobFact,
    JobStarted,
    LogLines,
    MetricBatch,
    RunFinished,
    RunRecorded,
    RunStarted,
)
from runbus.jobs import (
    CancelRequest,
    JobState,
    JobStore,
    intend,
    leader_of,
    read_jobs,
    read_requests,
)
from runbus.kernel import Kernel
from runbus.metrics import RunInfo, init, make_run_folder
from runbus.plugins import Plugin
from runbus.supervisor import Follower, Supervisor
from runbus.testing import FakeClock

from .backend import DONE, RUNNING, Backend

Spec = Callable[..., JobSpec]

SCRIPT = """
import os, sys, runbus
again = os.path.exists("again")
run = runbus.init()
print("begun", flush=True)
for step in range(20):
    run.log("loss", 1.0 / (step + 1), step=step + 20 * again)
run.params(lr=0.1)
run.note("tried" + " again" * again)
print("ended")
print("x" * 200_000, file=sys.stderr)
run.finish()
open("again", "w").close()
sys.exit(not again)
"""


SECOND_TIME_ONLY = """
import os, sys
if not os.path.exists("again"):
    open("again", "w").close()
    sys.exit(1)
"""


@pytest.fixture(autouse=True)
def _without_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no machine be sampled: a job that lasts a second would have more points."""
    monkeypatch.setenv("RUNBUS_SYSTEM", "0")


class Told:
    """What a bus was told of one job."""

    def __init__(self) -> None:
        self.facts: list[Event] = []
        self.output = {(attempt, name): b"" for attempt in (1, 2) for name in ("stdout", "stderr")}
        self.points: list[tuple[str, int, float]] = []
        self.early: list[tuple[str, int, float]] = []

    @property
    def plugin(self) -> Plugin:
        plugin = Plugin("told").stream(LogLines, self._lines).stream(MetricBatch, self._batch)
        for fact in (JobFact, RunStarted, RunRecorded, RunFinished):
            plugin = plugin.on(fact, self._fact)
        return plugin

    async def _lines(self, lines: LogLines) -> None:
        self.output[lines.attempt, lines.source] += lines.data

    async def _batch(self, batch: MetricBatch) -> None:
        self.points += [(name, step, value) for name, step, _, value in batch.points()]

    def _fact(self, fact: Event) -> None:
        if isinstance(fact, JobStarted) and fact.attempt == 2:
            self.early = [point for point in self.points if point[1] >= 20]
        # When a run was seen to begin is what each sees for itself.
        self.facts.append(replace(fact, time_ns=0) if isinstance(fact, RunStarted) else fact)


async def both_told(
    spec: Spec, tmp_path: Path, script: str, *, follower_clock: AlarmClock = SYSTEM_CLOCK
) -> tuple[Told, Told]:
    """Return what a leader and a follower were told of a job with two attempts."""
    # No pause between them: the second has begun before a follower hears of the first one's end.
    job = spec("j", "local", retry=RetryPolicy(retries=1, backoff_s=0))
    info = RunInfo.new(job.run_id, "j", "p", {}, job="j")
    await anyio.Path(tmp_path, "runs").mkdir()
    run_folder = make_run_folder(str(tmp_path), info)
    job = replace(
        job, argv=(sys.executable, "-c", script), cwd=str(tmp_path), run_folder=run_folder,
        env={ENV_RUN: run_folder},
    )  # fmt: skip
    leader, other = Told(), Told()
    store = JobStore(str(tmp_path))
    intend(store, [job])
    executor = LocalExecutor()

    with anyio.fail_after(120):
        async with (
            Kernel(plugins=[executor, leader.plugin]) as leading,
            Kernel(plugins=[other.plugin]) as following,
            anyio.create_task_group() as group,
        ):
            follower = Follower(following.bus, str(tmp_path), [job], clock=follower_clock)
            group.start_soon(follower.run)
            if isinstance(follower_clock, FakeClock):
                await follower_clock.advance(0)  # it looks, and sees the intent
            supervisor = Supervisor(leading.bus, {"local": executor}, store)
            (record,) = await supervisor.run([job], max_parallel=1)
            store.close()
            if isinstance(follower_clock, FakeClock):
                await follower_clock.advance(1)
    assert (record.state, record.attempt) == (JobState.SUCCEEDED, 2)
    return leader, other


async def test_a_follower_is_told_what_the_leader_is_in_the_same_order(
    spec: Spec, tmp_path: Path
) -> None:
    leader, other = await both_told(spec, tmp_path, SCRIPT)

    assert [type(fact).__name__ for fact in leader.facts] == [
        "JobSubmitted", "JobStarted", "RunStarted", "ParamsLogged", "NoteAdded", "JobRetrying",
        "JobSubmitted", "JobStarted", "ParamsLogged", "NoteAdded", "RunFinished", "JobEnded",
    ]  # fmt: skip
    assert other.facts == leader.facts
    assert other.output == leader.output
    assert leader.output[2, "stdout"] == b"begun\nended\n"
    assert sorted(other.points) == sorted(leader.points)
    assert len(leader.points) == 40


@pytest.mark.parametrize("logs_at_first", [True, False])
async def test_a_follower_that_looks_when_all_is_over_is_told_each_attempt_in_its_turn(
    logs_at_first: bool, spec: Spec, tmp_path: Path
) -> None:
    again = "" if logs_at_first else SECOND_TIME_ONLY

    leader, other = await both_told(spec, tmp_path, again + SCRIPT, follower_clock=FakeClock())

    assert other.facts == leader.facts
    assert other.output == leader.output
    assert sorted(other.points) == sorted(leader.points)
    assert not other.early
    names = [type(fact).__name__ for fact in leader.facts]
    assert names.index("RunStarted") == names.index("JobStarted", 0 if logs_at_first else 3) + 1


async def test_a_follower_that_looks_late_is_told_all_output_before_the_end(
    spec: Spec, tmp_path: Path
) -> None:
    job, clock, backend = spec("j"), FakeClock(), Backend()
    read = bytearray()
    before_the_end: list[bytes] = []
    got_all = anyio.Event()

    async def lines(event: LogLines) -> None:
        read.extend(event.data)
        if read.endswith(b"the end"):
            got_all.set()

    async def ended(_end: JobEnded) -> None:
        with anyio.move_on_after(120):
            await got_all.wait()
        before_the_end.append(bytes(read))

    plugin = Plugin("reads").stream(LogLines, lines).on(JobEnded, ended)
    store = JobStore(str(tmp_path))
    intend(store, [job])
    await anyio.Path(job.folder, "stdout.log").write_bytes(b"begun\nthe end")
    marks = LogMarks(job.folder, clock)
    await clock.advance(1)
    marks.note(6, 0)  # as a leader does that is a second ahead
    async with (
        Kernel() as leading,
        Kernel(plugins=[plugin]) as following,
        anyio.create_task_group() as group,
    ):
        group.start_soon(Follower(following.bus, str(tmp_path), [job], clock=clock).run)
        await clock.advance(0)
        await Supervisor(leading.bus, {"a": backend}, store).run([job], max_parallel=1)
        await clock.advance(1)
        store.close()

    assert before_the_end == [b"begun\nthe end"]


async def test_a_follower_that_comes_late_is_told_what_running_jobs_print_and_what_comes_then(
    spec: Spec, tmp_path: Path
) -> None:
    runs, waits, over = (spec(name) for name in ("runs", "waits", "over"))
    backend, told = Backend(), Told()
    seen = anyio.Event()

    async def shown(lines: LogLines) -> None:
        if b"early" in told.output[1, "stdout"] + lines.data:
            seen.set()

    store = JobStore(str(tmp_path))
    begun = anyio.Event()

    async def then(fact: JobFact) -> None:
        if fact.job == "over" and isinstance(fact, JobEnded):
            backend.first = RUNNING
        if fact.job == "runs" and isinstance(fact, JobStarted):
            begun.set()

    plugin = Plugin("shown").stream(LogLines, shown)
    async with (
        Kernel(plugins=[Plugin("then").on(JobFact, then)]) as leading,
        Kernel(plugins=[told.plugin, plugin]) as following,
        anyio.create_task_group() as group,
    ):
        jobs = [over, runs, waits]
        # By a clock that stands still: it notes nothing of what it has handed on.
        supervisor = Supervisor(leading.bus, {"a": backend}, store, clock=FakeClock())
        with anyio.fail_after(120):
            await anyio.Path(runs.folder, "stdout.log").write_bytes(b"early\n")
            run = functools.partial(supervisor.run, jobs, max_parallel=1)
            group.start_soon(run)
            await begun.wait()
            group.start_soon(Follower(following.bus, str(tmp_path), jobs).run)
            await seen.wait()
            backend.first = DONE
            backend.show("runs", DONE)
    store.close()

    facts = [fact for fact in told.facts if isinstance(fact, JobFact)]
    assert [(type(fact).__name__, fact.job) for fact in facts] == [
        ("JobEnded", "runs"), ("JobSubmitted", "waits"), ("JobStarted", "waits"),
        ("JobEnded", "waits"),
    ]  # fmt: skip
    assert told.output[1, "stdout"] == b"early\n"


async def test_a_follower_is_told_what_jobs_print_and_log_that_begin_while_it_follows(
    spec: Spec, tmp_path: Path
) -> None:
    """It follows before their intents are recorded, and does not wait for their ends."""
    backend, said, logged = Backend(), anyio.Event(), anyio.Event()
    backend.first = RUNNING
    store, run = JobStore(str(tmp_path)), init(project="p")
    job = replace(spec("j"), run_id=run.id, run_folder=run.folder)

    async def note(event: LogLines | MetricBatch) -> None:
        (said if isinstance(event, LogLines) else logged).set()

    plugin = Plugin("notes").stream(LogLines, note).stream(MetricBatch, note)
    async with (
        Kernel() as leading,
        Kernel(plugins=[plugin]) as following,
        anyio.create_task_group() as group,
    ):
        supervisor = Supervisor(leading.bus, {"a": backend}, store)
        with anyio.fail_after(120):
            started = following.bus.wait_for(JobStarted)
            group.start_soon(Follower(following.bus, str(tmp_path), [job]).run)
            await anyio.lowlevel.checkpoint()
            group.start_soon(functools.partial(supervisor.run, [job], max_parallel=1))
            await started
            await anyio.Path(job.folder, "stdout.log").write_bytes(b"said\n")
            run.log("loss", 0.5)
            await said.wait()
            await logged.wait()
            backend.show("j", DONE)
    run.finish()
    store.close()


async def test_a_follower_follows_to_the_ends_of_its_jobs_and_hears_of_others_meanwhile(
    spec: Spec, tmp_path: Path
) -> None:
    """A job that is added later, and ends before, is none of those that it waits for."""
    mine, more = spec("mine"), spec("more")
    backend, clock = Backend(), FakeClock()
    backend.first = RUNNING
    told: list[str] = []
    store = JobStore(str(tmp_path))
    intend(store, [mine])

    async def note(fact: JobFact) -> None:
        told.append(f"{type(fact).__name__} {fact.job}")

    async with (
        Kernel() as leading,
        Kernel(plugins=[Plugin("notes").on(JobFact, note)]) as following,
        anyio.create_task_group() as group,
    ):
        supervisor = Supervisor(leading.bus, {"a": backend}, store)
        with anyio.fail_after(120):
            follower = Follower(following.bus, str(tmp_path), [mine], clock=clock)
            group.start_soon(follower.run)
            await clock.advance(0)
            group.start_soon(functools.partial(supervisor.run, [mine], max_parallel=2))
            await backend.submitted.wait()
            backend.first = DONE
            ended = leading.bus.wait_for(JobEnded, lambda end: end.job == "more")
            await supervisor.add([more])
            await ended
            await clock.advance(1)
            assert told[-1] == "JobEnded more"
            ended = leading.bus.wait_for(JobEnded, lambda end: end.job == "mine")
            backend.show("mine", DONE)
            await ended
            await clock.advance(1)
    store.close()

    assert [one for one in told if one.endswith("more")] == [
        "JobIntended more", "JobSubmitted more", "JobStarted more", "JobEnded more",
    ]  # fmt: skip
    assert told[-1] == "JobEnded mine"


async def test_a_follower_leaves_no_trace(spec: Spec, tmp_path: Path) -> None:
    job = spec("j")
    store = JobStore(str(tmp_path))
    intend(store, [job])
    store.close()
    before = listing(tmp_path)

    async with Kernel() as kernel:
        # No process leads it: it looks at everything once.
        await Follower(kernel.bus, str(tmp_path), [job]).run()

    assert listing(tmp_path) == before


def listing(folder: Path) -> dict[Path, int]:
    """Return what lies in a folder, with the times of the last changes."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path != folder}


def test_asking_who_leads_makes_nothing(tmp_path: Path) -> None:
    assert leader_of(str(tmp_path)) is None
    assert list(tmp_path.iterdir()) == []


def test_asking_who_leads_keeps_nobody_from_leading(tmp_path: Path) -> None:
    JobStore(str(tmp_path)).close()
    journal = tmp_path / "events.journal"
    before = journal.stat()

    assert leader_of(str(tmp_path)) is None
    store = JobStore(str(tmp_path))
    assert leader_of(str(tmp_path)) is not None
    store.close()

    assert leader_of(str(tmp_path)) is None
    assert journal.stat().st_ino == before.st_ino


def test_a_reader_with_a_lock_is_no_leader(tmp_path: Path) -> None:
    import fcntl
    import struct

    Journal(tmp_path / "events.journal").close()
    with (tmp_path / "events.journal").open("rb") as file:
        lock = struct.pack("hhqqi", fcntl.F_RDLCK, os.SEEK_SET, 0, 0, 0)
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, lock)

        assert leader_of(str(tmp_path)) is None


def test_reading_requests_and_jobs_changes_nothing(tmp_path: Path) -> None:
    requests = tmp_path / "requests"
    requests.mkdir()
    (requests / "1.json").write_text("{")
    (requests / "2.json").write_text('{"job": "a", "reason": "by hand", "grace_s": 1.0}')
    before = sorted(tmp_path.rglob("*"))

    assert list(read_requests(str(tmp_path)).values()) == [CancelRequest("a", "by hand", 1.0)]
    assert read_jobs(str(tmp_path)) == {}
    assert sorted(tmp_path.rglob("*")) == before
