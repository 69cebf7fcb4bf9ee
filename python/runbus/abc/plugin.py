"""The port of plugins: what one is, and what it is given."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar, runtime_checkable

import msgspec

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, Hashable
    from contextlib import AbstractAsyncContextManager, AbstractContextManager

    from runbus.bus import Bus, EventStream, Overflow, Subscribe, Subscription
    from runbus.events import Notify, Stream

__all__ = ["Plugin", "PluginInfo", "PluginState", "Scope"]

T = TypeVar("T")
S = TypeVar("S", bound="Stream | Notify")


class PluginState(Enum):
    """How far a plugin is in its life.

    DISCOVERED → LOADED → STARTING → STARTED → (DEGRADED | QUARANTINED | FAILED) → STOPPED.
    A plugin that FAILED never becomes STARTED again by itself. A managed plugin is VALIDATED and
    INITIALIZED by separate calls, between LOADED and STARTING.
    """

    DISCOVERED = "discovered"
    LOADED = "loaded"
    VALIDATED = "validated"
    INITIALIZED = "initialized"
    STARTING = "starting"
    STARTED = "started"
    DEGRADED = "degraded"
    QUARANTINED = "quarantined"
    FAILED = "failed"
    STOPPED = "stopped"


class PluginInfo(msgspec.Struct, frozen=True):
    """What is known of a plugin without asking it.

    Attributes:
        name: Its name.
        state: How far it is in its life.
        error: Why it failed or was not loaded; empty if it was.
        entry_point: What its entry point refers to; empty if it was not found through one.
        distribution: Name and version of what installed it; empty as above.
        face: Its form, such as `plugin`, `hook` or `extension`; empty until that is known.
        version: Its version; empty if it has none.
        origin: Where it comes from: `entry point PACKAGE VERSION`, `folder PATH`, or `registered in
            Python`; empty if it was given as an object.
        health: `ok` or `failed`; empty until that is known.
        requires: What it says that it needs.
        load_s: How long it took to import and to make it, in seconds; None if nobody did.
    """

    name: str
    state: PluginState
    error: str = ""
    entry_point: str = ""
    distribution: str = ""
    face: str = ""
    version: str = ""
    origin: str = ""
    health: str = ""
    requires: tuple[str, ...] = ()
    load_s: float | None = None


class Scope(Protocol):
    """What a plugin gets in `setup`: all that is made through it dies with the plugin.

    On closing, subscriptions and streams are closed first, then the tasks are cancelled and
    awaited, then what was entered is left in reverse order.
    """

    @property
    def name(self) -> str:
        """The plugin's name."""
        ...

    @property
    def bus(self) -> Bus:
        """The bus, with all its verbs."""
        ...

    @property
    def stopping(self) -> bool:
        """Whether the plugin has been asked to come to an end."""
        ...

    async def wait_stopping(self) -> None:
        """Wait until the plugin is asked to come to an end. Cancellation is passed on."""
        ...

    @property
    def on(self) -> Subscribe[Subscription]:
        """Call a handler with every event of a class: `scope.on(JobEnded, handler)`."""
        ...

    def stream(
        self,
        event: type[S],
        *,
        maxsize: int = 256,
        overflow: Overflow = "drop_oldest",
        key: Callable[[S], Hashable] | None = None,
        spill: Callable[[S], object] | None = None,
    ) -> EventStream[S]:
        """Return an open stream of the events of a class; see `runbus.bus.Bus.stream`."""
        ...

    def start(
        self,
        fn: Callable[..., Awaitable[Any]],
        *args: Any,
        name: str | None = None,
        drain: bool = False,
        restart: Literal["on_failure"] | None = None,
        max: int = 3,
        per: float = 60.0,
    ) -> asyncio.Task[None]:
        """Run an async function in the background."""
        ...

    async def enter(self, manager: AbstractAsyncContextManager[T] | AbstractContextManager[T]) -> T:
        """Enter a context manager, to be left when the plugin closes."""
        ...

    async def thread(self, fn: Callable[..., T], *args: Any) -> T:
        """Call a blocking function in a worker thread and wait for it."""
        ...


@runtime_checkable
class Plugin(Protocol):
    """Hooks into the bus for as long as the kernel runs.

    Optional attributes, looked up by name:

    - `after`, `before`: names of plugins to come after or before, where they are there at all.
    - `requires`: names of plugins that must be there; this one comes after them and stops with
      them.
    - `critical`: if true, its failure stops the kernel.
    - `health()`: returns `(healthy, details)`; may be async; must answer within 2 seconds.
    """

    @property
    def name(self) -> str:
        """Unique among the plugins of a kernel."""
        ...

    async def setup(self, scope: Any) -> None:
        """Subscribe, start and enter through `scope`; called once, in plugin order.

        The kernel is not ready before this returns, which must be within 30 seconds. An error
        closes what was made so far, then the plugins before this one, in reverse.
        """
        ...
