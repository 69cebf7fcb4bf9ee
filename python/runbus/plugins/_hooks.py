"""Hooks of plugins: what each is called with, and how several of one kind become one."""

from __future__ import annotations

import dataclasses
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from runbus.bus import check_callable
from runbus.errors import InvalidHandler

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from runbus.events import Cluster, Image, InstanceInfo
    from runbus.plugins._ops import Op

    ImageHook = Callable[[Image, Cluster], Image]
    """Returns what becomes of an image."""

    BootstrapFactory = Callable[[Cluster], Sequence[Op]]
    """Returns the shell operations that run after the phases of every image."""

    TaskDecorator = Callable[[Callable[..., Any]], Callable[..., Any]]
    """Returns the function wrapped."""

    AppLifecycle = Callable[[InstanceInfo], AbstractContextManager[Any]]
    """Returns what is entered once in each worker process."""

    ClientLifecycle = Callable[[Any, Cluster], AbstractContextManager[Any]]
    """Returns what is entered while a pool is active; it gets the pool."""

__all__ = ["HOOKS", "check_hook", "composed", "parts_of"]

HOOKS = {
    "transform": ("image", "cluster"),
    "bootstrap": ("cluster",),
    "decorate": ("fn",),
    "around_app": ("info",),
    "around_client": ("pool", "cluster"),
}
"""The hooks of a plugin, and what each is called with."""

H = TypeVar("H")


def check_hook(plugin: str, name: str, hook: Any) -> None:
    """Refuse a hook that can never work.

    Raises:
        InvalidHandler: It cannot be called with what it is called with, or is async.
    """
    if isinstance(hook, type):
        return  # a class that is a context manager, or a decorator, makes one
    try:
        check_callable(hook, plugin, name, *HOOKS[name], is_async=False)
    except InvalidHandler as error:
        if name.startswith("around") and "generator" in error.problem:
            fix = "decorate it with @contextmanager"
            raise InvalidHandler(plugin, error.handler, name, error.problem, fix) from None
        raise


def composed(name: str, first: H | None, then: H) -> H:
    """Return a hook that is both, in that order."""
    if first is None:
        return then
    both: Any = _COMPOSED[name]((*parts_of(first), then))
    return both  # type: ignore[no-any-return]


def parts_of(hook: Any) -> tuple[Any, ...]:
    """Return the functions of which a hook was composed."""
    return hook.parts if isinstance(hook, _Composed) else (hook,)


@dataclasses.dataclass(frozen=True, slots=True)
class _Composed(Generic[H]):
    """Several hooks of one kind, as one.

    Attributes:
        parts: The hooks, in the order in which they were given.
    """

    parts: tuple[H, ...]


class _Transforms(_Composed["ImageHook"]):
    __slots__ = ()

    def __call__(self, image: Image, cluster: Cluster) -> Image:
        for part in self.parts:
            image = part(image, cluster)
        return image


class _Factories(_Composed["BootstrapFactory"]):
    __slots__ = ()

    def __call__(self, cluster: Cluster) -> Sequence[Op]:
        return tuple(op for part in self.parts for op in part(cluster))


class _Decorators(_Composed["TaskDecorator"]):
    __slots__ = ()

    def __call__(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        for part in reversed(self.parts):
            fn = part(fn)
        return fn


class _Lives(_Composed["Callable[..., AbstractContextManager[Any]]"]):
    __slots__ = ()

    @contextmanager
    def __call__(self, *about: Any) -> Iterator[None]:
        with ExitStack() as stack:
            for part in self.parts:
                stack.enter_context(part(*about))
            yield


_COMPOSED: dict[str, Any] = {
    "transform": _Transforms,
    "bootstrap": _Factories,
    "decorate": _Decorators,
    "around_app": _Lives,
    "around_client": _Lives,
}
