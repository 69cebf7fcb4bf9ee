"""All plugins that are found by name: which one of a name counts, and which ones it hides."""

from __future__ import annotations

import os
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from runbus.config import INTEGRATIONS
from runbus.errors import PluginNotFound, near_matches
from runbus.plugins._entry_points import installed_plugins
from runbus.plugins._folders import folder_plugins
from runbus.plugins._found import FoundPlugin
from runbus.plugins._selection import Selection

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["Findings", "find", "wanted"]


class Findings(NamedTuple):
    """What plugins there are; nothing of them is imported.

    Attributes:
        plugins: The one that counts of each name, in the order of the names.
        hidden: Those that another one of the same name goes before.
        problems: Folders and metadata that cannot be used, with the reason.
    """

    plugins: dict[str, FoundPlugin]
    hidden: tuple[FoundPlugin, ...]
    problems: tuple[str, ...]

    def not_found(self, name: str) -> PluginNotFound:
        """Return the error of a name that no plugin has: it may be in what could not be read."""
        files = [f"{one.path}: {one.problem}" for one in self.plugins.values() if one.is_unread]
        return PluginNotFound(name, near_matches(name, self.plugins), (*self.problems, *files))


def find(environment: Mapping[str, str] | None = None, folders: Iterable[str] = ()) -> Findings:
    """Return what plugins there are, without importing any.

    What this program registered goes before entry points, and those before folders. Of two
    distributions that offer one name neither counts: which comes first is a matter of `sys.path`.

    Args:
        environment: The variables that say where folders are; those of this process if None.
        folders: More folders, which go before those.
    """
    environment = os.environ if environment is None else environment
    registered = [
        FoundPlugin(name, str(getattr(value, "__qualname__", value)), value=value)
        for name, value in INTEGRATIONS.registered.items()
    ]
    installed, problems = installed_plugins()
    in_folders, refused = folder_plugins(environment, folders)
    everything = sorted([*registered, *installed, *in_folders], key=lambda one: one.name)
    plugins: dict[str, FoundPlugin] = {}
    hidden: list[FoundPlugin] = []
    for name, same in groupby(everything, key=lambda one: one.name):
        first, *rest = _ranked(same)
        plugins[name] = first
        if rest:
            hidden += [one._replace(hidden_by=first.origin) for one in rest]
    return Findings(plugins, tuple(hidden), (*problems, *refused))


def _ranked(same: Iterable[FoundPlugin]) -> list[FoundPlugin]:
    """Return those of one name, the one that counts first."""
    ranked = [*same]
    if len(ranked) > 1:
        ranked.sort(key=lambda one: 0 if one.value is not None else 1 if one.group else 2)
    first = ranked[0]
    if first.group and len(ranked) > 1:
        offers = [one for one in ranked if one.group]
        own = {one.target for one in offers if one.group == first.group}
        if len(by := sorted({one.by for one in offers})) > 1:
            problem = f"{' and '.join(by)} offer that name; uninstall all but one"
            ranked[0] = first._replace(problem=problem)
        elif len(own) > 1:
            ranked[0] = first._replace(problem=f"{first.by} offers that name {len(own)} times")
    return ranked


def wanted(selection: Selection | None = None) -> list[FoundPlugin]:
    """Return the plugins that may be loaded, without importing any.

    Args:
        selection: Which ones; `Selection.current()` if None.
    """
    if selection is None:
        selection = Selection.current()
    return [one for name, one in find().plugins.items() if name in selection]
