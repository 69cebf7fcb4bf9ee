"""Runs and what is kept with them."""

from __future__ import annotations

from runbus.errors._root import RunbusError
from runbus.errors._usage import UsageError

_SHOWN = 5


class AmbiguousId(UsageError):
    """What was to name one thing is a part of the ids of several.

    Attributes:
        name: What was given.
        ids: The ids that it is a part of.
        is_batch: Whether it is the whole id of a batch, of which those are the runs.
    """

    name: str
    ids: tuple[str, ...]
    is_batch: bool = False

    def __str__(self) -> str:
        if self.is_batch:
            return f"{self.name!r} is a batch of {len(self.ids)} runs"
        return f"{self.name!r} is a part of {len(self.ids)} ids"

    @property
    def hint(self) -> str:
        shown = ", ".join(self.ids[-_SHOWN:])
        if self.is_batch:
            more = ", …" if len(self.ids) > _SHOWN else ""
            return f"runbus status {self.name} shows it; its runs are {shown}{more}"
        return f"more of it tells them apart: {shown}{', …' if len(self.ids) > _SHOWN else ''}"


class RunBusy(UsageError):
    """What was asked for needs a run that is not being written to.

    Attributes:
        run_id: The run's id.
    """

    run_id: str

    def __str__(self) -> str:
        return f"run {self.run_id} is still being written"

    @property
    def hint(self) -> str:
        return "wait for it to end, or end it"


class NoLogs(UsageError):
    """The run has no logs: nobody kept what its process wrote.

    Attributes:
        run_id: The run's id.
        script: The script that it is of; empty if that is not known.
    """

    run_id: str
    script: str

    def __str__(self) -> str:
        return (
            f"run {self.run_id} was not started by runbus, "
            "which keeps the output of its own jobs only"
        )

    @property
    def hint(self) -> str:
        return f"runbus run {self.script or 'SCRIPT'} keeps it"


class RunUnreadable(RunbusError):
    """A file of the run is too damaged to be read, so that its points cannot be told.

    Attributes:
        run_id: The run's id.
        reason: Which file, and what is wrong with it.
    """

    run_id: str
    reason: str

    def __str__(self) -> str:
        return f"run {self.run_id} cannot be read: {self.reason}"

    @property
    def hint(self) -> str:
        return "move the file away and the rest is read; the damage() of the run lists all damage"


class ResultNotKept(RunbusError):
    """The result of the run is no data: its function returned something else, or it wrote no JSON.

    Attributes:
        run_id: The run's id.
        reason: What is wrong with it.
    """

    run_id: str
    reason: str

    def __str__(self) -> str:
        return f"the result of run {self.run_id} is not kept: {self.reason}"

    @property
    def hint(self) -> str:
        return "a result is numbers, texts, lists and mappings, as JSON; log files as artifacts"


class ArtifactUnreadable(UsageError):
    """A file or folder that should be kept with a run cannot be read.

    Attributes:
        path: The file or folder as it was named.
        reason: What is wrong with it.
    """

    path: str
    reason: str

    def __str__(self) -> str:
        return f"cannot keep {self.path!r}: {self.reason}"
