"""Optuna chooses, ends and learns from trials: with real studies, real jobs and their files."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import optuna
import pytest
from msgspec.structs import replace

import runbus
from runbus import Command, Kernel, Plugin, Script
from runbus.abc import Resources
from runbus.config import Trials
from runbus.errors import FieldInvalid, RunbusError
from runbus.events import JobDraft, JobEnded, JobTransform
from runbus_optuna import Optuna

SPACE: dict[str, Any] = {"x": {"uniform": [0.0, 10.0]}, "mode": ["a", "b"]}

TRAIN = """\
import runbus, signal, sys
values = dict(word[2:].split("=") for word in sys.argv[1:])
with runbus.init() as run:
    for step in range(3):
        run.log({"loss": (float(values["x"]) - 3) ** 2 - step}, step=step)
    if "endless" in __file__:
        signal.pause()
"""

UNTIL_IT_IS_ASKED = """\
while not os.path.exists("asked"):
    time.sleep(0.01)
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RUNBUS_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    for name in ("train.py", "endless.py"):
        (tmp_path / name).write_text(TRAIN)
    return tmp_path


def _study(path: str = "optuna.journal") -> Any:
    storage = optuna.storages.JournalStorage(
        optuna.storages.journal.JournalFileBackend(str(Path(path).absolute()))
    )
    return optuna.load_study(study_name="runbus", storage=storage)


def _submitted(batch: str) -> int:
    words = [sys.executable, "-m", "runbus.cli", "submit", batch, "--plugin", "optuna"]
    return subprocess.run(words, check=False, timeout=120).returncode


def test_each_trial_gets_values_and_the_study_is_told_its_best_value() -> None:
    runs = runbus.api.run_sweep(
        Script("train.py"),
        sweeps=Trials(3),
        project="p",
        plugins=[Optuna("min:loss", SPACE, seed=1)],
    )

    told = {one.user_attrs["runbus_run"]: one for one in _study().trials}
    assert {run.id for run in runs} == told.keys()
    for run in runs:
        trial = told[run.id]
        assert run.params == trial.params
        assert trial.state.name == "COMPLETE"
        assert trial.value == (trial.params["x"] - 3) ** 2 - 2
        assert trial.params["mode"] in "ab"


def test_a_sweep_that_is_started_again_goes_on_with_the_study(folder: Path) -> None:
    (folder / "train.py").write_text(f"{TRAIN}import os\nsys.exit(not os.path.exists('ok'))\n")

    def start() -> list[Any]:
        plugin = Optuna("min:loss", SPACE, seed=1)
        return runbus.api.run_sweep(
            Script("train.py"), sweeps=Trials(2), project="p", plugins=[plugin]
        )

    assert [str(run.state) for run in start()] == ["FAILED", "FAILED"]
    (folder / "ok").touch()
    assert [str(run.state) for run in start()] == ["SUCCEEDED", "SUCCEEDED"]
    start()
    assert [one.state.name for one in _study().trials] == ["FAIL", "FAIL", "COMPLETE", "COMPLETE"]


class Slow(optuna.pruners.BasePruner):
    """Is asked while the job runs, and answers after its end."""

    def __init__(self) -> None:
        self.ended = threading.Event()
        self.known: list[str] = []

    def prune(self, study: Any, trial: Any) -> bool:
        Path("asked").touch()
        assert self.ended.wait(120)
        time.sleep(0.5)  # what does not come is waited for briefly
        self.known.append(study.trials[trial.number].state.name)
        return False


def test_an_end_is_told_after_the_report_that_is_being_made(folder: Path) -> None:
    (folder / "train.py").write_text(TRAIN + "import os, time\n" + UNTIL_IT_IS_ASKED)
    pruner = Slow()
    ended = Plugin("ended").on(JobEnded, lambda event: pruner.ended.set())
    chooses = Optuna("min:loss", SPACE, seed=1, pruner=pruner)

    runbus.api.run_sweep(
        Script("train.py"), sweeps=Trials(1), project="p", plugins=[ended, chooses]
    )

    assert pruner.known == ["RUNNING"]
    assert [one.state.name for one in _study().trials] == ["COMPLETE"]


def test_a_batch_file_runs_trials_and_only_those_that_are_missing(folder: Path) -> None:
    (folder / "runbus.yaml").write_text(
        "plugins:\n  optuna:\n    goal: min:loss\n    jobs: t-*\n    seed: 1\n"
        "    space: {x: {uniform: [0.0, 10.0]}, mode: [a, b]}\n"
    )
    batch = "project: p\njobs:\n  - {name: t, script: train.py, sweep: {trials: 2}}\n"
    (folder / "batch.yaml").write_text(batch)
    assert _submitted("batch.yaml") == 0
    told = {one.user_attrs["runbus_run"]: one for one in _study().trials}
    assert [run.params for run in runbus.runs("p")] == [
        told[run.id].params for run in runbus.runs()
    ]
    assert [one.state.name for one in told.values()] == ["COMPLETE"] * 2

    after = "  - {name: after, command: ['true'], depends_on: [t]}\n"
    (folder / "batch.yaml").write_text(batch + after)
    assert _submitted("batch.yaml") == 0
    assert [run.name for run in runbus.runs("p")] == ["t-1", "t-2", "after"]
    assert len(_study().trials) == 2


def test_a_trial_that_the_pruner_gives_up_ends_early() -> None:
    pruner = optuna.pruners.ThresholdPruner(upper=-100.0)
    (run,) = runbus.api.run_sweep(
        Script("endless.py"),
        sweeps=Trials(1),
        project="p",
        plugins=[Optuna("min:loss", SPACE, pruner=pruner)],
    )

    assert str(run.state) == "CANCELLED"
    (trial,) = _study().trials
    assert trial.state.name == "PRUNED"
    assert trial.intermediate_values


async def test_a_leader_that_takes_over_gives_a_job_the_values_that_it_had() -> None:
    drafts = []
    with runbus.init(project="p") as run:
        draft = JobDraft(argv=("true",), resources=Resources())
        event = JobTransform(value=draft, job="t", run_id=run.id, is_trial=True)
        for _ in range(2):
            async with Kernel(plugins=[Optuna("min:loss", SPACE)]) as kernel:
                drafts.append(await kernel.bus.apply(event))
        run.log({"loss": 0.25}, step=0)

    assert drafts[0].argv[1].startswith("--x=")
    assert drafts[0] == drafts[1]
    assert len(_study().trials) == 1
    async with Kernel(plugins=[Optuna("min:loss", SPACE)]):
        pass  # the run has ended while nobody watched
    assert [(one.state.name, one.value) for one in _study().trials] == [("COMPLETE", 0.25)]


async def test_a_trial_whose_run_is_gone_has_failed() -> None:
    draft = JobDraft(argv=("true",), resources=Resources())
    for run_id in ("gone", "other"):
        async with Kernel(plugins=[Optuna("min:loss", SPACE)]) as kernel:
            await kernel.bus.apply(JobTransform(value=draft, job="t", run_id=run_id, is_trial=True))

    assert [one.state.name for one in _study().trials] == ["FAIL", "RUNNING"]


async def test_only_the_jobs_that_are_named_are_trials_and_functions_get_their_paths() -> None:
    given = '{"_target_": "tasks.train", "model": {"width": 3}}'
    draft = JobDraft(argv=("python",), given=given, resources=Resources())
    space: dict[str, Any] = {"model.width": {"int": [5, 5]}, "lr": [0.5]}
    async with Kernel(plugins=[Optuna("max:acc", space, jobs="t-*")]) as kernel:
        event = JobTransform(value=draft, job="t-1", run_id="a", is_trial=True)
        trial = await kernel.bus.apply(event)
        other = await kernel.bus.apply(replace(event, job="report", run_id="b"))

    assert other == draft
    assert trial.given == '{"_target_": "tasks.train", "model": {"width": 5}, "lr": 0.5}'
    assert trial.argv == draft.argv


def test_jobs_beside_the_trials_are_no_trials(folder: Path) -> None:
    (folder / "batch.yaml").write_text(
        "project: p\njobs:\n"
        "- {name: train, script: train.py, sweep: {trials: 1}}\n"
        "- {name: grid, command: [echo], sweep: {grid: {x: [1, 2]}}}\n"
        "- {name: report, command: [echo, plain], depends_on: [train]}\n"
    )
    (folder / "runbus.yaml").write_text(
        "plugins:\n  optuna:\n    goal: min:loss\n"
        "    space: {x: {uniform: [0.0, 1.0]}, mode: [a]}\n"
    )

    assert _submitted("batch.yaml") == 0

    (trial,) = _study().trials
    runs = {run.name: run for run in runbus.runs(project="p")}
    assert trial.user_attrs["runbus_run"] == next(
        run.id for name, run in runs.items() if name.startswith("train")
    )
    assert "x" not in runs["report"].params
    assert sorted(run.params["x"] for name, run in runs.items() if "grid" in name) == [1, 2]


@pytest.mark.parametrize(
    ("goal", "space", "field"),
    [
        ("loss", SPACE, "goal"),
        ("min:", SPACE, "goal"),
        ("min:loss", {}, "space"),
        ("min:loss", {"x": {"log_uniform": [0, 1]}}, "space.x"),
        ("min:loss", {"x": {"normal": [0, 1]}}, "space.x"),
        ("min:loss", {"x": 3}, "space.x"),
        ("min:loss", {"x": []}, "space.x"),
    ],
    ids=["goal", "metric", "empty", "log", "kind", "number", "list"],
)
def test_what_cannot_be_searched_is_refused_with_a_hint(goal: str, space: Any, field: str) -> None:
    with pytest.raises(FieldInvalid) as caught:
        Optuna(goal, space)

    assert caught.value.field == field
    assert caught.value.hint


async def test_a_storage_that_cannot_be_opened_is_an_error(folder: Path) -> None:
    with pytest.raises(RunbusError, match="storage"):
        async with Kernel(plugins=[Optuna("min:loss", SPACE, storage=folder / "none" / "study")]):
            pass


def test_a_job_without_the_metric_is_a_failed_trial() -> None:
    runbus.api.run_sweep(
        Command(("true",)),
        sweeps=Trials(1),
        project="p",
        plugins=[Optuna("min:loss", SPACE)],
    )

    assert [one.state.name for one in _study().trials] == ["FAIL"]


def test_who_lists_the_plugins_does_not_load_optuna() -> None:
    code = "import sys, runbus_optuna; sys.exit('optuna' in sys.modules)"

    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
