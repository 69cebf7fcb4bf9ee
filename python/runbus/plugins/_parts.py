"""Named parts: executors, packagers, integrations and commands, ours and those of others."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from runbus.config import COMMANDS, EXECUTORS, INTEGRATIONS, PACKAGERS
from runbus.errors import TargetUnusable, UsageError
from runbus.plugins._faces import forget_faces

if TYPE_CHECKING:
    from runbus.config import NamedParts

__all__ = ["VIEWS", "PluginRegistry"]

VIEWS = ("executors", "packagers", "integrations", "commands")


class PluginRegistry:
    """What has a name in data: `{type: NAME, …fields}` is a `Config` of what is behind it.

    Its views are mappings from names to classes and functions, the built-in ones among them; a
    lookup imports, a look at the names does not. Other distributions bring parts by entry points in
    the groups `runbus.executors`, `runbus.packagers`, `runbus.plugins` and `runbus.commands`.

    What is registered in one registry is in no other. That of the process, `shared`, is what
    `runbus run --executor NAME`, batch files and `{type: NAME}` read; a kernel registers there what
    its extensions bring.

    Attributes:
        executors: The executors by name.
        packagers: The packagers by name.
        integrations: The classes of plugins by name: what a kernel may be given, or its data.
        commands: The subcommands of `runbus` by name: commands of click, or functions.
    """

    def __init__(self) -> None:
        self._set(EXECUTORS.fresh(), PACKAGERS.fresh(), INTEGRATIONS.fresh(), COMMANDS.fresh())

    def _set(self, *views: NamedParts) -> None:
        self.executors, self.packagers, self.integrations, self.commands = views
        self._sealed = ""

    @classmethod
    def shared(cls) -> PluginRegistry:
        """Return the registry of this process."""
        return _SHARED

    def layer(self) -> PluginRegistry:
        """Return a registry that sees what is in this one, and keeps to itself what it is given."""
        made = PluginRegistry.__new__(PluginRegistry)
        made._set(*(getattr(self, view).layer() for view in VIEWS))
        return made

    def register_executor(self, name: str, target: Any) -> None:
        """Give an executor a name. To repeat that is harmless, here and below.

        Args:
            name: The name.
            target: Its class, a function that makes one, or the import path, as `module:name`.

        Raises:
            TargetUnusable: Another executor has the name, nobody may have it, or the target is
                none.
            UsageError: The extension that this registry was lent to has been registered already.
        """
        from runbus.abc import Executor

        self._register("executors", name, target, Executor)

    def register_packager(self, name: str, target: Any) -> None:
        """Give a packager a name; see `register_executor`.

        Raises:
            TargetUnusable: As there.
            UsageError: As there.
        """
        from runbus.abc import Packager

        self._register("packagers", name, target, Packager)

    def register_integration(self, name: str, target: Any) -> None:
        """Give a class of plugins a name; see `register_executor`.

        A class that only has `log_experiment(experiment, results)` is one, too: see
        `runbus.plugins.RunIntegration`.

        Raises:
            TargetUnusable: As there.
            UsageError: As there.
        """
        from runbus.plugins._integration import RunIntegration

        self._register("integrations", name, target)
        logs = callable(getattr(target, "log_experiment", None))
        if logs and isinstance(target, type) and not hasattr(target, "setup"):
            RunIntegration.registered.add(target)
            forget_faces()

    def register_command(self, name: str, target: Any) -> None:
        """Give a subcommand of `runbus` a name.

        Args:
            name: The name.
            target: A command of click; a typed function, whose arguments are the words of the
                command line, as of `runbus.cli.entrypoint`; or the import path of one of them, as
                `module:name`.

        Raises:
            TargetUnusable: As for `register_executor`.
            UsageError: As there.
        """
        self._register("commands", name, target)

    def _register(self, view: str, name: str, target: Any, base: type | None = None) -> None:
        parts: NamedParts = getattr(self, view)
        if self._sealed:
            raise UsageError(
                f"{parts.kind} {name!r} is registered too late: {self._sealed} has returned from "
                "register()"
            )
        is_class = isinstance(target, type)
        if is_class and base is not None and not issubclass(target, base):
            told = f"it is not a subclass of runbus.abc.{base.__name__}"
            raise TargetUnusable(f"{name!r} as {target.__qualname__}", told)
        if not isinstance(target, str) and not callable(target):
            wanted = f"expected a class, a function or an import path, got {target!r}"
            raise TargetUnusable(f"{name!r} as {parts.kind}", wanted[:200])
        parts.register(name, target)

    def seal(self, owner: str) -> None:
        """Refuse from now on what is registered here, because nobody would find it any more."""
        self._sealed = owner

    def adopt(self, layer: PluginRegistry, origin: str) -> None:
        """Take over what was registered in a layer of this: all of it, or nothing.

        Raises:
            TargetUnusable: Another part has one of the names by now.
        """
        found = layer._registered()
        with _ADOPTING:
            for view, name, target in found:
                getattr(self, view).check(name, target)
            for view, name, target in found:
                getattr(self, view).register(name, target, origin, layer)

    def disown(self, layer: PluginRegistry) -> None:
        """Take back what `adopt` took over from a layer."""
        with _ADOPTING:
            for view, name, _ in layer._registered():
                getattr(self, view).unregister(name, layer)

    def _registered(self) -> list[tuple[str, str, Any]]:
        return [
            (view, name, target)
            for view in VIEWS
            for name, target in getattr(self, view).registered.items()
        ]


_ADOPTING = threading.RLock()

_SHARED = PluginRegistry.__new__(PluginRegistry)
_SHARED._set(EXECUTORS, PACKAGERS, INTEGRATIONS, COMMANDS)
