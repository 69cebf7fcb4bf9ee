"""Calls of hooks: as handlers of events, around pools, and what is said of one that fails.

A hook is a plain function; each is at the same time a handler of an event: see `handlers_of`.
"""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from runbus._revealed import cause_of
from runbus.bus import add_note, describe, shown
from runbus.config import task_given
from runbus.errors import HookError, PluginStuck
from runbus.events import Bootstrap, Image, ImageTransform, JobTransform, TaskCall, WorkerLife
from runbus.plugins._blocking import call_blocking
from runbus.plugins._ops import render_ops
from runbus.plugins._order import Wish, check_names

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

    from runbus.events import Cluster, Event, JobDraft
    from runbus.plugins._hooks import (
        AppLifecycle,
        BootstrapFactory,
        ClientLifecycle,
        ImageHook,
        TaskDecorator,
    )

__all__ = ["CLIENT", "Entries", "Hooked", "client_hooks", "decorated", "handlers_of"]

logger = logging.getLogger("runbus.plugins")

CLIENT = "client"
"""The place of the hooks that run in the process that leads."""

H = TypeVar("H")


class Hooked(Protocol):
    """What has hooks: a `Plugin`, whose module subscribes them by this one."""

    @property
    def name(self) -> str: ...
    @property
    def transform(self) -> ImageHook | None: ...
    @property
    def bootstrap(self) -> BootstrapFactory | None: ...
    @property
    def decorate(self) -> TaskDecorator | None: ...
    @property
    def around_app(self) -> AppLifecycle | None: ...
    @property
    def around_client(self) -> ClientLifecycle | None: ...
    @property
    def steps(self) -> Sequence[object]: ...


def _failed(plugin: str, hook: str, place: str, error: BaseException, event: str = "") -> HookError:
    """Return what is said of a hook that raised an error."""
    if isinstance(error, HookError) and error.plugin == plugin and error.hook == hook:
        return error
    doing = "took too long" if isinstance(error, PluginStuck) else f"raised {describe(error)}"
    failure = HookError(plugin, hook, event, doing, place)
    failure.__cause__ = cause_of(error)
    return failure


def decorated(
    plugin: str, hook: TaskDecorator, fn: Callable[..., Any], place: str
) -> Callable[..., Any]:
    """Return a function wrapped by a plugin.

    Raises:
        HookError: The hook raised, or returned what cannot be called.
    """
    try:
        wrapped: Any = hook(fn)
    except (Exception, SystemExit) as error:
        failure = _failed(plugin, "decorate", place, error)
        raise failure from failure.__cause__
    if not callable(wrapped):
        problem = f"returned {shown(wrapped)}, which cannot be called"
        raise HookError(plugin, "decorate", "", problem, place)
    result: Callable[..., Any] = wrapped
    return result


class Entries:
    """What hooks have entered in one place: left in reverse order, every one of them.

    Args:
        place: Where that is.
    """

    def __init__(self, place: str) -> None:
        self._place = place
        self._entered: list[tuple[str, str, AbstractContextManager[Any]]] = []

    def enter(
        self, plugin: str, hook: str, make: Callable[[], AbstractContextManager[Any]]
    ) -> None:
        """Enter what a hook makes; if that fails, everything entered before is left.

        Raises:
            HookError: The hook raised, or what it made did on entering, or is no context manager.
        """
        try:
            manager: Any = make()
            if not hasattr(manager, "__enter__") or not hasattr(manager, "__exit__"):
                problem = f"returned {shown(manager)}, no context manager"
                raise HookError(plugin, hook, "", problem, self._place)
            manager.__enter__()
        except BaseException as error:
            # SystemExit would pass for the end of a task that went well.
            is_its_own = isinstance(error, (Exception, SystemExit))
            raised = _failed(plugin, hook, self._place, error) if is_its_own else error
            # Without it: what stands after a bare `yield` is to be run, too.
            for failure in self.leave():
                add_note(raised, f"while the others were left: {failure}")
            raise raised from raised.__cause__
        self._entered.append((plugin, hook, manager))

    def leave(self, error: BaseException | None = None) -> list[HookError]:
        """Leave everything in reverse order; nothing that one does keeps the next from being left.

        Args:
            error: What ended the time in which they were entered; none of them can swallow it.

        Returns:
            What was raised by those that failed.
        """
        failures: list[HookError] = []
        interrupt: BaseException | None = None
        about: Any = (type(error), error, error.__traceback__) if error else (None, None, None)
        while self._entered:
            plugin, hook, manager = self._entered.pop()
            try:
                manager.__exit__(*about)
            except (Exception, SystemExit) as raised:
                if raised is not error:  # passed on as it was
                    failures.append(_failed(plugin, hook, self._place, raised))
            except BaseException as raised:
                interrupt = raised
        if interrupt is not None and interrupt is not error:
            raise interrupt
        return failures


@contextmanager
def client_hooks(plugins: Sequence[Hooked], pool: object, cluster: Cluster) -> Iterator[None]:
    """Enter `around_client` of every plugin in their order, and leave in reverse.

    Args:
        plugins: The plugins.
        pool: What their hooks get: the pool that is active meanwhile.
        cluster: Its machines.

    Raises:
        DuplicatePlugin: Two plugins have one name.
        HookError: One failed on entering, and those before it were left; or, where the block did
            not fail, on leaving. If several did, the others are its notes.
    """
    check_names([Wish(plugin.name) for plugin in plugins])
    entries = Entries(CLIENT)
    for plugin in plugins:
        if (hook := plugin.around_client) is not None:
            entries.enter(plugin.name, "around_client", partial(hook, pool, cluster))
    try:
        yield
    except BaseException as error:
        for failure in entries.leave(error):
            add_note(error, f"while the plugins were left: {failure}")
        raise
    if failures := entries.leave():
        first, *others = failures
        for other in others:
            add_note(first, f"while the plugins were left: {other}")
        raise first


def handlers_of(plugin: Hooked) -> Iterator[tuple[type[Event], Callable[..., Any]]]:
    """Yield the hooks of a plugin as handlers: the events, and what takes each.

    Transforms and bootstrap factories run in a worker thread: they may block.
    """
    if plugin.transform is not None:
        yield ImageTransform, _transforming(plugin.name, plugin.transform)
    if plugin.bootstrap is not None:
        yield Bootstrap, _collecting(plugin.name, plugin.bootstrap)
    if plugin.decorate is not None:
        yield TaskCall, _decorating(plugin.name, plugin.decorate)
    if plugin.around_app is not None:
        yield WorkerLife, _wrapping(plugin.name, plugin.around_app)
    if not (plugin.transform or plugin.bootstrap or plugin.around_client or plugin.steps):
        yield JobTransform, _warning(plugin.name)


def _warning(plugin: str) -> Callable[..., Any]:
    """Return what says once that a plugin has no hook for a job: those it has wrap functions."""
    told: list[str] = []

    async def warn(event: JobTransform) -> JobDraft:
        if not told and not task_given(event.value.given):
            told.append(event.job)
            logger.warning(
                "plugin %r does nothing for the job %r: it has only decorate and around_app, which "
                "are for functions; this is a script or a command",
                plugin,
                event.job,
            )
        return event.value

    return warn


def _transforming(plugin: str, hook: ImageHook) -> Callable[..., Any]:
    async def transform(event: ImageTransform) -> Image:
        image: Any = await _called(plugin, "transform", event, hook, event.value, event.cluster)
        if not isinstance(image, Image):
            problem = f"returned {shown(image)}; return the new image, or the old one"
            raise HookError(plugin, "transform", "ImageTransform", problem, CLIENT)
        return image

    return transform


def _collecting(plugin: str, hook: BootstrapFactory) -> Callable[..., Any]:
    def lines(cluster: Cluster) -> list[str]:
        return render_ops(hook(cluster))

    async def bootstrap(event: Bootstrap) -> list[str]:
        return await _called(plugin, "bootstrap", event, lines, event.cluster)

    return bootstrap


def _decorating(plugin: str, hook: TaskDecorator) -> Callable[..., Any]:
    def decorate(event: TaskCall, fn: Callable[..., Any]) -> Callable[..., Any]:
        return decorated(plugin, hook, fn, event.info.place)

    return decorate


def _wrapping(plugin: str, hook: AppLifecycle) -> Any:
    @asynccontextmanager
    async def around_app(event: WorkerLife) -> AsyncIterator[None]:
        entries = Entries(event.info.place)
        entries.enter(plugin, "around_app", partial(hook, event.info))
        try:
            yield
        finally:
            failures = entries.leave()
        if failures:
            raise failures[0]

    return around_app


async def _called(plugin: str, hook: str, event: Event, fn: Callable[..., H], *args: Any) -> H:
    """Return what a hook returns, called in a worker thread and with an end.

    Raises:
        HookError: It raised, or did not return in time.
    """
    # Before the bus ends the handler, which could not say which hook it was.
    limit_s = type(event).deadline_s * 0.9
    try:
        return await call_blocking(fn, *args, plugin=plugin, doing=hook, limit_s=limit_s)
    except Exception as error:
        failure = _failed(plugin, hook, CLIENT, error, type(event).__name__)
        raise failure from failure.__cause__
