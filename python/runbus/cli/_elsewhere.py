"""What a job writes on another machine, read from there: nobody copies it while nobody leads it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from anyio.from_thread import start_blocking_portal

from runbus.abc import JobRef
from runbus.cli._supervise import executors_of
from runbus.executors import LocalExecutor
from runbus.experiment import AsyncExperiment
from runbus.kernel import Kernel

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Literal, Protocol

    from runbus.catalog import RunRecord

    class ReadLog(Protocol):
        """Returns what a job wrote to one of its outputs from a byte on."""

        def __call__(self, source: Literal["stdout", "stderr"], offset: int) -> bytes: ...


__all__ = ["reading_elsewhere"]


@contextmanager
def reading_elsewhere(run: RunRecord) -> Iterator[ReadLog | None]:
    """Yield what reads a job's log where it runs; None if that is here, or it has ended.

    Raises:
        HostError: When reading: the machine does not answer.
    """
    job, folder = run.job, run.job_folder
    executor = None
    if job is not None and job.handle and not run.state.is_terminal:
        executor = executors_of(AsyncExperiment.open(run.experiment_folder)).get(job.executor)
    if job is None or folder is None or executor is None or isinstance(executor, LocalExecutor):
        yield None
        return
    ref = JobRef(name=job.name, folder=folder, handle=job.handle)
    with (
        start_blocking_portal("asyncio") as portal,
        portal.wrap_async_context_manager(Kernel(plugins=[executor])),
    ):
        yield lambda source, offset: portal.call(executor.logs, ref, source, offset)
