"""Plugins as values, the plugins that are installed, and files that a sink may append to."""

from runbus._lines import LineFile, read_lines
from runbus.abc import PluginInfo, PluginState
from runbus.plugins._plugin import Plugin
from runbus.plugins._registry import Registry, Selection, discover

__all__ = [
    "LineFile",
    "Plugin",
    "PluginInfo",
    "PluginState",
    "Registry",
    "Selection",
    "discover",
    "read_lines",
]
