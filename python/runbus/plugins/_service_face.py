"""Services as plugins of a kernel: their blocking methods run in worker threads."""

from __future__ import annotations

import json
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import anyio

from runbus._revealed import unrevealed, unrevealed_data
from runbus._secrets import redacted, redacted_text
from runbus.errors import InvalidService, RunbusError
from runbus.plugins._blocking import LIMIT_S, call_blocking

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from runbus.abc import Scope, ServicePlugin

__all__ = ["ServiceAdapter", "adapt", "check_service"]

T = TypeVar("T")

_INITIALIZE_S = 28.0
_SHUTDOWN_S = 8.0
_HEALTH_S = 1.9
"""A little less than a kernel gives to the set-up, the end and the health of a plugin."""

_MOST_CHARACTERS = 64 << 10


class ServiceAdapter:
    """A service as a plugin: what sets it up, ends it and asks for its health.

    Args:
        service: The service.
        name: Its name among the plugins; its kind if empty.
        initialize_s: How long `initialize` may take, in seconds.

    Attributes:
        service: The service.
        name: Its name among the plugins.

    Raises:
        InvalidService: It is not a service.
    """

    def __init__(
        self, service: ServicePlugin, name: str = "", *, initialize_s: float = _INITIALIZE_S
    ) -> None:
        check_service(service)
        self._initialize_s = initialize_s
        self.service = service
        self.name = name or service.plugin_type
        self._asked_at: float | None = None

    def __repr__(self) -> str:
        return f"<ServiceAdapter {self.name} of {type(self.service).__qualname__}>"

    async def setup(self, scope: Scope) -> None:
        """Initialize the service; it is shut down when the plugin closes, or if this fails."""
        await scope.enter(self._lifetime())

    @asynccontextmanager
    async def _lifetime(self) -> AsyncIterator[None]:
        try:
            await self.call(lambda one: one.initialize(), "initialize", limit_s=self._initialize_s)
            yield
        finally:
            with anyio.CancelScope(shield=True):
                await self.call(lambda one: one.shutdown(), "shutdown", limit_s=_SHUTDOWN_S)

    async def call(self, work: Callable[[Any], T], doing: str, *, limit_s: float = LIMIT_S) -> T:
        """Return what `work` returns of the service; all of it is done by one worker thread.

        Cancelled, it is left behind in that thread.

        Args:
            work: What to do with the service.
            doing: What the call is for.
            limit_s: How long it may take, in seconds.

        Raises:
            PluginStuck: It did not return in time; it is left behind.
            Exception: What it raises.
        """
        return await call_blocking(
            work, self.service, plugin=self.name, doing=doing, limit_s=limit_s
        )

    async def health(self) -> tuple[bool, dict[str, Any]]:
        """Ask the service how it is, unless it still owes an answer. Takes 2 seconds at most."""
        if self._asked_at is not None:
            since_s = time.monotonic() - self._asked_at
            return False, {"error": f"health_check() has not returned for {since_s:.0f} s"}
        self._asked_at = time.monotonic()
        try:
            found: tuple[bool, dict[str, Any]] = await call_blocking(
                self._ask, plugin=self.name, doing="health_check", limit_s=_HEALTH_S
            )
        except Exception as error:  # of the service, whatever it is
            of_ours = isinstance(error, RunbusError)
            text = str(error) if of_ours else f"{type(error).__name__}: {error}"
            return False, {"error": redacted_text(unrevealed(text))[:_MOST_CHARACTERS]}
        return found

    def _ask(self) -> tuple[bool, dict[str, Any]]:
        """Ask the service; runs in a worker thread, which may hang."""
        try:
            return _read(self.service.health_check())
        finally:
            self._asked_at = None


def adapt(service: ServicePlugin) -> ServiceAdapter:
    """Return a service as a plugin of the name of its kind.

    Raises:
        InvalidService: It is not a service.
    """
    return ServiceAdapter(service)


def check_service(service: object) -> None:
    """Refuse what is not a service.

    Raises:
        InvalidService: It is not.
    """
    if isinstance(service, type):
        raise InvalidService(service.__qualname__, "is a class; give an instance")
    kind = getattr(service, "plugin_type", None)
    what = f"{type(service).__qualname__} object"
    if not isinstance(kind, str) or not kind.isidentifier():
        raise InvalidService(what, f"has the plugin_type {kind!r} instead of a word")
    methods = ("initialize", "shutdown", "health_check")
    missing = [name for name in methods if not callable(getattr(service, name, None))]
    if missing:
        raise InvalidService(what, f"has no {', '.join(missing)}")


def _read(answer: Any) -> tuple[bool, dict[str, Any]]:
    """Return what a service says of its health as plain data without secrets."""
    is_pair = isinstance(answer, tuple) and len(answer) == 2
    if not is_pair or not isinstance(answer[0], bool) or not isinstance(answer[1], dict):
        shown = redacted_text(unrevealed(repr(answer)))[:200]
        return False, {"error": f"health_check() returned {shown} instead of (bool, dict)"}
    healthy, details = answer
    try:
        text = json.dumps(redacted(details), default=lambda one: redacted_text(str(one)))
    except (TypeError, ValueError, RecursionError) as error:
        return healthy, {"error": unrevealed(f"its details are no data: {error}")}
    if len(text) > _MOST_CHARACTERS:
        return healthy, {"error": f"its details take {len(text):,} characters"}
    plain: dict[str, Any] = unrevealed_data(json.loads(text))
    return healthy, plain
