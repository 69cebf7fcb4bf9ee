"""A plugin as a value, for those that need no class of their own."""

from __future__ import annotations

import dataclasses
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
from runbus.plugins._hooks import HOOKS, check_hook, composed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable, Mapping
    from typing import Self

    from runbus.abc import Scope
    from runbus.bus import Overflow, Subscribe
    from runbus.events import Notify, Stream
    from runbus.plugins._hooks import (
        AppLifecycle,
        BootstrapFactory,
        ClientLifecycle,
        ImageHook,
        TaskDecorator,
    )

__all__ = ["Plugin"]

S = TypeVar("S", bound="Stream | Notify")

logger = logging.getLogger("runbus.plugins")


class Origin(NamedTuple):
    """How another process makes a plugin again.

    Attributes:
        make: The function that made it.
        args: What it got.
        named: What it got by name.
        hooks: The hooks that the plugin had then.
    """

    make: Callable[..., Plugin]
    args: tuple[Any, ...]
    named: Mapping[str, Any]
    hooks: tuple[Any, ...]

    @classmethod
    def of(
        cls, plugin: Plugin, make: Callable[..., Plugin], args: tuple[Any, ...], named: Any
    ) -> Self:
        """Return the origin of a plugin that was just made."""
        return cls(make, args, named, cls._hooks_of(plugin))

    @staticmethod
    def _hooks_of(plugin: Plugin) -> tuple[Any, ...]:
        return plugin.name, plugin.steps, *(getattr(plugin, hook) for hook in HOOKS)

    def fits(self, plugin: Plugin) -> bool:
        """Whether a plugin still does what it did when it was made."""
        return self.hooks == self._hooks_of(plugin)


@dataclasses.dataclass(frozen=True, slots=True)
class Plugin:
    """A plugin put together from functions; every method returns a new one.

        greeter = Plugin("greeter").on(RunStarted, greet).stream(MetricBatch, show)
        torch = Plugin.create("torch").with_image_transform(add_torch).with_around_app(join)

    The hooks are handlers of events, too: `transform` of `ImageTransform`, `bootstrap` of
    `Bootstrap`, `decorate` of `TaskCall` and `around_app` of `WorkerLife`.

    Attributes:
        name: Unique among the plugins of a kernel.
        transform: `(image, cluster) -> image`: changes what the machines of a task must hold.
        bootstrap: `(cluster) -> ops`: shell operations that run after that; see `phase`.
        decorate: `(fn) -> fn`: wraps every function that a worker process calls.
        around_app: `(info) -> context manager`: entered once in each worker process, before its
            first task.
        around_client: `(pool, cluster) -> context manager`: entered while a pool is active.
        after: Names of plugins to come after, where they are there.
        before: Names of plugins to come before, where they are there.
        requires: Names of plugins that must be there; this one stops with them.
        critical: Whether its failure stops the kernel.
        steps: What `setup` does, in order.
        origin: How another process makes it again; None unless a `plugin_factory` made it.

    Raises:
        InvalidHandler: A hook cannot be called with what it is called with, or is async.
    """

    name: str
    transform: ImageHook | None = None
    bootstrap: BootstrapFactory | None = None
    decorate: TaskDecorator | None = None
    around_app: AppLifecycle | None = None
    around_client: ClientLifecycle | None = None
    after: tuple[str, ...] = ()
    before: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    critical: bool = False
    steps: tuple[Callable[[Scope], Awaitable[object]], ...] = ()
    origin: Origin | None = dataclasses.field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        for hook in HOOKS:
            if (given := getattr(self, hook)) is not None:
                check_hook(self.name, hook, given)

    @classmethod
    def create(cls, name: str) -> Self:
        """Return a plugin that does nothing yet."""
        return cls(name)

    def with_image_transform(self, hook: ImageHook) -> Self:
        """Change the image of a task, after what was said before: see `transform`.

        Raises:
            InvalidHandler: The hook cannot be called with an image and a cluster, or is async.
        """
        return self._with("transform", hook)

    def with_bootstrap(self, hook: BootstrapFactory) -> Self:
        """Run shell operations, after what was said before: see `bootstrap`.

        Raises:
            InvalidHandler: The hook cannot be called with a cluster, or is async.
        """
        return self._with("bootstrap", hook)

    def with_decorator(self, hook: TaskDecorator) -> Self:
        """Wrap every function, within the decorators that were given before: see `decorate`.

        Raises:
            InvalidHandler: The hook cannot be called with a function, or is async.
        """
        return self._with("decorate", hook)

    def with_around_app(self, hook: AppLifecycle) -> Self:
        """Enter a context manager in each worker process, within those before: see `around_app`.

        Raises:
            InvalidHandler: The hook cannot be called with an `InstanceInfo`, or is async.
        """
        return self._with("around_app", hook)

    def with_around_client(self, hook: ClientLifecycle) -> Self:
        """Enter a context manager around a pool, within those before: see `around_client`.

        Raises:
            InvalidHandler: The hook cannot be called with a pool and a cluster, or is async.
        """
        return self._with("around_client", hook)

    def _with(self, name: str, hook: Any) -> Self:
        check_hook(self.name, name, hook)
        return dataclasses.replace(self, **{name: composed(name, getattr(self, name), hook)})

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
        return dataclasses.replace(self, steps=(*self.steps, step))

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
        return dataclasses.replace(
            self,
            after=(*self.after, *listed(after, "after", of="names")),
            before=(*self.before, *listed(before, "before", of="names")),
            requires=(*self.requires, *listed(requires, "requires", of="names")),
        )

    async def setup(self, scope: Scope) -> None:
        """Subscribe the hooks, then take every step in order."""
        if any(getattr(self, hook) is not None for hook in HOOKS):
            from runbus.plugins._hook_calls import handlers_of  # costs what few plugins need

            for event, handler in handlers_of(self):
                scope.on(event, handler)
        for step in self.steps:
            await step(scope)
