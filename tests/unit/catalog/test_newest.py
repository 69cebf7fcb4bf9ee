"""What is newest is told by the home, not by clocks that may be set back."""

from __future__ import annotations

import time
from pathlib import Path

import runbus
from runbus._home import Home
from runbus._ids import new_experiment_id
from runbus.catalog import find_run, survey
from runbus.metrics import RunInfo, make_run_folder


def make_run(home: Home, name: str, created_ns: int, folder: Path | None = None) -> str:
    """Make a run with the clock at some time; return its id."""
    experiment_id, experiment = home.new_experiment("p")
    if folder is not None:
        experiment_id, experiment = folder.name, str(folder)
        (folder / "runs").mkdir(parents=True)
    run_id = f"{experiment_id}-1"
    make_run_folder(experiment, RunInfo(run_id, name, "p", {}, created_ns))
    return run_id


def test_the_newest_run_is_the_one_that_was_made_last(home: Path) -> None:
    now_ns = time.time_ns()
    ahead = home / "experiments" / "p" / new_experiment_id(now_ns / 1e9 + 3600)
    where = Home()
    ids = [make_run(where, "a", now_ns + 3600 * 10**9, ahead)]
    (home / "newest").unlink()
    ids += [make_run(where, name, now_ns + at) for at, name in enumerate("aa")]

    assert [run.id for run in runbus.runs()] == ids
    assert [row.id for row in survey()] == ids
    assert find_run("latest").id == find_run("a").id == ids[-1]
