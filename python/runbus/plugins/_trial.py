"""Whether a plugin that was made could begin: tried where nothing of it stays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runbus.errors import HookError, PluginStuck
from runbus.plugins._extension import Extension
from runbus.plugins._managed import PluginBase, metadata_of

if TYPE_CHECKING:
    from runbus.plugins._extension_life import ExtensionLife

__all__ = ["Trial"]


class Trial:
    """Registers extensions in a registry that nobody else sees, and checks settings.

    Two extensions that are tried in one trial clash as they would in a process.
    """

    def __init__(self) -> None:
        from runbus.plugins._parts import PluginRegistry

        self._registry = PluginRegistry.shared().layer()
        self._lives: list[ExtensionLife] = []

    def check(self, plugin: Any, name: str, origin: str) -> None:
        """Try a plugin of these faces; nothing is done with others. Blocking.

        Args:
            plugin: What its class or function made.
            name: The name it was found by.
            origin: Who brings it, in words.

        Raises:
            HookError: An extension raised something, or another part has a name that it registers.
            PluginStuck: An extension took too long.
            ConfigInvalid: The settings of a managed plugin do not fit.
            SchemaInvalid: Its schema is wrong.
            InvalidPlugin: It does not say what it is.
            SecretMissing: A secret is not where it should be.
        """
        if isinstance(plugin, PluginBase):
            from runbus.plugins._managed_life import checked_config

            checked_config(name, metadata_of(plugin).config_schema, None)
        elif isinstance(plugin, Extension):
            self._begin(plugin, origin)

    def _begin(self, plugin: Extension, origin: str) -> None:
        from runbus.plugins._extension_life import BEGIN, ExtensionLife
        from runbus.plugins._shared_extensions import in_time

        life = ExtensionLife(plugin, registry=self._registry, origin=origin)
        self._lives.append(life)
        in_time(life.begin, plugin=plugin.name, doing=BEGIN, limit_s=plugin.begin_s)

    def close(self) -> None:
        """Clean up every extension that was tried, the newest first; what that raises is lost."""
        from runbus.plugins._shared_extensions import in_time

        while self._lives:
            life = self._lives.pop()
            plugin = life.extension
            try:
                in_time(life.end, plugin=plugin.name, doing="cleanup", limit_s=plugin.cleanup_s)
            except (HookError, PluginStuck):
                pass  # told where it is used; this asks only whether it begins
