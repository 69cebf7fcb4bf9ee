"""A leader that stands still is seen, replaced, and does no harm when it continues."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from runbus import Command, Job, Plugin, api
from runbus._home import Home
from runbus.experiment import ExperimentDraft
from runbus.jobs import (
    TAKE_OVER_S,
    FactReader,
    JobState,
    JobStore,
    intend,
    is_handed_over,
    leader_of,
    read_jobs,
)
from runbus.testing._waiting import wait_until

RUNBUS = os.path.join(os.path.dirname(sys.executable), "runbus")


def say_nothing_for(folder: str, seconds: float) -> None:
    """Make it look as if nothing had been heard of the leader for some time."""
    path = os.path.join(folder, "leader")
    with open(path, "r+b") as file:
        data = file.read()
        record = json.loads(data) | {"beat_s": round(time.monotonic() - seconds, 3)}
        file.seek(0)
        # As long as it was: the number may have fewer digits than the one before.
        file.write(json.dumps(record, separators=(",", ":")).encode().ljust(len(data)))


def said(*words: str) -> str:
    done = subprocess.run(
        [RUNBUS, *words], capture_output=True, text=True, timeout=120, check=False
    )
    return done.stdout + done.stderr


@contextmanager
def runbus(*words: str) -> Iterator[subprocess.Popen[str]]:
    """Start a command; it is killed at the end of the block if it still runs."""
    with subprocess.Popen(
        [RUNBUS, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGCONT)
            process.kill()


@contextmanager
def leader_of_three(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Have a batch of three jobs led, until the first one runs.

    Each job notes that it ran, and ends when there is a file `go`.
    """
    script = f"echo $RUNBUS_JOB >>{tmp_path}/ran; until test -e {tmp_path}/go; do sleep 0.02; done"
    jobs = [{"name": name, "command": ["sh", "-c", script]} for name in "abc"]
    path = tmp_path / "batch.json"
    path.write_text(json.dumps({"project": "p", "jobs": jobs, "max_parallel": 1}))
    with runbus("submit", str(path)) as leader:
        wait_until(lambda: Home().open_experiments())
        (folder,) = Home().open_experiments()
        wait_until(lambda: JobState.RUNNING in {job.state for job in read_jobs(folder).values()})
        try:
            yield leader, folder
        finally:
            (tmp_path / "go").touch()


@contextmanager
def stopped_leader(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The same, and stop the leader."""
    with leader_of_three(tmp_path) as (leader, folder):
        leader.send_signal(signal.SIGSTOP)
        # Until then it may still say that it is there.
        os.waitid(os.P_PID, leader.pid, os.WSTOPPED | os.WNOWAIT)
        yield leader, folder


def test_a_stopped_leader_is_named_by_all_who_look(tmp_path: Path) -> None:
    with stopped_leader(tmp_path) as (leader, folder):
        # How long it takes to look is the machine's; cancel must do so before it may lead itself.
        sentence = rf"led by pid {leader.pid}, silent for [1-9]\d+ s"
        silent_s = 16  # a second longer than goes without a word

        say_nothing_for(folder, silent_s)
        assert re.search(sentence, said("status"))
        say_nothing_for(folder, silent_s)
        told = said("doctor")
        assert re.search(sentence, told)
        assert f"kill -CONT {leader.pid} lets it continue" in told
        say_nothing_for(folder, silent_s)
        with runbus("cancel", "latest") as cancel:
            assert cancel.stderr is not None
            assert any(re.search(sentence, line) for line in cancel.stderr)


def test_what_a_stopped_leader_led_is_led_on_and_nothing_runs_twice(tmp_path: Path) -> None:
    with stopped_leader(tmp_path) as (first, folder):
        say_nothing_for(folder, TAKE_OVER_S)
        with runbus("attach") as second:
            wait_until(lambda: (one := leader_of(folder)) and one.pid == second.pid)
            first.send_signal(signal.SIGCONT)
            _, error = first.communicate(timeout=120)
            assert first.returncode == 1, error
            assert f"error: this process no longer leads {folder}: it is led by pid" in error
            assert "hint: jobs that run continue by themselves; runbus attach follows them" in error

            (tmp_path / "go").touch()
            second.communicate(timeout=120)
            assert second.returncode == 0
    told = [(type(fact).__name__, fact.job) for fact in FactReader(folder).poll()]
    kinds = ("JobIntended", "JobSubmitted", "JobStarted", "JobEnded")
    assert sorted(told) == sorted((kind, job) for kind in kinds for job in "abc")
    assert len((tmp_path / "ran").read_text().splitlines()) == 3


@pytest.mark.parametrize("words", [("cancel", "latest"), ("supervise",)])
def test_cancel_and_the_supervisor_of_the_home_lead_on_too(
    words: tuple[str, ...], tmp_path: Path
) -> None:
    with stopped_leader(tmp_path) as (first, folder):
        say_nothing_for(folder, TAKE_OVER_S)
        (tmp_path / "go").touch()
        said(*words)
        ended = JobState.CANCELLED if words[0] == "cancel" else JobState.SUCCEEDED

        states = [job.state for job in read_jobs(folder).values()]
        assert states[1:] == [ended, ended]
        first.send_signal(signal.SIGCONT)
        assert first.wait(120) == 1
        assert [job.state for job in read_jobs(folder).values()] == states


def is_deleted(folder: Path) -> bool:
    shutil.rmtree(folder, ignore_errors=True)
    return not folder.exists()


def test_a_leader_whose_home_is_deleted_ends_with_an_error(tmp_path: Path) -> None:
    with leader_of_three(tmp_path) as (leader, folder):
        # All at once: what it does meanwhile would make some of it anew.
        os.rename(Home().path, deleted := tmp_path / "deleted")
        # Where the job's wrapper writes something just then there is a file in an empty folder.
        wait_until(lambda: is_deleted(deleted))
        _, error = leader.communicate(timeout=120)
        (tmp_path / "go").touch()

        assert leader.returncode == 1
        lost = f"error: this process no longer leads {folder}: no such file or directory"
        assert lost in error
        assert "Traceback" not in error


def test_the_supervisor_leaves_what_was_just_recorded_to_who_recorded_it() -> None:
    own, other = (
        ExperimentDraft(name, [Job(name="a", task=Command(("true",)))]).prepare()
        for name in ("own", "other")
    )
    recorded = os.path.join(own.folder, "experiment.json")

    def has_ended() -> bool:
        # However long this takes, it was recorded by a process that takes long to begin.
        then = time.time() - TAKE_OVER_S / 2
        os.utime(recorded, (then, then))
        return read_jobs(other.folder)["a"].state.is_terminal

    anyio.run(api.detach, other)
    wait_until(has_ended)

    assert not os.path.exists(os.path.join(own.folder, "events.journal"))
    (record,) = anyio.run(api.lead, own)
    assert record.state is JobState.SUCCEEDED


def test_what_a_supervisor_takes_up_and_cannot_lead_is_recorded_without_waiting() -> None:
    experiment = ExperimentDraft("p", [Job(name="a", task=Command(("true",)))]).prepare()
    supervisor = JobStore(experiment.folder)

    async def leave() -> None:
        with anyio.fail_after(TAKE_OVER_S / 2):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(api.detach, experiment)
                await tried()
                assert "a" not in supervisor.jobs
                supervisor.close()

    async def tried() -> None:
        for is_trying in (True, False):
            while is_trying != ("records" in {one.get_name() for one in asyncio.all_tasks()}):
                await anyio.lowlevel.checkpoint()

    anyio.run(leave)
    wait_until(lambda: read_jobs(experiment.folder)["a"].state.is_terminal)


async def test_what_was_left_to_a_supervisor_a_moment_ago_is_not_led_by_who_attaches_to_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stored = ExperimentDraft("p", [Job(name="a", task=Command(("true",)))]).prepare()
    stored.intend()
    handed = os.path.join(stored.folder, "leader")
    almost = time.time() + 2.0 - TAKE_OVER_S  # in two seconds nobody is expected any more
    os.utime(handed, (almost, almost))
    is_expected = []

    @asynccontextmanager
    async def leading(_: object) -> AsyncIterator[None]:
        is_expected.append(is_handed_over(stored.folder))
        yield

    (record,) = await api.attach(stored.folder, leading=leading)

    assert is_expected == [False]
    assert record.state is JobState.SUCCEEDED
    # It waited, and said once why.
    (told,) = [line for line in caplog.messages if "supervisor" in line]
    assert told == f"the supervisor of {stored.id} has not begun: its jobs are led here after 60 s"


async def test_what_is_left_to_a_supervisor_while_somebody_follows_it_is_not_led_by_them() -> None:
    stored = ExperimentDraft("p", [Job(name="a", task=Command(("true",)))]).prepare()
    detaching = JobStore(stored.folder)  # as a process has that records what it detaches
    intend(detaching, stored.specs)
    handed = os.path.join(stored.folder, "leader")
    is_expected = []

    def hand_over(_: object) -> list[Plugin]:
        detaching.close(is_handed_over=True)
        almost = time.time() + 2.0 - TAKE_OVER_S  # in two seconds nobody is expected any more
        os.utime(handed, (almost, almost))
        return []

    @asynccontextmanager
    async def leading(_: object) -> AsyncIterator[None]:
        is_expected.append(is_handed_over(stored.folder))
        yield

    (record,) = await api.attach(stored.folder, watching=hand_over, leading=leading)

    assert is_expected == [False]
    assert record.state is JobState.SUCCEEDED
