"""Plugins as values, their order, those that are installed, and files that a sink appends to."""

import importlib
from typing import TYPE_CHECKING

from runbus.abc import PluginInfo, PluginState
from runbus.plugins._admission import admit as admit
from runbus.plugins._check import wish_of as wish_of
from runbus.plugins._order import IN_THE_LIST as IN_THE_LIST
from runbus.plugins._order import Place as Place
from runbus.plugins._order import Wish as Wish
from runbus.plugins._order import check_names as check_names
from runbus.plugins._order import place_all as place_all
from runbus.plugins._order import resolve_order as resolve_order
from runbus.plugins._plugin import Plugin

if TYPE_CHECKING:
    from runbus._lines import LineFile, read_lines
    from runbus.plugins._parts import PluginRegistry
    from runbus.plugins._registry import Registry, Selection, discover

__all__ = [
    "LineFile",
    "Plugin",
    "PluginInfo",
    "PluginRegistry",
    "PluginState",
    "Registry",
    "Selection",
    "discover",
    "read_lines",
]

# The kernel admits and orders plugins; what finds installed ones loads importlib.metadata.
_LATER = {
    "LineFile": "runbus._lines",
    "PluginRegistry": "runbus.plugins._parts",
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
