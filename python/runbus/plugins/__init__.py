"""Plugins as values, who may be one and in which order they come, and those that are installed."""

from typing import TYPE_CHECKING

from runbus.abc import PluginInfo, PluginState
from runbus.plugins._plugin import Plugin

if TYPE_CHECKING:
    from runbus.plugins._registry import Registry, Selection, discover

__all__ = ["Plugin", "PluginInfo", "PluginState", "Registry", "Selection", "discover"]

# The kernel admits and orders plugins; what finds installed ones loads importlib.metadata.
_INSTALLED = ("Registry", "Selection", "discover")


def __getattr__(name: str) -> object:
    if name not in _INSTALLED:
        raise AttributeError(f"module 'runbus.plugins' has no attribute {name!r}")
    from runbus.plugins import _registry

    value = globals()[name] = getattr(_registry, name)
    return value
