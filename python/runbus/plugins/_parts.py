"""Named parts: executors, packagers, integrations and commands, ours and those of others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runbus.config import COMMANDS, EXECUTORS, INTEGRATIONS, PACKAGERS

if TYPE_CHECKING:
    from runbus.config import NamedParts

__all__ = ["PluginRegistry"]


class PluginRegistry:
    """What has a name in data: `{type: NAME, …fields}` is a `Config` of what is behind it.

    Its views are mappings from names to classes and functions, the built-in ones among them; a
    lookup imports, a look at the names does not. Other distributions bring parts by entry points in
    the groups `runbus.executors`, `runbus.packagers`, `runbus.plugins` and `runbus.commands`. All
    registries of a process are one.

    Attributes:
        executors: The executors by name.
        packagers: The packagers by name.
        integrations: The classes of plugins by name: what a kernel may be given, or its data.
        commands: The subcommands of `runbus` by name: commands of click.
    """

    def __init__(self) -> None:
        self.executors: NamedParts = EXECUTORS
        self.packagers: NamedParts = PACKAGERS
        self.integrations: NamedParts = INTEGRATIONS
        self.commands: NamedParts = COMMANDS

    def register_executor(self, name: str, target: Any) -> None:
        """Give an executor a name.

        Args:
            name: The name.
            target: Its class, a function that makes one, or the import path, as `module:name`.

        Raises:
            TargetUnusable: Another executor has the name.
        """
        self.executors.register(name, target)

    def register_packager(self, name: str, target: Any) -> None:
        """Give a packager a name; see `register_executor`.

        Raises:
            TargetUnusable: Another packager has the name.
        """
        self.packagers.register(name, target)

    def register_integration(self, name: str, target: Any) -> None:
        """Give a class of plugins a name; see `register_executor`.

        Raises:
            TargetUnusable: Another integration has the name.
        """
        self.integrations.register(name, target)

    def register_command(self, name: str, target: Any) -> None:
        """Give a subcommand of `runbus` a name.

        Args:
            name: The name.
            target: A command of click, or its import path, as `module:name`.

        Raises:
            TargetUnusable: Another command has the name.
        """
        self.commands.register(name, target)
