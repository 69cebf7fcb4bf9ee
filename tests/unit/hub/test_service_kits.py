"""The kits: what comes with runbus passes them, and what is broken fails one of their tests."""

from __future__ import annotations

import inspect
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runbus.abc import Delivery, TaskQueuePlugin
from runbus.hub import LocalQueue, MemoryStream, RunbusMLOps
from runbus.testing.conformance import tasks as functions
from runbus.testing.conformance.service import (
    DataStreamContract,
    MLOpsContract,
    ServiceContract,
    TaskQueueContract,
)


class TestRunbusMLOps(MLOpsContract):
    @pytest.fixture
    def make(self, tmp_path: Path) -> Callable[[], RunbusMLOps]:
        return lambda: RunbusMLOps(home=str(tmp_path / "home"))


class TestMemoryStream(DataStreamContract):
    @pytest.fixture
    def make(self) -> Callable[[], MemoryStream]:
        return MemoryStream


class TestLocalQueue(TaskQueueContract):
    @pytest.fixture
    def make(self) -> Callable[[], LocalQueue]:
        return LocalQueue


class ThreadQueue(TaskQueuePlugin):
    """A queue of threads: quick, and not ours."""

    def __init__(self) -> None:
        self.functions: dict[str, Callable[..., Any]] = {}
        self.tasks: dict[str, dict[str, Any]] = {}

    def initialize(self) -> None:
        """Do nothing."""

    def shutdown(self) -> None:
        self.tasks.clear()

    def health_check(self) -> tuple[bool, dict[str, Any]]:
        return True, {"status": "connected"}

    def register_tasks(self, tasks_module: str) -> None:
        assert tasks_module == functions.__name__
        self.functions = {name: getattr(functions, name) for name in functions.__all__}

    def submit_task(self, task_name: str, /, *args: Any, **kwargs: Any) -> str:
        function = self.functions[task_name]
        task: dict[str, Any] = {"status": "STARTED", "over": threading.Event()}

        def call() -> None:
            try:
                result: Any = ("SUCCESS", function(*args, **kwargs))
            except Exception as error:
                result = ("FAILURE", error)
            self.end(task, *result)

        if task_name != "wait":
            threading.Thread(target=call).start()
        self.tasks[str(len(self.tasks))] = task
        return str(len(self.tasks) - 1)

    def end(self, task: dict[str, Any], status: str, result: Any) -> bool:
        if task["over"].is_set():
            return False
        task.update(status=status, result=result)
        task["over"].set()
        return True

    def get_status(self, task_id: str) -> str:
        status: str = self.tasks[task_id]["status"]
        return status

    def get_result(self, task_id: str, timeout: float | None = None) -> Any:
        task = self.tasks[task_id]
        if not task["over"].wait(timeout):
            raise TimeoutError(task_id)
        if task["status"] != "SUCCESS":
            raise RuntimeError(str(task["result"]))
        return task["result"]

    def revoke(self, task_id: str) -> bool:
        return self.end(self.tasks[task_id], "REVOKED", "revoked")


class TestThreadQueue(TaskQueueContract):
    @pytest.fixture
    def make(self) -> Callable[[], ThreadQueue]:
        return ThreadQueue


# Each breaks one promise.


class Mislabeled(MemoryStream):
    plugin_type = "stream"


class Leaky(MemoryStream):
    def health_check(self) -> tuple[bool, dict[str, Any]]:
        return True, {"url": "amqp://guest:guest@localhost"}


class NoData(MemoryStream):
    def health_check(self) -> tuple[bool, dict[str, Any]]:
        return True, {"queues": set(self._queues)}


class ShutDownOnce(MemoryStream):
    def shutdown(self) -> None:
        del self._queues


class LastInFirstOut(MemoryStream):
    def pull_data(self, queue: str) -> Any:
        with self._lock:
            self._find(queue).waiting.reverse()
        return super().pull_data(queue)


class Forgetful(MemoryStream):
    """Acknowledges before the data is processed."""

    def take(self, queue: str) -> Delivery | None:
        delivery = super().take(queue)
        if delivery is not None:
            super().acknowledge(delivery)
        return delivery


class Generous(MemoryStream):
    """Hands out what it handed out before."""

    def take(self, queue: str) -> Delivery | None:
        self.disconnect()
        return super().take(queue)


class Emptying(MemoryStream):
    def create_queue(self, queue_name: str) -> None:
        self._queues.pop(queue_name, None)
        super().create_queue(queue_name)


class EmptyIsText(MemoryStream):
    def pull_data(self, queue: str) -> Any:
        found = super().pull_data(queue)
        return "" if found is None else found


class AnyQueue(MemoryStream):
    def pull_data(self, queue: str) -> Any:
        self.create_queue(queue)
        return super().pull_data(queue)


class KillsTheCurrent(RunbusMLOps):
    """Ends whichever run is the current one."""

    def kill_run(self, run_id: str) -> bool:
        return super().kill_run(self._current.run_id)


class AlwaysNew(RunbusMLOps):
    def create_experiment(self, name: str) -> str:
        return super().create_experiment(f"{name}-{time.monotonic_ns()}")


class Pretending(RunbusMLOps):
    def log_artifact(self, path: str, artifact_path: str, run_id: str | None = None) -> None:
        """Keep nothing."""


class NoneForMissing(RunbusMLOps):
    def get_run(self, run_id: str) -> Any:
        try:
            return super().get_run(run_id)
        except Exception:
            return None


class PendingForMissing(ThreadQueue):
    def get_status(self, task_id: str) -> str:
        return super().get_status(task_id) if task_id in self.tasks else "PENDING"


class ErrorsAsResults(ThreadQueue):
    def get_result(self, task_id: str, timeout: float | None = None) -> Any:
        try:
            return super().get_result(task_id, timeout)
        except RuntimeError as error:
            return str(error)


class NeverRevokes(ThreadQueue):
    def revoke(self, task_id: str) -> bool:
        return True


class OwnWords(ThreadQueue):
    def get_status(self, task_id: str) -> str:
        return super().get_status(task_id).lower()


BROKEN: list[tuple[type[ServiceContract], Callable[[], Any]]] = [
    *((DataStreamContract, one) for one in (
        Mislabeled, Leaky, NoData, ShutDownOnce, LastInFirstOut, Forgetful, Generous,
        Emptying, EmptyIsText, AnyQueue,
    )),
    *((MLOpsContract, one) for one in (KillsTheCurrent, AlwaysNew, Pretending, NoneForMissing)),
    *((TaskQueueContract, one) for one in (
        PendingForMissing, ErrorsAsResults, NeverRevokes, OwnWords,
    )),
]  # fmt: skip


def failures(contract: type[ServiceContract], make: Callable[[], Any], folder: Path) -> set[str]:
    """Return which tests of a contract a service fails."""
    return {name for name, call in calls(contract, make, folder) if not passes(call)}


def calls(
    contract: type[ServiceContract], make: Callable[[], Any], folder: Path
) -> Iterator[tuple[str, Callable[[], object]]]:
    tests = contract()
    for name, test in inspect.getmembers(tests, inspect.ismethod):
        if not name.startswith("test_"):
            continue

        def call(test: Any = test) -> None:
            given: dict[str, Any] = {"make": make, "tmp_path": folder}
            wanted = inspect.signature(test).parameters
            if "make" not in wanted:
                given["service"] = service = make()
                service.initialize()
                if "tasks" in wanted:
                    service.register_tasks(functions.__name__)
                    given["tasks"] = service
                if "queue" in wanted:
                    given["queue"] = "queue of the kit"
                    service.create_queue(given["queue"])
            test(**{one: given[one] for one in wanted})

        yield name, call


def passes(call: Callable[[], object]) -> bool:
    try:
        call()
    except (Exception, pytest.fail.Exception):
        return False
    return True


@pytest.mark.parametrize(("contract", "make"), BROKEN, ids=[one.__name__ for _, one in BROKEN])
def test_a_kit_finds_what_is_broken(
    contract: type[ServiceContract], make: Callable[[], Any], tmp_path: Path
) -> None:
    failed = failures(contract, make, tmp_path)

    assert 1 <= len(failed) <= 4


@pytest.mark.parametrize(
    ("contract", "make"),
    [
        (DataStreamContract, MemoryStream),
        (TaskQueueContract, ThreadQueue),
        (MLOpsContract, RunbusMLOps),
    ],
    ids=range(3),
)
def test_a_service_that_is_whole_fails_none(
    contract: type[ServiceContract], make: Callable[[], Any], tmp_path: Path
) -> None:
    assert failures(contract, make, tmp_path) == set()
