"""The services of a hub, and the kernel that they live in."""

from __future__ import annotations

import itertools
import os
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, TypeVar

from runbus._revealed import cause_of, unrevealed
from runbus._secrets import redacted_text
from runbus.api import portal
from runbus.errors import (
    HookError,
    HubClosed,
    RunbusError,
    ServiceUnavailable,
    ShutdownFailed,
)
from runbus.executors import LocalExecutor
from runbus.hub._jobs import Leader
from runbus.kernel import Kernel
from runbus.plugins import ServiceAdapter

if TYPE_CHECKING:
    from collections.abc import Callable
    from logging import Logger

    from runbus.abc import ServicePlugin
    from runbus.hub._config import ServiceEntry

__all__ = ["HubServices"]

T = TypeVar("T")

_CALL_S = 30.0


class HubServices:
    """One service of each kind; the kernel starts when something is first needed of it.

    Args:
        log: Where to log.

    Attributes:
        unavailable: Why services of a file could not be initialized, by kind.
    """

    def __init__(self, log: Logger) -> None:
        self.unavailable: dict[str, ServiceUnavailable] = {}
        self._log = log
        self._lock = threading.RLock()
        self._registering = threading.Lock()
        self._adapters: dict[str, ServiceAdapter] = {}
        self._numbers = itertools.count(2)
        self._open: ExitStack | None = None
        self._is_closed = False
        self._process = os.getpid()
        self._kernel: Kernel
        self._leader: Leader

    def check_open(self, verb: str) -> None:
        """Refuse what comes after the end.

        Raises:
            HubClosed: They were closed, or this is a forked child, which does not have the kernel.
        """
        if self._is_closed or self._process != os.getpid():
            raise HubClosed("the hub", verb)

    def leader(self, verb: str) -> Leader:
        """Return what leads jobs.

        Raises:
            HubClosed: They were closed.
        """
        self._running(verb)
        return self._leader

    def _running(self, verb: str) -> Kernel:
        with self._lock:
            self.check_open(verb)
            if self._open is None:
                self._leader = Leader()
                self._kernel = Kernel(plugins=[LocalExecutor(), self._leader])
                with ExitStack() as stack:
                    stack.enter_context(portal().hold(self._kernel))
                    self._open = stack.pop_all()
            return self._kernel

    def register(self, service: ServicePlugin, called: str = "", place: str = "") -> None:
        """Initialize a service and use it from now on; the one of its kind before is shut down.

        Args:
            service: The service; one that is there already is left as it is.
            called: What to call it in errors; its class if empty.
            place: The file and line that ask for it.

        Raises:
            InvalidService: It is not a service.
            ServiceUnavailable: It cannot be initialized; the one before is still used.
            HubClosed: They were closed.
        """
        kernel = self._running("register_plugin")
        adapter = ServiceAdapter(service)
        kind, called = adapter.name, called or type(service).__qualname__
        # A service that takes its time to begin holds up nobody but the next one.
        with self._registering:
            before = self._adapters.get(kind)
            if before is not None and before.service is service:
                return
            # The old one and the new one are both there for a moment.
            adapter.name = kind if before is None else f"{kind}-{next(self._numbers)}"
            try:
                portal().call(kernel.start_plugin, adapter)
            except RunbusError as error:
                problem = _told_of(error)
                raise ServiceUnavailable(kind, called, problem, place) from cause_of(error)
            self._adapters[kind] = adapter
            self.unavailable.pop(kind, None)
            self._log.info("the %s service is %s", kind, called)
            if before is not None:
                portal().call(kernel.stop_plugin, before.name)

    def register_entry(self, entry: ServiceEntry, *, strict: bool) -> None:
        """Make and register a service of a file.

        Args:
            entry: What the file says.
            strict: Whether to raise if it cannot be made or initialized, instead of noting why.

        Raises:
            ServiceUnavailable: See above.
        """
        place = str(entry.place)
        assert entry.config is not None
        try:
            try:
                service = entry.config.build()
            except Exception as error:  # of its constructor
                told = _told(error)
                raise ServiceUnavailable(entry.kind, entry.type, told, place) from cause_of(error)
            self.register(service, entry.type, place)
        except ServiceUnavailable as error:
            if strict:
                raise
            self._log.info("%s", error)
            self.unavailable[entry.kind] = error

    def get(self, kind: str) -> Any:
        """Return the service of a kind; None if there is none."""
        adapter = self._adapters.get(kind)
        return None if adapter is None else adapter.service

    def call(
        self, kind: str, doing: str, work: Callable[[Any], T], *, limit_s: float = _CALL_S
    ) -> T:
        """Return what `work` returns of a service, all of it done by one worker thread.

        Args:
            kind: The kind of the service, which is there.
            doing: What the call is for.
            work: What to do with the service.
            limit_s: How long it may take, in seconds.

        Raises:
            PluginStuck: It did not return in time.
            Exception: What it raises.
        """
        adapter = self._adapters[kind]

        async def call() -> T:
            return await adapter.call(work, doing, limit_s=limit_s)

        return portal().call(call)

    def health(self) -> dict[str, dict[str, Any]]:
        """Ask all services at once how they are; takes 2 seconds at most.

        Raises:
            HubClosed: They were closed.
        """
        found: dict[str, dict[str, Any]] = {
            kind: {"healthy": False, "details": {"error": error.problem}}
            for kind, error in self.unavailable.items()
        }
        kernel = self._running("check_plugin_health")
        adapters = dict(self._adapters)
        health = portal().call(kernel.check_health)
        for kind, adapter in adapters.items():
            if (one := health.plugins.get(adapter.name)) is not None:
                found[kind] = {"healthy": one.healthy, "details": dict(one.details)}
        return found

    def close(self) -> None:
        """End what the leader leads, then shut down the services, the last one first.

        Raises:
            ShutdownFailed: Services could not be shut down; the others were.
        """
        with self._lock:
            stack, self._open = self._open, None
            self._is_closed = True
        try:
            if stack is not None and self._process == os.getpid():
                with stack:
                    portal().call(self._leader.end_all, "the hub was shut down")
        except ExceptionGroup as group:
            told = tuple(_of(error) for error in group.exceptions)
            raise ShutdownFailed(told) from cause_of(group)
        finally:
            self._adapters.clear()


def _told(error: BaseException) -> str:
    text = str(error) if isinstance(error, RunbusError) else f"{type(error).__name__}: {error}"
    return _redacted(text)


def _redacted(text: str) -> str:
    return redacted_text(unrevealed(text))


def _of(error: Exception) -> str:
    """Return whose end has failed, and what it raised."""
    whose = f"{error.plugin}: " if isinstance(error, HookError) else ""
    return whose + _told_of(error)


def _told_of(error: Exception) -> str:
    """Return what a service raised, also where its error repeats a secret and is not kept."""
    if isinstance(error, HookError) and error.__cause__ is None:
        return _redacted(error.problem.removeprefix("raised "))
    return _told(error.__cause__ or error)
