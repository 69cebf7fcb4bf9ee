"""One task per plugin, which sets it up, keeps what it entered, and closes it.

Context managers that hold task groups or cancel scopes must be left by the task that entered
them, innermost first. With a task of its own, a plugin can be closed before those that came
later, and within a deadline of its own.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from runbus._revealed import cause_of
from runbus.abc import PluginState
from runbus.bus import CutOff, describe, plugin_of, wait_until
from runbus.errors import HookError, PluginCrashed, PluginStuck
from runbus.kernel._ending import AGAIN_S, EXITS, Deadline, endure
from runbus.kernel._entered import STRAY, Entered
from runbus.kernel._reminder import Reminder
from runbus.kernel._scope import Scope
from runbus.kernel._tasks import BackgroundTasks

if TYPE_CHECKING:
    from collections.abc import Callable

    from runbus.bus import Bus, Owner
    from runbus.plugins import Wish

__all__ = ["GRACE_S", "PluginHost"]

logger = logging.getLogger("runbus.kernel")

GRACE_S = 1.0
"""How long a plugin may ignore its cancellation before it is left behind."""


class PluginHost:
    """Runs one plugin from set-up to close.

    Attributes:
        plugin: The plugin.
        name: Its name.
        wish: What it says about its place.
        critical: Whether its failure stops the kernel.
        state: How far it is; once FAILED it becomes nothing else but STOPPED by request.
        error: Why it failed.
        failures: What went wrong on closing.
        took_s: How long its set-up took.
        tasks: Its background tasks.
    """

    def __init__(
        self,
        plugin: Any,
        bus: Bus,
        rank: float,
        *,
        wish: Wish,
        on_crash: Callable[[PluginHost, BaseException], None],
        is_ending: Callable[[], bool],
    ) -> None:
        self.plugin = plugin
        self.name: str = plugin.name
        self.wish = wish
        self.critical = bool(getattr(plugin, "critical", False))
        self.state = PluginState.LOADED
        self.error: BaseException | None = None
        self.failures: list[BaseException] = []
        self.took_s = 0.0
        self.owner: Owner = bus.registry.add_owner(self.name, rank, critical=self.critical)
        self.tasks = BackgroundTasks(self.name, bus.timers, self._crashed)
        self.scope = Scope(self.owner, bus, self)
        self.task: asyncio.Task[None] | None = None
        self._bus = bus
        self._timers = bus.timers
        self._on_crash = on_crash
        self._is_ending = is_ending
        self._limit = CutOff(None, bus.timers)
        self._entered = Entered(self.name, bus.timers, self._rouse)
        self._deadline = Deadline(bus.timers, 0.0, 0.0)
        self._wake: asyncio.Future[None] | None = None
        self._closing = False
        self._going = False
        self._called_off = False
        self._left_behind = False
        self._setup_error: BaseException | None = None
        self._ready: asyncio.Future[None]
        self._setup_ended: asyncio.Future[None]

    # -- from the kernel: coming

    async def start(self, limit_s: float) -> None:
        """Set the plugin up.

        Cancelled, this cancels the set-up and closes what was made so far.

        Raises:
            HookError: The set-up failed, took longer than `limit_s` seconds, or was called off
                because the plugin is to be closed; what it made is closed.
            KeyboardInterrupt: The set-up raised it. A SystemExit is a failure like others.
        """
        loop = asyncio.get_running_loop()
        self._ready = loop.create_future()
        self._setup_ended = loop.create_future()
        self.state = PluginState.STARTING
        self.task = loop.create_task(self._main(limit_s), name=f"runbus plugin {self.name}")
        self.task.add_done_callback(self._ended)
        try:
            # Most plugins are set up after one turn of the event loop, and need no timers for it.
            await asyncio.sleep(0)
            if not self._ready.done():
                await self._wait_ready(limit_s)
        except asyncio.CancelledError:
            await self._call_off(limit_s)
            raise
        if not self._ready.done():
            ended = self._setup_ended.done()
            doing = self._doing() if ended else "its setup ignores its cancellation"
            self._leave(f"{doing} after {limit_s:g} s")
            if self._setup_error is None:
                problem = f"took longer than {limit_s:g} s and ignores its cancellation"
                self._setup_error = HookError(self.name, "setup", "", problem)
        if self._setup_error is not None:
            raise self._setup_error

    async def _wait_ready(self, limit_s: float) -> None:
        self._limit.move(limit_s)
        waiting = Reminder(self._timers, self.name)
        try:
            await wait_until(self._ready, limit_s + GRACE_S, self._timers)
            if self._setup_ended.done():
                # A set-up that failed closes what it made, which has its limit, too.
                await wait_until(self._ready, limit_s + GRACE_S, self._timers)
        finally:
            waiting.cancel()

    def _ended(self, task: asyncio.Task[None]) -> None:
        # Also of a task that was cancelled before its first step.
        for future in (self._setup_ended, self._ready):
            if not future.done():
                future.set_result(None)
        if self.state is PluginState.STARTING:
            self.state = PluginState.FAILED

    async def _call_off(self, close_s: float, grace_s: float = GRACE_S) -> None:
        """Cancel the set-up and wait until what it made is closed, or it ignores that."""
        assert self.task is not None
        self._called_off = self._closing = True
        self._rouse()  # it may have been set up just now
        self._deadline.move(close_s, grace_s)
        limit = Deadline(self._timers, grace_s, 0.0)
        while not self._setup_ended.done() and limit.left_s() > 0:
            self.task.cancel()
            await endure(self._setup_ended, min(limit.left_s(), AGAIN_S), self._timers)
        if not self._setup_ended.done():
            self._leave("its setup ignores its cancellation")
            return
        await endure(self.task, max(self._deadline.hard_left_s(), 0.0), self._timers)
        if not self.task.done():
            self._leave(self._doing())

    @property
    def is_set_up(self) -> bool:
        """Whether its set-up was begun and has ended, well or not."""
        return self.task is not None and self._ready.done()

    async def wait_set_up(self) -> None:
        """Wait until its set-up has ended. Cancellation is passed on."""
        if self.task is not None:
            await wait_until(self._ready, None, self._timers)

    # -- from the kernel: going

    async def read_out(self, limit_s: float) -> None:
        """Let no more events come, and the plugin's tasks read what waits, then end.

        Returns after `limit_s` seconds at the latest. Cancellation is passed on.
        """
        self._going = True
        self.ask_to_stop()
        limit = Deadline(self._timers, limit_s, 0.0)
        boxes = [
            (event, box)
            for event, box in self._bus.registry.boxes()
            if box.owner == self.name and box.consumer in self.tasks
        ]
        readers = [box.consumer for _, box in boxes]
        for event, box in boxes:
            self._bus.registry.remove_box(event, box)
            box.seal()
        for _, box in boxes:
            await self._bus.wait_settled(box, max(limit.left_s(), 0.0))
        for reader in readers:
            if reader is not None:
                await wait_until(reader, max(limit.left_s(), 0.0), self._timers)

    def ask_to_stop(self) -> None:
        """Tell the plugin's tasks that the end is near."""
        if self.task is not None:
            self.tasks.ask_to_stop()

    @property
    def is_closing(self) -> bool:
        """Whether it is being closed, or was."""
        return self._closing or self._going

    async def close(self, budget_s: float, grace_s: float = GRACE_S) -> None:
        """Close the plugin; never raises, but adds to `failures`.

        What does not end within `budget_s` seconds is cancelled; what ignores that for `grace_s`
        seconds is left behind and named. A cancellation does not cut it short.
        """
        if self.task is None or self.task.done():
            return
        self.ask_to_stop()
        began_ns = self._timers.monotonic_ns()
        self.hurry(budget_s, grace_s)
        if not self._setup_ended.done():
            await self._call_off(budget_s, grace_s)
        self._closing = True
        self._entered.interrupt()
        self._rouse()
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(0)  # most plugins need no more than that
        # Looked at now and then, since `hurry` moves the deadline.
        while not self.task.done() and (left_s := self._deadline.hard_left_s()) > 0:
            await endure(self.task, min(left_s, AGAIN_S), self._timers)
        if not self.task.done() and not self._left_behind:
            doing = self._doing()
            waited_s = round((self._timers.monotonic_ns() - began_ns) / 1e9, 2)
            self.failures.append(PluginStuck(self.name, doing, waited_s))
            self._leave(doing)
        if self.state is not PluginState.FAILED:
            self.state = PluginState.STOPPED

    def hurry(self, budget_s: float, grace_s: float = GRACE_S) -> None:
        """Let the closing, under way or not, have `budget_s` seconds from now."""
        self._deadline.move(budget_s, grace_s)
        self._entered.hurry(budget_s)

    def _leave(self, doing: str) -> None:
        logger.error("plugin %r was left behind: %s", self.name, doing)
        self.state = PluginState.FAILED
        self._left_behind = True
        self._closing = True  # should it come to its senses
        self.abandon()

    def abandon(self) -> None:
        """End the subscriptions and the streams for good."""
        self._bus.registry.remove_owner(self.owner)
        self.scope.close()

    def _doing(self) -> str:
        if self._entered.leaving:  # its tasks have been given up before, and named
            return f"closing {self._entered.leaving}"
        if running := [task.get_name() for task in self.tasks]:
            return f"its tasks ignore their cancellation: {', '.join(running)}"
        return "closing" if self._setup_ended.done() else "its setup ignores its cancellation"

    def runs_this(self) -> bool:
        """Tell whether the running code is the plugin's: its task, its tasks, or a handler."""
        current = asyncio.current_task()
        return (
            current is not None and (current is self.task or current in self.tasks)
        ) or self._bus.runs_inside(self.owner)

    # -- from the scope

    async def enter(self, manager: Any) -> Any:
        """Enter a context manager in the plugin's own task."""
        if asyncio.current_task() is self.task:
            return await self._entered.enter(manager)
        return await self._entered.ask(manager)

    def _crashed(self, crash: BaseException) -> None:
        if self.state is PluginState.FAILED:
            return
        if not isinstance(crash, EXITS):
            self.state = PluginState.FAILED
            self.error = crash
            self.scope.close()  # nobody reads any more, so publishers must not wait for room
        self._on_crash(self, crash)

    # -- the plugin's own task

    async def _main(self, limit_s: float) -> None:
        started_ns = self._timers.monotonic_ns()
        self._setup_error = await self._set_up(limit_s)
        self.took_s = (self._timers.monotonic_ns() - started_ns) / 1e9
        if self._setup_error is not None:
            self.state = PluginState.FAILED
            self.error = self._setup_error
            if not self.is_closing:
                self._deadline.move(limit_s, GRACE_S)
            await self._close_up()
            return  # and `_ended` tells
        # A task that died during the set-up has set FAILED already, and that must stay.
        if self.state is PluginState.STARTING:
            self.state = PluginState.STARTED
        self._ready.set_result(None)
        try:
            await self._serve()
        except asyncio.CancelledError:
            await self._endure_cancellation()
        await self._close_up()

    async def _set_up(self, limit_s: float) -> BaseException | None:
        """Run the plugin's `setup`; return why it failed, or None."""
        limit = self._limit
        cause: BaseException | None = None
        try:
            with limit:
                await self.plugin.setup(self.scope)
        except KeyboardInterrupt as error:
            return error
        except BaseException as error:
            cause = error
        finally:
            self._setup_ended.set_result(None)
        if self._called_off:
            problem = "was called off"
        elif limit.fired:
            problem = f"took longer than {limit_s:g} s"
        elif cause is None:
            return None
        elif isinstance(cause, asyncio.CancelledError):
            problem = STRAY
        elif isinstance(cause, HookError) and plugin_of(cause) == self.name:
            return cause  # it names the author's own method
        else:
            problem = f"raised {describe(cause)}"
        failure = HookError(self.name, "setup", "", problem)
        failure.__cause__ = cause_of(cause)
        return failure

    async def _serve(self) -> None:
        """Enter what other tasks ask for, until the plugin is to be closed."""
        while not self._closing:
            if self._entered.is_wanted:
                await self._entered.serve()
                continue
            self._wake = asyncio.get_running_loop().create_future()
            await self._wake

    async def _endure_cancellation(self) -> None:
        """Wait to be closed in order, no matter who cancelled this task.

        Either a task group or scope that the plugin left open was cancelled, for example because
        one of its tasks failed; closing it will tell the error. Or the event loop ends, and with
        it the kernel, which closes the plugins one after another.
        """
        if not (self._closing or self._is_ending()):
            self._crashed(PluginCrashed(self.name, "a task group", "", "it was cancelled"))
        while not self._closing:
            self._entered.interrupt()
            self._wake = asyncio.get_running_loop().create_future()
            await endure(self._wake, None, self._timers)

    def _rouse(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    # -- closing

    async def _close_up(self) -> None:
        self._closing = True
        self.ask_to_stop()
        self.abandon()
        self._entered.interrupt()
        if stuck := await self.tasks.end(self._deadline):
            names = ", ".join(task.get_name() for task in stuck)
            self.failures.append(PluginStuck(self.name, f"{names} ignored cancellation", 0.0))
        self.failures += await self._entered.leave_all(self._deadline)
        self.failures += self.tasks.failures
