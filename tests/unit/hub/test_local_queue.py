"""Functions as supervised jobs, asked for in the words of task queues."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import runbus
from runbus import Secret
from runbus.errors import (
    ConfigInvalid,
    HubClosed,
    QueueFull,
    StillRunning,
    TargetUnusable,
    TaskFailed,
    TaskNotFound,
    UsageError,
)
from runbus.hub import LocalQueue
from runbus.testing._waiting import wait_until

MODULE = "tasks_of_a_user"

TASKS = """\
import os, pathlib, time
from json import dumps

def add(a: int, b: int = 1) -> int:
    return a + b

async def slowly(n: int) -> int:
    return n

def fail() -> None:
    raise ValueError("no such bearing")

def odd() -> object:
    return object()

def wait(path: str) -> str:
    with open(path) as fifo:
        return fifo.read()

def greeting() -> str:
    return os.environ["GREETING"]

def _private() -> None: pass
"""


@pytest.fixture
def _tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / f"{MODULE}.py").write_text(TASKS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, MODULE, raising=False)


@pytest.fixture
def queue(_tasks: None) -> Iterator[LocalQueue]:
    made = LocalQueue(tasks=[MODULE], max_parallel=1, capacity=2)
    made.initialize()
    yield made
    made.shutdown()


def wait_until_started(queue: LocalQueue, task: str) -> None:
    wait_until(lambda: queue.get_status(task) == "STARTED")


@pytest.fixture
def fifo(tmp_path: Path) -> Iterator[str]:
    """Return a pipe that a task waits at."""
    path = str(tmp_path / "fifo")
    os.mkfifo(path)
    held = os.open(path, os.O_RDWR)  # so that nobody waits for the other side
    yield path
    os.close(held)


def test_a_function_is_called_in_a_process_of_its_own_and_its_result_comes_back(
    queue: LocalQueue,
) -> None:
    task = queue.submit_task("add", 1, b=2)

    assert queue.get_result(task, timeout=120) == 3
    assert queue.get_status(task) == "SUCCESS"
    run = runbus.open_run(task)
    assert (run.project, run.config["a"], str(run.state)) == ("tasks", 1, "SUCCEEDED")


def test_a_failure_is_told_with_what_was_raised(queue: LocalQueue) -> None:
    task = queue.submit_task("fail")
    with pytest.raises(TaskFailed, match="ValueError: no such bearing") as told:
        queue.get_result(task, timeout=120)

    assert (told.value.task, told.value.status) == (task, "FAILURE")
    assert queue.get_status(task) == "FAILURE"


def test_public_functions_of_the_module_are_registered_and_nothing_else(
    queue: LocalQueue,
) -> None:
    assert queue.health_check()[1]["tasks"] == ["add", "fail", "greeting", "odd", "slowly", "wait"]


def test_what_waits_and_runs_is_bounded_and_can_be_revoked(queue: LocalQueue, fifo: str) -> None:
    running = queue.submit_task("wait", fifo)
    waiting = queue.submit_task("add", 1)

    with pytest.raises(QueueFull, match="2 tasks"):
        queue.submit_task("add", 2)
    with pytest.raises(StillRunning) as told:
        queue.get_result(waiting, timeout=0.01)
    assert isinstance(told.value, TimeoutError)
    assert queue.get_status(waiting) == "PENDING"
    assert queue.revoke(waiting)
    assert queue.get_status(waiting) == "REVOKED"
    assert queue.get_status(running) in ("PENDING", "STARTED")
    assert queue.revoke(running)
    assert not queue.revoke(running)
    with pytest.raises(TaskFailed) as ended:
        queue.get_result(running)
    assert ended.value.status == "REVOKED"


def test_the_next_task_begins_when_one_has_ended(queue: LocalQueue, fifo: str) -> None:
    first = queue.submit_task("wait", fifo)
    second = queue.submit_task("add", 1)
    queue.revoke(first)

    assert queue.get_result(second, timeout=120) == 2


@pytest.mark.usefixtures("_tasks")
def test_what_is_left_is_ended_with_the_queue(fifo: str) -> None:
    queue = LocalQueue(tasks=[MODULE], max_parallel=1)
    queue.initialize()
    tasks = [queue.submit_task("wait", fifo), queue.submit_task("add", 1)]
    queue.shutdown()

    assert [str(runbus.open_run(task).state) for task in tasks] == ["CANCELLED", "CANCELLED"]
    with pytest.raises(HubClosed):
        queue.submit_task("add", 1)
    assert [queue.get_status(task) for task in tasks] == ["REVOKED", "REVOKED"]


@pytest.mark.usefixtures("_tasks")
def test_what_the_queue_says_is_in_the_environment_of_each_task() -> None:
    queue = LocalQueue(tasks=[MODULE], env={"GREETING": "hello"})
    queue.initialize()
    try:
        assert queue.get_result(queue.submit_task("greeting"), timeout=120) == "hello"
    finally:
        queue.shutdown()


@pytest.mark.usefixtures("_tasks")
def test_of_tasks_that_cannot_be_led_the_last_ones_are_known_and_the_records_of_all(
    fifo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = {"KEY": Secret("env:KEY")}
    queue = LocalQueue(tasks=[MODULE], max_parallel=1, capacity=2, env=env)
    queue.initialize()
    try:
        tasks = []
        for number in range(4):
            monkeypatch.setenv("KEY", "s3cret")
            first = queue.submit_task("wait", fifo)
            tasks.append(queue.submit_task("add", number))
            wait_until_started(queue, first)
            # What was there when it was submitted is gone when it is its turn.
            monkeypatch.delenv("KEY")
            queue.revoke(first)
            with pytest.raises(TaskFailed, match="no secret at env:KEY"):
                queue.get_result(tasks[-1], timeout=120)
        assert [queue.get_status(one) for one in tasks] == ["REVOKED"] * 2 + ["FAILURE"] * 2
        for task in tasks:
            reason = runbus.open_run(task).reason
            assert reason.startswith("it could not be started: SecretMissing: "), reason
            with pytest.raises(TaskFailed, match="no secret at env:KEY"):
                queue.get_result(task)
        assert queue.health_check()[1]["running"] == 0
    finally:
        queue.shutdown()


def test_another_process_knows_a_task_by_its_id(queue: LocalQueue) -> None:
    task = queue.submit_task("add", 1)
    queue.get_result(task, timeout=120)
    other = LocalQueue()

    assert (other.get_status(task), other.get_result(task)) == ("SUCCESS", 2)
    assert not other.revoke(task)


def test_arguments_are_checked_before_anything_is_submitted(queue: LocalQueue) -> None:
    for arguments in ((), ("x",), (1, 2, 3)):
        with pytest.raises(UsageError):
            queue.submit_task("add", *arguments)
    with pytest.raises(ConfigInvalid, match="did you mean"):
        queue.submit_task("wait", pat="x")
    assert runbus.runs() == []


def test_a_name_that_is_not_registered_is_told_with_those_that_read_alike(
    queue: LocalQueue,
) -> None:
    with pytest.raises(TaskNotFound) as told:
        queue.submit_task("addd", 1)
    assert told.value.hint == "did you mean 'add'"
    for call in (queue.get_status, queue.get_result, queue.revoke):
        with pytest.raises(TaskNotFound):
            call("20260101-000000-abcdef-1")


@pytest.mark.usefixtures("_tasks")
def test_a_module_that_cannot_be_imported_is_told(tmp_path: Path) -> None:
    (tmp_path / "broken_tasks_of_a_user.py").write_text("import sys\nsys.exit(3)\n")
    queue = LocalQueue()
    for module in ("no_such_module", "broken_tasks_of_a_user"):
        with pytest.raises(TargetUnusable, match="it cannot be imported"):
            queue.register_tasks(module)


def test_two_functions_of_one_name_are_refused(queue: LocalQueue) -> None:
    def add() -> None:
        """Do nothing."""

    with pytest.raises(UsageError, match="a task 'add' of tasks_of_a_user is registered already"):
        queue.register(add)
    queue.register_tasks(MODULE)
