"""Installed plugins: listed without importing any, loaded when wanted, failures kept."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any

from runbus.abc import PluginInfo, PluginState
from runbus.errors import PluginNotFound, PluginNotLoadable, near_matches
from runbus.plugins._entry_points import GROUP, find, info_of, make

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from importlib.metadata import EntryPoint

__all__ = ["Registry", "Selection", "discover"]

logger = logging.getLogger("runbus.plugins")


class Selection:
    """Which installed plugins are wanted.

    Attributes:
        only: If not None, just these names.
        without: Not these names.
    """

    def __init__(self, only: Iterable[str] | None = None, without: Iterable[str] = ()) -> None:
        self.only = None if only is None else frozenset(only)
        self.without = frozenset(without)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Selection:
        """Return what environment variables say.

        Args:
            environment: `RUNBUS_PLUGINS` lists names, or is `none`; `RUNBUS_WITHOUT_PLUGINS`
                lists names that are not wanted. Names are separated by commas.
        """
        listed = environment.get("RUNBUS_PLUGINS")
        only = None if listed is None else [] if listed.strip() == "none" else _names(listed)
        return cls(only, _names(environment.get("RUNBUS_WITHOUT_PLUGINS", "")))

    def __contains__(self, name: str) -> bool:
        return name not in self.without and (self.only is None or name in self.only)


def _names(text: str) -> list[str]:
    return [name for name in (part.strip() for part in text.split(",")) if name]


def discover() -> list[PluginInfo]:
    """Return what plugins are installed, by name, without importing any."""
    return [info_of(point, PluginState.DISCOVERED) for point in find().values()]


class Registry:
    """Installed plugins and what became of loading them.

    Attributes:
        infos: What is known of each, by name.
    """

    def __init__(self, points: Mapping[str, EntryPoint] | None = None) -> None:
        """Look at the installed plugins; nothing is imported.

        Args:
            points: The entry points by name; those of the group `runbus.plugins` if None.
        """
        self._points = dict(find() if points is None else points)
        self.infos: dict[str, PluginInfo] = {
            name: info_of(point, PluginState.DISCOVERED) for name, point in self._points.items()
        }

    def load(self, name: str) -> Any:
        """Import and make one plugin that was asked for by name.

        Raises:
            PluginNotFound: No plugin of that name is installed.
            PluginNotLoadable: It cannot be imported or made, or is for another version of runbus.
        """
        if name not in self._points:
            raise PluginNotFound(name, near_matches(name, self._points))
        point = self._points[name]
        try:
            plugin = make(point)
        except PluginNotLoadable as error:
            self.infos[name] = info_of(point, PluginState.FAILED, error.problem)
            raise
        self.infos[name] = info_of(point, PluginState.LOADED)
        return plugin

    def load_all(self, selection: Selection | None = None, *, strict: bool = False) -> list[Any]:
        """Import and make the selected plugins, sorted by name.

        One that fails is left out, logged, and kept in `infos` as FAILED with the reason, unless
        it was selected by name or `strict` is true.

        Args:
            selection: Which ones; by default what the environment says, see
                `Selection.from_environment`, which is all of them if it says nothing.
            strict: Whether to raise whatever cannot be loaded.

        Raises:
            PluginNotFound: A selected name is not installed.
            PluginNotLoadable: A plugin that was selected by name cannot be loaded, or, if
                `strict`, any.
        """
        if selection is None:
            selection = Selection.from_environment(os.environ)
        named = selection.only or frozenset()
        plugins = []
        for name in sorted({*self._points, *named}):
            if name not in selection:
                continue
            try:
                plugins.append(self.load(name))
            except PluginNotLoadable as error:
                if strict or name in named:
                    raise
                logger.warning("%s (group %s); it is left out", error, GROUP)
        return plugins
