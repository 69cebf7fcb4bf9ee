"""Plugins as values, and the plugins that are installed."""

from runbus.abc import PluginInfo, PluginState
from runbus.plugins._plugin import Plugin
from runbus.plugins._registry import Registry, Selection, discover

__all__ = ["Plugin", "PluginInfo", "PluginState", "Registry", "Selection", "discover"]
