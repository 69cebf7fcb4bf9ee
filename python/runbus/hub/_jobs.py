"""Experiments that are led to their ends in the background."""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from runbus.api import cancel, giving_up, portal

if TYPE_CHECKING:
    from collections.abc import Callable

    from runbus.abc import Scope
    from runbus.catalog import RunRecord
    from runbus.experiment import StoredExperiment

__all__ = ["GRACE_S", "Leader", "Led", "end_job"]

GRACE_S = 5.0
"""Between TERM and KILL: the end of a kernel is not to wait for longer."""

logger = logging.getLogger("runbus.hub")


def end_job(record: RunRecord, reason: str) -> bool:
    """End the job of a run, whichever process leads it, and wait for that.

    Returns:
        Whether there was anything to end: a run without a job is left as it is.
    """
    job = record.info.job
    if job is None or record.state.is_terminal:
        return False
    return portal().call(cancel, record.experiment_folder, job, reason, GRACE_S)


class Led:
    """An experiment of one job that a `Leader` leads.

    Attributes:
        run_id: The run of its job.
        error: Why it could not be led to its end; None if it was, or is not over.
    """

    def __init__(self, experiment: StoredExperiment, then: Callable[[], object] | None) -> None:
        self.experiment = experiment
        self.then = then
        self.run_id = experiment.specs[0].run_id
        self.error: Exception | None = None
        self._ended = anyio.Event()

    @property
    def is_over(self) -> bool:
        """Whether it has ended, and what comes after it, too."""
        return self._ended.is_set()

    def end(self) -> None:
        """Note that it is over."""
        self._ended.set()

    async def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for the end, at most so many seconds; return whether it has come."""
        with anyio.move_on_after(timeout_s):
            await self._ended.wait()
        return self._ended.is_set()


class Leader:
    """Leads prepared experiments, so many at a time, as a plugin of the kernel that runs them.

    Its methods are for the thread of that kernel.

    Args:
        max_parallel: How many are led at a time; as many as there are if None.
    """

    name = "leader"

    def __init__(self, max_parallel: int | None = None) -> None:
        self._max_parallel = max_parallel
        self._waiting: deque[Led] = deque()
        self._led: set[Led] = set()
        self._scope: Scope

    async def setup(self, scope: Scope) -> None:
        """Remember the scope, whose end cancels what is led."""
        self._scope = scope

    @property
    def waiting(self) -> int:
        """How many wait for their turn."""
        return len(self._waiting)

    async def start(
        self, experiment: StoredExperiment, then: Callable[[], object] | None = None
    ) -> Led:
        """Lead a prepared experiment in the background, as soon as it is its turn.

        Args:
            experiment: The experiment.
            then: Called in a worker thread once it has ended.
        """
        led = Led(experiment, then)
        if self._max_parallel is None or len(self._led) < self._max_parallel:
            self._begin(led)
        else:
            self._waiting.append(led)
        return led

    async def cancel(self, led: Led, reason: str, grace_s: float = GRACE_S) -> bool:
        """End an experiment, and wait for that; return whether there was anything to end."""
        if led.is_over:
            return False
        await led.experiment.cancel(reason, grace_s)
        if led in self._waiting:
            # It ends at once, as cancelled, and nobody else has to wait for it.
            self._waiting.remove(led)
            self._begin(led)
        await led.wait()
        return True

    async def end_all(self, reason: str) -> None:
        """End everything, and wait for that. Cancelled, the jobs are still told to end."""
        async with anyio.create_task_group() as group:
            for led in [*self._waiting, *self._led]:
                group.start_soon(self.cancel, led, reason, name=f"end of {led.run_id}")

    def _begin(self, led: Led) -> None:
        self._led.add(led)
        self._scope.start(self._lead, led, name=f"leads {led.run_id}")

    async def _lead(self, led: Led) -> None:
        try:
            async with giving_up(led.experiment):
                await led.experiment.run(self._scope.bus)
            if led.then is not None:
                await anyio.to_thread.run_sync(led.then)
        except Exception as error:  # of one of them, which must not be that of the others
            led.error = error
            logger.error("%s could not be led to its end: %s", led.run_id, error)
        finally:
            self._led.discard(led)
            led.end()
            if self._waiting and not self._scope.stopping:
                self._begin(self._waiting.popleft())
