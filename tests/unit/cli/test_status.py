"""`runbus status`: totals first, then as much as there is room for."""

from __future__ import annotations

import os
import re
import sys
import time
from types import FrameType
from typing import Any

import pytest

from runbus import Command, Job
from runbus._clock import SYSTEM_CLOCK
from runbus._home import Home
from runbus.catalog import job_statuses
from runbus.cli._app import run_command
from runbus.cli._totals import Totals
from runbus.events import JobEnded, JobIntended, JobStarted, JobSubmitted
from runbus.experiment import ExperimentDraft, StoredExperiment
from runbus.jobs import End, Facts, JobState, JobStore, intend, leader_of

from .terminal import check_golden, watch

RUNBUS = os.path.join(os.path.dirname(sys.executable), "runbus")


@pytest.fixture
def batch() -> StoredExperiment:
    """Return a batch of 100 jobs, of which most have ended, one runs and no process leads any."""
    jobs = [Job(name=f"train-{at}", task=Command(("true",))) for at in range(100)]
    stored = ExperimentDraft("many", jobs).prepare()
    store = JobStore(stored.folder)
    for at, spec in enumerate(stored.specs):
        about: dict[str, Any] = {
            "experiment_id": spec.experiment_id, "job": spec.name, "run_id": spec.run_id,
            "attempt": 1, "time_ns": 1_000_000_000,
        }  # fmt: skip
        where = store.relative(spec.folder)
        store.record(JobIntended(**about, executor=spec.executor, folder=where))
        if at >= 90:
            continue
        store.record(JobSubmitted(**about, handle="h"))
        if at == 89:
            # Its time continues until the screen is drawn, and must be as wide as in the golden
            # one.
            about["time_ns"] = time.time_ns() - (3 * 60 + 5) * 60 * 10**9
            store.record(JobStarted(**about, host="here", pid=1))
            continue
        store.record(JobStarted(**about, host="here", pid=1))
        failed: dict[str, Any] = {
            "state": "FAILED",
            "exit_code": 127,
            "reason": "command not found: trian",
        }
        how = failed if at % 30 == 7 else {"state": "SUCCEEDED", "exit_code": 0, "reason": ""}
        about["time_ns"] += at * 10**9
        store.record(JobEnded(**about, **how, signal=None, duration_s=float(at)))
    store.close()
    let_it_lie(stored)
    return stored


def let_it_lie(stored: StoredExperiment) -> None:
    """Let it be long ago that the lead of a batch was given back."""
    os.utime(os.path.join(stored.folder, "leader"), (1, 1))


def stop_the_clock(stored: StoredExperiment, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let it be now that the lead of a batch was given back, however long a command takes."""
    now = os.stat(os.path.join(stored.folder, "leader")).st_mtime
    monkeypatch.setattr(time, "time", lambda: now)


def test_a_watched_screen_is_cleared_before_it_is_shown_anew() -> None:
    stored = ExperimentDraft("over", [Job(name="train", task=Command(("true",)))]).prepare()
    spec = stored.specs[0]
    store = JobStore(stored.folder)
    about: dict[str, Any] = {
        "experiment_id": spec.experiment_id, "job": spec.name, "run_id": spec.run_id,
        "attempt": 1, "time_ns": 1_000_000_000,
    }  # fmt: skip
    where = store.relative(spec.folder)
    store.record(JobIntended(**about, executor=spec.executor, folder=where))
    store.record(
        JobEnded(**about, state="SUCCEEDED", exit_code=0, reason="", signal=None, duration_s=1.0)
    )
    store.close()

    status, screen, sent = watch([RUNBUS, "status", "-w"], 80, 24)

    assert status == 0
    assert sent.startswith(b"\x1b[H\x1b[2J")
    assert screen.splitlines()[:2] == [f"{stored.id} of over", "1 of 1 done"]


def shown(text: str, stored: StoredExperiment) -> str:
    text = text.replace(stored.id, "20300101-120000-abcdef")
    text = text.replace(stored.id.rpartition("-")[2], "abcdef")
    return text.replace("\r", "")


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (160, 50)])
def test_a_screen_holds_the_totals_and_the_jobs_that_matter(
    columns: int, rows: int, batch: StoredExperiment
) -> None:
    status, screen, _ = watch([RUNBUS, "status"], columns, rows)

    assert status == 0
    lines = screen.splitlines()
    assert len(lines) < rows
    assert all(len(line) <= columns for line in lines)
    check_golden(f"status-{columns}x{rows}", shown(screen, batch))


def test_a_pipe_gets_every_job(batch: StoredExperiment, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["status"]) == 0

    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert lines[0].startswith("89 of 100 done, 3 failed · 1 running · 10 waiting")
    assert len(lines) == 102
    unled = f"no process leads these jobs: runbus attach {batch.id} continues\n"
    assert captured.err == f"{unled}{batch.id} of many\n"


def test_a_batch_that_was_handed_over_a_moment_ago_is_not_left_to_the_user(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stored = ExperimentDraft("p", [Job(name="a", task=Command(("true",)))]).prepare()
    stored.intend()
    stop_the_clock(stored, monkeypatch)

    assert run_command(["status"]) == 0
    assert "handed over a moment ago" in capsys.readouterr().err
    let_it_lie(stored)
    assert run_command(["status"]) == 0
    assert capsys.readouterr().err.startswith("no process leads these jobs: runbus attach")


def test_doctor_finds_nothing_wrong_with_a_batch_that_was_handed_over_a_moment_ago(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stored = ExperimentDraft("p", [Job(name="a", task=Command(("true",)))]).prepare()
    stored.intend()
    stop_the_clock(stored, monkeypatch)
    Home().note_open(stored.folder)

    run_command(["doctor"])
    assert "no process leads it" not in capsys.readouterr().out
    let_it_lie(stored)
    run_command(["doctor"])
    assert f"1 of 1 jobs of {stored.id}, and no process leads it" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["status", "doctor"])
def test_a_batch_that_ends_while_one_looks_at_it_is_not_left_to_the_user(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    stored = ExperimentDraft("p", [Job(name="a", task=Command(("true",)))]).prepare()
    (spec,) = stored.specs
    facts, store = Facts(SYSTEM_CLOCK), JobStore(stored.folder)  # as its leader has
    intend(store, stored.specs)
    end = facts.ended(spec, End(JobState.SUCCEEDED, "", None))
    looks = (job_statuses.__code__, leader_of.__code__)

    def end_after_a_look(frame: FrameType, event: str, _arg: object) -> None:
        if event == "return" and frame.f_code in looks:
            sys.setprofile(None)
            store.record(end)
            store.close()

    sys.setprofile(end_after_a_look)
    run_command([command])

    told = capsys.readouterr()
    assert "no process leads" not in told.out + told.err
    assert leader_of(stored.folder) is None


@pytest.mark.parametrize("command", ["status", "doctor"])
def test_a_batch_that_is_led_from_now_on_is_not_left_to_the_user(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    stored = ExperimentDraft("p", [Job(name="a", task=Command(("true",)))]).prepare()
    stored.intend()
    begun: list[JobStore] = []

    def begin_after_a_look(frame: FrameType, event: str, _arg: object) -> None:
        if event == "return" and frame.f_code is job_statuses.__code__:
            sys.setprofile(None)
            begun.append(JobStore(stored.folder))

    sys.setprofile(begin_after_a_look)
    run_command([command])
    (store,) = begun
    store.close()

    told = capsys.readouterr()
    assert "no process leads it" not in told.out
    assert "no process leads these jobs" not in told.err


def test_a_job_that_never_began_took_no_time(capsys: pytest.CaptureFixture[str]) -> None:
    stored = ExperimentDraft("p", [Job(name="a", task=Command(("true",)))]).prepare()
    stored.intend()
    spec = stored.specs[0]
    store = JobStore(stored.folder)
    end: dict[str, Any] = {"state": "CANCELLED", "reason": "by SIGINT", "duration_s": 0.0}
    store.record(
        JobEnded(
            experiment_id=spec.experiment_id, job="a", run_id=spec.run_id, attempt=1,
            time_ns=time.time_ns(), exit_code=None, signal=None, **end,
        )
    )  # fmt: skip
    store.close()

    for words in (["status"], ["attach", stored.id], ["show", spec.run_id]):
        run_command(words)
        shown = capsys.readouterr().out
        assert "CANCELLED" in shown
        assert "0 s" not in shown


@pytest.mark.parametrize(
    ("words", "count"),
    [(["--failed"], 3), (["--state", "running"], 1), (["--state", "pending"], 10),
     (["--state", "failed", "--state", "running"], 4)],
)  # fmt: skip
def test_the_jobs_of_a_state_are_all_shown(
    words: list[str], count: int, batch: StoredExperiment, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["status", *words]) == 0

    assert len(capsys.readouterr().out.splitlines()) == 2 + count


def test_states_that_no_job_is_in_or_that_are_none_are_told(
    batch: StoredExperiment, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["status", "--state", "lost"]) == 0
    assert "no job is LOST" in capsys.readouterr().err

    assert run_command(["status", "--state", "faild"]) == 2
    assert "did you mean FAILED" in capsys.readouterr().err


def test_what_was_skipped_is_shown_before_what_succeeded_and_why_is_said_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    jobs = [Job(name=f"j{at}", task=Command(("true",))) for at in range(30)]
    stored = ExperimentDraft("s", jobs).prepare()
    store = JobStore(stored.folder)
    reason = "it needs job 'x' to succeed, and that ended as FAILED"
    for at, spec in enumerate(stored.specs):
        about: dict[str, Any] = {
            "experiment_id": spec.experiment_id, "job": spec.name, "run_id": spec.run_id,
            "attempt": 1, "time_ns": 1_000_000_000 + at,
        }  # fmt: skip
        where = store.relative(spec.folder)
        store.record(JobIntended(**about, executor=spec.executor, folder=where))
        how: dict[str, Any] = {"state": "SUCCEEDED", "exit_code": 0, "reason": ""}
        if at == 0:
            how = {"state": "SKIPPED", "exit_code": None, "reason": reason}
        store.record(JobEnded(**about, **how, signal=None, duration_s=0.0))
    store.close()

    screen = watch([RUNBUS, "status"], 80, 24)[1]
    assert run_command(["why", "j0"]) == 0

    assert re.search(r" j0 +SKIPPED ", screen)
    assert " j29 " in screen
    head, *rest = capsys.readouterr().out.splitlines()
    assert reason in head
    assert [reason in line for line in rest] == [False, False, False, True]


def test_how_quickly_jobs_ended_tells_nothing_of_one_that_still_runs() -> None:
    slow = Totals(jobs=4, succeeded=3, others={}, running=1, waiting=0, rate_per_s=93.8)
    assert slow.text() == "3 of 4 done · 1 running"
    more = slow._replace(jobs=10, waiting=6, rate_per_s=0.5)
    assert more.text() == "3 of 10 done · 1 running · 6 waiting · 30.0/min · 14 s left"
