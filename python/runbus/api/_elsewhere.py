"""What a job writes on another machine, read from there: without a leader nothing is copied."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Protocol

from runbus.abc import JobRef
from runbus.api._executors import executor_of
from runbus.attempt import outlived
from runbus.errors import UsageError
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
async def reading_elsewhere(
    run: RunRecord, node: int | None = None
) -> AsyncIterator[ReadLog | None]:
    """Yield what reads a job's log where it runs; None if nothing is written elsewhere.

    Args:
        run: The job's run.
        node: Which of its machines; what all of them have written if None.

    Raises:
        UsageError: It has no such machine, or nobody tells apart what its machines have written.
        HostError: When reading: the machine does not answer.
    """
    job, folder = run.job, run.job_folder
    executor = None
    writes = node is not None or not run.state.is_terminal or outlived(folder or "")
    if job is not None and job.handle and writes:
        described = StoredExperiment.open(run.experiment_folder).executors
        if (data := described.get(job.executor)) is not None:
            executor = executor_of(job.executor, data)
    nodes = executor.capabilities.nodes if executor is not None else 1
    if node is not None and (node >= nodes or nodes == 1):
        told = (
            "one machine" if nodes == 1 else f"{nodes} machines, of which {nodes - 1} is the last"
        )
        raise UsageError(f"the job of run {run.id} writes on {told}")
    if job is None or folder is None or executor is None or isinstance(executor, LocalExecutor):
        yield None
        return
    name, handle = job.name, job.handle
    async with Kernel(plugins=[executor]):
        if node is not None:
            yield lambda folder, source, offset: executor.node_logs(
                JobRef(name=name, folder=folder, handle=handle), node, source, offset
            )
            return
        yield lambda folder, source, offset: executor.logs(
            JobRef(name=name, folder=folder, handle=handle), source, offset
        )
