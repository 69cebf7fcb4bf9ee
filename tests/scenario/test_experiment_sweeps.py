"""Sweeps that are added to an experiment."""

from __future__ import annotations

from pathlib import Path

import pytest

from runbus import Command, Experiment, JobHandle, Script, sweep
from runbus.config import Grid
from runbus.errors import SweepChanged, UsageError
from runbus.experiment import ExperimentDraft

TRUE = Command(("true",))


def test_a_sweep_that_is_added_runs_only_the_points_that_are_missing(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text("import sys; print(*sys.argv[1:]); sys.exit('--lr=2' in sys.argv)\n")

    def started(*rates: float, name: str = "") -> tuple[Experiment, JobHandle]:
        experiment = Experiment("swept")
        points = sweep(Script(str(script)), Grid({"lr": [*rates]}), name=name or None)
        handle = experiment.add(points, retries=1)
        experiment.add(TRUE, name="after", dependencies=[handle.name])
        return experiment, handle

    first, handle = started(1, 2)
    assert (handle.name, handle.jobs) == ("train-sweep", ("train-lr=1", "train-lr=2"))
    assert handle.done == {}
    with pytest.raises(UsageError, match="is a group"):
        handle.output()
    records = {one.name: one for one in first.run(check=False)}
    assert {name: str(one.state) for name, one in records.items()} == {
        "train-lr=1": "SUCCEEDED", "train-lr=2": "FAILED", "after": "SKIPPED"
    }  # fmt: skip
    assert records["train-lr=2"].attempt == 2
    # They are no group: a point that fails does not end the others.
    second, handle = started(1, 2, 3)
    assert handle.done == {"train-lr=1": records["train-lr=1"].run_id}
    assert [one.name for one in second.run(check=False)] == ["train-lr=2", "train-lr=3", "after"]
    third, handle = started(1, 3)
    assert (handle.jobs, len(handle.done)) == ((), 2)
    assert [str(one.state) for one in third.run()] == ["SUCCEEDED"]


def test_a_sweep_is_refused_if_its_space_has_changed_or_its_points_are_on_their_way() -> None:
    first = Experiment("swept")
    first.add(sweep(TRUE, Grid({"lr": [1, 2]}), name="lr"))
    with pytest.raises(UsageError, match="two jobs are named 'lr'"):
        first.add(sweep(TRUE, Grid({"lr": [1, 2]}), name="lr"))
    first.run()
    again = Experiment("swept")
    with pytest.raises(SweepChanged, match="the sweep 'lr' was another one") as changed:
        again.add(sweep(TRUE, Grid({"lr": [1, 3]}), name="lr"))
    assert "lr" in "".join(changed.value.differences)
    with pytest.raises(UsageError, match="'width': the points of a sweep have their values"):
        again.add(sweep(TRUE, Grid({"lr": [1, 2]}), name="lr"), width=3)
    found = Experiment.from_id(first.id)
    assert found.jobs["lr"].jobs == ("lr-lr=1", "lr-lr=2")

    ExperimentDraft("open", sweep(TRUE, Grid({"lr": [1]}), name="lr")).prepare().intend()
    with pytest.raises(UsageError, match=r"not over: Experiment\.from_id\('20.*'\)\.run\(\) goes"):
        Experiment("open").add(sweep(TRUE, Grid({"lr": [1]}), name="lr"))
