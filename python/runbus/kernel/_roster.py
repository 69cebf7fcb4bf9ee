"""The plugins of a running kernel: who is there, who comes, who goes."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from runbus.bus._timers import wait_until
from runbus.errors import BusClosed, PluginError, PluginNotFound, WouldDeadlock, near_matches
from runbus.events import PluginFailed, PluginReleased, PluginStarted, PluginStopped
from runbus.kernel._admission import check, wish_of
from runbus.kernel._host import PluginHost
from runbus.kernel._order import Place, resolve_order

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from runbus.bus import Bus
    from runbus.events import Notify

__all__ = ["Roster", "admit"]

logger = logging.getLogger("runbus.kernel")

_WAITING_EVERY_S = 10.0
_STOP_PLUGIN_S = 10.0


def admit(plugin: Any) -> Any:
    """Return the plugin, or the installed one of that name.

    Raises:
        InvalidPlugin: It is no plugin.
        PluginNotFound: No installed plugin has that name.
        PluginNotLoadable: It cannot be imported or made, or what is made is no plugin.
    """
    if isinstance(plugin, str):
        from runbus.kernel._entry_points import load

        return load(plugin)
    check(plugin)
    return plugin


class Roster:
    """Starts and stops plugins one by one, those before others on which others rely.

    Attributes:
        hosts: The plugins that were started, in their order.
        places: Where each stands, and why.
        tasks: Work of the kernel's own that is under way.
        errors: What went wrong when plugins were stopped.
    """

    def __init__(
        self,
        bus: Bus,
        places: list[Place],
        setup_timeout_s: float,
        on_critical: Callable[[PluginError], None],
    ) -> None:
        self.hosts: list[PluginHost] = []
        self.places = places
        self.tasks: set[asyncio.Task[Any]] = set()
        self.errors: list[Exception] = []
        self._bus = bus
        self._setup_timeout_s = setup_timeout_s
        self._on_critical = on_critical

    def find(self, name: str) -> PluginHost:
        """Return the plugin of a name.

        Raises:
            PluginNotFound: There is none.
        """
        for host in self.hosts:
            if host.name == name:
                return host
        raise PluginNotFound(name, near_matches(name, [host.name for host in self.hosts]))

    def dependants(self, name: str) -> list[PluginHost]:
        """Return the plugins that require `name`, directly or not, in their order."""
        names = {name}
        for host in self.hosts:
            if names & {*host.requires}:
                names.add(host.name)
        return [host for host in self.hosts if host.name in names and host.name != name]

    # -- coming

    async def start(self, plugin: Any, rank: float) -> PluginHost:
        """Set a plugin up, telling every 10 seconds that it is waited for.

        Raises:
            HookError: It could not be set up; what it made is closed.
        """
        host = PluginHost(plugin, self._bus, rank, on_crash=self._crashed)
        self.hosts.append(host)
        waiting = _Reminder(self._bus, host.name)
        try:
            await host.start(self._setup_timeout_s)
        finally:
            waiting.cancel()
        return host

    async def add(self, plugin: Any) -> None:
        """Set up a further plugin, after all that are there, and publish `PluginStarted`."""
        self._forget_ended()
        there = [wish_of(host.plugin)._replace(after=(), before=()) for host in self.hosts]
        resolve_order([*there, wish_of(plugin)._replace(after=(), before=())])
        rank = max((host.owner.rank for host in self.hosts), default=-1.0) + 1
        try:
            host = await self.start(plugin, rank)
        except BaseException:
            self.hosts.pop()
            raise
        self.places.append(Place(host.name, "started while the kernel ran"))
        await self._bus.publish(PluginStarted(plugin=host.name, took_s=host.took_s))

    def _forget_ended(self) -> None:
        """Make room for new instances of plugins that failed and are closed."""
        ended = [host for host in self.hosts if host.task is not None and host.task.done()]
        self.hosts = [host for host in self.hosts if host not in ended]
        names = {host.name for host in ended}
        self.places = [place for place in self.places if place.name not in names]
        self.errors += [error for host in ended for error in host.failures]

    # -- going

    async def remove(self, name: str, reason: str) -> None:
        """Close a plugin after those that require it; publish `PluginStopped` for each.

        The caller may be cancelled: the closing goes on.

        Raises:
            PluginNotFound: There is none of that name.
            WouldDeadlock: It is the plugin itself, or one that requires it, that asks.
        """
        going = [*reversed(self.dependants(name)), self.find(name)]
        for host in going:
            if self._bus.runs_inside(host.owner) or asyncio.current_task() in host.scope.tasks:
                raise WouldDeadlock(f"stop_plugin({name!r}) waits for {host.name!r}, which asks")
        await wait_until(self.spawn(self._close(going, reason)), None, self._bus.timers)

    async def _close(self, going: list[PluginHost], reason: str) -> None:
        for host in going:
            await host.close(_STOP_PLUGIN_S)
            self._forget_ended()
            await self.publish(PluginStopped(plugin=host.name, reason=reason))

    def _crashed(self, host: PluginHost, crash: PluginError) -> None:
        if host.critical:
            self._on_critical(crash)
        self.spawn(self._retire(host, crash))

    async def _retire(self, host: PluginHost, crash: PluginError) -> None:
        """Close a plugin that cannot go on, after those that require it."""
        cause = crash.__cause__
        error = f"{type(cause).__name__}: {cause}" if cause is not None else str(crash)
        task = getattr(crash, "task", "")
        await self.publish(PluginFailed(plugin=host.name, task=task, error=error))
        for other in reversed(self.dependants(host.name)):
            await other.close(_STOP_PLUGIN_S)
            await self.publish(
                PluginStopped(plugin=other.name, reason=f"{host.name} failed, which it requires")
            )
        await host.close(_STOP_PLUGIN_S)

    # -- both

    def release(self, name: str) -> None:
        """Let a quarantined plugin get notifications again; publishes `PluginReleased`."""
        application = self._bus.registry.application
        owner = application if name == application.name else self.find(name).owner
        if self._bus.release(owner):
            self.spawn(self.publish(PluginReleased(plugin=name)))

    async def publish(self, event: Notify) -> None:
        """Publish a fact of the kernel's own; a bus that was closed meanwhile does not mind."""
        try:
            await self._bus.publish(event)
        except BusClosed:
            logger.debug("too late to publish %r", event)
        except PluginError as error:
            self._on_critical(error)

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Let work of the kernel's own go on in the background; its end is awaited on shutdown."""
        task = asyncio.get_running_loop().create_task(work, name="runbus kernel work")
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task


class _Reminder:
    """Logs every 10 seconds which plugin is waited for."""

    def __init__(self, bus: Bus, name: str) -> None:
        self._timers = bus.timers
        self._name = name
        self._waited_s = 0.0
        self._timer = self._timers.call_later(_WAITING_EVERY_S, self._remind)

    def _remind(self) -> None:
        self._waited_s += _WAITING_EVERY_S
        logger.warning("still waiting for: %s (%.0f s)", self._name, self._waited_s)
        self._timer = self._timers.call_later(_WAITING_EVERY_S, self._remind)

    def cancel(self) -> None:
        self._timer.cancel()
