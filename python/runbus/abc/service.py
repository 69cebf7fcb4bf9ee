"""The ports of services: where runs are tracked, where data comes from, where tasks are run.

Their methods are plain functions that may block; runbus calls them in worker threads. A service is
an instance of a class that names its port among its bases.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, Protocol, runtime_checkable

from runbus.errors import NotOffered

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["DataStreamPlugin", "Delivery", "MLOpsPlugin", "ServicePlugin", "TaskQueuePlugin"]


@runtime_checkable
class ServicePlugin(Protocol):
    """What every service offers.

    Its constructor takes its configuration, field by field, and does nothing else: it neither
    connects nor starts anything. `initialize` is called once before all other methods, `shutdown`
    once after them, also if `initialize` failed.

    Attributes:
        plugin_type: What kind of service it is, which is also its section in `hub_config.yaml`:
            `mlops`, `datastream`, `taskqueue`, or a kind of one's own.
    """

    plugin_type: str

    def initialize(self) -> None:
        """Connect, or make what the service needs.

        Raises:
            Exception: It cannot be used; it is not registered then.
        """
        ...

    def shutdown(self) -> None:
        """Let go of everything; safe to call at any time."""
        ...

    def health_check(self) -> tuple[bool, dict[str, Any]]:
        """Return whether the service works, and what else is known of it.

        It has 2 seconds. What raises, or takes longer, is unhealthy. The details are data; secrets
        in them, such as passwords in URLs, are cut out before anybody sees them.
        """
        ...


@runtime_checkable
class MLOpsPlugin(ServicePlugin, Protocol):
    """Tracks runs: their parameters, metrics and files.

    What a subclass does not offer raises `NotOffered`.
    """

    plugin_type: str = "mlops"

    def set_tracking_uri(self, uri: str) -> None:
        """Use another place to track runs in; runs that are open stay where they are."""
        _not_offered(self, "set_tracking_uri")

    def create_experiment(self, name: str) -> str:
        """Return the id of the experiment of a name, which is made if it does not exist."""
        _not_offered(self, "create_experiment")

    def get_experiment_by_name(self, name: str) -> Any:
        """Return the experiment of a name; None if there is none."""
        _not_offered(self, "get_experiment_by_name")

    def start_run(self, experiment_id: str) -> str:
        """Start a run of an experiment and return its id; it is the current one from now on."""
        _not_offered(self, "start_run")

    def log_metric(self, key: str, value: float, step: int | None = None) -> None:
        """Log a value of a metric to the current run."""
        _not_offered(self, "log_metric")

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Log parameters of the current run."""
        _not_offered(self, "log_params")

    def log_artifact(self, path: str, artifact_path: str) -> None:
        """Keep a copy of a file or folder with the current run, as `artifact_path`."""
        _not_offered(self, "log_artifact")

    def end_run(self, run_id: str) -> None:
        """End a run as succeeded; safe to repeat."""
        _not_offered(self, "end_run")

    def get_run(self, run_id: str) -> Any:
        """Return the run of an id.

        Raises:
            Exception: There is none.
        """
        _not_offered(self, "get_run")

    def kill_run(self, run_id: str) -> bool:
        """End a run as cancelled, and only this one.

        Returns:
            Whether there was anything to end.
        """
        _not_offered(self, "kill_run")


class Delivery(NamedTuple):
    """What a stream handed out, and expects an answer to.

    Attributes:
        queue: The queue it comes from.
        id: What it is acknowledged by.
        data: The data.
        attempt: How often it was handed out, this time included.
    """

    queue: str
    id: str
    data: Any
    attempt: int = 1


@runtime_checkable
class DataStreamPlugin(ServicePlugin, Protocol):
    """Hands data from producers to consumers, in named queues.

    `pull_data` forgets what it returns; `take` hands it out until it is acknowledged, so that a
    consumer that dies has lost nothing. What a subclass does not offer raises `NotOffered`.
    """

    plugin_type: str = "datastream"

    def connect(self, **kwargs: Any) -> None:
        """Connect, with other settings than those of the constructor if any are given."""
        _not_offered(self, "connect")

    def disconnect(self) -> None:
        """Disconnect: what was taken and not acknowledged is handed out again."""
        _not_offered(self, "disconnect")

    def create_queue(self, queue_name: str) -> None:
        """Make a queue; one that is there already is left as it is."""
        _not_offered(self, "create_queue")

    def push_data(self, queue: str, data: Any) -> None:
        """Put data at the end of a queue.

        Raises:
            Exception: The queue does not exist or is full; nothing was put anywhere.
        """
        _not_offered(self, "push_data")

    def pull_data(self, queue: str) -> Any:
        """Return the first data of a queue and forget it; None if the queue is empty."""
        _not_offered(self, "pull_data")

    def take(self, queue: str) -> Delivery | None:
        """Return the first data of a queue, to be acknowledged; None if the queue is empty."""
        _not_offered(self, "take")

    def acknowledge(self, delivery: Delivery) -> None:
        """Forget what was taken: it has been processed.

        Raises:
            Exception: It was handed out again meanwhile.
        """
        _not_offered(self, "acknowledge")

    def give_back(self, delivery: Delivery) -> None:
        """Put what was taken back to where it was: it could not be processed."""
        _not_offered(self, "give_back")

    def flush_queue(self, queue: str) -> None:
        """Remove everything from a queue that waits in it."""
        _not_offered(self, "flush_queue")


@runtime_checkable
class TaskQueuePlugin(ServicePlugin, Protocol):
    """Runs functions elsewhere, by their names.

    What a subclass does not offer raises `NotOffered`.
    """

    plugin_type: str = "taskqueue"

    def register_tasks(self, tasks_module: str) -> None:
        """Make the functions of a module known, by their names."""
        _not_offered(self, "register_tasks")

    def submit_task(self, task_name: str, /, *args: Any, **kwargs: Any) -> str:
        """Have a function called, and return the id of the task.

        Raises:
            Exception: There is none of that name, or no room for a further task.
        """
        _not_offered(self, "submit_task")

    def get_status(self, task_id: str) -> str:
        """Return PENDING, STARTED, RETRY, SUCCESS, FAILURE or REVOKED.

        Raises:
            Exception: There is no such task.
        """
        _not_offered(self, "get_status")

    def get_result(self, task_id: str, timeout: float | None = None) -> Any:
        """Wait for the end of a task, and return what its function returned.

        Args:
            task_id: The task.
            timeout: How many seconds to wait at most; as long as it takes if None.

        Raises:
            TimeoutError: It has not ended.
            Exception: It failed or was revoked.
        """
        _not_offered(self, "get_result")

    def revoke(self, task_id: str) -> bool:
        """Call a task off, or end it if it runs.

        Returns:
            Whether there was anything to end.
        """
        _not_offered(self, "revoke")


def _not_offered(service: ServicePlugin, method: str) -> NoReturn:
    raise NotOffered(type(service).__qualname__, method)
