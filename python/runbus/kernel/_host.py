"""One task per plugin, which sets it up, keeps what it entered, and closes it.

Context managers that hold task groups or cancel scopes must be left by the task that entered
them, innermost first. With a task of its own, a plugin can be closed before those that came
later, and within a deadline of its own.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from runbus.abc import PluginState
from runbus.bus._timers import CutOff, wait_until
from runbus.errors import HandlerTimeout, HookError, PluginCrashed, PluginError, PluginStuck
from runbus.kernel._scope import Scope

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from runbus.bus import Bus
    from runbus.bus._subscription import Owner
    from runbus.kernel._restart import Restarts

__all__ = ["PluginHost"]

logger = logging.getLogger("runbus.kernel")

_AGAIN_S = 0.25
_GRACE_S = 1.0
_CUT_OFF_S = 5.0


class PluginHost:
    """Runs one plugin from set-up to close.

    Attributes:
        plugin: The plugin.
        name: Its name.
        state: How far it is; once FAILED it becomes nothing else but STOPPED by request.
        error: Why it failed.
        failures: What went wrong on closing.
        took_s: How long its set-up took.
    """

    def __init__(
        self,
        plugin: Any,
        bus: Bus,
        rank: float,
        *,
        on_crash: Callable[[PluginHost, PluginError], None],
    ) -> None:
        self.plugin = plugin
        self.name: str = plugin.name
        self.critical = bool(getattr(plugin, "critical", False))
        self.requires: tuple[str, ...] = tuple(getattr(plugin, "requires", ()))
        self.state = PluginState.LOADED
        self.error: PluginError | None = None
        self.failures: list[Exception] = []
        self.took_s = 0.0
        self._bus = bus
        self._timers = bus.timers
        self._on_crash = on_crash
        self.owner: Owner = bus.registry.add_owner(self.name, rank, critical=self.critical)
        self.scope = Scope(self, bus, self.owner)
        self._entered: list[Any] = []
        self._requests: list[tuple[Any, asyncio.Future[Any]]] = []
        self._wake: asyncio.Future[None] | None = None
        self._closing = False
        self._setup_error: PluginError | None = None
        self._ends_ns = 0
        self._ready: asyncio.Future[None]
        self._ended_setup: asyncio.Future[None]
        self._stopping: asyncio.Future[None]
        self.task: asyncio.Task[None] | None = None

    # -- from the kernel

    async def start(self, limit_s: float) -> None:
        """Set the plugin up.

        Cancelled, this cancels the set-up and closes what was made so far.

        Raises:
            HookError: The set-up failed or took longer than `limit_s` seconds; what it made is
                closed.
        """
        loop = asyncio.get_running_loop()
        self._ready = loop.create_future()
        self._ended_setup = loop.create_future()
        self._stopping = loop.create_future()
        self.state = PluginState.STARTING
        self.task = loop.create_task(self._main(limit_s), name=f"runbus plugin {self.name}")
        self.task.add_done_callback(self._ended)
        try:
            set_up = await wait_until(self._ended_setup, limit_s + _GRACE_S, self._timers)
            if set_up:
                await wait_until(self._ready, None, self._timers)
        except asyncio.CancelledError:
            await self._cancel_start()
            raise
        if not set_up:
            self._leave_behind(f"its setup ignores its cancellation after {limit_s:g} s")
            problem = f"took longer than {limit_s:g} s and ignores its cancellation"
            raise HookError(self.name, "setup", "", problem)
        if self._setup_error is not None:
            raise self._setup_error

    def _ended(self, task: asyncio.Task[None]) -> None:
        # Also of a task that was cancelled before its first step.
        for future in (self._ended_setup, self._ready):
            if not future.done():
                future.set_result(None)

    def ask_to_stop(self) -> None:
        """Tell the plugin's tasks that the end is near."""
        if self.task is not None and not self._stopping.done():
            self._stopping.set_result(None)

    async def close(self, budget_s: float) -> None:
        """Close the plugin; never raises, but adds to `failures`.

        What does not end within `budget_s` seconds is cancelled; what does not end a second after
        that is left behind and named.
        """
        if self.task is None or self.task.done():
            return
        self.ask_to_stop()
        self._ends_ns = self._timers.monotonic_ns() + int(budget_s * 1e9)
        self._closing = True
        self._rouse()
        limit_s = budget_s + _GRACE_S
        if not await wait_until(self.task, limit_s, self._timers):
            doing = self._doing()
            self.failures.append(PluginStuck(self.name, doing, limit_s))
            self._leave_behind(doing)
        if self.state is not PluginState.FAILED:
            self.state = PluginState.STOPPED

    async def _cancel_start(self) -> None:
        """Cancel the set-up and wait until what it made is closed, or it ignores that."""
        assert self.task is not None
        self.task.cancel()
        for _ in range(round(_GRACE_S / _AGAIN_S)):
            if await wait_until(self._ended_setup, _AGAIN_S, self._timers):
                await wait_until(self.task, None, self._timers)
                return
            self.task.cancel()
        self._leave_behind("its setup ignores its cancellation")

    def _leave_behind(self, doing: str) -> None:
        logger.error("plugin %r was left behind: %s", self.name, doing)
        self.state = PluginState.FAILED
        self._abandon()

    def _abandon(self) -> None:
        self._bus.registry.remove_owner(self.owner)
        for stream in self.scope.streams:
            stream.close()

    def _doing(self) -> str:
        running = [task.get_name() for task in self.scope.tasks if not task.done()]
        if running:
            return f"its tasks ignore their cancellation: {', '.join(running)}"
        return f"closing {self._closing_what}" if self._closing_what else "closing"

    # -- from the scope

    @property
    def is_stopping(self) -> bool:
        """Whether the plugin has been asked to come to an end."""
        return self.task is not None and self._stopping.done()

    async def wait_stopping(self) -> None:
        """Wait until the plugin is asked to come to an end."""
        await wait_until(self._stopping, None, self._timers)

    async def enter(self, manager: Any) -> Any:
        """Enter a context manager in the plugin's own task."""
        if not hasattr(manager, "__aenter__") and not hasattr(manager, "__enter__"):
            raise TypeError(f"plugin {self.name!r}: {manager!r} is no context manager")
        if asyncio.current_task() is self.task:
            return await self._enter_here(manager)
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._requests.append((manager, answer))
        self._rouse()
        return await answer

    async def run_task(
        self,
        fn: Callable[..., Awaitable[Any]],
        args: tuple[Any, ...],
        label: str,
        restarts: Restarts | None,
    ) -> None:
        """Run a background task of the plugin, and again after errors if `restarts` says so."""
        while True:
            failure: BaseException
            try:
                await fn(*args)
                return
            except Exception as error:
                failure = error
            except asyncio.CancelledError as error:
                task = asyncio.current_task()
                if self._closing or (task is not None and task.cancelling()):
                    raise
                failure = error
            delay_s = restarts.next_delay_s() if restarts is not None else None
            if delay_s is None or self.is_stopping:
                self._task_died(label, failure)
                return
            logger.warning(
                "plugin %r: task %s failed and starts again in %.1f s",
                self.name,
                label,
                delay_s,
                exc_info=failure,
            )
            await wait_until(self._stopping, delay_s, self._timers)

    def _task_died(self, label: str, failure: BaseException) -> None:
        problem = f"{type(failure).__name__}: {failure}"
        crash = PluginCrashed(self.name, label, problem)
        crash.__cause__ = failure
        if self._closing:
            self.failures.append(crash)
            return
        logger.error("%s", crash, exc_info=failure)
        self._crashed(crash)

    def _crashed(self, crash: PluginError) -> None:
        if self.state is PluginState.FAILED:
            return
        self.state = PluginState.FAILED
        self.error = crash
        for stream in self.scope.streams:
            stream.close()  # nobody reads it any more, so publishers must not wait for room
        self._on_crash(self, crash)

    # -- the plugin's own task

    async def _main(self, limit_s: float) -> None:
        started = self._timers.monotonic_ns()
        try:
            error = await self._set_up(limit_s)
        except BaseException:
            self.state = PluginState.FAILED
            await self._close_all(limit_s)
            self._tell_ready()
            raise
        self.took_s = (self._timers.monotonic_ns() - started) / 1e9
        if error is not None:
            self.state = PluginState.FAILED
            self.error = self._setup_error = error
            self._ends_ns = self._timers.monotonic_ns() + int(limit_s * 1e9)
            await self._close_all(limit_s)
            return  # and `_ended` tells
        # A task that died during the set-up has set FAILED already, and that must stay.
        if self.state is PluginState.STARTING:
            self.state = PluginState.STARTED
        self._tell_ready()
        try:
            await self._serve()
        except asyncio.CancelledError:
            # A task group or scope that the plugin left open was cancelled, for example because
            # one of its tasks failed; closing it will tell the error.
            if not self._closing:
                self._ends_ns = self._timers.monotonic_ns() + int(_CUT_OFF_S * 1e9)
                self._closing = True
                self._crashed(PluginCrashed(self.name, "a task group", "it was cancelled"))
        await self._close_all((self._ends_ns - self._timers.monotonic_ns()) / 1e9)

    def _tell_ready(self) -> None:
        if not self._ready.done():
            self._ready.set_result(None)

    async def _set_up(self, limit_s: float) -> PluginError | None:
        """Run the plugin's `setup`; return why it failed, or None."""
        try:
            with CutOff(limit_s, self._timers) as limit:
                try:
                    await self.plugin.setup(self.scope)
                finally:
                    if not self._ended_setup.done():
                        self._ended_setup.set_result(None)
            if limit.fired:
                return HookError(self.name, "setup", "", f"took longer than {limit_s:g} s")
        except Exception as error:
            failure = HookError(self.name, "setup", "", f"raised {type(error).__name__}: {error}")
            failure.__cause__ = error
            return failure
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            failure = HookError(self.name, "setup", "", "raised CancelledError by itself")
            failure.__cause__ = error
            return failure
        return None

    async def _serve(self) -> None:
        """Enter what other tasks ask for, until the plugin is to be closed."""
        while True:
            while self._requests:
                manager, answer = self._requests.pop(0)
                try:
                    result = await self._enter_here(manager)
                except Exception as error:
                    if not answer.done():
                        answer.set_exception(error)
                else:
                    if not answer.done():
                        answer.set_result(result)
            if self._closing:
                return
            self._wake = asyncio.get_running_loop().create_future()
            await self._wake

    def _rouse(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    async def _enter_here(self, manager: Any) -> Any:
        if hasattr(manager, "__aenter__"):
            value = await manager.__aenter__()
        else:
            value = manager.__enter__()
        self._entered.append(manager)
        return value

    # -- closing

    _closing_what = ""

    async def _close_all(self, budget_s: float) -> None:
        self._closing = True
        self.ask_to_stop()
        if not self._ends_ns:
            self._ends_ns = self._timers.monotonic_ns() + int(budget_s * 1e9)
        self._abandon()
        for _, answer in self._requests:
            answer.cancel()
        await self._end_tasks()
        while self._entered:
            manager = self._entered.pop()
            await self._leave(manager, self._left_s() / (len(self._entered) + 1))

    def _left_s(self) -> float:
        return max((self._ends_ns - self._timers.monotonic_ns()) / 1e9, 0.05)

    async def _end_tasks(self) -> None:
        """Cancel the background tasks, again and again if need be, until they ended."""
        this = asyncio.current_task()
        while tasks := [task for task in self.scope.tasks if not task.done() and task is not this]:
            left_s = (self._ends_ns - self._timers.monotonic_ns()) / 1e9 + _GRACE_S / 2
            if left_s <= 0:
                names = ", ".join(task.get_name() for task in tasks)
                self.failures.append(PluginStuck(self.name, f"{names} ignored cancellation", 0.0))
                return
            for task in tasks:
                task.cancel()
            for task in tasks:
                await wait_until(task, min(_AGAIN_S, left_s), self._timers)

    async def _leave(self, manager: Any, slice_s: float) -> None:
        self._closing_what = _title_of(manager)
        hook = f"close of {self._closing_what}"
        try:
            with CutOff(slice_s, self._timers) as limit:
                group_scope = getattr(manager, "cancel_scope", None)
                if group_scope is not None:
                    # A task group left open by `setup`: what runs in it ends with the plugin.
                    group_scope.cancel()
                if isinstance(manager, asyncio.TaskGroup):
                    await _leave_group(manager)
                elif hasattr(manager, "__aexit__"):
                    await manager.__aexit__(None, None, None)
                else:
                    manager.__exit__(None, None, None)
            if limit.fired:
                self.failures.append(HandlerTimeout(self.name, hook, "", slice_s))
        except Exception as error:
            failure = HookError(self.name, hook, "", f"raised {type(error).__name__}: {error}")
            failure.__cause__ = error
            self.failures.append(failure)
        except asyncio.CancelledError:
            self.failures.append(HookError(self.name, hook, "", "was cancelled"))
        finally:
            self._closing_what = ""


async def _leave_group(group: asyncio.TaskGroup) -> None:
    """Leave a task group left open by `setup`: what runs in it ends with the plugin.

    It has no scope to cancel; it ends its tasks when told that its block was cancelled, and then
    raises that very cancellation again.
    """
    told = asyncio.CancelledError()
    try:
        await group.__aexit__(type(told), told, None)
    except asyncio.CancelledError as error:
        if error is not told:
            raise


def _title_of(manager: Any) -> str:
    """Return what messages call a context manager: its generator, if a decorator made it of one."""
    made_of = getattr(manager, "gen", None)
    return str(getattr(made_of, "__qualname__", type(manager).__qualname__))
