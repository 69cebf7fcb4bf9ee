"""Plugins as they are given: objects, or the names of installed ones."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec.structs import replace

from runbus.abc import PluginInfo, PluginState
from runbus.errors import InvalidPlugin, PluginDenied
from runbus.plugins._check import check
from runbus.plugins._faces import adapted, face_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runbus.plugins._registry import Registry
    from runbus.plugins._selection import Selection

logger = logging.getLogger("runbus.plugins")

__all__ = ["admit", "admit_all"]


def admit(plugin: Any) -> Any:
    """Return the plugin of the kernel that an object, a name or `{type: NAME, …}` stands for.

    Raises:
        InvalidPlugin: It is not a plugin.
        PluginNotFound: There is no plugin of that name.
        PluginDenied: It is switched off.
        PluginNotLoadable: It cannot be imported or made, or what is made is not a plugin.
        ConfigInvalid: What it is made from does not fit.
    """
    if _is_data(plugin):
        return _registry(None).load(*_named(plugin))
    plugin = adapted(plugin)
    check(plugin)
    return plugin


class Admitted(NamedTuple):
    """The plugins of a kernel that is about to start.

    Attributes:
        plugins: The plugins, in the order in which they were given.
        infos: What is known of each, by its name.
        left_out: What is known of those that were given by name and are not among them.
    """

    plugins: list[Any]
    infos: dict[str, PluginInfo]
    left_out: list[PluginInfo]


def admit_all(plugins: Iterable[Any], selection: Selection | None = None) -> Admitted:
    """Return the plugins of a kernel that objects, names and data stand for.

    An object goes before the plugin of the same name that could be found. One that is switched off
    is left out.

    Args:
        plugins: As `admit` takes them.
        selection: Which of those that are found by name are wanted; `Selection.current()` if None.

    Raises:
        PluginError: As `admit` does.
        ConfigInvalid: As `admit` does.
    """
    given = list(plugins)
    admitted = Admitted([], {}, [])
    # What finds plugins loads importlib.metadata.
    registry = _registry(selection) if any(map(_is_data, given)) else None
    objects = {id(one): admit(one) for one in given if not _is_data(one)}
    for one in given:
        if not _is_data(one):
            plugin = objects[id(one)]
            info = PluginInfo(plugin.name, PluginState.LOADED, face=face_of(one).name)
        else:
            assert registry is not None
            name, settings = _named(one)
            if any(name == other.name for other in objects.values()):
                told = "the one that was given goes before the one that is found"
                logger.info("plugin %r: %s", name, told)
                admitted.left_out.append(replace(registry.info(name), error=told))
                continue
            try:
                plugin = registry.load(name, settings)
            except PluginDenied as error:
                logger.warning("%s; it is left out", error)
                admitted.left_out.append(registry.info(name))
                continue
            info = replace(registry.info(name), name=plugin.name)
        admitted.plugins.append(plugin)
        admitted.infos[plugin.name] = info
    return admitted


def _registry(selection: Selection | None) -> Registry:
    from runbus.plugins._registry import Registry

    return Registry(selection=selection)


def _is_data(plugin: Any) -> bool:
    return isinstance(plugin, (str, Mapping))


def _named(given: str | Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the name of a plugin that is given as data, and its settings.

    Raises:
        InvalidPlugin: It has no name.
    """
    if isinstance(given, str):
        return given, {}
    settings = dict(given)
    name = settings.pop("type", None)
    if not isinstance(name, str) or not name:
        raise InvalidPlugin("a mapping without a `type`", "has no name")
    return name, settings
