"""A plugin as a value, for those that need no class of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

    from runbus.abc import Scope
    from runbus.bus import Overflow
    from runbus.bus._subscribing import Subscribe
    from runbus.events import Notify, Stream

__all__ = ["Plugin"]

S = TypeVar("S", bound="Stream | Notify")


class Plugin(NamedTuple):
    """A plugin put together from functions; every method returns a new one.

        greeter = Plugin("greeter").on(RunStarted, greet).stream(MetricBatch, show)

    Attributes:
        name: Unique among the plugins of a kernel.
        after: Names of plugins to come after, where they are there.
        before: Names of plugins to come before, where they are there.
        requires: Names of plugins that must be there; this one stops with them.
        critical: Whether its failure stops the kernel.
        steps: What `setup` does, in order.
    """

    name: str
    after: tuple[str, ...] = ()
    before: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    critical: bool = False
    steps: tuple[Callable[[Scope], Awaitable[object]], ...] = ()

    @property
    def on(self) -> Subscribe[Plugin]:
        """Call a handler with every event of a class: `plugin.on(JobEnded, handler)`."""
        return self._on

    def _on(
        self,
        event: Any,
        handler: Callable[..., Any],
        *,
        once: bool = False,
        timeout: float | None = None,
        thread: bool = False,
    ) -> Plugin:
        async def subscribe(scope: Scope) -> None:
            scope.on(event, handler, once=once, timeout=timeout, thread=thread)

        return self.then(subscribe)

    def stream(
        self,
        event: type[S],
        handler: Callable[[Any], Awaitable[object]],
        *,
        maxsize: int = 256,
        overflow: Overflow = "drop_oldest",
        key: Callable[[S], Hashable] | None = None,
        spill: Callable[[S], object] | None = None,
    ) -> Plugin:
        """Await `handler` with every event of a stream, in a task of the plugin's own.

        It gets `Lagged` marks, too. See `Scope.stream` for the other arguments.
        """

        async def subscribe(scope: Scope) -> None:
            stream = scope.stream(event, maxsize=maxsize, overflow=overflow, key=key, spill=spill)

            async def read() -> None:
                async for item in stream:
                    await handler(item)

            scope.start(read, name=f"stream of {event.__name__}")

        return self.then(subscribe)

    def start(
        self,
        fn: Callable[..., Awaitable[object]],
        *args: Any,
        restart: Literal["on_failure"] | None = None,
        max: int = 3,
        per: float = 60.0,
    ) -> Plugin:
        """Run an async function in the background; see `Scope.start`."""

        async def begin(scope: Scope) -> None:
            scope.start(fn, *args, restart=restart, max=max, per=per)

        return self.then(begin)

    def enter(self, make: Callable[[], Any]) -> Plugin:
        """Enter the context manager that `make` makes, for as long as the plugin is there."""

        async def enter(scope: Scope) -> None:
            await scope.enter(make())

        return self.then(enter)

    def then(self, step: Callable[[Scope], Awaitable[object]]) -> Plugin:
        """Await `step(scope)` as the next part of the set-up."""
        return self._replace(steps=(*self.steps, step))

    def placed(
        self,
        *,
        after: tuple[str, ...] = (),
        before: tuple[str, ...] = (),
        requires: tuple[str, ...] = (),
    ) -> Plugin:
        """Come after, before or together with others, in addition to what was said before."""
        return self._replace(
            after=(*self.after, *after),
            before=(*self.before, *before),
            requires=(*self.requires, *requires),
        )

    async def setup(self, scope: Scope) -> None:
        """Take every step, in order."""
        for step in self.steps:
            await step(scope)
