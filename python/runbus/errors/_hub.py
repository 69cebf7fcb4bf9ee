"""The hub: its services, streams, tasks and experiments."""

from __future__ import annotations

from runbus.errors._hints import did_you_mean
from runbus.errors._missing import NotFound
from runbus.errors._root import RunbusError
from runbus.errors._usage import UsageError


class HubError(RunbusError):
    """A hub, or one of its services, cannot do what was asked."""


class NotOffered(HubError, NotImplementedError):
    """A service does not offer a method of its port.

    Attributes:
        service: The class of the service.
        method: The method.
    """

    service: str
    method: str

    def __str__(self) -> str:
        return f"{self.service} does not offer {self.method}()"

    @property
    def hint(self) -> str:
        return f"define {self.method} in {self.service}"


class InvalidService(UsageError):
    """What was given as a service is not one.

    Attributes:
        what: What was given.
        problem: What it lacks, as the end of a sentence that starts with it.
    """

    what: str
    problem: str

    def __str__(self) -> str:
        return f"{self.what} is not a service: it {self.problem}"

    @property
    def hint(self) -> str:
        return "a service has a plugin_type, initialize(), shutdown() and health_check()"


class ServiceUnavailable(HubError):
    """A service could not be initialized; the one that was there before, if any, is still there.

    Attributes:
        kind: The kind of service, such as `datastream`.
        service: Which one: its class, or its type in the file.
        problem: What happened, without credentials.
        place: The file and line that ask for it; empty if it was registered in Python.
    """

    kind: str
    service: str
    problem: str
    place: str = ""

    def __str__(self) -> str:
        place = f"{self.place}: " if self.place else ""
        return f"{place}the {self.kind} service {self.service} is not available: {self.problem}"

    @property
    def hint(self) -> str | None:
        return "start what it needs, or set enabled: false" if self.place else None


class ShutdownFailed(HubError):
    """Services could not be shut down, or not in time; all others were.

    Attributes:
        problems: What happened to each, without credentials.
    """

    problems: tuple[str, ...]

    def __str__(self) -> str:
        return f"not all services were shut down: {'; '.join(self.problems)}"


class ServiceMissing(HubError):
    """A hub has no service of a kind that something needs.

    Attributes:
        kind: The kind of service.
        wanted_for: What needs it.
    """

    kind: str
    wanted_for: str

    def __str__(self) -> str:
        return f"{self.wanted_for} needs a {self.kind} service, and the hub has none"

    @property
    def hint(self) -> str:
        return f"register one, or enable plugins.{self.kind} in the hub's file"


class HubClosed(HubError):
    """A hub or a service is not open: it was not initialized yet, or was shut down.

    Attributes:
        what: What is not open.
        verb: What was asked of it.
    """

    what: str
    verb: str

    def __str__(self) -> str:
        return f"{self.verb}(): {self.what} is not open"

    @property
    def hint(self) -> str:
        return "it was not initialized yet or was shut down; a forked child makes its own"


class QueueNotFound(NotFound):
    """A stream has no queue of that name."""

    what = "queue"


class QueueFull(HubError):
    """There is no room for more; nothing was put anywhere.

    Attributes:
        queue: The queue.
        capacity: How much it holds, such as `1,000 messages`.
    """

    queue: str
    capacity: str

    def __str__(self) -> str:
        return f"{self.queue} is full: it holds {self.capacity}"

    @property
    def hint(self) -> str:
        return "wait until some of it has been taken"


class DeliveryExpired(HubError):
    """What was taken from a queue is not held any more: it was handed out again, or is done with.

    Attributes:
        queue: The queue.
        id: The delivery.
    """

    queue: str
    id: str

    def __str__(self) -> str:
        return f"delivery {self.id} of {self.queue} is not held by anyone"


class TaskNotFound(NotFound):
    """No function is registered by that name, or there is no task of that id."""

    what = "task"


class TaskFailed(HubError):
    """A task of a queue did not succeed.

    Attributes:
        task: Its id.
        status: FAILURE or REVOKED.
        problem: Why.
    """

    task: str
    status: str
    problem: str

    def __str__(self) -> str:
        return f"task {self.task} ended as {self.status}: {self.problem}"


class StillRunning(HubError, TimeoutError):
    """Something has not ended in the time that was given; it continues.

    Attributes:
        what: What it is, such as `the training of bearings`.
        timeout_s: How long it was waited for, in seconds.
    """

    what: str
    timeout_s: float

    def __reduce__(self) -> tuple[object, ...]:
        # A TimeoutError has its arguments from `__init__` alone.
        return type(self), self.args, vars(self)

    def __str__(self) -> str:
        return f"{self.what} has not ended within {self.timeout_s:g} s"


class HubExperimentNotFound(NotFound):
    """A hub has no experiment, or no type of experiments, of that name."""

    what = "experiment of the hub"


class UnknownExperimentType(UsageError, ValueError):
    """A hub has no type of experiments of that name.

    Attributes:
        name: The name.
        known: The types there are.
        near: Those that may have been meant.
    """

    name: str
    known: tuple[str, ...]
    near: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"unknown experiment type: {self.name}"

    @property
    def hint(self) -> str:
        known = f"there are {', '.join(self.known)}" if self.known else "the hub has none"
        return did_you_mean(self.near) or known


class TrainingFailed(HubError):
    """An experiment was not trained; the model that it had before, if any, is still in use.

    Attributes:
        experiment: The experiment.
        run: The id of the run that records it.
        state: How its job ended, such as FAILED or CANCELLED.
        reason: Why.
    """

    experiment: str
    run: str
    state: str
    reason: str

    def __str__(self) -> str:
        reason = f": {self.reason}" if self.reason else ""
        return f"the training of {self.experiment} ended as {self.state}{reason}"

    @property
    def hint(self) -> str:
        return f"runbus logs {self.run} shows what it wrote"


class NotTrained(HubError):
    """An experiment has no model yet.

    Attributes:
        experiment: The experiment.
    """

    experiment: str

    def __str__(self) -> str:
        return f"the experiment {self.experiment} has no model yet"

    @property
    def hint(self) -> str:
        return "train() makes one, load() takes that of an earlier run"


class ModelNotSaved(HubError):
    """A model could not be copied to a folder; nothing was changed there.

    Attributes:
        folder: The folder that was asked for.
        reason: Why.
        advice: What to do about it; None where nothing can be said.
    """

    folder: str
    reason: str
    advice: str | None = None

    def __str__(self) -> str:
        return f"the model cannot be saved to {self.folder}: {self.reason}"

    @property
    def hint(self) -> str | None:
        return self.advice


class ModelUnreadable(HubError):
    """The files of a model are missing, damaged, or of another type of experiments.

    Attributes:
        folder: Where they are.
        reason: What is wrong.
    """

    folder: str
    reason: str

    def __str__(self) -> str:
        return f"no model can be read from {self.folder}: {self.reason}"
