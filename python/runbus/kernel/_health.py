"""How the plugins do: what they say of themselves, and what the kernel sees of them."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from runbus.abc import PluginState
from runbus.bus._mailbox import StreamStatistics
from runbus.bus._subscription import HandlerStatistics
from runbus.bus._timers import wait_until

if TYPE_CHECKING:
    from runbus.bus import Bus
    from runbus.kernel._host import PluginHost

__all__ = ["Health", "HealthChecks", "PluginHealth", "look"]

CHECK_EVERY_S = 10.0
CHECK_LIMIT_S = 2.0


class PluginHealth(msgspec.Struct, frozen=True):
    """How one plugin does, or the application, which subscribes with `bus.on` and `bus.stream`.

    Attributes:
        name: Its name.
        state: How far it is in its life.
        healthy: Its own answer; True if it has no `health`, False if that hangs or fails.
        details: What it says besides.
        error: Why it failed; empty if it did not. Of the application, which of its handlers are
            called no more, and why.
        handlers: What its handlers have done.
        streams: What has become of the events in its mailboxes.
    """

    name: str
    state: PluginState
    healthy: bool
    details: Mapping[str, Any]
    error: str
    handlers: tuple[HandlerStatistics, ...]
    streams: tuple[StreamStatistics, ...]


class Health(msgspec.Struct, frozen=True):
    """How a kernel does.

    Attributes:
        healthy: Whether every plugin and the application are healthy, neither failed nor
            quarantined.
        plugins: By name, in their order.
        loop_lag_s: How long the event loop took to answer last, in seconds.
        loop_blocked: How often the event loop was blocked for more than a second.
        inbox_pending: Events from threads that wait.
        inbox_refused: Events from threads that found the inbox full.
        application: The application itself, quarantined while one of its handlers is.
    """

    healthy: bool
    plugins: Mapping[str, PluginHealth]
    loop_lag_s: float
    loop_blocked: int
    inbox_pending: int
    inbox_refused: int
    application: PluginHealth


class HealthChecks:
    """Asks the plugins how they are; a plugin that still owes an answer is not asked again."""

    def __init__(self, bus: Bus) -> None:
        self._timers = bus.timers
        self._answers: dict[str, tuple[bool, Mapping[str, Any]]] = {}
        self._running: dict[str, asyncio.Task[Any]] = {}

    def answer(self, name: str) -> tuple[bool, Mapping[str, Any]]:
        """Return what a plugin said last; healthy if it was never asked."""
        return self._answers.get(name, (True, {}))

    async def poll(self, hosts: list[PluginHost]) -> None:
        """Ask the plugins, at most 2 seconds each, all at once. Cancellation ends the asking."""
        asked = [host for host in hosts if callable(getattr(host.plugin, "health", None))]
        for host in asked:
            running = self._running.get(host.name)
            if running is None or running.done():
                self._running[host.name] = asyncio.get_running_loop().create_task(
                    ask(host.plugin), name=f"runbus health of {host.name}"
                )
        ends_ns = self._timers.monotonic_ns() + int(CHECK_LIMIT_S * 1e9)
        for host in asked:
            task = self._running[host.name]
            left_s = (ends_ns - self._timers.monotonic_ns()) / 1e9
            if await wait_until(task, left_s, self._timers) and not task.cancelled():
                self._answers[host.name] = task.result()
            else:
                problem = f"no answer within {CHECK_LIMIT_S:g} s"
                self._answers[host.name] = (False, {"error": problem})
            degrade(host, healthy=self._answers[host.name][0])

    def close(self) -> None:
        """Cancel what still runs."""
        for task in self._running.values():
            task.cancel()


async def ask(plugin: Any) -> tuple[bool, Mapping[str, Any]]:
    """Call a plugin's `health`; a failure of it means that the plugin is not healthy."""
    try:
        answer = plugin.health()
        if inspect.isawaitable(answer):
            answer = await answer
        healthy, details = answer
    except Exception as error:
        return False, {"error": f"{type(error).__name__}: {error}"}
    return bool(healthy), dict(details)


def degrade(host: PluginHost, *, healthy: bool) -> None:
    """Let the state follow the answer, between STARTED and DEGRADED only."""
    if host.state is PluginState.STARTED and not healthy:
        host.state = PluginState.DEGRADED
    elif host.state is PluginState.DEGRADED and healthy:
        host.state = PluginState.STARTED


def look(
    bus: Bus, hosts: list[PluginHost], checks: HealthChecks, lag_s: float, blocked: int
) -> Health:
    """Return how everything does now; asks nobody."""
    handlers: dict[str, list[HandlerStatistics]] = {}
    for sub in bus.registry.subscriptions():
        handlers.setdefault(sub.owner.name, []).append(sub.statistics())
    streams: dict[str, list[StreamStatistics]] = {}
    for _, box in bus.registry.boxes():
        streams.setdefault(box.owner, []).append(box.statistics())
    plugins = {}
    for host in hosts:
        healthy, details = checks.answer(host.name)
        state = PluginState.QUARANTINED if host.owner.quarantined else host.state
        fine = healthy and state not in (PluginState.FAILED, PluginState.QUARANTINED)
        plugins[host.name] = PluginHealth(
            host.name,
            state,
            fine,
            details,
            str(host.error or ""),
            tuple(handlers.get(host.name, ())),
            tuple(streams.get(host.name, ())),
        )
    owner = bus.registry.application
    skipped = [sub for sub in owner.subscriptions if sub.skip]
    application = PluginHealth(
        owner.name,
        PluginState.QUARANTINED if skipped else PluginState.STARTED,
        not skipped,
        {},
        "; ".join(f"{sub.name}: {sub.last_error}" for sub in skipped),
        tuple(handlers.get(owner.name, ())),
        tuple(streams.get(owner.name, ())),
    )
    return Health(
        all(one.healthy for one in (*plugins.values(), application)),
        plugins,
        lag_s,
        blocked,
        bus.inbox_pending,
        bus.inbox_refused,
        application,
    )
