"""A plugin as a value, for those that need no class of their own."""

from __future__ import annotations

import inspect
import logging
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

from runbus._listed import listed
from runbus.bus import (
    box_for,
    check_callable,
    check_choice,
    check_number,
    check_subscription,
    name_of,
    takes,
)
from runbus.errors import InvalidHandler
from runbus.events import Lagged

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

    from runbus.abc import Scope
    from runbus.bus import Overflow, Subscribe
    from runbus.events import Notify, Stream

__all__ = ["Plugin"]

S = TypeVar("S", bound="Stream | Notify")

logger = logging.getLogger("runbus.plugins")


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
        """Call a handler with every event of a class: `plugin.on(JobEnded, handler)`.

        It is checked at once, with the errors of `Scope.on`; returned is the plugin with one more
        step.
        """
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
        check_subscription(self.name, event, handler, once=once, timeout_s=timeout, thread=thread)

        async def subscribe(scope: Scope) -> None:
            scope.on(event, handler, once=once, timeout=timeout, thread=thread)

        return self.then(subscribe)

    def stream(
        self,
        event: type[S],
        handler: Callable[[S], Awaitable[object]],
        *,
        maxsize: int = 256,
        overflow: Overflow = "drop_oldest",
        key: Callable[[S], Hashable] | None = None,
        spill: Callable[[S], object] | None = None,
        lagged: Callable[[Lagged], object] | None = None,
    ) -> Plugin:
        """Await `handler` with every event of a stream, in a task of the plugin's own.

        Args:
            event: The class of the events.
            handler: Called with each event; async.
            maxsize: See `Scope.stream`, as for the other arguments.
            overflow: As above.
            key: As above.
            spill: As above.
            lagged: Called with each mark of lost events, a `Lagged`; may be async. By default, the
                losses are logged.

        Raises:
            InvalidHandler: The handler is not async, or cannot be called with an event; or the key
                or spill function can never work.
            InvalidOption: An option has no value that makes sense.
            WrongKind: The class is neither Stream nor Notify.
        """
        box_for(event, maxsize=maxsize, overflow=overflow, key=key, spill=spill, owner=self.name)
        check_callable(handler, self.name, f"stream of {event.__name__}", "event", is_async=True)
        if lagged is not None:
            check_callable(lagged, self.name, f"losses of {event.__name__}", "lagged")

        async def subscribe(scope: Scope) -> None:
            stream = scope.stream(event, maxsize=maxsize, overflow=overflow, key=key, spill=spill)

            title = event.__name__

            async def read() -> None:
                async for item in stream:
                    if not isinstance(item, Lagged):
                        await handler(item)
                    elif lagged is None:
                        logger.warning("plugin %r: %d %s were lost", self.name, item.n, title)
                    elif inspect.isawaitable(result := lagged(item)):
                        await result

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
        """Run an async function in the background; see `Scope.start`.

        Raises:
            InvalidHandler: It is not async, or cannot be called with `args`.
            InvalidOption: `restart` is unknown, or `max` or `per` is not a number above zero.
        """
        passed = [f"arg{number}" for number, _ in enumerate(args, 1)]
        check_callable(fn, self.name, "start()", *passed, is_async=True)
        check_choice(restart, self.name, "restart", (None, "on_failure"))
        check_number(max, self.name, "max", whole=True, at_least=1)
        check_number(per, self.name, "per", above=0)

        async def begin(scope: Scope) -> None:
            scope.start(fn, *args, restart=restart, max=max, per=per)

        return self.then(begin)

    def enter(self, make: Callable[[], Any]) -> Plugin:
        """Enter the context manager that `make` makes, for as long as the plugin is there.

        Raises:
            InvalidHandler: `make` cannot be called without arguments, is async or a generator
                function: decorate one with `contextmanager` or `asynccontextmanager`.
        """
        if not takes(make):
            fix = "pass a function that makes the context manager"
            raise InvalidHandler(self.name, name_of(make), "enter()", "takes arguments", fix)
        if not isinstance(make, type):
            check_callable(make, self.name, "enter()", is_async=False)

        async def enter(scope: Scope) -> None:
            await scope.enter(make())

        return self.then(enter)

    def then(self, step: Callable[[Scope], Awaitable[object]]) -> Plugin:
        """Await `step(scope)` as the next part of the set-up.

        Raises:
            InvalidHandler: It is not async, or cannot be called with a scope.
        """
        check_callable(step, self.name, "then()", "scope", is_async=True)
        return self._replace(steps=(*self.steps, step))

    def placed(
        self,
        *,
        after: tuple[str, ...] = (),
        before: tuple[str, ...] = (),
        requires: tuple[str, ...] = (),
    ) -> Plugin:
        """Come after, before or together with others, in addition to what was said before.

        Raises:
            FieldInvalid: What was given is no list of names.
        """
        return self._replace(
            after=(*self.after, *listed(after, "after", of="names")),
            before=(*self.before, *listed(before, "before", of="names")),
            requires=(*self.requires, *listed(requires, "requires", of="names")),
        )

    async def setup(self, scope: Scope) -> None:
        """Take every step, in order."""
        for step in self.steps:
            await step(scope)
