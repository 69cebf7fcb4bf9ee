"""What a backend may say of a job, from its first look to the journal, the bus and the follower."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import anyio
import pytest
from msgspec.structs import replace

from runbus import Command, Job, Kernel, Plugin, RetryPolicy
from runbus._home import Home
from runbus.abc import JobRef, Observation
from runbus.events import (
    JobEnded,
    JobFact,
    JobObserved,
    JobRequeued,
    JobStarted,
    LogLines,
)
from runbus.experiment import ExperimentDraft, StoredExperiment
from runbus.jobs import JobRecord, JobState, read_jobs
from runbus.supervisor import Follower
from runbus.testing import FakeExecutor

QUEUED = Observation(phase="queued", native_state="PENDING", evidence="squeue")
MADE = replace(QUEUED, phase="provisioning", native_state="CONFIGURING")
RUNNING = Observation(
    phase="running", host="n1", pid=7, started_ns=10**18, native_state="RUNNING", evidence="squeue"
)
STANDING = replace(RUNNING, phase="suspended", native_state="SUSPENDED")
DONE = replace(
    RUNNING, phase="ended", exit_code=0, ended_ns=10**18 + 1, native_state="COMPLETED",
    evidence="sacct",
)  # fmt: skip
TAKEN = replace(RUNNING, phase="preempted", native_state="PREEMPTED", ended_ns=10**18 + 1)


class Story:
    """Shows a job what follows once the journal has what was shown before."""

    def __init__(self, backend: FakeExecutor, *shown: Observation) -> None:
        backend.first, *self._next = shown
        self._backend = backend
        self.facts: list[JobFact] = []

    @property
    def plugin(self) -> Plugin:
        return Plugin("story").on(JobFact, self._go_on)

    async def _go_on(self, fact: JobFact) -> None:
        self.facts.append(fact)
        if isinstance(fact, JobObserved | JobStarted) and self._next:
            self._backend.show(fact.job, self._next.pop(0))

    @property
    def told(self) -> list[str]:
        return [type(fact).__name__ for fact in self.facts]


async def led(
    home: Path, backend: FakeExecutor, story: Story, job: Job
) -> tuple[JobRecord, ExperimentDraft]:
    experiment = ExperimentDraft("p", [job], executor=backend.name, home=home)
    with anyio.fail_after(120):
        async with Kernel(plugins=[backend, story.plugin]) as kernel:
            (record,) = await experiment.run(kernel.bus)
    return record, experiment


@pytest.fixture
def job() -> Job:
    return Job(name="j", task=Command(("true",)))


async def test_every_word_of_a_backend_is_recorded_with_what_told_it(
    tmp_path: Path, job: Job
) -> None:
    backend = FakeExecutor()
    story = Story(backend, QUEUED, MADE, RUNNING, STANDING, RUNNING, DONE)

    record, experiment = await led(tmp_path, backend, story, job)

    assert [
        (type(one).__name__, one.native_state, one.evidence)
        for one in story.facts
        if isinstance(one, JobObserved | JobStarted | JobEnded)
    ] == [
        ("JobObserved", "PENDING", "squeue"),
        ("JobObserved", "CONFIGURING", "squeue"),
        ("JobStarted", "RUNNING", "squeue"),
        ("JobObserved", "SUSPENDED", "squeue"),
        ("JobObserved", "RUNNING", "squeue"),
        ("JobEnded", "COMPLETED", "sacct"),
    ]
    assert read_jobs(experiment.folder) == {"j": record}
    assert (record.state, record.native_state, record.evidence) == (
        JobState.SUCCEEDED, "COMPLETED", "sacct",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("shown", "state", "suspended"),
    [
        (MADE, JobState.PROVISIONING, False),
        (STANDING, JobState.RUNNING, True),
    ],
)
async def test_status_and_show_tell_what_the_backend_says(
    shown: Observation, state: JobState, suspended: bool, tmp_path: Path, job: Job
) -> None:
    backend = FakeExecutor()
    backend.first = shown
    experiment = ExperimentDraft("p", [job], executor="fake", home=tmp_path)
    with anyio.fail_after(120):
        async with Kernel(plugins=[backend]) as kernel, anyio.create_task_group() as group:
            seen = kernel.bus.wait_for(JobFact, lambda fact: said(fact, shown))
            group.start_soon(experiment.run, kernel.bus)
            await seen
            (asked,) = json.loads(runbus(tmp_path, "status", "--json"))
            plain, described = runbus(tmp_path, "status"), runbus(tmp_path, "show", "latest")
            backend.show("j", DONE)

    assert (asked["state"], asked["native_state"]) == (state, shown.native_state)
    assert (asked["suspended"], asked["evidence"]) == (suspended, "squeue")
    assert shown.native_state in plain
    assert f"{shown.native_state}, told by squeue" in described


def said(fact: JobFact, shown: Observation) -> bool:
    return getattr(fact, "native_state", None) == shown.native_state


def runbus(home: Path, *words: str) -> str:
    environment = os.environ | {"RUNBUS_HOME": str(home)}
    command = [sys.executable, "-m", "runbus.cli", *words]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True, timeout=120
    ).stdout


async def test_a_job_that_its_backend_begins_anew_has_another_attempt_and_no_retry(
    tmp_path: Path, job: Job
) -> None:
    backend = FakeExecutor()
    again, twice = replace(QUEUED, requeues=1), replace(RUNNING, requeues=1, host="n2")
    ended = replace(DONE, requeues=1, host="n2")
    story = Story(backend, QUEUED, RUNNING, again, twice, ended)

    record, experiment = await led(tmp_path, backend, story, job)

    assert story.told == [
        "JobIntended", "JobSubmitted", "JobObserved", "JobStarted", "JobRequeued", "JobObserved",
        "JobStarted", "JobEnded",
    ]  # fmt: skip
    assert (record.state, record.attempt, record.host) == (JobState.SUCCEEDED, 2, "n2")
    assert (record.requeues, record.requeued) == (1, 1)
    assert record.folder == os.path.join("jobs", "1-j", "2")
    assert await anyio.Path(experiment.folder, record.folder).is_dir()
    assert (backend.submits, backend.cancelled) == (["j"], [])
    assert {fact.attempt for fact in story.facts[-3:]} == {2}
    assert read_jobs(experiment.folder) == {"j": record}


async def test_two_times_that_were_missed_are_two_attempts(tmp_path: Path, job: Job) -> None:
    backend = FakeExecutor()
    missed = replace(RUNNING, requeues=2)
    story = Story(backend, RUNNING, missed, replace(DONE, requeues=2))

    record, _ = await led(tmp_path, backend, story, job)

    assert (record.attempt, record.requeued) == (3, 2)
    assert story.told.count("JobRequeued") == 1


async def test_what_the_backend_begins_anew_costs_no_retry(tmp_path: Path) -> None:
    backend = FakeExecutor()
    failed = replace(DONE, exit_code=1)
    story = Story(backend, RUNNING, replace(RUNNING, requeues=1), replace(failed, requeues=1))
    retry = RetryPolicy(retries=1, backoff_s=0)

    async def first_time(fact: JobFact) -> None:
        if isinstance(fact, JobRequeued):
            backend.first = DONE

    job = Job(name="j", task=Command(("true",)), retry=retry)
    experiment = ExperimentDraft("p", [job], executor="fake", home=tmp_path)
    watch = Plugin("watch").on(JobFact, first_time)
    with anyio.fail_after(120):
        async with Kernel(plugins=[backend, story.plugin, watch]) as kernel:
            (record,) = await experiment.run(kernel.bus)

    assert (record.state, record.attempt) == (JobState.SUCCEEDED, 3)
    assert (record.requeues, record.requeued) == (0, 1)
    assert backend.submits == ["j", "j"]


@pytest.mark.parametrize(("retries", "state"), [(0, "PREEMPTED"), (1, "SUCCEEDED")])
async def test_a_job_whose_machine_is_taken_away_is_preempted_or_tried_again(
    retries: int, state: str, tmp_path: Path
) -> None:
    backend = FakeExecutor()
    story = Story(backend, RUNNING, TAKEN)
    retry = RetryPolicy(retries=retries, on=("preempted",), backoff_s=0)

    async def then(fact: JobFact) -> None:
        if isinstance(fact, JobStarted):
            backend.first = DONE

    watch = Plugin("watch").on(JobFact, then)
    job = Job(name="j", task=Command(("true",)), retry=retry)
    experiment = ExperimentDraft("p", [job], executor="fake", home=tmp_path)
    with anyio.fail_after(120):
        async with Kernel(plugins=[backend, watch, story.plugin]) as kernel:
            (record,) = await experiment.run(kernel.bus)

    assert (record.state, record.attempt) == (state, 1 + retries)
    if not retries:
        assert (record.reason, record.native_state) == ("its machine was taken away", "PREEMPTED")


AGAIN = replace(DONE, requeues=1)


async def test_a_job_that_its_backend_begins_anew_after_its_end_goes_on(
    tmp_path: Path, job: Job
) -> None:
    """An administrator requeues what was preempted, while other jobs of the experiment run."""
    backend, told = FakeExecutor(), list[str]()
    backend.first = RUNNING

    async def then(fact: JobFact) -> None:
        told.append(f"{fact.job} {type(fact).__name__}")
        match fact:
            case JobStarted(job="j", attempt=1):
                backend.show("j", TAKEN)
            case JobEnded(job="j", attempt=1):
                backend.show("j", replace(QUEUED, requeues=1))
            case JobRequeued():
                backend.show("j", AGAIN)
            case JobEnded(job="j"):
                backend.show("other", DONE)

    other = Job(name="other", task=Command(("true",)))
    experiment = ExperimentDraft("p", [job, other], executor="fake", home=tmp_path)
    with anyio.fail_after(120):
        async with Kernel(plugins=[backend, Plugin("then").on(JobFact, then)]) as kernel:
            record, _ = await experiment.run(kernel.bus)

    assert (record.state, record.attempt, record.requeued) == (JobState.SUCCEEDED, 2, 1)
    mine = [name.removeprefix("j ") for name in told if name.startswith("j ")]
    assert [name for name in mine if name != "JobObserved"] == [
        "JobIntended", "JobSubmitted", "JobStarted", "JobEnded", "JobRequeued", "JobStarted",
        "JobEnded",
    ]  # fmt: skip
    assert sorted(backend.submits) == ["j", "other"]
    assert read_jobs(experiment.folder)["j"] == record


@pytest.mark.parametrize("begun_anew", [True, False])
async def test_the_next_leader_looks_once_whether_a_preempted_job_was_begun_anew(
    begun_anew: bool, tmp_path: Path, job: Job
) -> None:
    backend = FakeExecutor()
    record, experiment = await led(tmp_path, backend, Story(backend, RUNNING, TAKEN), job)
    assert record.state is JobState.PREEMPTED
    if begun_anew:
        backend.show("j", AGAIN)
    backend.looks.clear()
    asked: list[JobRef] = []

    async def observe(refs: Sequence[JobRef]) -> dict[JobRef, Observation]:
        asked.extend(refs)
        return await FakeExecutor.observe(backend, refs)

    backend.observe = observe  # type: ignore[method-assign]

    stored = StoredExperiment.open(experiment.folder, home=Home(tmp_path))
    with anyio.fail_after(120):
        async with Kernel(plugins=[backend]) as kernel:
            (record,) = await stored.run(kernel.bus)

    assert (record.state, record.attempt) == (
        (JobState.SUCCEEDED, 2) if begun_anew else (JobState.PREEMPTED, 1)
    )
    assert backend.looks[0] == {"j"}
    folder = os.path.join(experiment.folder, "jobs", "1-j", "1")
    assert asked[0] == JobRef(name="j", folder=folder, handle=record.handle)
    assert len(backend.looks) == 1 or begun_anew


async def test_a_job_that_is_cancelled_stays_so_when_its_machine_is_taken_away(
    tmp_path: Path,
) -> None:
    backend = FakeExecutor()
    backend.first = RUNNING
    retry = RetryPolicy(retries=5, backoff_s=0)
    job = Job(name="j", task=Command(("true",)), retry=retry)
    experiment = ExperimentDraft("p", [job], executor="fake", home=tmp_path)

    async def cancel(_started: JobStarted) -> None:
        await experiment.cancel("not needed", 1)
        backend.show("j", replace(RUNNING, requeues=1))

    watch = Plugin("watch").on(JobStarted, cancel)
    with anyio.fail_after(120):
        async with Kernel(plugins=[backend, watch]) as kernel:
            (record,) = await experiment.run(kernel.bus)

    assert (record.state, record.reason) == (JobState.CANCELLED, "not needed")
    assert backend.submits == ["j"]
    assert backend.cancelled


async def test_a_long_word_of_a_backend_is_cut(tmp_path: Path, job: Job) -> None:
    backend = FakeExecutor()
    word = "W" * 1_000_000
    story = Story(backend, QUEUED, replace(QUEUED, native_state=word), DONE)

    _, experiment = await led(tmp_path, backend, story, job)

    observed = [fact for fact in story.facts if isinstance(fact, JobObserved)]
    assert [len(one.native_state) for one in observed] == [len("PENDING"), 200]
    journal = await anyio.Path(experiment.folder, "events.journal").read_bytes()
    assert journal.count(b"W") < 1000


async def test_a_follower_hears_of_a_new_beginning_after_the_output_before_it(
    tmp_path: Path, job: Job
) -> None:
    backend = FakeExecutor()
    experiment = ExperimentDraft("p", [job], executor="fake", home=tmp_path)
    stored = await anyio.to_thread.run_sync(experiment.prepare)
    (spec,) = stored.specs
    second = Path(os.path.dirname(spec.folder), "2")
    told: list[object] = []

    async def write(fact: JobFact) -> None:
        if isinstance(fact, JobStarted):
            folder = Path(spec.folder) if fact.attempt == 1 else second
            (folder / "stdout.log").write_text(f"attempt {fact.attempt}\n")

    story = Story(backend, RUNNING, replace(RUNNING, requeues=1), replace(DONE, requeues=1))
    follows = Plugin("follows").on(JobFact, lambda fact: told.append(type(fact).__name__))

    async def lines(event: LogLines) -> None:
        told.append((event.attempt, event.text))

    follows = follows.stream(LogLines, lines)
    with anyio.fail_after(120):
        async with (
            Kernel(plugins=[backend, Plugin("writes").on(JobFact, write), story.plugin]) as leading,
            Kernel(plugins=[follows]) as following,
            anyio.create_task_group() as group,
        ):
            stored.intend()
            group.start_soon(Follower(following.bus, experiment.folder, stored.specs).run)
            await stored.run(leading.bus)

    at = told.index("JobRequeued")
    assert (1, "attempt 1\n") in told
    assert told.count("JobStarted") == 2
    assert told.index((2, "attempt 2\n")) > at
    # Its lines are read by a task of the plugin, which may come to the last of them later.
    assert [one for one in told if isinstance(one, str)][-1] == "JobEnded"
