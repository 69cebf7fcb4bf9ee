"""The thing named does not exist."""

from __future__ import annotations

from typing import ClassVar

from runbus.errors._hints import did_you_mean
from runbus.errors._root import RunbusError


class NotFound(RunbusError):
    """Nothing of that name exists.

    Attributes:
        what: What kind of thing was looked for; each class below says its own.
        name: What it was called.
        similar: Names that exist and read almost the same, best first.
    """

    what: ClassVar[str] = "thing"

    name: str
    similar: tuple[str, ...]

    def __str__(self) -> str:
        return f"no {self.what} named {self.name!r}"

    @property
    def hint(self) -> str | None:
        return did_you_mean(self.similar)


class EventNotFound(NotFound):
    """A trace has no event of that id."""

    what = "event"


class GitRefNotFound(NotFound):
    """A repository has no commit, tag or branch of that name."""

    what = "git ref"


class RunNotFound(NotFound):
    """There is no run with that id or name.

    Attributes:
        are_any: Whether the home folder has any runs.
        is_name: Whether it is the name of runs, whose ids are the similar ones, where only an id
            will do.
    """

    what = "run"

    are_any: bool = True
    is_name: bool = False

    def __str__(self) -> str:
        if self.is_name:
            return f"{self.name!r} is the name of a run, and an id is needed here"
        return super().__str__() if self.are_any else "there are no runs yet"

    @property
    def hint(self) -> str:
        if self.is_name:
            return f"the newest run of that name is {max(self.similar)}"
        if not self.are_any:
            return "runbus run SCRIPT makes one; $RUNBUS_HOME says where they are looked for"
        return super().hint or "runbus ls shows the runs there are"


class ExperimentNotFound(NotFound):
    """There is no experiment with that id, and no project of that name has one.

    Attributes:
        are_any: Whether the home folder has any experiments.
    """

    what = "experiment"

    are_any: bool = True

    def __str__(self) -> str:
        return super().__str__() if self.are_any else "there are no experiments yet"

    @property
    def hint(self) -> str:
        if self.are_any:
            return super().hint or "runbus ls --batches shows the batches there are"
        return "runbus submit makes one; $RUNBUS_HOME says where they are looked for"


class JobNotFound(ExperimentNotFound):
    """There is neither a job nor an experiment of that name or id."""

    what = "job or experiment"


class NoBatch(JobNotFound):
    """The run that was named was not started by runbus: it is of no batch.

    Attributes:
        run_id: The run's id.
        pid: The process that logs to it, as its own machine counts; 0 if none does.
        batch: The newest batch, where "latest" was to name one; empty otherwise.
    """

    run_id: str = ""
    pid: int = 0
    batch: str = ""

    def __str__(self) -> str:
        run = f"the newest run ({self.run_id})" if self.batch else f"run {self.run_id}"
        return f"{run} is of no batch: runbus did not start it"

    @property
    def hint(self) -> str:
        if self.batch:
            return f"the newest batch is {self.batch}: name it if you mean that"
        if self.pid:
            return f"its process is {self.pid}: kill {self.pid} on its machine ends it"
        return "no process logs to it any more"


class MetricNotFound(NotFound):
    """A run has no metric of that name.

    Attributes:
        run_id: The run that was asked.
        available: Every metric name the run has.
    """

    what = "metric"

    run_id: str
    available: tuple[str, ...]

    def __str__(self) -> str:
        return f"run {self.run_id} has no metric named {self.name!r}"

    @property
    def hint(self) -> str:
        if near := super().hint:
            return near
        if self.available:
            return "it has " + ", ".join(self.available)
        return "it has logged nothing yet"


class RecordNotFound(NotFound):
    """A run has no text, histogram, image, table or artifact of that name.

    Attributes:
        run_id: The run that was asked.
        kind: What was looked for, such as `image`.
    """

    what = "record"

    run_id: str
    kind: str

    def __str__(self) -> str:
        return f"run {self.run_id} has no {self.kind} named {self.name!r}"

    @property
    def hint(self) -> str:
        return super().hint or f"runbus show {self.run_id} shows what it has"


class NoExecutor(NotFound):
    """No plugin of the kernel brings the executor that a job names.

    Attributes:
        asked: The plugins that were asked.
    """

    what = "executor"

    asked: tuple[str, ...]

    def __str__(self) -> str:
        return f"no plugin of the kernel brings an executor named {self.name!r}"

    @property
    def hint(self) -> str:
        if self.asked:
            return f"those that bring executors are {', '.join(self.asked)}"
        one = "give the kernel one, for example Kernel(plugins=[LocalExecutor()])"
        return did_you_mean(self.similar) or one
