"""Installed plugins: found through metadata, without importing any; imported when asked for.

This module loads importlib.metadata, so it is itself imported only when a plugin is named.
"""

from __future__ import annotations

from importlib import metadata
from typing import Any

from runbus.abc import PluginInfo, PluginState
from runbus.errors import InvalidPlugin, PluginNotFound, PluginNotLoadable, near_matches
from runbus.plugins._check import check

__all__ = ["API_VERSION", "GROUP", "find", "load"]

GROUP = "runbus.plugins"

API_VERSION = (1, 0)
"""What a plugin's `api = ">=1,<2"` is compared with."""


def find() -> dict[str, metadata.EntryPoint]:
    """Return the entry points of all installed plugins by name, in the order of their names."""
    found = metadata.entry_points(group=GROUP)
    return {point.name: point for point in sorted(found, key=lambda point: point.name)}


def info_of(point: metadata.EntryPoint, state: PluginState, error: str = "") -> PluginInfo:
    """Return what is known of an installed plugin."""
    return PluginInfo(point.name, state, error, point.value, distribution_of(point))


def distribution_of(point: metadata.EntryPoint) -> str:
    """Return name and version of what installed an entry point; empty where unknown."""
    return f"{point.dist.name} {point.dist.version}" if point.dist is not None else ""


def load(name: str) -> Any:
    """Import and make the installed plugin of a name.

    Raises:
        PluginNotFound: It does not exist.
        PluginNotLoadable: It cannot be imported or made, is not a plugin, or is for another version
            of runbus.
    """
    points = find()
    if name not in points:
        raise PluginNotFound(name, near_matches(name, points))
    return make(points[name])


def make(point: metadata.EntryPoint) -> Any:
    """Import an entry point and make its plugin.

    Raises:
        PluginNotLoadable: It cannot be imported or made, is not a plugin, or is for another version
            of runbus.
    """

    def broken(problem: str) -> PluginNotLoadable:
        return PluginNotLoadable(point.name, point.value, distribution_of(point), problem)

    same = metadata.entry_points(group=GROUP, name=point.name)
    if len(offer := sorted({distribution_of(one) for one in same})) > 1:
        # Which of them comes first is a matter of sys.path.
        raise broken(f"{' and '.join(offer)} offer that name; uninstall all but one")
    try:
        plugin = point.load()
        if not hasattr(plugin, "setup") or isinstance(plugin, type):
            plugin = plugin()
        wanted = getattr(plugin, "api", "")
        fits = api_fits(wanted)
        check(plugin)
    except InvalidPlugin as error:
        raise broken(f"what it makes {error.problem}; {error.hint}") from error
    except UnreadableRange as error:
        raise broken(str(error)) from None
    except KeyboardInterrupt:  # a person at the keyboard, not the plugin
        raise
    except BaseException as error:  # what an import runs may also call sys.exit()
        raise broken(f"{type(error).__name__}: {error}") from error
    if not fits:
        have = ".".join(map(str, API_VERSION))
        raise broken(f"it is made for plugin interface {wanted}, this is {have}")
    return plugin


class UnreadableRange(ValueError):
    """A range of versions of the plugin interface cannot be read."""


_COMPARISONS = {
    ">=": lambda a, b: a >= b,
    "<=": lambda a, b: a <= b,
    "==": lambda a, b: a == b,
    ">": lambda a, b: a > b,
    "<": lambda a, b: a < b,
}


def api_fits(wanted: object) -> bool:
    """Tell whether this version of the plugin interface is in a range such as `>=1,<2`.

    Raises:
        UnreadableRange: The range cannot be read.
    """
    if not isinstance(wanted, str):
        raise UnreadableRange(f"its range of plugin interfaces {wanted!r} cannot be read")
    for part in filter(None, (part.strip() for part in wanted.split(","))):
        sign = next((sign for sign in _COMPARISONS if part.startswith(sign)), None)
        numbers = part[len(sign) :].strip().split(".") if sign else []
        if sign is None or not all(number.isdigit() for number in numbers):
            raise UnreadableRange(f"its range of plugin interfaces {wanted!r} cannot be read")
        version = (*(int(number) for number in numbers), 0)[:2]
        if not _COMPARISONS[sign](API_VERSION, version):
            return False
    return True
