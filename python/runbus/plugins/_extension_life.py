"""The life of an extension: initialized, registered as a whole, cleaned up whatever happens."""

from __future__ import annotations

import inspect
import logging
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio

from runbus._revealed import cause_of, unrevealed
from runbus.errors import HookError, RunbusError
from runbus.plugins._blocking import call_blocking
from runbus.plugins._extension import Extension, with_parts
from runbus.plugins._parts import PluginRegistry
from runbus.plugins._settings import settings_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from runbus.abc import Scope

__all__ = ["BEGIN", "ExtensionLife", "ExtensionPlugin", "adapt"]

logger = logging.getLogger("runbus.plugins")

BEGIN = "initialize and register"
"""What `ExtensionLife.begin` is doing."""


class ExtensionLife:
    """One life of an extension in a registry. Blocking; the steps may be called by any thread.

    Nothing of it can be found by name before `register` has returned, and nothing after `end`.

    Args:
        extension: The extension.
        registry: Where what it brings can be found; the process's own if None.
        settings: What its `initialize` gets; what is configured for its name if None. A mapping by
            the name of a part is what that part gets.
        origin: Who brings it, in words; the extension's name if empty.
    """

    def __init__(
        self,
        extension: Extension,
        *,
        registry: PluginRegistry | None = None,
        settings: Mapping[str, Any] | None = None,
        origin: str = "",
    ) -> None:
        self.extension = extension
        self._registry = registry or PluginRegistry.shared()
        self._settings = settings
        self._origin = origin or f"extension {extension.name}"
        self._layer = self._registry.layer()
        self._begun: list[Extension] = []
        self._lock = threading.Lock()
        self._is_over = False

    def begin(self) -> None:
        """Initialize the extension after its parts, and register what they bring.

        Raises:
            HookError: It raised something, or its settings will not do; `end` is still to be
                called.
        """
        extension = self.extension
        members = _called(extension, "add_plugin", with_parts, extension)
        for one in members:
            if not self._enter(one):  # it was given up while the one before hung
                return
            settings = self._settings_of(one, members)
            _called(one, "initialize", one.initialize, settings)
            _check_config(one, settings)
        if not self._is_over:
            _called(extension, "register", extension.register, self._layer)
        self._layer.seal(f"extension {extension.name!r}")
        with self._lock:
            if not self._is_over:
                _called(extension, "register", self._registry.adopt, self._layer, self._origin)

    def end(self) -> None:
        """Take back what was registered, and clean up, the extension before its parts.

        Raises:
            HookError: A `cleanup` raised something; the others were called all the same.
        """
        with self._lock:
            if self._is_over:
                return
            self._is_over = True
            self._layer.seal(f"extension {self.extension.name!r}")
            self._registry.disown(self._layer)
        problem: HookError | None = None
        for one in reversed(self._begun):
            try:
                _called(one, "cleanup", one.cleanup)
            except HookError as error:
                if problem is not None:
                    logger.warning("%s", problem)
                problem = error
        if problem is not None:
            raise problem

    def _enter(self, one: Extension) -> bool:
        """Have `end` clean one up, whenever that comes; False if it has come: it may not begin."""
        with self._lock:
            if not self._is_over:
                self._begun.append(one)
            return not self._is_over

    def _settings_of(self, one: Extension, members: list[Extension]) -> dict[str, Any]:
        mine = dict(settings_of(one.name))
        given = dict(self._settings or {})
        if one is not self.extension:
            return mine | dict(given.get(one.name) or {})
        parts = {part.name for part in members if part is not one}
        return {name: value for name, value in (mine | given).items() if name not in parts}


def _check_config(extension: Extension, settings: dict[str, Any]) -> None:
    check: Callable[..., Any] = extension.validate_config
    if getattr(check, "__func__", None) is Extension.validate_config:
        return
    given = () if not inspect.signature(check).parameters else (settings,)
    if _called(extension, "validate_config", check, *given) is False:
        raise HookError(extension.name, "validate_config", "", "returned False")


def _called(extension: Extension, hook: str, function: Callable[..., Any], *args: Any) -> Any:
    """Call a method of an extension; what it raises is told as its failure.

    Raises:
        HookError: It raised something.
    """
    try:
        return function(*args)
    except (HookError, KeyboardInterrupt):
        raise
    except BaseException as error:  # an extension may also call sys.exit()
        told = f"failed: {error}" if isinstance(error, RunbusError) else ""
        told = told or f"raised {type(error).__name__}: {error}"
        raise HookError(extension.name, hook, "", unrevealed(told)) from cause_of(error)


class ExtensionPlugin:
    """An extension as the kernel takes plugins."""

    def __init__(self, extension: Extension) -> None:
        self.name = extension.name
        self.after = tuple(getattr(extension, "dependencies", ()))
        self.extension = extension

    async def setup(self, scope: Scope) -> None:
        """Initialize and register the extension for as long as the plugin is there."""
        await scope.enter(self._living())

    @asynccontextmanager
    async def _living(self) -> AsyncIterator[None]:
        life = ExtensionLife(self.extension)
        try:
            limit_s = self.extension.begin_s
            await call_blocking(life.begin, plugin=self.name, doing=BEGIN, limit_s=limit_s)
            yield
        finally:
            with anyio.CancelScope(shield=True):
                limit_s = self.extension.cleanup_s
                await call_blocking(life.end, plugin=self.name, doing="cleanup", limit_s=limit_s)


def adapt(extension: Extension) -> ExtensionPlugin:
    """Return an extension as the kernel takes plugins."""
    return ExtensionPlugin(extension)
