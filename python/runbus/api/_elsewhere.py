"""What a job writes on another machine, read from there: without a leader nothing is copied."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Protocol

from runbus.abc import JobRef
from runbus.api._executors import executor_of
from runbus.attempt import outlived
from runbus.executors import LocalExecutor
from runbus.experiment import StoredExperiment
from runbus.kernel import Kernel

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from typing import Literal

    from runbus.catalog import RunRecord

__all__ = ["ReadLog", "reading_elsewhere"]


class ReadLog(Protocol):
    """Returns what an attempt at a job wrote to one of its outputs from a byte on."""

    async def __call__(
        self, folder: str, source: Literal["stdout", "stderr"], offset: int
    ) -> bytes:
        """Return at most 1 MiB; empty if there is nothing there yet.

        Args:
            folder: The attempt's folder here.
            source: Which output.
            offset: Where to begin, in bytes of the copy here.

        Raises:
            HostError: The machine does not answer.
        """
        ...


@asynccontextmanager
async def reading_elsewhere(run: RunRecord) -> AsyncIterator[ReadLog | None]:
    """Yield what reads a job's log where it runs; None if nothing is written elsewhere.

    Raises:
        HostError: When reading: the machine does not answer.
    """
    job, folder = run.job, run.job_folder
    executor = None
    writes = folder is not None and (not run.state.is_terminal or outlived(folder))
    if job is not None and job.handle and writes:
        described = StoredExperiment.open(run.experiment_folder).executors
        if (data := described.get(job.executor)) is not None:
            executor = executor_of(job.executor, data)
    if job is None or folder is None or executor is None or isinstance(executor, LocalExecutor):
        yield None
        return
    name, handle = job.name, job.handle
    async with Kernel(plugins=[executor]):
        yield lambda folder, source, offset: executor.logs(
            JobRef(name=name, folder=folder, handle=handle), source, offset
        )
