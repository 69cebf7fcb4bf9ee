"""The kernel: plugins around a bus, from set-up to shutdown."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any, NoReturn

from runbus._listed import is_list
from runbus.bus import (
    Bus,
    check_flag,
    check_number,
    check_type,
    describe,
    is_torn_down,
    wait_until,
)
from runbus.errors import BusClosed, InvalidPlugin
from runbus.events import KernelStarted
from runbus.kernel._body import Body, Stopping
from runbus.kernel._ending import EXITS, add_notes, endure
from runbus.kernel._health import CHECK_EVERY_S, Health, HealthChecks, informed, look
from runbus.kernel._plan import Plan, make_plan
from runbus.kernel._roster import Roster
from runbus.kernel._shutdown import Shutdowns
from runbus.kernel._signals import FAST_S, SignalWatch
from runbus.kernel._states import KernelState, check_allowed
from runbus.kernel._watches import Watches
from runbus.plugins import admit, admit_all, resolve_order, wish_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    from runbus.abc import PluginInfo
    from runbus.bus import Timers
    from runbus.events import Event
    from runbus.kernel._host import PluginHost
    from runbus.plugins import Selection

__all__ = ["Kernel"]


class Kernel:
    """Plugins around a bus: `async with Kernel(plugins=[...]) as kernel`.

    On entering, the plugins are set up in their order; an error closes those that were set up,
    in reverse, and is raised. On leaving, everything is brought to an end within
    `shutdown_budget_s`, whatever was cancelled. What went wrong in that is raised as one
    ExceptionGroup, unless the block itself failed: then it is added to that error as notes.

    A kernel can be entered and left by different tasks, so it works in a fixture. It is used once.

    Attributes:
        bus: The bus; usable inside the block only.
        shutdown_budget_s: How long the shutdown may take in all, in seconds.
    """

    def __init__(
        self,
        plugins: Iterable[Any] = (),
        *,
        signals: bool = False,
        trace: str | os.PathLike[str] | None = None,
        trace_payloads: bool = False,
        shutdown_budget_s: float = 25.0,
        setup_timeout_s: float = 30.0,
        timers: Timers | None = None,
        selection: Selection | None = None,
        contain_exits: bool = False,
    ) -> None:
        """Prepare a kernel; nothing runs yet.

        Args:
            plugins: Objects with a `name` and `async def setup(self, scope)`, or names of
                plugins that can be found. They start in this order, as far as they do not say
                otherwise. An object goes before what could be found by its name.
            signals: Whether SIGINT and SIGTERM end the block: the first in order, with exit
                status 130 or 143, the second within 2 seconds, the third at once. Main thread
                only.
            trace: A file to which every event is written before and after its dispatch.
            trace_payloads: Whether events of streams are written whole, too, instead of their size
                and digest.
            shutdown_budget_s: How long the shutdown may take in all, in seconds. Stay below what
                your supervisor grants: 30 s in Kubernetes, 10 s with `docker stop`.
            setup_timeout_s: How long the set-up of one plugin may take, in seconds.
            timers: Where deadlines come from; `runbus.testing.FakeClock` in tests.
            selection: Which of the plugins that are given by name are wanted: one that is not is
                left out, with a warning, and not imported. What the environment says if None;
                `Selection.none()` switches all off.
            contain_exits: Whether a `SystemExit` of a plugin's handler is a failure of that handler
                like others, for a program that must not end with a plugin of it. Otherwise it
                ends the block, in order.

        Raises:
            InvalidPlugin: One is not a plugin.
            PluginNotFound: No installed plugin has that name.
            PluginNotLoadable: An installed plugin cannot be imported or made.
            DuplicatePlugin: Two have one name.
            MissingPlugin: One requires a name that is not there.
            OrderCycle: They want to come before and after each other.
            InvalidOption: A time is not a finite number above zero, a switch neither on nor off, or
                the trace no path.
        """
        check_number(shutdown_budget_s, "kernel", "shutdown_budget_s", above=0)
        check_number(setup_timeout_s, "kernel", "setup_timeout_s", above=0)
        check_flag(signals, "kernel", "signals")
        check_flag(contain_exits, "kernel", "contain_exits")
        check_flag(trace_payloads, "kernel", "trace_payloads")
        if trace is not None:  # a number would be taken for an open file
            check_type(trace, "kernel", "trace", str, os.PathLike, wanted="a path")
        if not is_list(plugins):  # of a text each letter would be a plugin's name
            raise InvalidPlugin(f"plugins={plugins!r}", "is not a list; pass a list of plugins")
        self._admitted = admit_all(plugins, selection)
        admitted = self._admitted.plugins
        wishes = [wish_of(plugin) for plugin in admitted]
        places = resolve_order(wishes)
        by_name = {wish.name: (plugin, wish) for plugin, wish in zip(admitted, wishes, strict=True)}
        self._plugins = [by_name[place.name] for place in places]
        self.bus = Bus(timers, on_critical=self._critical_failed)
        self.shutdown_budget_s = shutdown_budget_s
        self._roster = Roster(
            self.bus,
            places,
            setup_timeout_s,
            contain_exits=contain_exits,
            on_critical=self._critical_failed,
            is_ending=self._is_ending,
        )
        self._checks = HealthChecks(self.bus)
        self._watches = Watches(self.bus, trace, payloads=trace_payloads, tell=self._roster.tell)
        self._wants_signals = signals
        self._main_task: asyncio.Task[None] | None = None
        self._phases: asyncio.Task[None] | None = None
        self._shutdown: Shutdowns | None = None
        self._hurried = False
        self._body = Body()
        self._crash: BaseException | None = None
        self._start_error: BaseException | None = None
        self._errors: list[BaseException] = []
        self._reason = ""

    # -- life

    async def __aenter__(self) -> Kernel:
        """Set up the plugins in their order.

        Cancelled, the running set-up is cancelled and what was set up is closed, in reverse.

        Raises:
            HookError: A plugin could not be set up.
            OSError: The trace cannot be written.
            RuntimeError: Signals were asked for outside of the main thread.
        """
        if self._main_task is not None:
            raise BusClosed("__aenter__", "closed" if self.bus.is_closed else "open")
        loop = asyncio.get_running_loop()
        self._body.enter()
        self._ready: asyncio.Future[None] = loop.create_future()
        self._stop: asyncio.Future[None] = loop.create_future()
        self._watches.open(
            SignalWatch(self._stop_by_signal, self._hurry, self.shutdown_budget_s)
            if self._wants_signals
            else None
        )
        self.bus.open()
        self._main_task = loop.create_task(self._main(), name="runbus kernel")
        try:
            await wait_until(self._ready, None, self.bus.timers)
        except asyncio.CancelledError as error:
            self._main_task.cancel()
            await endure(self._main_task, None, self.bus.timers)
            self._watches.close()
            if self._body.take_back(error):
                self._raise_stopped()
            raise
        if self._start_error is not None:
            self._watches.close()
            raise self._start_error
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        """Bring everything to an end; cancellation does not cut it short, but is passed on."""
        assert self._main_task is not None
        self._request_stop(self._reason)
        cancelled = await endure(self._main_task, None, self.bus.timers)
        self._watches.close()
        return await self._conclude(exc, cancelled)

    def _raise_stopped(self) -> NoReturn:
        """Raise what ended a kernel that was stopped before its block began."""
        if self._crash is not None:
            raise self._crash
        if self._stopped_by_signal:
            raise SystemExit(self.exit_status) from None
        raise BusClosed("__aenter__", "closed") from None

    async def _conclude(
        self, exc: BaseException | None, cancelled: asyncio.CancelledError | None
    ) -> bool:
        """Decide what the block raises: its own error, a cancellation, ours, or nothing."""
        was_stopped = self._body.is_cancelled
        ours = self._body.take_back(exc if exc is not None else cancelled)
        trouble = [*([self._crash] if self._crash is not None else []), *self._errors]
        if exc is not None and not (ours and isinstance(exc, asyncio.CancelledError)):
            add_notes(exc, trouble)
            if not (cancelled is None or ours or isinstance(exc, (asyncio.CancelledError, *EXITS))):
                # As from any other `finally`: who handled the error would go on uncancelled.
                raise cancelled
            if was_stopped and isinstance(exc, asyncio.CancelledError):
                from anyio.lowlevel import checkpoint_if_cancelled  # costs an import 2 ms

                # A scope round the block knows its own cancellation only, not the kernel's.
                await checkpoint_if_cancelled()
            return False
        if cancelled is not None and not ours:
            add_notes(cancelled, trouble)
            raise cancelled
        for error in trouble:
            if error is self._crash or isinstance(error, EXITS):
                add_notes(error, trouble)
                raise error
        if self._errors:
            raise BaseExceptionGroup("the kernel did not stop cleanly", self._errors)
        if self._stopped_by_signal:
            raise SystemExit(self.exit_status)
        return exc is not None

    # -- the kernel's own task

    async def _main(self) -> None:
        try:
            await self._start_all()
        except BaseException as error:
            if is_torn_down(error, self._main_task):
                raise
            self._start_error = error
            await self._roll_back(error)
            self._ready.set_result(None)
            return
        self._checks.ask(self._roster.hosts)
        checking = asyncio.get_running_loop().create_task(
            self._check_health(), name="runbus health checks"
        )
        self._ready.set_result(None)
        try:
            await wait_until(self._stop, None, self.bus.timers)
        except asyncio.CancelledError:
            # The event loop ends, with all its tasks: so does the kernel, but in order.
            self._request_stop(self._reason)
        checking.cancel()
        self._checks.close()
        await self._shut_down()

    async def _start_all(self) -> None:
        for rank, (plugin, wish) in enumerate(self._plugins):
            await self._roster.start(plugin, wish, rank)
        names = tuple(host.name for host in self._roster.hosts)
        await self.bus.publish(KernelStarted(plugins=names))

    async def _roll_back(self, error: BaseException) -> None:
        self._request_stop(describe(error))
        roster = self._roster
        shutdown = Shutdowns(self.bus, roster.living, self.shutdown_budget_s, self._reason)
        self.bus.drain()
        await shutdown.close()
        await shutdown.close_bus()
        add_notes(error, shutdown.errors)

    async def _shut_down(self) -> None:
        roster = self._roster
        budget_s = FAST_S if self._hurried else self.shutdown_budget_s
        self._watches.flush()
        self._shutdown = shutdown = Shutdowns(
            self.bus, roster.living, budget_s, self._reason, self._body.task
        )
        roster.call_off_starts()
        if not self._hurried:
            self._phases = asyncio.get_running_loop().create_task(
                shutdown.run_to_close(), name="runbus shutdown"
            )
            await endure(self._phases, None, self.bus.timers)
        self._watches.flush()
        roster.cancel_work()  # what it was closing is closed below
        await shutdown.close()
        await shutdown.close_bus()
        self._errors = [*roster.errors, *shutdown.errors]

    async def _check_health(self) -> None:
        while not await wait_until(self._stop, CHECK_EVERY_S, self.bus.timers):
            await self._checks.poll(self._roster.hosts)

    def _is_ending(self) -> bool:
        """Tell whether the kernel ends, or the event loop with it."""
        task = self._main_task
        return self._stop.done() or (task is not None and bool(task.cancelling()))

    @property
    def _state(self) -> KernelState:
        if self._main_task is None:
            return KernelState.NEW
        if self._main_task.done():
            return KernelState.CLOSED
        if not self._ready.done():
            return KernelState.STARTING
        return KernelState.DRAINING if self._is_ending() else KernelState.OPEN

    def _check(self, verb: str) -> None:
        """Refuse what cannot be asked now, or from here."""
        self.bus.check_thread(verb)
        check_allowed(verb, self._state)

    # -- stopping

    def stop(self, reason: str = "") -> Stopping:
        """Ask the kernel to stop: its block is cancelled, and that cancellation ends with it.

        Asking again changes nothing. What this returns can be awaited, by others than the block
        and the plugins, to wait for the end of the shutdown.

        Args:
            reason: Why, in words.

        Raises:
            BusClosed: The kernel was never started.
            WrongLoop: This is another thread than that of the kernel, or a forked child.
            InvalidOption: The reason is no text.
        """
        self._check("stop")
        check_type(reason, "kernel", "reason", str, wanted="a text")
        assert self._main_task is not None
        if not self._reason:
            self._reason = reason
        if not self._main_task.done():
            self._cancel_body()
        return Stopping(self._main_task, self.bus.timers, self._is_waited_for)

    def _is_waited_for(self) -> bool:
        """Tell whether the shutdown waits for the running code."""
        in_body = asyncio.current_task() is self._body.task and not self._stop.done()
        return in_body or self._roster.runs_this() is not None

    def _cancel_body(self) -> None:
        """Cancel the block once; where it does not run, begin to stop at once."""
        if self._stop.done() or self._body.is_cancelled:
            return
        if not self._body.cancel():
            self._request_stop(self._reason)

    def _request_stop(self, reason: str) -> None:
        if not self._stop.done():
            self._reason = reason
            self._stop.set_result(None)

    def _critical_failed(self, failure: BaseException) -> None:
        if self._crash is None:
            self._crash = failure
            self._reason = self._reason or describe(failure)
        self._cancel_body()

    def _stop_by_signal(self, number: int) -> None:
        self._reason = self._reason or f"signal {number}"
        self._cancel_body()

    def _hurry(self) -> None:
        """Cut everything short but the closing of the plugins, and leave that 2 seconds."""
        self._hurried = True
        if self._shutdown is not None:
            self._shutdown.hurry(FAST_S)
        if self._phases is not None:
            self._phases.cancel()
        else:
            self._body.cancel()
        self._request_stop(self._reason)

    @property
    def _stopped_by_signal(self) -> bool:
        return self._watches.signal is not None

    @property
    def exit_status(self) -> int:
        """What the process should exit with: 128 plus the signal that stopped it, else 0."""
        received = self._watches.signal
        return 128 + received if received is not None else 0

    # -- plugins

    async def start_plugin(self, plugin: Any) -> None:
        """Set up a further plugin while the kernel runs.

        Its place is after those that are there, unless something says otherwise: `after`,
        `before` and `requires` hold as they do for the plugins of the list.

        Publishes `PluginStarted`. Cancelled, what it made so far is closed.

        Args:
            plugin: A plugin, or the name of an installed one.

        Raises:
            BusClosed: The kernel is not running: not yet, or it stops.
            WrongLoop: This is another thread than that of the kernel, or a forked child.
            HookError: It could not be set up, or the kernel stopped meanwhile.
            DuplicatePlugin: Its name is taken, be it by one that is being closed.
            MissingPlugin: It requires a name that is not there, or that is being closed.
            OrderCycle: It wants to come before and after others.
            WouldDeadlock: It requires the plugin whose set-up asks for it.
        """
        self._check("start_plugin")
        await self._roster.add(admit(plugin))

    async def stop_plugin(self, name: str) -> None:
        """Close a plugin, after those that require it, while the others run on.

        What waits in its streams is read before, by tasks of its own.

        Publishes `PluginStopped` for each. Cancelled, the closing continues in the background.

        Asked for twice at once, it is closed once, and both wait for that.

        Raises:
            BusClosed: The kernel is not running: not yet, or it stops.
            WrongLoop: This is another thread than that of the kernel, or a forked child.
            PluginNotFound: No plugin of this kernel has that name.
            WouldDeadlock: The plugin itself asks for it, which would wait for its own end.
        """
        self._check("stop_plugin")
        await self._roster.remove(name, "stopped by request")

    def release(self, name: str) -> None:
        """Let a quarantined plugin get notifications again; publishes `PluginReleased`.

        Raises:
            BusClosed: The kernel was not entered, or was left.
            WrongLoop: This is another thread than that of the kernel, or a forked child.
            PluginNotFound: No plugin of this kernel has that name.
        """
        self._check("release")
        self._roster.release(name)

    # -- looking

    def plan(self, event: type[Event]) -> Plan:
        """Return who is called for a class of events, in which order and why; print it to read."""
        return make_plan(event, self.bus, self._roster.places)

    def health(self) -> Health:
        """Return how the kernel and its plugins do, by what they said last; asks no plugin.

        The plugins are asked as soon as all are set up, and every 10 seconds from then on; each
        answer carries its age. `check_health` asks them now.
        """
        lag_s, blocked = self._watches.lag_s, self._watches.blocked
        return look(self.bus, self._roster.hosts, self._checks, lag_s, blocked)

    async def check_health(self) -> Health:
        """Ask the plugins now, at most 2 seconds, and return how everything does.

        Cancelled, the plugins that were asked continue answering.

        Raises:
            BusClosed: The kernel was not entered, or was left.
            WrongLoop: This is another thread than that of the kernel, or a forked child.
        """
        self._check("check_health")
        await self._checks.poll(self._roster.hosts)
        return self.health()

    def infos(self) -> list[PluginInfo]:
        """Return what is known of its plugins, in their order, and then of those left out.

        A plugin that was given by name is left out if it is switched off, or if an object of its
        name was given; `error` says which.
        """
        known = self._admitted.infos
        return [*informed(self._roster.hosts, self.health(), known), *self._admitted.left_out]

    @property
    def hosts(self) -> tuple[PluginHost, ...]:
        """The running plugins in their order, for tests and tools."""
        return tuple(self._roster.hosts)
