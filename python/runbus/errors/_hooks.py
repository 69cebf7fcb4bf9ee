"""Hooks of plugins."""

from __future__ import annotations

from runbus.errors._plugins import PluginError


class PluginNotPortable(PluginError):
    """A plugin is needed in another process, and cannot be made there again.

    Attributes:
        plugin: Its name.
        reason: Why, as the end of a sentence that starts with it.
    """

    plugin: str
    reason: str

    def __str__(self) -> str:
        return f"plugin {self.plugin!r} cannot go to another process: {self.reason}"

    @property
    def hint(self) -> str | None:
        return (
            "write its hooks as functions of a module, or give a Config of a function of a module "
            "that returns the plugin"
        )
