"""Sweeps as jobs: what each is called, what it gets, and where a batch file is wrong about one."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runbus import Command, Dependency, Job, Script, sweep
from runbus._clock import SYSTEM_CLOCK
from runbus.config import Grid, LogUniform, Points, Random, Trials, Zip, load_batch
from runbus.errors import BatchInvalid, ConfigInvalid, SweepChanged
from runbus.experiment import (
    ExperimentDraft,
    StoredExperiment,
    jobs_of_batch,
    jobs_to_retry,
    started_before,
)
from runbus.jobs import Asked, End, Facts, JobState, JobStore, intend

TRAIN = """\
import dataclasses

@dataclasses.dataclass
class Model:
    width: int = 8

def train(lr: float, model: Model = Model(), tags: list[str] | None = None) -> None: ...
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "fitting.py").write_text(TRAIN.replace("= Model()", "= None"))
    (tmp_path / "train.py").write_text("import fitting\n")
    return tmp_path


def _batch(folder: Path, job: str) -> str:
    path = folder / "batch.yaml"
    path.write_text(f"project: p\njobs:\n{job}")
    return str(path)


def test_names_are_of_the_values_that_differ() -> None:
    space = Points([{"lr": 1, "seed": 3}, {"lr": 2, "seed": 3}, {"lr": 2, "seed": 3, "fp16": True}])

    assert [job.name for job in sweep(Command(("a",)), space)] == [
        "a-lr=1",
        "a-lr=2",
        "a-lr=2-fp16=true",
    ]


def test_points_that_read_the_same_have_names_of_their_own() -> None:
    jobs = sweep(Command(("a",)), Grid({"x": [1, "1", "y" * 300]}))

    assert [job.name for job in jobs[:2]] == ["a-x=1-1", "a-x=1-2"]
    assert len({job.name for job in jobs}) == 3
    assert max(len(job.name) for job in jobs) <= 200


def test_a_point_reaches_a_script_as_options_and_its_run_as_config(folder: Path) -> None:
    path = str(folder / "train.py")
    (job,) = sweep(Script(path, ("--quiet",)), Grid({"lr": [1e-05]}), name="fast")

    assert job.task == Script(path, ("--lr=1e-05", "--quiet"))
    assert job.config == {"lr": 1e-05}
    assert job.name == "fast-lr=1e-05"
    assert job.point is not None
    assert (job.point.sweep, job.point.total) == ("fast", 1)


def test_a_job_of_a_batch_runs_once_for_each_point_and_others_wait_for_all(folder: Path) -> None:
    path = _batch(
        folder,
        "  - {name: t, script: train.py, env: {A: b}, sweep: {grid: {lr: [1, 2]}}}\n"
        "  - {name: u, script: train.py, depends_on: [t], sweep: {trials: 2}}\n"
        "  - {name: v, script: train.py, depends_on: [{job: u, when: afterany}]}\n",
    )
    jobs = {job.name: job for job in jobs_of_batch(load_batch(path), str(folder))}

    waits = {name: [(one.job, one.when) for one in job.dependencies] for name, job in jobs.items()}
    assert waits == {
        "t-lr=1": [],
        "t-lr=2": [],
        "u-1": [("t-lr=1", "afterok"), ("t-lr=2", "afterok")],
        "u-2": [("t-lr=1", "afterok"), ("t-lr=2", "afterok")],
        "v": [("u-1", "afterany"), ("u-2", "afterany")],
    }
    assert jobs["t-lr=2"].env == {"A": "b"}
    assert {job.point.sweep for job in jobs.values() if job.point} == {"t", "u"}


def test_a_point_reaches_a_function_at_its_paths(folder: Path) -> None:
    path = _batch(
        folder,
        "  - name: t\n    task: {type: function, target: fitting.train, folder: .}\n"
        "    sweep: {list: [{lr: 1, model.width: 2, tags: [a]}, {lr: 0.5, model.width: 4}]}\n",
    )
    tasks: list[Any] = [job.task for job in jobs_of_batch(load_batch(path), str(folder))]

    assert [task.values["lr"] for task in tasks] == [1.0, 0.5]
    assert [task.values["model"]["width"] for task in tasks] == [2, 4]
    assert tasks[0].values["tags"] == ["a"]


@pytest.mark.parametrize(
    ("sweep", "told"),
    [
        ("{grid: {lr: [1], mdoel.width: [2]}}", "sweep.grid.mdoel.width: "),
        ("{grid: {lr: [1], model.width: [2, wide]}}", "sweep.grid.model.width: "),
        ("{grid: {lr: []}}", "sweep.grid.lr: the list is empty; write at least one value"),
        ("{zip: {lr: [1, 2], tags: [[a]]}}", "sweep.zip.tags: 1 values, but lr has 2; a zip takes"),
        ("{random: {lr: {log_uniform: [0, 1]}}, points: 2}", "sweep.random.lr.log_uniform: the lo"),
        ("[lr]", "sweep: expected mapping | null, got list"),
        ("{file: none.csv}", "sweep.file: "),
    ],
    ids=["path", "value", "empty", "zip", "log", "list", "file"],
)
def test_a_wrong_sweep_is_refused_at_its_line(folder: Path, sweep: str, told: str) -> None:
    path = _batch(
        folder,
        "  - name: t\n    task: {type: function, target: fitting.train, folder: .}\n"
        f"    sweep: {sweep}\n",
    )
    with pytest.raises(BatchInvalid) as caught:
        load_batch(path)

    (problem,) = [one for one in caught.value.problems if ".sweep" in one]
    assert problem.startswith(f"{path}:5: jobs[0].")
    assert (
        told.replace("mdoel.width", '["mdoel.width"]')
        .replace("grid.[", "grid[")
        .replace("grid.model.width", 'grid["model.width"]')
        in problem
    )


def test_a_value_that_does_not_fit_a_function_is_refused_in_python(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(folder)
    from runbus.config import Function

    task = Function("fitting.train", {"lr": 1.0}, str(folder))
    with pytest.raises(ConfigInvalid, match="wide"):
        sweep(task, Grid({"model.width": ["wide"]}))


def test_the_key_of_a_point_is_what_it_runs(folder: Path) -> None:
    def keys(given: Any, space: Any = Grid({"lr": [1, 2]})) -> list[str]:  # noqa: B008
        return [job.point.key for job in sweep(given, space) if job.point]

    task = Script(str(folder / "train.py"))
    first = keys(task)
    assert len(set(first)) == 2
    assert keys(task) == first
    assert keys(task, Grid({"lr": [2, 3]}))[0] == first[1]
    assert not {*keys(Script(task.path, ("--more",)))} & {*first}
    assert len({*keys(task, Trials(3))}) == 3

    (folder / "fitting.py").write_text("changed = True\n")  # which the script imports
    assert not {*keys(task)} & {*first}


def _end(stored: StoredExperiment, states: Mapping[str, tuple[str, str]]) -> None:
    """Record how jobs of an experiment have ended; the others are on their way."""
    store = JobStore(stored.folder)
    try:
        intend(store, stored.specs)
        facts = Facts(SYSTEM_CLOCK)
        for spec in stored.specs:
            if spec.name in states:
                state, reason = states[spec.name]
                store.record(facts.ended(spec, End(JobState(state), reason, None)))
    finally:
        store.close()


_ENDS = st.sampled_from(
    [
        ("SUCCEEDED", ""),
        ("FAILED", "exit code 1"),
        ("CANCELLED", "by runbus cancel"),
        ("CANCELLED", "stopped early: loss is 3"),
        ("LOST", ""),
        None,
    ]
)
_SPACES = [
    Grid({"lr": [1, 2, 3]}),
    Zip({"lr": [1, 2, 3], "n": [4, 5, 6]}),
    Points([{"lr": 1}, {"n": 2}, {"lr": 3, "n": 4}]),
    Random({"lr": LogUniform(1e-3, 1.0)}, 3, seed=5),
    Trials(3),
]


@given(ends=st.lists(_ENDS, min_size=3, max_size=3), space=st.sampled_from(_SPACES))
@settings(max_examples=15, deadline=None)
def test_started_again_a_sweep_has_exactly_the_missing_points(
    ends: list[tuple[str, str] | None], space: Any
) -> None:
    task = Command(("true",))
    with TemporaryDirectory(ignore_cleanup_errors=True) as home:
        jobs = sweep(task, space, name="s")
        names = [job.name for job in jobs]
        states = {name: end for name, end in zip(names, ends, strict=True) if end is not None}
        stored = ExperimentDraft("p", jobs, home=home).prepare()
        _end(stored, states)

        started = started_before("p", sweep(task, space, name="s"), home=home)

        done = {n for n, (state, why) in states.items() if state == "SUCCEEDED" or "early" in why}
        runs = {spec.name: spec.run_id for spec in stored.specs}
        assert started.done == {name: runs[name] for name in done}
        assert [job.name for job in started.missing] == [n for n in names if n not in done]
        assert started.unfinished == (stored.folder if None in ends else "")
        assert not started_before("other", jobs, home=home).done

        if started.missing and not started.unfinished:
            rest = ExperimentDraft("p", started.missing, home=home).prepare()
            (asked,) = Asked.read(rest.folder).sweeps
            assert (asked.total, len(asked.done)) == (3, len(done))
            _end(rest, {job.name: ("SUCCEEDED", "") for job in started.missing})
            assert not started_before("p", jobs, home=home).missing


def test_a_named_sweep_with_another_space_is_refused_with_the_difference(tmp_path: Path) -> None:
    task = Command(("true",))
    stored = ExperimentDraft("p", sweep(task, Grid({"lr": [1]}), name="s"), home=tmp_path).prepare()

    with pytest.raises(SweepChanged) as caught:
        started_before("p", sweep(task, Grid({"lr": [1, 2]}), name="s"), home=tmp_path)

    assert caught.value.experiment == stored.id
    assert str(caught.value).splitlines()[1:] == ["+ grid.lr[1]: 2"]
    assert pickle.loads(pickle.dumps(caught.value)) == caught.value
    for name in ("other", None):
        jobs = sweep(task, Grid({"lr": [1, 2]}), name=name)
        assert len(started_before("p", jobs, home=tmp_path).missing) == 2


def test_a_point_whose_run_was_removed_is_missing(tmp_path: Path) -> None:
    jobs = sweep(Command(("true",)), Grid({"lr": [1]}))
    stored = ExperimentDraft("p", jobs, home=tmp_path).prepare()
    _end(stored, {jobs[0].name: ("SUCCEEDED", "")})
    assert not started_before("p", jobs, home=tmp_path).missing
    shutil.rmtree(stored.specs[0].run_folder)

    assert len(started_before("p", jobs, home=tmp_path).missing) == 1


def test_what_waits_for_points_that_have_run_waits_no_more(tmp_path: Path) -> None:
    points = sweep(Command(("true",)), Grid({"lr": [1, 2]}))
    stored = ExperimentDraft("p", points, home=tmp_path).prepare()
    _end(stored, {points[0].name: ("SUCCEEDED", ""), points[1].name: ("FAILED", "")})
    report = Job(name="report", task=Command(("true",)), depends_on=points)
    alarm = Dependency(job=points[0].name, when="afternotok")
    never = Job(name="alarm", task=Command(("true",)), depends_on=[alarm])
    after = Job(name="after", task=Command(("true",)), depends_on=[never])

    started = started_before("p", [*points, report, never, after], home=tmp_path)

    assert [job.name for job in started.missing] == [points[1].name, "report"]
    assert [one.job for one in started.missing[1].dependencies] == [points[1].name]


def test_a_retry_is_of_the_same_sweep(tmp_path: Path) -> None:
    jobs = sweep(Command(("true",)), Grid({"lr": [1, 2, 3]}), name="s")
    stored = ExperimentDraft("p", jobs, home=tmp_path).prepare()
    states = [("SUCCEEDED", ""), ("FAILED", ""), ("CANCELLED", "stopped early: loss is 3")]
    _end(stored, {job.name: state for job, state in zip(jobs, states, strict=True)})

    _, again = jobs_to_retry(stored.folder)

    assert [job.name for job in again] == ["s-lr=2"]
    (kept,) = [job.point for job in again]
    assert kept == jobs[1].point
