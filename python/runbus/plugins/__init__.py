"""Plugins as values, their order, those that are installed, and files that a sink appends to."""

import importlib
from typing import TYPE_CHECKING

from runbus.abc import PluginInfo, PluginState
from runbus.plugins._plugin import Plugin

if TYPE_CHECKING:
    from runbus._lines import LineFile, read_lines
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

# The kernel admits and orders plugins; what finds installed ones loads importlib.metadata.
_LATER = {
    "LineFile": "runbus._lines",
    "Registry": "runbus.plugins._registry",
    "Selection": "runbus.plugins._registry",
    "discover": "runbus.plugins._registry",
    "read_lines": "runbus._lines",
}


def __getattr__(name: str) -> object:
    if name not in _LATER:
        raise AttributeError(f"module 'runbus.plugins' has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_LATER[name]), name)
    return value
