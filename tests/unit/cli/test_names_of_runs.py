"""What a run may be called, and what its name does."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from tests.processes import is_asleep

import runbus
from runbus import Command, Job
from runbus.catalog import open_run
from runbus.cli._app import run_command
from runbus.errors import UsageError
from runbus.experiment import ExperimentDraft
from runbus.testing._waiting import wait_until

RUNBUS = os.path.join(os.path.dirname(sys.executable), "runbus")


def logged(*names: str) -> list[str]:
    """Log a run for each name; return their ids."""
    ids = []
    for name in names:
        with runbus.init(project="p", name=name) as run:
            ids.append(run.id)
    return ids


def test_a_run_is_not_called_what_means_another_run(capsys: pytest.CaptureFixture[str]) -> None:
    first, second = logged("a", "b")

    for name, means in (("latest", "the newest one"), (second, "the run of that id")):
        assert run_command(["rename", "a", name]) == 2
        assert f"a run cannot be called '{name}': that means {means}" in capsys.readouterr().err
    assert open_run("a").id == first


BATCH = "20261129-010203-k3x9qd"
TAKEN = [("latest", "newest one"), (f"{BATCH}-1", "run of that id"), (BATCH, "batch of that id")]


@pytest.mark.parametrize(("name", "means"), TAKEN)
@pytest.mark.parametrize("what", ["name", "project"])
def test_nothing_is_made_under_a_name_that_means_something_else(
    what: str, name: str, means: str, home: Path
) -> None:
    with pytest.raises(ValueError, match=f"cannot be called '{name}': that means the {means}"):
        runbus.init(name=name) if what == "name" else runbus.init(project=name)
    project, job = ("p", name) if what == "name" else (name, "j")
    with pytest.raises(UsageError, match=f"cannot be called '{name}': that means the {means}"):
        ExperimentDraft(project, [Job(name=job, task=Command(("true",)))])

    assert not home.exists()


def test_a_run_may_be_called_by_its_own_id() -> None:
    (own,) = logged("a")

    open_run(own).rename(own)
    assert open_run(own).name == own


def test_a_name_that_other_runs_have_is_given_and_what_it_means_is_told(
    capsys: pytest.CaptureFixture[str],
) -> None:
    _, second, _ = logged("a", "b", "c")

    assert run_command(["rename", "a", "b"]) == 0
    assert capsys.readouterr().err == f"another run has the name 'b', too: it means {second}\n"
    assert run_command(["rename", "c", "d"]) == 0
    assert capsys.readouterr().err == ""


def test_a_retry_of_what_is_not_over_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    jobs = [Job(name=name, task=Command(("true",))) for name in ("x", "y")]
    stored = ExperimentDraft("p", jobs).prepare()

    assert run_command(["retry"]) == 2
    error = capsys.readouterr().err.splitlines()[0]
    assert error == (
        f"error: nothing to retry in {stored.id} yet: "
        "2 jobs of it are not over, and none has failed"
    )


@pytest.mark.parametrize("command", ["why", "show"])
def test_the_id_of_a_batch_in_the_place_of_a_run_is_its_newest_run_and_that_is_said(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = [Job(name=name, task=Command(("true",))) for name in ("x", "y")]
    stored = ExperimentDraft("p", jobs).prepare()

    run_command([command, stored.id])

    said = capsys.readouterr().err.splitlines()[0]
    assert said == f"{stored.id} has 2 runs: this is y ({stored.id[-6:]}-2), the newest"


def test_several_metrics_may_follow_the_run_and_be_drawn_over_time(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with runbus.init(project="p", name="a") as run:
        run.log({"train/loss": 1.0, "val/loss": 2.0})

    assert run_command(["plot", "latest", "train/loss", "val/loss", "--over", "time"]) == 0
    drawn = capsys.readouterr().out
    assert "train/loss, val/loss" in drawn
    assert "seconds" in drawn


def test_the_latest_run_is_not_removed_unless_it_is_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    _, second = logged("a", "b")

    assert run_command(["rm", "--yes", "a", "latest"]) == 2
    assert f"name the run, which is {second} by now" in capsys.readouterr().err
    assert [open_run(name).name for name in "ab"] == ["a", "b"]


@pytest.mark.parametrize(
    ("answer", "status", "said"), [(b"n\n", 1, "kept\n"), (b"\x03", 130, "\naborted\n")]
)
def test_a_question_that_is_not_answered_yes_removes_nothing_and_says_so(
    answer: bytes, status: int, said: str
) -> None:
    logged("a")
    here, there = pty.openpty()
    try:
        # Ctrl-C becomes a signal only in a terminal of its own session.
        process = subprocess.Popen(
            ["setsid", "--ctty", "--wait", RUNBUS, "rm", "--purge", "a"],
            stdin=there, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        with process:
            assert process.stdout is not None
            assert process.stderr is not None
            asked = process.stdout.read(len("remove a"))
            # Python loses a signal that comes after its last look for one, before the call waits.
            wait_until(lambda: is_asleep(process.pid))
            os.write(here, answer)
            errors = process.stderr.read()
    finally:
        os.close(here)
        os.close(there)

    assert asked == "remove a"
    assert (process.returncode, errors) == (status, said)
    assert open_run("a").name == "a"
