"""A batch or a project where a run is asked for, and runs of a batch that were removed."""

from __future__ import annotations

import json
import re
import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest

import runbus
from runbus import Command, Job, api
from runbus._clock import SYSTEM_CLOCK
from runbus.catalog import find_run, remove_run
from runbus.cli._app import run_command
from runbus.config import Grid
from runbus.experiment import ExperimentDraft, sweep
from runbus.jobs import Facts, JobStore, intend, read_requests
from runbus.testing._waiting import wait_until

if TYPE_CHECKING:
    from runbus.experiment import StoredExperiment


@pytest.fixture
def batch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Return the id of a batch of three jobs, of which the second has failed."""
    jobs = [{"name": f"j{code}", "command": ["sh", "-c", f"exit {code}"]} for code in (0, 3, 0)]
    jobs[2]["name"] = "last"
    path = tmp_path / "b.json"
    path.write_text(json.dumps({"project": "seeds", "jobs": jobs}))
    run_command(["submit", str(path)])
    capsys.readouterr()
    return find_run("j3").id.rpartition("-")[0]


@pytest.mark.parametrize("command", ["why", "show"])
def test_of_a_batch_the_run_that_failed_is_shown_and_named(
    command: str, batch: str, capsys: pytest.CaptureFixture[str]
) -> None:
    letters = batch.rpartition("-")[2]
    for name in ("seeds", batch, letters):
        assert run_command([command, name]) == 0
        captured = capsys.readouterr()
        assert captured.err.startswith(
            f"{name} has 3 runs: this is j3 ({letters}-2), the first that failed\n"
        )
        assert "FAILED" in captured.out


def test_of_a_project_of_plain_runs_it_is_the_newest(capsys: pytest.CaptureFixture[str]) -> None:
    for name in "ab":
        with runbus.init(project="digits", name=name) as run:
            run.log("loss", 1.0, step=0)

    assert run_command(["show", "digits"]) == 0
    captured = capsys.readouterr()
    assert captured.out.splitlines()[1] == "name      b"
    assert "digits has 2 runs: this is b (" in captured.err
    assert run_command(["why", "digit"]) == 1
    assert "did you mean 'digits'" in capsys.readouterr().err


def test_what_changes_a_run_takes_no_guess(batch: str, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["tag", "seeds", "x"], ["rename", batch, "x"], ["rm", "--yes", "seeds"]):
        assert run_command(words) != 0
    assert find_run("j3").tags == []


def test_a_run_that_was_removed_is_in_no_list_of_its_batch_and_is_not_tried_again(
    batch: str, capsys: pytest.CaptureFixture[str]
) -> None:
    remove_run(find_run("j3"))

    assert [one.record.name for one in api.status("seeds")] == ["j0", "last"]
    for words in (["status"], ["attach"], ["ls", "--batches"]):
        run_command(words)
        captured = capsys.readouterr()
        assert not re.search(r"\bj3\b", captured.out)  # ids have letters of their own
        assert words == ["attach"] or "2 of 2 done" in captured.out
    assert run_command(["retry"]) == 2
    assert "every job of it has succeeded" in capsys.readouterr().err


async def test_a_batch_is_named_in_python_as_in_a_shell(batch: str) -> None:
    letters = batch.rpartition("-")[2]
    for name in ("seeds", letters, "latest"):
        assert [one.name for one in await api.attach(name)] == ["j0", "j3", "last"]
        assert not await api.cancel(name, None, "by the test", 0)
    assert (await api.explain("j3")).state == "FAILED: exit code 3"
    assert (await api.explain(f"{letters}-2")).state == "FAILED: exit code 3"


def test_each_happening_of_a_job_with_several_attempts_names_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = {"name": "a", "command": ["false"], "retries": 1, "backoff": 0}
    path = tmp_path / "b.json"
    path.write_text(json.dumps({"project": "p", "jobs": [job]}))
    run_command(["submit", str(path)])

    made, *story = [one.text for one in anyio.run(api.explain, find_run("a")).story]
    assert made == "made"
    assert [text.partition(": ")[0] for text in story] == ["attempt 1"] * 4 + ["attempt 2"] * 3
    assert story[3] == "attempt 1: FAILED: exit code 1; again now"
    assert story[-1] == "attempt 2: FAILED: exit code 1"


def test_what_is_well_is_one_line_of_doctor(capsys: pytest.CaptureFixture[str]) -> None:
    run_command(["doctor"])
    first, *others = capsys.readouterr().out.splitlines()
    assert first == "ok  versions, home, disk, settings, clock, jobs, executor local"
    assert not any(line.startswith("ok") for line in others)

    run_command(["doctor", "-v"])
    assert "processors" in capsys.readouterr().out


def intended(*codes: int) -> StoredExperiment:
    """Return an experiment on record of a job for each exit code, of which none has begun."""
    jobs = [
        Job(name=f"j{at}", task=Command(("sh", "-c", f"exit {code}")))
        for at, code in enumerate(codes)
    ]
    stored = ExperimentDraft("seeds", jobs).prepare()
    stored.intend()
    return stored


def test_what_was_cancelled_is_not_called_failed_and_cancel_counts_what_it_ended(
    capsys: pytest.CaptureFixture[str],
) -> None:
    stored = intended(0, 0, 3)
    anyio.run(partial(api.lead, stored, only="j0"))
    assert run_command(["cancel", "seeds"]) == 0
    told = capsys.readouterr().out
    assert told == f"{stored.id}: 2 jobs cancelled; 3 of 3 done, 2 cancelled\n"

    assert run_command(["show", "seeds"]) == 0
    captured = capsys.readouterr()
    assert "this is j1 (" in captured.err
    assert captured.err.endswith("), the first that was cancelled; none failed\n")
    assert "CANCELLED" in captured.out


def test_what_failed_is_shown_before_what_was_cancelled(
    capsys: pytest.CaptureFixture[str],
) -> None:
    stored = intended(0, 3)
    anyio.run(partial(api.lead, stored, only="j1"))
    run_command(["cancel", "seeds"])
    capsys.readouterr()

    assert run_command(["why", "seeds"]) == 0
    captured = capsys.readouterr()
    assert "this is j1 (" in captured.err
    assert captured.err.endswith("), the first that failed\n")


def leave_exit(folder: Path, status: int) -> None:
    """Leave what a job's wrapper leaves, of which its leader has noted nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    began = {"pid": 2**22 + 1, "start": 1, "boot": "b", "host": "h", "uptime": 1.0}
    ended = {"status": status, "signal": None, "reason": "", "user": "0m0s", "sys": "0m0s"}
    (folder / "pid.json").write_text(json.dumps(began))
    (folder / "exit.json").write_text(json.dumps(ended | {"uptime": 1.0}))


def test_a_success_that_its_leader_has_not_noted_yet_leaves_nothing_to_retry(
    capsys: pytest.CaptureFixture[str],
) -> None:
    stored = intended(0)
    store = JobStore(stored.folder)  # as its leader has
    store.record(Facts(SYSTEM_CLOCK).submitted(stored.specs[0], "h"))
    store.close()
    leave_exit(Path(stored.specs[0].folder), 0)

    assert run_command(["retry", stored.id]) == 2
    assert "every job of it has succeeded" in capsys.readouterr().err


@pytest.mark.parametrize("of", ["job", "batch", "sweep"])
def test_an_end_that_its_leader_has_not_noted_yet_is_told_by_the_command_that_asked_for_it(
    of: str, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = sweep(Command(("true",)), Grid({"n": [1]}), name="s")
    stored = ExperimentDraft("p", jobs).prepare()
    (spec,) = stored.specs
    store = JobStore(stored.folder)  # as its leader has
    facts = Facts(SYSTEM_CLOCK)
    intend(store, stored.specs)
    store.record(facts.submitted(spec, "h"))
    store.record(facts.cancel_requested(spec, "by runbus cancel"))

    def end() -> None:
        wait_until(lambda: read_requests(stored.folder))
        leave_exit(Path(spec.folder), 143)

    ending = threading.Thread(target=end)
    ending.start()
    status = run_command(["cancel", {"job": spec.name, "batch": stored.id, "sweep": "s"}[of]])
    ending.join(120)
    store.close()

    assert status == 0
    if of == "job":
        assert capsys.readouterr().out == f"{spec.name} ({spec.run_id}) is CANCELLED\n"
    else:
        told = f"{stored.id}: 1 job cancelled; 1 of 1 done, 1 cancelled\n"
        assert capsys.readouterr().out == told
