"""What a plugin is given: everything made through it dies with the plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

import anyio

from runbus.bus import check_callable, check_choice, name_of
from runbus.errors import BusClosed
from runbus.kernel._entered import check_manager
from runbus.kernel._restart import Restarts

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, Hashable
    from contextlib import AbstractAsyncContextManager, AbstractContextManager

    from runbus.bus import Bus, EventStream, Overflow, Owner, Subscribe, Subscription
    from runbus.events import Notify, Stream
    from runbus.kernel._tasks import BackgroundTasks

__all__ = ["Scope"]

T = TypeVar("T")
S = TypeVar("S", bound="Stream | Notify")


class Life(Protocol):
    """What a scope needs of the plugin's life: its tasks, and what it has entered."""

    tasks: BackgroundTasks

    async def enter(self, manager: Any) -> Any:
        """Enter a context manager in the plugin's own task."""
        ...


class Scope:
    """What a plugin gets in `setup`: all that is made through it dies with the plugin.

    On closing, subscriptions and streams are closed first, then the tasks are cancelled and
    awaited, then what was entered is left in reverse order.
    """

    __slots__ = ("_life", "bus", "name", "on", "owner", "streams")

    def __init__(self, owner: Owner, bus: Bus, life: Life) -> None:
        self._life = life
        self.on: Subscribe[Subscription] = self._on
        self.streams: list[EventStream[Any]] = []
        self.bus = bus
        self.name = owner.name
        self.owner = owner

    def __repr__(self) -> str:
        return f"<Scope of plugin {self.name!r}>"

    def _on(
        self,
        event: Any,
        handler: Callable[..., Any],
        *,
        once: bool = False,
        timeout: float | None = None,
        thread: bool = False,
    ) -> Subscription:
        """Call `handler` with every event of a class, for as long as the plugin is there."""
        self.bus.check_thread("on")
        return self.bus.registry.subscribe(
            self.owner, event, handler, once=once, timeout_s=timeout, thread=thread
        )

    def stream(
        self,
        event: type[S],
        *,
        maxsize: int = 256,
        overflow: Overflow = "drop_oldest",
        key: Callable[[S], Hashable] | None = None,
        spill: Callable[[S], object] | None = None,
    ) -> EventStream[S]:
        """Return an open stream of the events of a class, to read in a task of the plugin.

        It ends when the plugin is closed; when the kernel stops, after what waits was read.
        See `runbus.bus.Bus.stream` for the arguments and what it raises.
        """
        self._check_open("stream")
        stream = self.bus.stream(
            event, maxsize=maxsize, overflow=overflow, key=key, spill=spill, owner=self.name
        )
        self.streams = [open_one for open_one in self.streams if not open_one.is_closed]
        self.streams.append(stream.open())
        return stream

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
        """Run an async function in the background until it returns or the plugin closes.

        If it fails, and for good, the plugin has failed: it is closed with all that require it,
        and `PluginFailed` is published; if the plugin is critical, the kernel stops.

        Args:
            fn: The function.
            args: What to call it with.
            name: What messages call the task; by default the name of the function.
            drain: Whether the kernel, when it stops, gives the task time to finish by itself
                once `stopping` is true, instead of just cancelling it at the end.
            restart: `on_failure` calls `fn` again after an error, a little later each time.
            max: How many restarts there may be within `per` seconds.
            per: As above.

        Raises:
            InvalidHandler: `fn` is not async, or cannot be called with `args`.
            InvalidOption: `restart` is unknown, or `max` or `per` is not a number above zero.
            BusClosed: The plugin was closed.
        """
        self._check_open("start")
        label = name or name_of(fn)
        passed = [f"arg{number}" for number, _ in enumerate(args, 1)]
        check_callable(fn, self.name, "start()", *passed, is_async=True)
        check_choice(restart, self.name, "restart", (None, "on_failure"))
        restarts = Restarts(self.name, max, per, self.bus.timers)
        return self._life.tasks.start(
            fn, args, label, drain=drain, restarts=restarts if restart else None
        )

    async def enter(self, manager: AbstractAsyncContextManager[T] | AbstractContextManager[T]) -> T:
        """Enter a context manager, sync or async, and return what it gives.

        It is entered and left by the plugin's own task, so it may be a task group or a cancel
        scope. It is left when the plugin closes, in reverse order; a task group is cancelled then.
        Cancelled while entering, the manager is not entered, or left again at once.

        Raises:
            TypeError: It is no context manager.
            BusClosed: The plugin was closed.
        """
        self._check_open("enter")
        check_manager(self.name, manager)
        value: T = await self._life.enter(manager)
        return value

    async def thread(self, fn: Callable[..., T], *args: Any) -> T:
        """Call a blocking function in a worker thread and return what it returns.

        Cancelled, this does not wait for the thread: the function runs on and its result is lost.

        Raises:
            BusClosed: The plugin was closed.
        """
        self._check_open("thread")
        return await anyio.to_thread.run_sync(fn, *args, abandon_on_cancel=True)

    # -- the end

    @property
    def stopping(self) -> bool:
        """Whether the plugin has been asked to come to an end."""
        return self._life.tasks.is_stopping

    async def wait_stopping(self) -> None:
        """Wait until the plugin is asked to come to an end. Cancellation is passed on."""
        await self._life.tasks.wait_stopping()

    def close(self) -> None:
        """End the streams; called by the kernel when nobody may read them any more."""
        for stream in self.streams:
            stream.close()

    def _check_open(self, verb: str) -> None:
        if self.owner.closed:
            raise BusClosed(verb, "closed")
