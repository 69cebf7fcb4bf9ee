from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import runbus
from runbus.cli._app import run_command
from runbus.errors import HomeUnusable, MetricNotFound, RunNotFound
from runbus.jobs import JobState


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )


def test_what_is_logged_is_read_back_as_three_columns() -> None:
    run = runbus.init(project="p", name="n", config={"lr": 0.1})
    run.log("loss", 0.5, step=3)
    run.log({"loss": 0.25, "acc": math.nan}, step=4)
    run.series("loss").append(0.125, 5)

    steps, values, times = runbus.open_run(run.id).metrics("loss").to_numpy()

    assert steps.tolist() == [3, 4, 5]
    assert values.tolist() == [0.5, 0.25, 0.125]
    assert [str(column.dtype) for column in (steps, values, times)] == [
        "int64",
        "float64",
        "int64",
    ]
    assert (np.diff(times) >= 0).all()
    run.finish()


def test_a_run_whose_record_is_gone_is_not_found(capfd: pytest.CaptureFixture[str]) -> None:
    with runbus.init() as other, runbus.init() as run:
        pass
    os.remove(os.path.join(run.folder, "run.json"))

    with pytest.raises(RunNotFound) as caught:
        runbus.open_run(run.id)
    assert caught.value.similar == (other.id,)
    assert run_command(["show", run.id]) == 1
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("code", "state"),
    [(None, "SUCCEEDED"), (0, "SUCCEEDED"), (1, "FAILED"), ("no data", "FAILED")],
)
def test_leaving_the_block_by_sys_exit_is_what_its_code_says(code: Any, state: str) -> None:
    with pytest.raises(SystemExit), runbus.init() as run:
        sys.exit(code)

    assert runbus.open_run(run.id).state == state


def test_a_run_is_read_while_it_is_written_and_after() -> None:
    run = runbus.init(project="p", name="n", config={"lr": 0.1})
    run.log("loss", 0.5)

    assert runbus.open_run(run.id).state is JobState.RUNNING
    run.finish()
    stored = runbus.open_run(run.id)
    assert stored.state is JobState.SUCCEEDED
    assert (stored.name, stored.project, stored.config) == ("n", "p", {"lr": 0.1})
    assert len(stored.metrics("loss")) == 1


def test_an_exception_that_leaves_the_block_makes_the_run_failed() -> None:
    def block() -> None:
        with runbus.init() as run:
            run.log("loss", 1.0)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        block()

    assert runbus.runs()[-1].state is JobState.FAILED


@pytest.mark.parametrize(
    ("ending", "state"),
    [
        ("", JobState.SUCCEEDED),
        ("raise ValueError", JobState.FAILED),
        ("import os; os.kill(os.getpid(), 9)", JobState.LOST),
    ],
)
def test_a_run_that_nobody_finished_ends_as_its_process_did(ending: str, state: JobState) -> None:
    python(f"import runbus\nruns = runbus.init()\nruns.log('loss', 1.0)\n{ending}")

    (run,) = runbus.runs()
    assert run.state is state
    assert run.metrics("loss").values.tolist() == [1.0]


@pytest.mark.parametrize(
    ("given", "error"),
    [({"name": 5}, TypeError), ({"name": "\udce9"}, ValueError), ({"project": b"p"}, TypeError)],
)
def test_a_name_that_is_no_text_is_refused_before_anything_is_made(
    given: Any, error: type[Exception], home: Path
) -> None:
    with pytest.raises(error, match=f"name of a {'run' if 'name' in given else 'project'}"):
        runbus.init(**given)

    assert not home.exists()


def test_a_run_that_nobody_holds_any_more_is_finished() -> None:
    code = """
        import runbus

        def main():
            run = runbus.init()
            run.log("loss", 1.0)
            run.tag("t")

        main()
    """
    assert python(code).stderr == ""

    (run,) = runbus.runs()
    assert run.state is JobState.SUCCEEDED
    assert run.journal_bytes() <= 4096
    assert run.tags == ["t"]


def test_logging_to_a_finished_run_says_so() -> None:
    run = runbus.init()
    run.finish()
    run.finish()

    with pytest.raises(ValueError, match="finished"):
        run.log("loss", 1.0)


def test_runs_of_a_project_are_listed_oldest_first() -> None:
    ids = []
    for project in ("a", "b", "a"):
        with runbus.init(project=project) as run:
            ids.append(run.id)

    assert [run.id for run in runbus.runs(project="a")] == [ids[0], ids[2]]
    assert [run.id for run in runbus.runs()] == ids


def test_an_unknown_run_names_its_near_matches() -> None:
    with runbus.init() as run:
        pass
    almost = run.id[:-3] + ("y-1" if run.id[-3] == "x" else "x-1")

    with pytest.raises(RunNotFound) as caught:
        runbus.open_run(almost)

    assert caught.value.similar == (run.id,)
    assert run.id in (caught.value.hint or "")


def test_an_unknown_metric_names_its_near_matches() -> None:
    run = runbus.init()
    run.log({"train/loss": 1.0, "train/acc": 1.0})

    with pytest.raises(MetricNotFound) as caught:
        runbus.open_run(run.id).metrics("train/los")

    assert caught.value.similar[0] == "train/loss"
    assert caught.value.available == ("train/loss", "train/acc")
    run.finish()


@pytest.mark.parametrize("make", [Path.touch, lambda path: path.symlink_to("/proc/nowhere")])
def test_a_home_that_is_no_folder_is_refused_with_its_name(home: Path, make: Any) -> None:
    make(home)

    with pytest.raises(HomeUnusable, match=str(home)):
        runbus.init()


def test_a_folder_that_cannot_be_attached_to_is_refused_with_the_variable_that_names_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RUNBUS_RUN", "/nonexist")

    with pytest.raises(HomeUnusable, match="/nonexist of a run, which RUNBUS_RUN names") as caught:
        runbus.init()
    assert caught.value.hint == "unset RUNBUS_RUN to make a new run instead"


def test_a_config_that_is_no_data_is_refused(home: Path) -> None:
    with pytest.raises(TypeError, match="config"):
        runbus.init(config={"model": object()})


def test_a_config_may_hold_numpy_scalars_and_paths() -> None:
    with runbus.init(config={"lr": np.float32(0.5), "data": Path("/data")}) as run:
        pass

    assert runbus.open_run(run.id).config == {"lr": 0.5, "data": "/data"}


def test_init_attaches_to_the_run_that_was_made_for_the_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with runbus.init(project="p", name="made", config={"lr": 1}) as made:
        monkeypatch.setenv("RUNBUS_RUN", made.folder)
        with runbus.init(project="q", name="mine", config={"lr": 2, "depth": 3}) as attached:
            attached.log("loss", 1.0)

    assert (attached.id, attached.name, attached.project) == (made.id, "made", "p")
    assert attached.config == {"lr": 1, "depth": 3}
    assert runbus.open_run(made.id).config == {"lr": 1, "depth": 3}


def test_the_points_of_several_writers_are_merged_by_time(monkeypatch: pytest.MonkeyPatch) -> None:
    first = runbus.init()
    monkeypatch.setenv("RUNBUS_RUN", first.folder)
    second = runbus.init()
    for step in range(10):
        (first if step % 2 else second).log("loss", float(step), step=step)

    series = runbus.open_run(first.id).metrics("loss")

    assert series.steps.tolist() == list(range(10))
    assert runbus.open_run(first.id).summaries()["loss"].points == 10
    first.finish()
    second.finish()


def test_logging_loads_nothing_that_a_training_script_does_not_need() -> None:
    done = python(
        """
        import sys, runbus
        runbus.init().log("loss", 1.0)
        print(*{"asyncio", "msgspec", "asyncssh", "httpx", "rich", "numpy"} & set(sys.modules))
        """
    )

    assert (done.stdout, done.stderr) == ("\n", "")


def test_a_torn_run_record_hides_only_its_own_run() -> None:
    with runbus.init() as whole:
        pass
    with runbus.init() as torn:
        pass
    (Path(torn.folder) / "run.json").write_text('{"id": ')

    assert [run.id for run in runbus.runs()] == [whole.id]


def test_run_json_is_plain_json(home: Path) -> None:
    with runbus.init(config={"a": 1}) as run:
        pass

    record = json.loads((Path(run.folder) / "run.json").read_text())
    assert record["config"] == {"a": 1}
    assert Path(run.folder).is_relative_to(home)


def test_whole_arrays_and_groups_survive_sealing_with_what_was_logged_one_by_one() -> None:
    run = runbus.init()
    run.series("a").extend(np.arange(10_000.0))
    run.log("a", 3.0)
    run.group("p", "q").log(7, 2.0, 4.0)
    run.log(step=8, p=5.0)
    run.finish()
    stored = runbus.open_run(run.id)
    before = [column.tolist() for column in stored.metrics("a").to_numpy()]

    stored.seal()
    sealed = runbus.open_run(run.id)

    assert [column.tolist() for column in sealed.metrics("a").to_numpy()] == before
    assert before[1] == [*map(float, range(10_000)), 3.0]
    assert sealed.metrics("p").steps.tolist() == [7, 8]
    assert sealed.summaries()["a"].points == 10_001
