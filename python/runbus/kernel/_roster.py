"""The plugins of a running kernel: who is there, who comes, who goes."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from runbus.bus import describe, wait_until
from runbus.errors import (
    BusClosed,
    HookError,
    MissingPlugin,
    PluginError,
    PluginNotFound,
    WouldDeadlock,
    near_matches,
)
from runbus.events import PluginFailed, PluginReleased, PluginStarted, PluginStopped
from runbus.kernel._host import PluginHost
from runbus.plugins import IN_THE_LIST, check_names, place_all, wish_of

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from runbus.bus import Bus
    from runbus.events import Notify
    from runbus.plugins import Place, Wish

__all__ = ["Roster"]

logger = logging.getLogger("runbus.kernel")

_STOP_PLUGIN_S = 10.0


class Roster:
    """Starts and stops plugins one by one, those before others on which others rely.

    Attributes:
        hosts: The plugins that were started, in their order.
        places: Where each stands, and why.
        errors: What went wrong when plugins were closed that are no longer there.
    """

    def __init__(
        self,
        bus: Bus,
        places: list[Place],
        setup_timeout_s: float,
        *,
        contain_exits: bool = False,
        on_critical: Callable[[BaseException], None],
        is_ending: Callable[[], bool],
    ) -> None:
        self.hosts: list[PluginHost] = []
        self.places = places
        self.errors: list[BaseException] = []
        self._bus = bus
        self._setup_timeout_s = setup_timeout_s
        self._contain_exits = contain_exits
        self._on_critical = on_critical
        self._is_ending = is_ending
        self._work: set[asyncio.Task[Any]] = set()
        self._closings: dict[PluginHost, asyncio.Task[None]] = {}
        self._late: set[str] = set()

    def living(self) -> list[PluginHost]:
        """Return the plugins that were started, in their order."""
        return self.hosts

    def find(self, name: str) -> PluginHost:
        """Return the plugin of a name.

        Raises:
            PluginNotFound: It does not exist.
        """
        for host in self.hosts:
            if host.name == name:
                return host
        raise PluginNotFound(name, near_matches(name, [host.name for host in self.hosts]))

    def dependants(self, name: str) -> list[PluginHost]:
        """Return the plugins that require `name`, directly or not, in their order."""
        names = {name}
        for host in self.hosts:
            if names & {*host.wish.requires}:
                names.add(host.name)
        return [host for host in self.hosts if host.name in names and host.name != name]

    def runs_this(self) -> PluginHost | None:
        """Return the plugin whose code is running; None if no plugin's is."""
        return next((host for host in self.hosts if host.runs_this()), None)

    # -- coming

    async def start(self, plugin: Any, wish: Wish, rank: float) -> None:
        """Set a plugin up, as the last of those that are there.

        Raises:
            HookError: It could not be set up; what it made is closed.
        """
        host = self._host(plugin, wish, rank)
        self.hosts.append(host)
        await host.start(self._setup_timeout_s)

    def _host(self, plugin: Any, wish: Wish, rank: float) -> PluginHost:
        host = PluginHost(
            plugin, self._bus, rank, wish=wish, on_crash=self._crashed, is_ending=self._is_ending
        )
        host.owner.contains_exits = self._contain_exits
        return host

    async def add(self, plugin: Any) -> None:
        """Set up a further plugin, in its place among those that are there; publish it.

        Raises:
            DuplicatePlugin: Its name is taken.
            MissingPlugin: It requires a name that is not there, or that is being closed.
            OrderCycle: It wants to come before and after others.
            WouldDeadlock: It requires the plugin whose set-up asks for it.
            HookError: It could not be set up; what it made is closed.
        """
        self._forget_ended()
        wish = wish_of(plugin)
        # What the others require was there when they came.
        check_names([*(host.wish._replace(requires=()) for host in self.hosts), wish])
        required = [self.find(name) for name in wish.requires]
        for other in required:
            if other.is_closing:
                raise MissingPlugin(wish.name, other.name, ())
            if not other.is_set_up and other.runs_this():
                raise WouldDeadlock(f"{wish.name!r} requires {other.name!r}, whose setup starts it")
        places = place_all([*(host.wish for host in self.hosts), wish])
        host = self._host(plugin, wish, float("inf"))
        self._late.add(host.name)
        self._arrange([*self.hosts, host], places)
        try:
            for other in required:
                await other.wait_set_up()
                if other.is_closing:
                    raise MissingPlugin(wish.name, other.name, ())
            if self._is_ending():
                raise HookError(host.name, "setup", "", "was called off")
            await host.start(self._setup_timeout_s)
        except BaseException:
            host.abandon()
            # The end of the kernel collects itself what went wrong in those that are still there.
            if not self._is_ending() and (host.task is None or host.task.done()):
                self._forget(host)
            raise
        await self.publish(PluginStarted(plugin=host.name, took_s=host.took_s))

    def _arrange(self, hosts: list[PluginHost], places: list[Place]) -> None:
        """Let plugins be called and closed in an order from now on."""
        by_name = {host.name: host for host in hosts}
        self.hosts = [by_name[place.name] for place in places]
        self.places = [
            place._replace(reason="started while the kernel ran")
            if place.reason == IN_THE_LIST and place.name in self._late
            else place
            for place in places
        ]
        for rank, host in enumerate(self.hosts):
            host.owner.rank = rank
        self._bus.registry.reorder()

    def _forget(self, *gone: PluginHost) -> None:
        hosts = [host for host in self.hosts if host not in gone]
        self._late -= {host.name for host in gone}
        self._arrange(hosts, place_all([host.wish for host in hosts]))
        self.errors += [error for host in gone for error in host.failures]

    def _forget_ended(self) -> None:
        """Make room for new instances of plugins that failed and are closed."""
        ended = [host for host in self.hosts if host.task is not None and host.task.done()]
        if ended:
            self._forget(*ended)

    def call_off_starts(self) -> None:
        """Cancel every set-up that is under way, because the kernel stops."""
        for host in self.hosts:
            if not host.is_set_up:
                self._close_once(host)

    # -- going

    async def remove(self, name: str, reason: str) -> None:
        """Close a plugin after those that require it; publish `PluginStopped` for each.

        The caller may be cancelled: the closing continues.

        Raises:
            PluginNotFound: There is none of that name.
            WouldDeadlock: It is the plugin itself, or one that requires it, that asks.
        """
        going = [*reversed(self.dependants(name)), self.find(name)]
        for host in going:
            if host.runs_this():
                raise WouldDeadlock(f"stop_plugin({name!r}) waits for {host.name!r}, which asks")
        await wait_until(self._spawn(self._close(going, reason)), None, self._bus.timers)

    async def _close(self, going: list[PluginHost], reason: str) -> None:
        for host in going:
            asked_before = host in self._closings
            await wait_until(self._stop_once(host), None, self._bus.timers)
            if not asked_before:
                self._forget_ended()
                await self.publish(PluginStopped(plugin=host.name, reason=reason))

    def _close_once(self, host: PluginHost) -> asyncio.Task[None]:
        """Close a plugin, however many ask for it."""
        if host not in self._closings:
            self._closings[host] = self._spawn(host.close(_STOP_PLUGIN_S))
        return self._closings[host]

    def _stop_once(self, host: PluginHost) -> asyncio.Task[None]:
        """Close a plugin that has read what waits for it, however many ask for it."""
        if host not in self._closings:
            self._closings[host] = self._spawn(self._stop(host))
        return self._closings[host]

    async def _stop(self, host: PluginHost) -> None:
        try:
            if host.is_set_up:
                await host.read_out(_STOP_PLUGIN_S / 2)
        finally:
            await host.close(_STOP_PLUGIN_S / 2)

    def _crashed(self, host: PluginHost, crash: BaseException) -> None:
        if host.critical or not isinstance(crash, PluginError):
            self._on_critical(crash)
        if isinstance(crash, PluginError):
            self._spawn(self._retire(host, crash))

    async def _retire(self, host: PluginHost, crash: PluginError) -> None:
        """Close a plugin that cannot continue, after those that require it."""
        cause = crash.__cause__
        error = describe(cause) if cause is not None else str(crash)
        task = getattr(crash, "task", "")
        await self.publish(PluginFailed(plugin=host.name, task=task, error=error))
        reason = f"{host.name} failed, which it requires"
        await self._close([*reversed(self.dependants(host.name))], reason)
        await wait_until(self._close_once(host), None, self._bus.timers)

    # -- both

    def release(self, name: str) -> None:
        """Let a quarantined plugin get notifications again; publishes `PluginReleased`."""
        application = self._bus.registry.application
        owner = application if name == application.name else self.find(name).owner
        if self._bus.release(owner):
            self.tell(PluginReleased(plugin=name))

    def tell(self, event: Notify) -> None:
        """Publish a fact of the kernel's own in the background."""
        self._spawn(self.publish(event))

    async def publish(self, event: Notify) -> None:
        """Publish a fact of the kernel's own; a bus that was closed meanwhile does not mind."""
        try:
            await self._bus.publish(event)
        except BusClosed:
            logger.debug("too late to publish %r", event)
        except PluginError as error:
            self._on_critical(error)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Let work of the kernel's own continue in the background; the shutdown cancels it."""
        task = asyncio.get_running_loop().create_task(work, name="runbus kernel work")
        self._work.add(task)
        task.add_done_callback(self._work_ended)
        return task

    def _work_ended(self, task: asyncio.Task[None]) -> None:
        self._work.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._on_critical(error)  # nobody else asks for its result

    def cancel_work(self) -> None:
        """Cancel the work that is under way."""
        for task in list(self._work):
            task.cancel()
