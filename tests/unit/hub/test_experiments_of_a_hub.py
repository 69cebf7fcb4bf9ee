"""Experiments of a hub: trained in supervised jobs, asked for predictions, kept and loaded."""

from __future__ import annotations

import logging
import os
import resource
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import runbus
from runbus.catalog import RunRecord
from runbus.errors import (
    ConfigInvalid,
    FieldInvalid,
    HomeUnusable,
    HubExperimentNotFound,
    InvalidOption,
    ModelNotSaved,
    ModelUnreadable,
    NotTrained,
    RunNotFound,
    ServiceMissing,
    TaskInvalid,
    TrainingFailed,
    UnknownExperimentType,
    UsageError,
)
from runbus.hub import ExperimentHub, LocalQueue, MemoryStream
from runbus.hub._services import HubServices
from runbus.hub._tracking import record_training
from runbus.testing._waiting import wait_until

from .services import Counting, Tracker

MODULE = "types_of_a_user"

TYPES = '''\
"""A user's own type: what is farther from the mean than `limit` is a fault."""
import dataclasses, json, os, pathlib, sys
import runbus

@dataclasses.dataclass
class Shape:
    width: int = 1

class Mean:
    def __init__(
        self,
        limit: float = 1.0,
        wait_at: str = "",
        fails_in: str = "",
        shape: Shape = Shape(),
        file: pathlib.Path = pathlib.Path(),
        logs: bool = False,
    ) -> None:
        assert isinstance(shape, Shape) and isinstance(file, pathlib.Path)
        self.limit, self.wait_at, self.fails_in = limit, wait_at, fails_in
        self.logs = logs

    def format_data(self, data):
        if not data:
            raise ValueError("there is no data")
        return [float(one) for one in data]

    def create_model(self):
        self.mean = 0.0

    def run(self, data):
        if self.wait_at:
            pathlib.Path(self.wait_at + ".started").write_text(str(os.getpid()))
            open(self.wait_at).read()
        if self.fails_in == "run":
            print("about to fail", flush=True)
            raise RuntimeError("diverged")
        if self.logs:
            with runbus.init() as run:
                run.log("seen", len(data))
        self.mean = sum(data) / len(data)
        return {"mean": self.mean}

    def predict(self, data):
        return [abs(one - self.mean) > self.limit for one in data]

    def score(self, data):
        return 1.0 - sum(self.predict(data)) / len(data)

    def save(self, folder):
        if self.fails_in == "save":
            raise OSError(28, "No space left on device")
        pathlib.Path(folder, "mean.json").write_text(json.dumps(self.mean))

    def load(self, folder):
        self.mean = json.loads(pathlib.Path(folder, "mean.json").read_text())
'''


@pytest.fixture(autouse=True, scope="module")
def _without_samples() -> Iterator[None]:
    """Let no machine be sampled: a job that lasts a second would log what its machine did, too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RUNBUS_SYSTEM", "0")
        yield


@pytest.fixture
def types(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, type | str]:
    (tmp_path / f"{MODULE}.py").write_text(TYPES)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, MODULE, raising=False)
    return {"mean": f"{MODULE}:Mean"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a home in which `bearings` was trained twice: a training takes its time."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / f"{MODULE}.py").write_text(TYPES)
    sys.path.insert(0, str(folder))
    with ExperimentHub(types={"mean": f"{MODULE}:Mean"}, home=folder / "home") as hub:
        hub.create_experiment("bearings", "mean", {"limit": 3})
        hub.train("bearings", [1, 2, 3])
        hub.train("bearings", [10])
    sys.path.remove(str(folder))
    return folder / "home"


@pytest.fixture
def kept(trained: Path, home: Path) -> list[RunRecord]:
    """Return the two runs of `bearings`, which are in the home of this test, too."""
    shutil.copytree(trained, home)
    return runbus.runs("bearings")


@pytest.fixture
def hub(types: dict[str, type | str]) -> Iterator[ExperimentHub]:
    with ExperimentHub([MemoryStream()], types=types, environment="test") as made:
        yield made


@pytest.fixture
def fifo(tmp_path: Path) -> str:
    """Return a pipe that nobody writes to: what reads it waits."""
    path = str(tmp_path / "fifo")
    os.mkfifo(path)
    return path


def wait_for(path: str) -> int:
    """Wait until a training has begun, and return the process that does it."""
    started = Path(f"{path}.started")
    return int(wait_until(lambda: started.read_text() if started.exists() else None))


def test_a_training_is_a_job_with_a_run_and_its_model_predicts(hub: ExperimentHub) -> None:
    settings = {"limit": 2, "shape": {"width": 3}, "file": "/tmp", "logs": True}
    hub.create_experiment("bearings", "mean", settings)
    with pytest.raises(NotTrained):
        hub.predict("bearings", [1])
    run = hub.train("bearings", np.array([1, 2, 3]).tolist())

    assert hub.predict("bearings", [2, 5]) == [False, True]
    assert hub.experiments() == {"bearings": "ready"}
    assert (run.project, str(run.state)) == ("bearings", "SUCCEEDED")
    assert run.config["settings"] == settings
    assert run.config["environment"] == "test"
    logged = {name: one.last for name, one in run.summaries().items()}
    assert logged == {"mean": 2, "score": 1, "seen": 3}  # one of them by the type itself
    assert run.job is not None
    assert [one.name for one in run.artifacts()] == ["model"]


@pytest.mark.usefixtures("kept")
def test_a_failed_training_says_why_and_leaves_the_model_and_the_hub_usable(
    hub: ExperimentHub,
) -> None:
    hub.load("bearings")
    with pytest.raises(TrainingFailed, match="ValueError: there is no data") as told:
        hub.train("bearings", [])
    assert (told.value.experiment, told.value.state) == ("bearings", "FAILED")
    assert str(runbus.open_run(told.value.run).state) == "FAILED"
    assert hub.experiments() == {"bearings": "failed"}
    assert hub.predict("bearings", [2, 10]) == [True, False]
    hub.train("bearings", [2])
    assert hub.experiments() == {"bearings": "ready"}
    assert hub.predict("bearings", [2, 10]) == [False, True]


def test_a_model_that_finds_no_room_fails_the_training(hub: ExperimentHub) -> None:
    hub.create_experiment("bearings", "mean", {"fails_in": "save"})
    with pytest.raises(TrainingFailed, match="No space left on device"):
        hub.train("bearings", [1])


def test_data_that_finds_no_room_leaves_no_job_behind(hub: ExperimentHub) -> None:
    hub.create_experiment("bearings", "mean")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, before[1]))
    try:
        for data in np.zeros(200_000), "x" * 2_000_000:
            with pytest.raises(HomeUnusable, match=r"no room for the data|file too large"):
                hub.train("bearings", data)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

    assert runbus.runs() == []
    assert hub.experiments() == {"bearings": "new"}


def test_the_level_of_the_file_is_that_of_the_job(types: dict[str, type | str]) -> None:
    with ExperimentHub(types=types, log_level="info") as hub:
        hub.create_experiment("bearings", "mean")
        run = hub.train("bearings", [1])
    assert run.job_folder is not None
    written = Path(run.job_folder, "stderr.log").read_text()
    assert written == f"INFO runbus.hub: training mean ({MODULE}:Mean)\n"


def test_each_hub_logs_from_its_own_level_on(
    types: dict[str, type | str], caplog: pytest.LogCaptureFixture
) -> None:
    for level in ("error", "info"):
        with ExperimentHub([MemoryStream()], types=types, log_level=level):
            pass
    with pytest.raises(InvalidOption):
        ExperimentHub(log_level="loud")
    told = [one.message for one in caplog.records if one.name.startswith("runbus.hub")]
    assert told == ["the datastream service is MemoryStream"]


def test_a_training_that_is_killed_has_really_ended(hub: ExperimentHub, fifo: str) -> None:
    hub.create_experiment("bearings", "mean", {"wait_at": fifo})
    run = hub.train("bearings", [1], wait=False)
    pid = wait_for(fifo)

    assert hub.experiments() == {"bearings": "training"}
    with pytest.raises(UsageError, match="is being trained already"):
        hub.train("bearings", [1])
    with pytest.raises(TimeoutError):
        hub.wait_trained("bearings", timeout=0.01)
    assert hub.kill("bearings")
    assert not os.path.exists(f"/proc/{pid}")
    assert not hub.kill("bearings")
    with pytest.raises(TrainingFailed, match="CANCELLED"):
        hub.wait_trained("bearings")
    assert str(runbus.open_run(run.id).state) == "CANCELLED"


def test_a_training_whose_process_dies_has_failed(hub: ExperimentHub, fifo: str) -> None:
    hub.create_experiment("bearings", "mean", {"wait_at": fifo})
    hub.train("bearings", [1], wait=False)
    os.kill(wait_for(fifo), 9)

    with pytest.raises(TrainingFailed, match="SIGKILL") as told:
        hub.wait_trained("bearings")
    assert told.value.state == "FAILED"


def test_the_end_of_a_hub_is_the_end_of_its_trainings(
    types: dict[str, type | str], fifo: str
) -> None:
    with ExperimentHub(types=types) as hub:
        hub.create_experiment("bearings", "mean", {"wait_at": fifo})
        run = hub.train("bearings", [1], wait=False)
        pid = wait_for(fifo)
    assert not os.path.exists(f"/proc/{pid}")
    assert str(runbus.open_run(run.id).state) == "CANCELLED"


def test_a_message_is_acknowledged_when_the_model_is_trained_and_put_back_otherwise(
    hub: ExperimentHub,
) -> None:
    stream = hub.get_plugin("datastream")
    assert isinstance(stream, MemoryStream)
    stream.create_queue("data")
    stream.push_data("data", ["no number"])
    hub.create_experiment("bearings", "mean")
    with pytest.raises(TrainingFailed):
        hub.train("bearings", queue="data")
    delivery = stream.take("data")
    assert delivery is not None
    assert (delivery.data, delivery.attempt) == (["no number"], 2)
    stream.acknowledge(delivery)
    stream.push_data("data", [1, 2, 3])
    hub.train("bearings", queue="data")
    assert stream.health_check()[1] | {"bytes": 0} == {
        "status": "connected",
        "waiting": {"data": 0},
        "held": {"data": 0},
        "bytes": 0,
    }
    with pytest.raises(UsageError, match="the queue 'data' is empty"):
        hub.predict("bearings", queue="data")
    stream.push_data("data", [9])
    assert hub.predict("bearings", queue="data") == [True]


@pytest.mark.usefixtures("kept")
def test_a_stream_that_can_only_forget_is_read_as_well(types: dict[str, type | str]) -> None:
    class Forgetful(MemoryStream):
        def take(self, queue: str) -> Any:
            return super(MemoryStream, self).take(queue)

        def pull_data(self, queue: str) -> Any:
            return [2, 10]

    with ExperimentHub([Forgetful()], types=types) as hub:
        hub.load("bearings")
        assert hub.predict("bearings", queue="data") == [True, False]


def test_data_comes_from_one_place(types: dict[str, type | str]) -> None:
    with ExperimentHub(types=types) as hub:
        hub.create_experiment("bearings", "mean")
        for data, queue in (None, None), ([1], "q"):
            with pytest.raises(UsageError, match="needs either data or a queue"):
                hub.train("bearings", data, queue=queue)
        with pytest.raises(ServiceMissing, match="needs a datastream service"):
            hub.train("bearings", queue="q")
        with pytest.raises(FieldInvalid, match="JSON cannot hold it"):
            hub.train("bearings", object())


@pytest.mark.usefixtures("kept")
def test_retraining_leaves_a_model_as_it_is_that_is_still_good(hub: ExperimentHub) -> None:
    hub.create_experiment("turbines", "mean")
    with pytest.raises(NotTrained):
        hub.retrain("turbines", [1])
    hub.load("bearings")

    assert hub.retrain("bearings", [9, 10, 11], unless_score=0.9) is None
    assert hub.retrain("bearings", [1, 2], unless_score=0.9) is not None
    assert hub.predict("bearings", [2, 10]) == [False, True]


def test_another_hub_loads_what_was_trained(
    kept: list[RunRecord], types: dict[str, type | str]
) -> None:
    with ExperimentHub(types=types) as other:
        other.load("bearings")
        assert other.predict("bearings", [10, 2]) == [False, True]
        other.load("bearings", kept[0].id)
        assert other.predict("bearings", [10, 2]) == [True, False]
        with pytest.raises(RunNotFound):
            other.load("turbines")


@pytest.mark.usefixtures("kept")
def test_what_a_run_says_of_its_type_imports_nothing_that_the_hub_does_not_have() -> None:
    with ExperimentHub() as other, pytest.raises(UnknownExperimentType):
        other.load("bearings")


def test_a_damaged_model_is_refused(hub: ExperimentHub, kept: list[RunRecord]) -> None:
    hub.load("bearings")
    file = Path(kept[1].artifacts("model")[0].path) / "mean.json"
    file.chmod(0o600)
    file.write_text("7.0")

    with pytest.raises(ModelUnreadable, match="SHA-256"):
        hub.load("bearings")
    shutil.rmtree(file.parents[1])
    with pytest.raises(ModelUnreadable):
        hub.load("bearings")
    assert hub.predict("bearings", [10]) == [False]


@pytest.mark.usefixtures("kept")
def test_a_model_is_saved_whole_to_a_new_folder(hub: ExperimentHub, tmp_path: Path) -> None:
    hub.create_experiment("turbines", "mean")
    with pytest.raises(NotTrained):
        hub.save("turbines", tmp_path / "model")
    hub.load("bearings")
    hub.save("bearings", tmp_path / "model")

    assert (tmp_path / "model" / "mean.json").read_text() == "10.0"
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("mine")
    for folder in ("model", "empty", "file", "nowhere/model", "file/model", "x" * 300):
        with pytest.raises(ModelNotSaved) as told:
            hub.save("bearings", tmp_path / folder)
        assert told.value.folder == str(tmp_path / folder)
        assert told.value.hint or "too long" in told.value.reason
        assert ".runbus-" not in str(told.value)
    assert {one.name for one in tmp_path.iterdir()} >= {"model", "empty", "file"}
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("types", [{"a": 3}, {3: "a:b"}, ["a:b"]])
def test_types_that_are_none_are_refused(types: Any) -> None:
    with pytest.raises(FieldInvalid, match="types is"):
        ExperimentHub(types=types)


@pytest.mark.parametrize("given", ["x", float("nan"), True, [1]])
def test_what_is_no_number_is_refused_where_one_is_wanted(hub: ExperimentHub, given: Any) -> None:
    with pytest.raises(FieldInvalid, match="unless_score is"):
        hub.retrain("bearings", [1, 2], unless_score=given)
    with pytest.raises(FieldInvalid, match="timeout is"):
        hub.wait_trained("bearings", timeout=given)
    with pytest.raises(FieldInvalid, match="timeout is"):
        LocalQueue().get_result("nobody", timeout=given)
    with pytest.raises(FieldInvalid, match="capacity is"):
        MemoryStream(capacity=given)


def test_what_is_no_delivery_and_no_module_is_refused() -> None:
    stream: Any = MemoryStream()
    for call in (stream.acknowledge, stream.give_back):
        with pytest.raises(FieldInvalid, match="delivery is 'x'"):
            call("x")
    queue: Any = LocalQueue()
    with pytest.raises(FieldInvalid, match="tasks_module is 3"):
        queue.register_tasks(3)


def test_what_cannot_be_an_experiment_is_refused(hub: ExperimentHub) -> None:
    config = {"limit": 2}
    hub.create_experiment("bearings", "mean", config)
    assert config == {"limit": 2}
    with pytest.raises(UnknownExperimentType, match="unknown experiment type: men") as told:
        hub.create_experiment("a", "men")
    assert isinstance(told.value, ValueError)
    assert told.value.hint == "did you mean 'mean'"
    with pytest.raises(FieldInvalid, match="JSON cannot hold it"):
        hub.create_experiment("a", "mean", {"file": Path("x")})
    with pytest.raises(ConfigInvalid, match="did you mean 'limit'"):
        hub.create_experiment("a", "mean", {"limt": 2})
    with pytest.raises(UsageError, match="there is an experiment 'bearings' already"):
        hub.create_experiment("bearings", "mean")
    with pytest.raises(UsageError, match="cannot be called 'latest'"):
        hub.create_experiment("latest", "mean")
    for call in (hub.train, hub.predict, hub.kill, hub.retrain):
        with pytest.raises(HubExperimentNotFound) as missing:
            call("bearing")
        assert missing.value.hint == "did you mean 'bearings'"
    assert hub.experiments() == {"bearings": "new"}


def test_a_class_that_no_other_process_can_import_is_refused(
    hub: ExperimentHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = sys.modules[MODULE].Mean if MODULE in sys.modules else None
    hub.create_experiment("bearings", "mean")
    found = sys.modules[MODULE].Mean
    monkeypatch.setattr(found, "__module__", "__main__")
    monkeypatch.setattr(sys.modules["__main__"], "Mean", found, raising=False)

    with ExperimentHub(types={"mean": found}) as other:
        other.create_experiment("bearings", "mean")
        with pytest.raises(TaskInvalid, match="no other process can import it"):
            other.train("bearings", [1])


def test_a_tracking_server_is_told_of_a_training(types: dict[str, type | str]) -> None:
    tracker = Tracker()
    with ExperimentHub([tracker], types=types) as hub:
        hub.create_experiment("bearings", "mean", {"limit": 2})
        hub.train("bearings", [1])
    told = [one for one in tracker.log if " " in one]
    assert told == [
        "experiment bearings",
        "run of 7",
        "params {'limit': 2}",
        "metric mean=1",
        "metric score=1",
        "artifact model",
        "end of run-1",
    ]


def test_a_tracking_service_that_lacks_everything_is_told_of_nothing(
    kept: list[RunRecord], caplog: pytest.LogCaptureFixture
) -> None:
    log = logging.getLogger("runbus.hub")
    services = HubServices(log)
    services.register(Counting())
    record_training(services, "bearings", {}, kept[0], log)
    services.close()

    assert "Counting does not offer create_experiment()" in caplog.text
