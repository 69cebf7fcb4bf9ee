"""`runbus why` answers in words, whoever led the job, and also where nobody does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

import runbus
from runbus import AsyncExperiment, Command, Job, RetryPolicy, api
from runbus.catalog import find_run
from runbus.cli._app import run_command
from runbus.errors import RunbusError
from runbus.jobs import read_jobs


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
    capsys: pytest.CaptureFixture[str],
) -> None:
    stored = AsyncExperiment("p", [Job(name="a", task=Command(("true",)))]).prepare()
    stored.intend()

    assert f"no process leads its batch: runbus attach {stored.id} continues with it" in said(
        capsys, "a"
    )


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
    assert before > 100_000_000 or run.state == "LOST"  # of which the last sign is its point
    run.seal()
    after = anyio.run(api.explain, run).story[-1].time_ns - run.info.created_ns
    assert 0 < after <= before + 50_000_000  # a file's time is some milliseconds coarse


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
    experiment = AsyncExperiment("p", jobs, max_parallel=1)
    stored = experiment.prepare()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(api.lead, stored)
        waits = f"{stored.id}-3"
        because: list[str] = []
        with anyio.fail_after(20):
            while "1 of 1 places are taken (max_parallel), and 1 jobs are before it" not in because:
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
    stored = AsyncExperiment("p", [Job(name="a", task=task, retry=retry)]).prepare()

    def has_failed_once() -> bool:
        return any(job.attempt == 2 for job in read_jobs(stored.folder).values())

    async def lead_until_the_pause() -> None:
        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(api.lead, stored)
                while not has_failed_once():
                    await anyio.sleep(0.01)
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
