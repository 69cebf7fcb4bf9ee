"""`runbus why` answers in words, whichever process led the job, and also where none does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import runbus
from runbus import Command, Job, RetryPolicy, Timeouts, api
from runbus.catalog import find_run
from runbus.cli._app import run_command
from runbus.errors import RunbusError
from runbus.events import JobEnded, JobRequeued, JobRetrying, JobStarted, JobSubmitted
from runbus.experiment import ExperimentDraft, StoredExperiment
from runbus.jobs import JobStore, read_jobs
from runbus.testing._waiting import until

KILLED = "it was still there after its grace period, so it was killed (SIGKILL)"


def submitted(tmp_path: Path, *jobs: dict[str, Any], detach: bool = False) -> None:
    path = tmp_path / "batch.json"
    path.write_text(json.dumps({"project": "p", "jobs": jobs}))
    run_command(["submit", str(path), *(["--detach"] if detach else [])])


def said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    capsys.readouterr()
    assert run_command(["why", *words]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (["sh", "-c", "no-such-program x"], "exit code 127 means that the command was not found"),
        (["sh", "-c", "kill -9 $$"], "something killed it (SIGKILL)"),
        (["sh", "-c", "exit 3"], "its program ended with exit code 3"),
    ],
)
def test_a_failure_is_explained_with_the_last_words_of_the_job(
    command: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shell = ["sh", "-c", f"echo last words >&2; {command[2]}"]
    submitted(tmp_path, {"name": "fails", "command": shell})

    words = said(capsys, "fails")

    assert sentence in words
    assert "\n  last words\n" in words
    assert "FAILED" in words.splitlines()[0]
    for happened in ("recorded, for local", "submitted", "started on"):
        assert happened in words
    assert "job.ended" in said(capsys, "-v", "fails")


def test_each_attempt_is_in_the_story(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    submitted(tmp_path, {"name": "a", "command": ["false"], "retries": 1, "backoff": 0.01})

    words = said(capsys, "a")

    assert "it had 2 attempts" in words
    assert "attempt 1: FAILED: exit code 1; again in" in words


def test_a_job_that_nobody_leads_says_so_and_what_goes_on_with_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stored = ExperimentDraft("p", [Job(name="a", task=Command(("true",)))]).prepare()
    stored.intend()
    leader = os.path.join(stored.folder, "leader")
    now = os.stat(leader).st_mtime
    monkeypatch.setattr(time, "time", lambda: now)  # however long the command takes

    assert "its batch was handed over a moment ago, and no process leads it yet" in said(
        capsys, "a"
    )
    os.utime(leader, (1, 1))
    assert f"no process leads its batch: runbus attach {stored.id} continues with it" in said(
        capsys, "a"
    )


@pytest.fixture
def led() -> Iterator[tuple[StoredExperiment, JobStore]]:
    """Return a batch of two jobs, one at a time and for 1 s each, that this process leads."""
    limit = Timeouts(run_s=1)
    jobs = [Job(name=name, task=Command(("true",)), timeouts=limit) for name in "ab"]
    stored = ExperimentDraft("p", jobs, max_parallel=1).prepare()
    stored.intend()
    store = JobStore(stored.folder)
    yield stored, store
    store.close()


def about(stored: StoredExperiment, at: int, time_ns: int, attempt: int = 1) -> dict[str, Any]:
    spec = stored.specs[at]
    return {
        "experiment_id": spec.experiment_id, "job": spec.name, "run_id": spec.run_id,
        "attempt": attempt, "time_ns": time_ns,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("state", "reason", "sentences"),
    [
        (
            "TIMEOUT",
            "it reached its time limit, and was killed, since it did not end",
            ["it reached its time limit of 1 s, and was asked to end (SIGTERM)", KILLED],
        ),
        ("CANCELLED", "by SIGINT", ["its end was asked for: by SIGINT", KILLED]),
    ],
)
def test_a_job_that_had_to_be_killed_is_told_of_its_limit_or_who_asked_and_that_it_was_killed(
    led: tuple[StoredExperiment, JobStore], state: str, reason: str, sentences: list[str]
) -> None:
    stored, store = led
    now = time.time_ns()
    store.record(JobSubmitted(**about(stored, 0, now), handle="h"))
    store.record(JobStarted(**about(stored, 0, now - 60 * 10**9), host="here", pid=1))
    waits = anyio.run(api.explain, f"{stored.id}-1").because
    assert "it reached its time limit of 1 s, and is asked to end" in waits[-1]
    end: dict[str, Any] = {"exit_code": None, "duration_s": 11.0, "reason": reason, "state": state}
    store.record(JobEnded(**about(stored, 0, now), **end, signal=9))

    assert anyio.run(api.explain, f"{stored.id}-1").because == sentences


def test_a_run_that_was_read_before_its_end_is_explained_as_it_stands_now(
    led: tuple[StoredExperiment, JobStore],
) -> None:
    stored, store = led
    run = find_run(f"{stored.id}-1")
    assert run.job is not None
    assert not run.job.state.is_terminal
    end: dict[str, Any] = {"exit_code": 3, "signal": None, "reason": "exit code 3"}
    end |= {"state": "FAILED", "duration_s": 1.0}
    store.record(JobEnded(**about(stored, 0, time.time_ns()), **end))

    told = anyio.run(api.explain, run)

    assert told.state == "FAILED: exit code 3"
    assert told.because == ["its program ended with exit code 3"]


def test_a_retry_is_before_what_never_began_once_its_pause_is_over(
    led: tuple[StoredExperiment, JobStore],
) -> None:
    stored, store = led
    how: dict[str, Any] = {
        "state": "FAILED", "exit_code": 1, "signal": None, "reason": "exit code 1",
        "next_attempt": 2, "folder": "jobs/2-b/2",
    }  # fmt: skip
    store.record(JobRetrying(**about(stored, 1, time.time_ns()), **how, delay_s=3630.0))
    (pauses,) = anyio.run(api.explain, f"{stored.id}-2").because
    assert pauses.startswith("attempt 2 is submitted after a pause, in 1 h 0 min")
    assert pauses.endswith(": exit code 1")
    turn = "0 of 1 places are taken (max_parallel), and {} before it"
    assert anyio.run(api.explain, f"{stored.id}-1").because == [turn.format("0 jobs are")]

    how |= {"next_attempt": 3}
    store.record(JobRetrying(**about(stored, 1, time.time_ns(), 2), **how, delay_s=0.0))
    assert anyio.run(api.explain, f"{stored.id}-2").because == [turn.format("0 jobs are")]
    assert anyio.run(api.explain, f"{stored.id}-1").because == [turn.format("1 job is")]


def test_attempts_that_nobody_saw_begin_are_known_by_what_they_have_left(
    led: tuple[StoredExperiment, JobStore], capfd: pytest.CaptureFixture[str]
) -> None:
    stored, store = led
    for attempt in (1, 2):
        store.record(JobRequeued(
            **about(stored, 1, time.time_ns(), attempt), requeues=attempt, reason="taken",
            next_attempt=attempt + 1, folder=f"jobs/2-b/{attempt + 1}",
        ))  # fmt: skip
        folder = Path(stored.folder, "jobs", "2-b", str(attempt))
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "pid.json").touch()
        (folder / "stdout.log").write_text(f"words {attempt}\n")

    assert run_command(["logs", "b"]) == 0
    captured = capfd.readouterr()
    assert captured.out == "words 1\nwords 2\n"
    headings = "==> attempt 1 <==\n==> attempt 2 <==\n"
    assert captured.err == f"attempt 3 has not begun\n{headings}"


@given(sent_s=st.floats(-9, 9), started_s=st.floats(-9, 9), ended_s=st.floats(-9, 9))
@settings(max_examples=20)
def test_a_story_keeps_its_order_and_its_times_never_run_backwards(
    sent_s: float, started_s: float, ended_s: float
) -> None:
    stored = ExperimentDraft("p", [Job(name="a", task=Command(("true",)))]).prepare()
    stored.intend()
    now = time.time_ns() + 10**9
    times = [now + int(one * 10**9) for one in (sent_s, started_s, ended_s)]
    end: dict[str, Any] = {"state": "SUCCEEDED", "exit_code": 0, "signal": None, "reason": ""}
    store = JobStore(stored.folder)
    store.record(JobSubmitted(**about(stored, 0, times[0]), handle="h"))
    store.record(JobStarted(**about(stored, 0, times[1]), host="here", pid=1))
    store.record(JobEnded(**about(stored, 0, times[2]), **end, duration_s=1.0))
    store.close()

    story = anyio.run(api.explain, f"{stored.id}-1").story

    words = [one.text.split()[0] for one in story]
    assert words == ["made", "recorded,", "submitted", "started", "SUCCEEDED"]
    told = [one.time_ns for one in story]
    assert told == sorted(told)
    assert told[2] <= max(told[1], min(times[:2]))  # it was sent before it started


def test_a_run_of_plain_init_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="boom"), runbus.init(name="bad"):
        raise ValueError("boom")

    words = said(capsys, "bad")

    assert "is FAILED: ValueError: boom" in words
    assert "its process ended with that exception" in words


def test_a_run_whose_process_was_killed_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    code = "import os, runbus; runbus.init(name='gone'); os.kill(os.getpid(), 9)"
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert done.returncode == -signal.SIGKILL

    assert "its process ended without a word" in said(capsys, "gone")


@pytest.mark.parametrize(
    ("ending", "state", "sentence"),
    [
        ("sys.exit(1)", "FAILED: exit code 1", "its process ended with that exit code"),
        ("raise KeyboardInterrupt", "CANCELLED: KeyboardInterrupt", "was interrupted"),
        ("os.kill(os.getpid(), 9)", "LOST: its process died without", "ended without a word"),
    ],
)
def test_the_story_of_a_plain_run_has_its_end_and_names_no_exception_that_was_not(
    ending: str, state: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = (
        "import os, sys, time, runbus; run = runbus.init(name='r'); run.log('loss', 1.0); "
        f"time.sleep(0.1); {ending}"
    )
    subprocess.run([sys.executable, "-c", code], check=False, stderr=subprocess.DEVNULL)

    words = said(capsys, "r")

    assert sentence in words
    assert "exception" not in words
    made, end = words.split("\n\n")[1].splitlines()
    assert "made" in made
    assert f"  {state}" in end
    run = find_run("r")
    before = anyio.run(api.explain, run).story[-1].time_ns - run.info.created_ns
    assert before > 100_000_000 or run.state == "LOST"  # of which the last sign may be its point
    run.seal()
    after = anyio.run(api.explain, run).story[-1].time_ns - run.info.created_ns
    assert 0 < after <= before + 50_000_000  # a file's time is some milliseconds coarse


def test_the_last_sign_of_a_run_that_was_killed_is_no_earlier_than_its_last_point() -> None:
    code = "import os, runbus; r = runbus.init(name='r'); r.log('x', 1.0); os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", code], check=False)
    run = find_run("r")
    for path in Path(run.folder, "metrics").iterdir():
        os.utime(path, ns=(run.info.created_ns, run.info.created_ns))  # as mapping leaves it

    *_, end = anyio.run(api.explain, run).story

    assert end.text.startswith("LOST")
    assert end.time_ns >= run.metrics("x").times[-1] > run.info.created_ns


def test_a_job_that_wrote_nothing_to_its_standard_error_shows_its_output(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    submitted(tmp_path, {"name": "a", "command": ["sh", "-c", "echo no data; exit 3"]})

    assert "the last it wrote to standard output:\n  no data\n" in said(capsys, "a")


def test_the_same_is_there_for_programs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    submitted(tmp_path, {"name": "fails", "command": ["false"]})

    explained = json.loads(said(capsys, "fails", "--json"))

    assert explained["state"] == "FAILED: exit code 1"
    assert [one["text"] for one in explained["story"]][-1] == "FAILED: exit code 1"
    same = anyio.run(api.explain, find_run("fails"))
    assert explained["because"] == same.because


async def test_what_waits_says_for_what(tmp_path: Path) -> None:
    jobs = [Job(name=name, task=Command(("sh", "-c", "read x < go"))) for name in "abc"]
    os.mkfifo(tmp_path / "go")
    jobs = [Job(name=job.name, task=job.task, cwd=str(tmp_path)) for job in jobs]
    experiment = ExperimentDraft("p", jobs, max_parallel=1)
    stored = experiment.prepare()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(api.lead, stored)
        waits = f"{stored.id}-3"
        because: list[str] = []
        with anyio.fail_after(120):
            while "1 of 1 places are taken (max_parallel), and 1 job is before it" not in because:
                await anyio.sleep(0.02)
                try:
                    because = (await api.explain(find_run(waits))).because
                except RunbusError:
                    continue
        first = await api.explain(find_run(f"{stored.id}-1"))
        assert first.because[0].startswith(("it has run on", "local has taken it"))
        await stored.cancel("by the test", 0)


def test_an_attempt_that_never_began_is_not_counted_and_the_logs_are_of_the_one_that_did(
    capfd: pytest.CaptureFixture[str],
) -> None:
    retry = RetryPolicy(retries=1, backoff_s=3600)
    task = Command(("sh", "-c", "echo first words; exit 1"))
    stored = ExperimentDraft("p", [Job(name="a", task=task, retry=retry)]).prepare()

    def has_failed_once() -> bool:
        return any(job.attempt == 2 for job in read_jobs(stored.folder).values())

    async def lead_until_the_pause() -> None:
        with anyio.fail_after(120):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(api.lead, stored)
                await until(has_failed_once)
                tasks.cancel_scope.cancel()

    anyio.run(lead_until_the_pause)

    for command, words in (
        ("why", "it had 1 attempt, and attempt 2 did not begin"),
        ("show", "2, which has not begun"),
        ("logs", "first words\n"),
    ):
        assert run_command([command, "a"]) == 0
        captured = capfd.readouterr()
        assert words in captured.out
    assert captured.err == "attempt 2 has not begun: this is attempt 1\n"
    assert run_command(["logs", "a", "--attempt", "2"]) == 0
    assert capfd.readouterr().err == "attempt 2 has not begun\n"
