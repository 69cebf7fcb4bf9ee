"""What the services of a hub must do: trackers, data streams and task queues.

    class TestMine(DataStreamContract):
        @pytest.fixture
        def make(self) -> Callable[[], DataStreamPlugin]:
            return lambda: MyStream(host="localhost")

Each test makes a service of its own. One that talks to a server needs it to be there.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Callable, Iterator  # noqa: TC003 - fixtures are read at run time
from pathlib import Path  # noqa: TC003
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from runbus import Kernel
from runbus._secrets import redacted
from runbus.plugins import ServiceAdapter
from runbus.testing._waiting import PATIENCE_S

if TYPE_CHECKING:
    from runbus.abc import DataStreamPlugin, MLOpsPlugin, ServicePlugin, TaskQueuePlugin

__all__ = ["DataStreamContract", "MLOpsContract", "ServiceContract", "TaskQueueContract"]

TASKS = "runbus.testing.conformance.tasks"
LIMIT_S = PATIENCE_S
STATUSES = {"PENDING", "STARTED", "RETRY", "SUCCESS", "FAILURE", "REVOKED"}


def called(what: str) -> str:
    """Return a name that no test before had."""
    return f"{what}-{uuid.uuid4().hex[:8]}"


class ServiceContract:
    """What every service must do."""

    kind: str
    """Its `plugin_type`."""

    @pytest.fixture
    def make(self) -> Callable[[], Any]:
        """Return a function that makes a service, which is not initialized."""
        raise NotImplementedError("a subclass of the contract has a fixture `make`")

    @pytest.fixture
    def service(self, make: Callable[[], Any]) -> Iterator[Any]:
        """Return a service that is initialized."""
        service = make()
        service.initialize()
        yield service
        service.shutdown()

    def test_it_says_what_kind_it_is(self, service: ServicePlugin) -> None:
        """A hub has one service of each kind."""
        assert service.plugin_type == self.kind

    def test_it_is_healthy_and_says_so_in_time(self, service: ServicePlugin) -> None:
        """It has 2 seconds; a machine that is busy makes it late once, and not three times."""
        took_s = [2.0]
        while min(took_s) >= 2 and len(took_s) <= 3:
            began = time.monotonic()
            healthy, details = service.health_check()
            took_s.append(time.monotonic() - began)
            assert healthy is True
            assert isinstance(details, dict)
        assert min(took_s) < 2

    def test_what_it_says_of_its_health_is_data_without_secrets(
        self, service: ServicePlugin
    ) -> None:
        """Pages and programs show it as it is."""
        _, details = service.health_check()
        assert json.loads(json.dumps(details)) == details
        assert json.loads(json.dumps(redacted(details))) == details

    def test_it_can_be_shut_down_at_any_time(self, make: Callable[[], ServicePlugin]) -> None:
        """Also before it was initialized, and again."""
        service = make()
        service.shutdown()
        service.initialize()
        service.shutdown()
        service.shutdown()

    def test_it_is_a_plugin_of_a_kernel(self, make: Callable[[], ServicePlugin]) -> None:
        """Its methods are called in worker threads then."""

        async def run() -> None:
            adapter = ServiceAdapter(make())
            async with Kernel(plugins=[adapter]) as kernel:
                assert (await kernel.check_health()).plugins[adapter.name].healthy

        anyio.run(run)


class MLOpsContract(ServiceContract):
    """What a service that tracks runs must do."""

    kind = "mlops"

    def test_an_experiment_is_made_once(self, service: MLOpsPlugin) -> None:
        """Its id is a text, and the same for one name."""
        name = called("experiment")
        assert service.get_experiment_by_name(name) is None
        made = service.create_experiment(name)
        assert isinstance(made, str)
        assert made
        assert service.create_experiment(name) == made
        assert service.get_experiment_by_name(name) is not None
        assert service.create_experiment(called("experiment")) != made

    def test_each_run_has_an_id_of_its_own(self, service: MLOpsPlugin) -> None:
        """And is found by it."""
        experiment = service.create_experiment(called("experiment"))
        first, second = service.start_run(experiment), service.start_run(experiment)
        assert first != second
        assert service.get_run(first) is not None
        for run in (first, second):
            service.end_run(run)
            service.end_run(run)

    def test_a_run_that_there_is_not_is_an_error(self, service: MLOpsPlugin) -> None:
        """It is neither None nor another run."""
        with pytest.raises(Exception):  # noqa: B017, PT011 - a class of the service's own
            service.get_run(called("run"))

    def test_metrics_params_and_files_are_logged(
        self, service: MLOpsPlugin, tmp_path: Path
    ) -> None:
        """To the run that was started last."""
        run = service.start_run(service.create_experiment(called("experiment")))
        service.log_params({"lr": 0.1, "layers": 3, "optimizer": "adam"})
        for step in range(3):
            service.log_metric("loss", 1.0 / (step + 1), step)
        service.log_metric("score", 0.5)
        file = tmp_path / "model.bin"
        file.write_bytes(b"x")
        service.log_artifact(os.fspath(file), "model")
        service.end_run(run)

    def test_a_file_that_is_missing_is_an_error(self, service: MLOpsPlugin, tmp_path: Path) -> None:
        """A run does not pretend to keep it."""
        run = service.start_run(service.create_experiment(called("experiment")))
        with pytest.raises(Exception):  # noqa: B017, PT011 - a class of the service's own
            service.log_artifact(os.fspath(tmp_path / "nothing"), "model")
        service.end_run(run)

    def test_the_run_that_is_killed_is_the_one_that_was_named(self, service: MLOpsPlugin) -> None:
        """And the current one goes on."""
        experiment = service.create_experiment(called("experiment"))
        first, second = service.start_run(experiment), service.start_run(experiment)
        assert service.kill_run(first) is True
        assert service.kill_run(first) is False
        service.log_metric("loss", 1.0)
        assert service.kill_run(second) is True


class DataStreamContract(ServiceContract):
    """What a data stream must do."""

    kind = "datastream"

    @pytest.fixture
    def queue(self, service: DataStreamPlugin) -> str:
        """Return the name of an empty queue."""
        name = called("queue")
        service.create_queue(name)
        return name

    def test_data_comes_out_in_order_as_it_went_in(
        self, service: DataStreamPlugin, queue: str
    ) -> None:
        """Whatever JSON can hold; an empty queue gives None."""
        data = [{"x": [1, 2.5, None, True, "höhe"]}, [], "text", 0]
        for one in data:
            service.push_data(queue, one)
        assert [service.pull_data(queue) for _ in data] == data
        assert service.pull_data(queue) is None
        assert service.take(queue) is None

    def test_a_queue_that_is_made_again_keeps_what_is_in_it(
        self, service: DataStreamPlugin, queue: str
    ) -> None:
        """Producers and consumers both make it."""
        service.push_data(queue, 1)
        service.create_queue(queue)
        assert service.pull_data(queue) == 1

    def test_queues_do_not_mix(self, service: DataStreamPlugin, queue: str) -> None:
        """What goes into one comes out of that one."""
        other = called("queue")
        service.create_queue(other)
        service.push_data(queue, 1)
        assert service.pull_data(other) is None
        assert service.pull_data(queue) == 1

    def test_a_queue_that_there_is_not_is_an_error(self, service: DataStreamPlugin) -> None:
        """A name that is misspelled is not an empty queue."""
        for call in (service.pull_data, service.take, lambda name: service.push_data(name, 1)):
            with pytest.raises(Exception):  # noqa: B017, PT011 - a class of the service's own
                call(called("queue"))

    def test_what_was_taken_is_handed_to_nobody_else(
        self, service: DataStreamPlugin, queue: str
    ) -> None:
        """Until it is given back."""
        service.push_data(queue, 1)
        delivery = service.take(queue)
        assert delivery is not None
        assert (delivery.queue, delivery.data, delivery.attempt) == (queue, 1, 1)
        assert service.take(queue) is None
        service.give_back(delivery)
        again = service.take(queue)
        assert again is not None
        assert again.data == 1
        service.acknowledge(again)

    def test_what_was_acknowledged_does_not_come_again(
        self, service: DataStreamPlugin, queue: str
    ) -> None:
        """And cannot be acknowledged twice."""
        service.push_data(queue, 1)
        delivery = service.take(queue)
        assert delivery is not None
        service.acknowledge(delivery)
        with pytest.raises(Exception):  # noqa: B017, PT011 - a class of the service's own
            service.acknowledge(delivery)
        service.disconnect()
        service.connect()
        assert service.pull_data(queue) is None

    def test_a_consumer_that_disconnects_has_lost_nothing(
        self, service: DataStreamPlugin, queue: str
    ) -> None:
        """What it took and did not acknowledge comes again, before the rest."""
        service.push_data(queue, 1)
        service.push_data(queue, 2)
        assert service.take(queue) is not None
        service.disconnect()
        service.connect()
        assert [service.pull_data(queue), service.pull_data(queue)] == [1, 2]

    def test_a_queue_can_be_emptied(self, service: DataStreamPlugin, queue: str) -> None:
        """And is still there."""
        service.push_data(queue, 1)
        service.flush_queue(queue)
        assert service.pull_data(queue) is None
        service.push_data(queue, 2)
        assert service.pull_data(queue) == 2


class TaskQueueContract(ServiceContract):
    """What a task queue must do; it runs functions of `runbus.testing.conformance.tasks`."""

    kind = "taskqueue"

    @pytest.fixture
    def tasks(self, service: TaskQueuePlugin) -> TaskQueuePlugin:
        """Return a queue that knows the functions."""
        service.register_tasks(TASKS)
        service.register_tasks(TASKS)
        return service

    def test_a_function_is_called_and_its_result_comes_back(self, tasks: TaskQueuePlugin) -> None:
        """With arguments by place and by name."""
        task = tasks.submit_task("add", 1, b=2)
        assert isinstance(task, str)
        assert tasks.get_status(task) in STATUSES
        assert tasks.get_result(task, timeout=LIMIT_S) == 3
        assert tasks.get_status(task) == "SUCCESS"
        assert tasks.get_result(task) == 3
        assert tasks.revoke(task) is False

    def test_what_a_function_raises_is_told(self, tasks: TaskQueuePlugin) -> None:
        """By an error that names it."""
        task = tasks.submit_task("fail", "no such bearing")
        with pytest.raises(Exception, match="no such bearing"):
            tasks.get_result(task, timeout=LIMIT_S)
        assert tasks.get_status(task) == "FAILURE"

    def test_a_function_that_is_not_registered_is_an_error(self, tasks: TaskQueuePlugin) -> None:
        """At once, not when somebody asks for its result."""
        with pytest.raises(Exception):  # noqa: B017, PT011 - a class of the service's own
            tasks.submit_task(called("task"))

    def test_a_task_that_there_is_not_is_an_error(self, tasks: TaskQueuePlugin) -> None:
        """It is not one that waits."""
        with pytest.raises(Exception):  # noqa: B017, PT011 - a class of the service's own
            tasks.get_status(called("task"))

    def test_a_task_that_takes_too_long_can_be_revoked(
        self, tasks: TaskQueuePlugin, tmp_path: Path
    ) -> None:
        """The wait for it has an end, and so has its process."""
        task = tasks.submit_task("wait", os.fspath(tmp_path / "go"))
        with pytest.raises(TimeoutError):
            tasks.get_result(task, timeout=0.05)
        assert tasks.get_status(task) in {"PENDING", "STARTED"}
        assert tasks.revoke(task) is True
        assert tasks.get_status(task) == "REVOKED"
        with pytest.raises(Exception) as told:  # noqa: PT011 - a class of the service's own
            tasks.get_result(task, timeout=LIMIT_S)
        assert not isinstance(told.value, TimeoutError)
        assert tasks.revoke(task) is False
