"""The background tasks of a plugin: started through its scope, ended with it."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from runbus.bus import describe, exc_info, is_torn_down, wait_until
from runbus.errors import BusClosed, PluginCrashed
from runbus.kernel._ending import EXITS, end_tasks

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from runbus.bus import Timers
    from runbus.kernel._ending import Deadline
    from runbus.kernel._restart import Restarts

__all__ = ["BackgroundTasks"]

logger = logging.getLogger("runbus.kernel")


class BackgroundTasks:
    """Runs what a plugin starts, again after errors where it asks for that.

    Attributes:
        ending: Whether they are being ended, so that no cancellation and no error is a crash.
        failures: Of what tasks died while they were being ended.
    """

    def __init__(
        self, name: str, timers: Timers, on_death: Callable[[BaseException], None]
    ) -> None:
        self.ending = False
        self.failures: list[BaseException] = []
        self._name = name
        self._timers = timers
        self._on_death = on_death
        self._drains: dict[asyncio.Task[Any], bool] = {}
        self._stopping: asyncio.Future[None] | None = None

    def __iter__(self) -> Iterator[asyncio.Task[Any]]:
        """Yield the tasks that have not ended."""
        return iter([task for task in self._drains if not task.done()])

    def __contains__(self, task: object) -> bool:
        return task in self._drains

    def start(
        self,
        fn: Callable[..., Awaitable[Any]],
        args: tuple[Any, ...],
        label: str,
        *,
        drain: bool,
        restarts: Restarts | None,
    ) -> asyncio.Task[None]:
        """Run `fn` in a task of its own; see `Scope.start`."""
        task = asyncio.get_running_loop().create_task(
            self._run(fn, args, label, restarts), name=f"{self._name}: {label}"
        )
        self._drains[task] = drain
        task.add_done_callback(self._forget)
        return task

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._drains.pop(task, None)

    # -- one task

    async def _run(
        self,
        fn: Callable[..., Awaitable[Any]],
        args: tuple[Any, ...],
        label: str,
        restarts: Restarts | None,
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        while True:
            before = task.cancelling()
            failure: BaseException
            try:
                await fn(*args)
                return
            except asyncio.CancelledError as error:
                if self.ending or task.cancelling() > before:
                    raise
                failure = error
            except BaseException as error:
                if is_torn_down(error, task):
                    raise
                if isinstance(error, BusClosed) and self.is_stopping:
                    return  # it went on until it was told that it is too late
                failure = error
            delay_s = None
            if restarts is not None and isinstance(failure, (Exception, asyncio.CancelledError)):
                delay_s = restarts.next_delay_s()
            if delay_s is None or self.is_stopping:
                self._died(label, failure)
                return
            logger.warning(
                "plugin %r: task %s failed and starts again in %.1f s",
                self._name,
                label,
                delay_s,
                exc_info=exc_info(failure),
            )
            await self._wait_stopping(delay_s)

    def _died(self, label: str, failure: BaseException) -> None:
        crash: BaseException = failure
        if not isinstance(failure, EXITS):
            crash = PluginCrashed(self._name, label, "", describe(failure))
            crash.__cause__ = failure
        if self.ending:
            self.failures.append(crash)
            return
        if crash is not failure:
            logger.error("%s", crash, exc_info=exc_info(failure))
        self._on_death(crash)

    # -- the end

    @property
    def is_stopping(self) -> bool:
        """Whether they were asked to come to an end."""
        return self._stopping is not None and self._stopping.done()

    def ask_to_stop(self) -> None:
        """Ask them to come to an end by themselves."""
        if self._stopping is None:
            self._stopping = asyncio.get_running_loop().create_future()
        if not self._stopping.done():
            self._stopping.set_result(None)

    async def wait_stopping(self) -> None:
        """Wait until they are asked to come to an end. Cancellation is passed on."""
        await self._wait_stopping(None)

    async def _wait_stopping(self, limit_s: float | None) -> None:
        if self._stopping is None:
            self._stopping = asyncio.get_running_loop().create_future()
        await wait_until(self._stopping, limit_s, self._timers)

    def finishing(self) -> list[asyncio.Task[Any]]:
        """Return the tasks that are to be given time to finish."""
        return [task for task, drain in self._drains.items() if drain and not task.done()]

    async def end(self, deadline: Deadline) -> list[asyncio.Task[Any]]:
        """Cancel them all until they ended; return those that ignore it until the hard end."""
        self.ending = True
        return await end_tasks([*self], deadline, self._timers)
