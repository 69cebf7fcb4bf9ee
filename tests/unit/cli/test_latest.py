"""What `latest` names where a batch is asked for, and runs that runbus did not start."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

import runbus
from runbus.catalog import find_experiment, find_run
from runbus.cli._app import run_command
from runbus.errors import NoBatch


@pytest.fixture
def batch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Return the id of a batch of one job that has failed."""
    path = tmp_path / "b.json"
    path.write_text(json.dumps({"project": "p", "jobs": [{"name": "j", "command": ["false"]}]}))
    run_command(["submit", str(path)])
    capsys.readouterr()
    return os.path.basename(find_experiment("p"))


@pytest.mark.parametrize("command", ["cancel", "attach", "retry", "status"])
def test_latest_is_no_batch_while_a_run_that_runbus_did_not_start_is_newer(
    command: str, batch: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with runbus.init(project="own") as run:
        assert run_command([command, "latest"]) != 0

    captured = capsys.readouterr()
    assert captured.out == ""
    error, hint = captured.err.splitlines()
    assert error == f"error: the newest run ({run.id}) is of no batch: runbus did not start it"
    assert hint == f"hint: the newest batch is {batch}: name it if you mean that"


def test_latest_is_the_batch_of_the_newest_run(batch: str) -> None:
    with runbus.init(project="own"):
        pass
    assert os.path.basename(find_experiment(None)) == batch
    path = Path(find_experiment(batch)).parent.parent / "again.json"
    path.write_text(json.dumps({"project": "q", "jobs": [{"name": "k", "command": ["true"]}]}))
    run_command(["submit", str(path)])
    assert find_experiment("latest") == find_experiment("q") == find_run("latest").experiment_folder


def test_who_cancels_a_run_that_runbus_did_not_start_learns_which_process_it_is(
    batch: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with runbus.init(project="own", name="mine") as run:
        for name in (run.id, "mine", run.id.rpartition("-")[0][-6:]):
            assert run_command(["cancel", name]) != 0
            error, hint = capsys.readouterr().err.splitlines()
            assert error == f"error: run {run.id} is of no batch: runbus did not start it"
            assert f"kill {os.getpid()} on its machine ends it" in hint
    with pytest.raises(NoBatch) as caught:
        find_experiment(run.id)
    assert (caught.value.pid, caught.value.hint) == (0, "no process logs to it any more")


def test_other_batches_are_not_guessed_for_a_whole_id(
    batch: str, capsys: pytest.CaptureFixture[str]
) -> None:
    other = batch[:-1] + ("0" if batch[-1] != "0" else "1")
    for words in (["cancel", other], ["cancel", f"{other}-1"], ["attach", other]):
        assert run_command(words) != 0
        assert "did you mean" not in capsys.readouterr().err
    assert run_command(["attach", f"{batch}-1"]) != 0
    assert f"did you mean '{batch}'" in capsys.readouterr().err
