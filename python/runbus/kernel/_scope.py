"""What a plugin is given: everything made through it dies with the plugin."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

import anyio

from runbus.bus._checks import is_coroutine_function, name_of
from runbus.errors import BusClosed, InvalidHandler
from runbus.kernel._restart import Restarts

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable
    from contextlib import AbstractAsyncContextManager, AbstractContextManager

    from runbus.bus import Bus, EventStream, Overflow, Subscription
    from runbus.bus._subscription import Owner
    from runbus.events import Decorate, Event
    from runbus.kernel._host import PluginHost

__all__ = ["Scope"]

T = TypeVar("T")
E = TypeVar("E", bound="Event")
D = TypeVar("D", bound="Decorate")

logger = logging.getLogger("runbus.kernel")


class Scope:
    """What a plugin gets in `setup`: all that is made through it dies with the plugin.

    On closing, subscriptions and streams are closed first, then the tasks are cancelled and
    awaited, then what was entered is left in reverse order.
    """

    __slots__ = ("_host", "_stopping", "bus", "name", "owner", "streams", "tasks")

    def __init__(self, host: PluginHost, bus: Bus, owner: Owner) -> None:
        self._host = host
        self._stopping: asyncio.Future[None] | None = None
        self.bus = bus
        self.name = owner.name
        self.owner = owner
        self.streams: list[EventStream[Any]] = []
        self.tasks: dict[asyncio.Task[Any], bool] = {}

    def __repr__(self) -> str:
        return f"<Scope of plugin {self.name!r}>"

    @overload
    def on(
        self,
        event: type[D],
        handler: Callable[[D, Any], object],
        *,
        once: bool = False,
    ) -> Subscription: ...

    @overload
    def on(
        self,
        event: type[E],
        handler: Callable[[E], object],
        *,
        once: bool = False,
        timeout: float | None = None,
        thread: bool = False,
    ) -> Subscription: ...

    def on(
        self,
        event: type[Any],
        handler: Callable[..., Any],
        *,
        once: bool = False,
        timeout: float | None = None,
        thread: bool = False,
    ) -> Subscription:
        """Call `handler` with every event of a class, its subclasses included.

        Args:
            event: The class of events.
            handler: Called with each event; async, or sync if it never blocks.
            once: Whether to end with the first event.
            timeout: How long a call may take, in seconds; by default the event class says it.
            thread: Whether to call a sync handler in a worker thread.

        Returns:
            The subscription, to end it before the plugin ends.

        Raises:
            InvalidHandler: The handler can never work, or is subscribed already.
            WrongKind: The events of the class are read from a stream, or it is no event class.
            BusClosed: The plugin was closed.
            WrongLoop: This is another thread than that of the event loop, or a forked child.
        """
        self.bus.check_thread("on")
        return self.bus.registry.subscribe(
            self.owner, event, handler, once=once, timeout_s=timeout, thread=thread
        )

    def stream(
        self,
        event: type[E],
        *,
        maxsize: int = 256,
        overflow: Overflow = "drop_oldest",
        key: Callable[[E], Hashable] | None = None,
        spill: Callable[[E], object] | None = None,
    ) -> EventStream[E]:
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
            InvalidHandler: `fn` is not async.
            BusClosed: The plugin was closed.
        """
        self._check_open("start")
        label = name or name_of(fn)
        if not is_coroutine_function(fn):
            raise InvalidHandler(
                self.name, label, "start()", "is not async", "define it with `async def`"
            )
        if restart not in (None, "on_failure"):
            raise ValueError(f"restart={restart!r}; it is None or 'on_failure'")
        restarts = Restarts(max, per, self.bus.timers) if restart else None
        task = asyncio.get_running_loop().create_task(
            self._host.run_task(fn, args, label, restarts), name=f"{self.name}: {label}"
        )
        self.tasks[task] = drain
        task.add_done_callback(self._forget)
        return task

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self.tasks.pop(task, None)

    async def enter(self, manager: AbstractAsyncContextManager[T] | AbstractContextManager[T]) -> T:
        """Enter a context manager, sync or async, and return what it gives.

        It is entered and left by the plugin's own task, so it may be a task group or a cancel
        scope. It is left when the plugin closes, in reverse order; a task group is cancelled then.
        Cancelled while entering, the manager is not entered.

        Raises:
            TypeError: It is no context manager.
            BusClosed: The plugin was closed.
        """
        self._check_open("enter")
        value: T = await self._host.enter(manager)
        return value

    async def thread(self, fn: Callable[..., T], *args: Any) -> T:
        """Call a blocking function in a worker thread and return what it returns.

        Cancelled, this does not wait for the thread: the function runs on and its result is lost.
        """
        return await anyio.to_thread.run_sync(fn, *args, abandon_on_cancel=True)

    # -- the end

    @property
    def stopping(self) -> bool:
        """Whether the plugin has been asked to come to an end."""
        return self._host.is_stopping

    async def wait_stopping(self) -> None:
        """Wait until the plugin is asked to come to an end. Cancellation is passed on."""
        await self._host.wait_stopping()

    def _check_open(self, verb: str) -> None:
        if self.owner.closed:
            raise BusClosed(verb, "closed")
