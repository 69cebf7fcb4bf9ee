"""A plugin to order: real, small, and it remembers what happened to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from runbus.abc import Scope
    from runbus.events import Event

__all__ = ["FakePlugin"]


class FakePlugin:
    """A plugin whose handlers are given, and which notes what happens to it in `log`.

    Attributes:
        log: Lines such as `a: setup`, `a: closed`; share one list to see the order of several.
        seen: The events that reached this plugin's own handlers, for classes given without one.
    """

    def __init__(
        self,
        name: str,
        handlers: Mapping[Any, Callable[..., Any] | None] | None = None,
        *,
        after: tuple[str, ...] = (),
        before: tuple[str, ...] = (),
        requires: tuple[str, ...] = (),
        critical: bool = False,
        setup: Callable[[Scope], Awaitable[object]] | None = None,
        log: list[str] | None = None,
    ) -> None:
        """Make a plugin.

        Args:
            name: Its name.
            handlers: What to call for which class of events; None just notes them in `seen`.
            after: Plugins to come after.
            before: Plugins to come before.
            requires: Plugins that must be there.
            critical: Whether its failure stops the kernel.
            setup: Called in `setup`, after the handlers were subscribed.
            log: Where to note what happens.
        """
        self.name = name
        self.after = after
        self.before = before
        self.requires = requires
        self.critical = critical
        self.log: list[str] = log if log is not None else []
        self.seen: list[Any] = []
        self._scope: Scope | None = None
        self._handlers = dict(handlers or {})
        self._setup = setup

    @property
    def scope(self) -> Scope:
        """What `setup` was given.

        Raises:
            RuntimeError: It was not called yet.
        """
        if self._scope is None:
            raise RuntimeError(f"plugin {self.name!r} is not set up")
        return self._scope

    async def setup(self, scope: Scope) -> None:
        """Subscribe the handlers; what is entered first is left last."""
        self._scope = scope
        self.log.append(f"{self.name}: setup")
        await scope.enter(_Closing(self))
        for event, handler in self._handlers.items():
            scope.on(event, handler if handler is not None else self._note)
        if self._setup is not None:
            await self._setup(scope)

    async def _note(self, event: Event) -> None:
        self.seen.append(event)
        self.log.append(f"{self.name}: {type(event).__name__}")


class _Closing:
    def __init__(self, plugin: FakePlugin) -> None:
        self._plugin = plugin

    async def __aenter__(self) -> None:
        return None

    async def __aexit__(self, *_: object) -> None:
        self._plugin.log.append(f"{self._plugin.name}: closed")
