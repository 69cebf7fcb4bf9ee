"""Plugins as they are given: objects, or the names of installed ones."""

from __future__ import annotations

from typing import Any

from runbus.plugins._check import check

__all__ = ["admit"]


def admit(plugin: Any) -> Any:
    """Return the plugin, or the installed one of that name.

    Raises:
        InvalidPlugin: It is not a plugin.
        PluginNotFound: No installed plugin has that name.
        PluginNotLoadable: It cannot be imported or made, or what is made is not a plugin.
    """
    if isinstance(plugin, str):
        # What finds installed plugins loads importlib.metadata.
        from runbus.plugins._entry_points import load

        return load(plugin)
    check(plugin)
    return plugin
