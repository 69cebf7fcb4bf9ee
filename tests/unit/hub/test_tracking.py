"""Tracking in a home, by the words of tracking servers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import runbus
from runbus.errors import RunNotFound, UsageError
from runbus.hub import RunbusMLOps


@pytest.fixture
def mlops(tmp_path: Path) -> Iterator[RunbusMLOps]:
    made = RunbusMLOps(home=str(tmp_path / "tracked"))
    made.initialize()
    yield made
    made.shutdown()


def test_what_is_logged_is_a_run_of_the_home(mlops: RunbusMLOps, tmp_path: Path) -> None:
    file = tmp_path / "weights.bin"
    file.write_bytes(b"x")
    experiment = mlops.create_experiment("bearings")
    run = mlops.start_run(experiment)
    mlops.log_params({"lr": 0.1})
    for step in range(3):
        mlops.log_metric("loss", 1.0 - step, step)
    mlops.log_artifact(str(file), "model")
    mlops.end_run(run)
    mlops.end_run(run)

    found = runbus.open_run(run, home=mlops.home)
    assert (found.project, str(found.state), found.params["lr"]) == ("bearings", "SUCCEEDED", 0.1)
    assert found.metrics("loss").to_numpy()[1].tolist() == [1.0, 0.0, -1.0]
    assert [one.name for one in found.artifacts()] == ["model"]
    assert mlops.get_run(run).id == run


def test_an_experiment_is_made_once(mlops: RunbusMLOps) -> None:
    assert mlops.get_experiment_by_name("a") is None
    assert mlops.create_experiment("a") == mlops.create_experiment("a")
    run = mlops.start_run(mlops.create_experiment("a"))

    found = mlops.get_experiment_by_name("a")
    assert found is not None
    assert (found.experiment_id, found.run_ids) == ("a", (run,))


@pytest.mark.parametrize("name", ["", " ", "latest", 3])
def test_a_name_that_cannot_be_one_is_refused(name: str, mlops: RunbusMLOps) -> None:
    with pytest.raises(UsageError, match="cannot be called"):
        mlops.create_experiment(name)


def test_the_run_that_is_killed_is_the_one_that_was_named(mlops: RunbusMLOps) -> None:
    first = mlops.start_run(mlops.create_experiment("a"))
    second = mlops.start_run("a")

    assert mlops.kill_run(first)
    assert not mlops.kill_run(first)
    mlops.log_metric("loss", 1.0)
    states = {one: str(mlops.get_run(one).state) for one in (first, second)}
    assert states == {first: "CANCELLED", second: "RUNNING"}
    with pytest.raises(RunNotFound):
        mlops.kill_run("20260101-000000-abcdef-1")


def test_each_thread_has_a_current_run_of_its_own(mlops: RunbusMLOps) -> None:
    mlops.create_experiment("a")
    begun = threading.Barrier(4)

    def log(value: float) -> None:
        run = mlops.start_run("a")
        begun.wait(120)
        mlops.log_metric("value", value)
        mlops.end_run(run)

    threads = [threading.Thread(target=log, args=(float(value),)) for value in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    values = [run.metrics("value").to_numpy()[1].tolist() for run in runbus.runs(home=mlops.home)]
    assert sorted(values) == [[0.0], [1.0], [2.0], [3.0]]


def test_nothing_can_be_logged_without_a_run(mlops: RunbusMLOps) -> None:
    with pytest.raises(UsageError, match="no run was started in this thread"):
        mlops.log_metric("loss", 1.0)
    run = mlops.start_run(mlops.create_experiment("a"))
    mlops.end_run(run)
    with pytest.raises(RunNotFound):
        mlops.log_metric("loss", 1.0)


def test_another_home_is_used_from_then_on(mlops: RunbusMLOps, tmp_path: Path) -> None:
    first = mlops.start_run(mlops.create_experiment("a"))
    mlops.set_tracking_uri(f"file://{tmp_path}/else%20where")
    second = mlops.start_run("a")

    assert mlops.home == str(tmp_path / "else where")
    assert [one.id for one in runbus.runs(home=mlops.home)] == [second]
    mlops.log_metric("loss", 1.0, run_id=first)


@pytest.mark.parametrize("uri", ["http://user:hunter2@localhost:5000", "file://host/path"])
def test_a_server_is_refused_without_its_credentials(uri: str, mlops: RunbusMLOps) -> None:
    before = mlops.home
    with pytest.raises(UsageError, match="is no folder") as told:
        mlops.set_tracking_uri(uri)
    assert "hunter2" not in str(told.value)
    assert mlops.home == before


def test_in_a_job_the_run_is_that_of_the_job_and_there_is_one(
    mlops: RunbusMLOps, monkeypatch: pytest.MonkeyPatch
) -> None:
    with runbus.init(project="of-the-job") as job:
        monkeypatch.setenv("RUNBUS_RUN", job.folder)
        run = mlops.start_run(mlops.create_experiment("a"))
        assert run == job.id
        with pytest.raises(UsageError, match="a job has one run"):
            mlops.start_run("a")
        mlops.log_metric("loss", 1.0)
        mlops.end_run(run)
    assert runbus.open_run(run).metrics("loss").to_numpy()[1].tolist() == [1.0]
