"""How the plugins do: what they say of themselves, and what the kernel sees of them."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from runbus._revealed import unrevealed_data
from runbus.abc import PluginInfo, PluginState
from runbus.bus import (
    HandlerStatistics,
    StreamStatistics,
    describe,
    shown,
    text_of,
    wait_until,
)
from runbus.kernel._ending import EXITS, Deadline

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runbus.bus import Bus
    from runbus.kernel._host import PluginHost

__all__ = ["Health", "HealthChecks", "PluginHealth", "informed", "look"]

CHECK_EVERY_S = 10.0
CHECK_LIMIT_S = 2.0


class PluginHealth(msgspec.Struct, frozen=True):
    """How one plugin does, or the application, which subscribes with `bus.on` and `bus.stream`.

    Attributes:
        name: Its name.
        state: How far it is in its life.
        healthy: Its own answer; True if it has no `health`, False if that hangs or fails, and
            until it has answered for the first time.
        details: What it says besides.
        age_s: How long ago it answered, or failed to, in seconds; None if it has no `health`, or
            has not answered yet.
        error: Why it failed; empty if it did not. Of the application, which of its handlers are
            called no more, and why.
        handlers: What its handlers have done.
        streams: What has become of the events in its mailboxes.
    """

    name: str
    state: PluginState
    healthy: bool
    details: Mapping[str, Any]
    age_s: float | None
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


class Answer(msgspec.Struct, frozen=True):
    """What a plugin said last, and when by the monotonic clock; None if it never did."""

    healthy: bool
    details: Mapping[str, Any]
    at_ns: int | None = None


_NO_HEALTH = Answer(True, {})
_NOT_YET = Answer(False, {"error": "has not answered yet"})


class HealthChecks:
    """Asks the plugins how they are; a plugin that still owes an answer is not asked again."""

    def __init__(self, bus: Bus) -> None:
        self._timers = bus.timers
        self._answers: dict[PluginHost, Answer] = {}
        self._running: dict[PluginHost, asyncio.Task[None]] = {}

    def answer(self, host: PluginHost) -> Answer:
        """Return what a plugin said last."""
        if host in self._answers:
            return self._answers[host]
        return _NOT_YET if can_be_asked(host) else _NO_HEALTH

    def age_s(self, answer: Answer) -> float | None:
        """Return how long ago an answer was given, in seconds; None if there was none."""
        if answer.at_ns is None:
            return None
        return (self._timers.monotonic_ns() - answer.at_ns) / 1e9

    def ask(self, hosts: list[PluginHost]) -> None:
        """Ask plugins; who need not wait for anything has answered after one turn of the loop."""
        self._forget_others(hosts)
        for host in hosts:
            if can_be_asked(host) and host not in self._running:
                task = asyncio.get_running_loop().create_task(
                    self._ask(host), name=f"runbus health of {host.name}"
                )
                self._running[host] = task
                task.add_done_callback(partial(self._answered, host))

    async def poll(self, hosts: list[PluginHost]) -> None:
        """Ask the plugins, at most 2 seconds each, all at once. Cancellation ends the asking."""
        self.ask(hosts)
        limit = Deadline(self._timers, CHECK_LIMIT_S, 0.0)
        for host, task in list(self._running.items()):
            if not await wait_until(task, limit.left_s(), self._timers):
                problem = f"no answer within {CHECK_LIMIT_S:g} s"
                self._keep(host, healthy=False, details={"error": problem})

    def _answered(self, host: PluginHost, _: asyncio.Task[None]) -> None:
        self._running.pop(host, None)

    async def _ask(self, host: PluginHost) -> None:
        self._keep(host, *await ask(host.plugin))

    def _keep(self, host: PluginHost, healthy: bool, details: Mapping[str, Any]) -> None:
        self._answers[host] = Answer(healthy, details, self._timers.monotonic_ns())
        degrade(host, healthy=healthy)

    def _forget_others(self, hosts: list[PluginHost]) -> None:
        for host in [host for host in self._answers if host not in hosts]:
            del self._answers[host]

    def close(self) -> None:
        """Cancel what still runs."""
        for task in self._running.values():
            task.cancel()


def can_be_asked(host: PluginHost) -> bool:
    """Tell whether a plugin is there to be asked, and has an answer."""
    alive = host.state in (PluginState.STARTED, PluginState.DEGRADED) and not host.is_closing
    try:
        return alive and callable(getattr(host.plugin, "health", None))
    except EXITS:
        raise
    except BaseException:
        return alive  # and the question will tell what is wrong


async def ask(plugin: Any) -> tuple[bool, Mapping[str, Any]]:
    """Call a plugin's `health`; a failure of it means that the plugin is not healthy."""
    task = asyncio.current_task()
    try:
        answer = plugin.health()
        if inspect.isawaitable(answer):
            answer = await answer
        return read_answer(answer)
    except EXITS:
        raise
    except BaseException as error:
        if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
            raise
        return False, {"error": describe(error)}


def read_answer(answer: Any) -> tuple[bool, Mapping[str, Any]]:
    """Return the answer of a plugin as what it must be; anything else means that it is unwell."""
    if isinstance(answer, tuple) and len(answer) == 2 and isinstance(answer[1], Mapping):
        return bool(answer[0]), unrevealed_data(dict(answer[1]))
    return False, {"error": f"health() returned {shown(answer)} instead of (bool, mapping)"}


def degrade(host: PluginHost, *, healthy: bool) -> None:
    """Let the state follow the answer, between STARTED and DEGRADED only."""
    if host.state is PluginState.STARTED and not healthy:
        host.state = PluginState.DEGRADED
    elif host.state is PluginState.DEGRADED and healthy:
        host.state = PluginState.STARTED


def look(
    bus: Bus, hosts: list[PluginHost], checks: HealthChecks, lag_s: float, blocked: int
) -> Health:
    """Return how everything does now; asks no plugin."""
    handlers: dict[str, list[HandlerStatistics]] = {}
    for sub in bus.registry.subscriptions():
        handlers.setdefault(sub.owner.name, []).append(sub.statistics())
    streams: dict[str, list[StreamStatistics]] = {}
    for _, box in bus.registry.boxes():
        streams.setdefault(box.owner, []).append(box.statistics())
    plugins = {}
    for host in hosts:
        answer = checks.answer(host)
        state = PluginState.QUARANTINED if host.owner.quarantined else host.state
        fine = answer.healthy and state not in (PluginState.FAILED, PluginState.QUARANTINED)
        plugins[host.name] = PluginHealth(
            host.name,
            state,
            fine,
            answer.details,
            checks.age_s(answer),
            text_of(host.error) if host.error is not None else "",
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
        None,
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


def informed(
    hosts: list[PluginHost], health: Health, known: Mapping[str, PluginInfo]
) -> Iterator[PluginInfo]:
    """Yield what is known of running plugins.

    Args:
        hosts: The plugins, in their order.
        health: How they do.
        known: What was known of each before it was set up; of those started later nothing is.
    """
    for host in hosts:
        of_it = health.plugins[host.name]
        info = known.get(host.name, PluginInfo(host.name, host.state))
        yield msgspec.structs.replace(
            info,
            state=of_it.state,
            error=of_it.error or info.error,
            version=info.version or str(getattr(host.plugin, "version", "")),
            health="ok" if of_it.healthy else "failed",
            requires=host.wish.requires,
        )
