"""Plugins in other processes: what travels is how one is made, as data, and never a closure."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec

from runbus.config import Config, from_data, to_data
from runbus.errors import (
    ConfigInvalid,
    InvalidPlugin,
    PluginDenied,
    PluginNotPortable,
    TargetUnusable,
)
from runbus.plugins._admission import admit
from runbus.plugins._hooks import HOOKS, composed, parts_of
from runbus.plugins._plugin import Origin, Plugin
from runbus.plugins._task_plugin import TaskPlugin

if TYPE_CHECKING:
    PluginData = str | Mapping[str, Any]
    """The name of a plugin that can be found there, or what one is made from."""

__all__ = [
    "is_for_workers",
    "made_plugins",
    "plugin_data",
    "plugin_factory",
    "plugin_from",
    "plugin_of_hooks",
]

P = ParamSpec("P")


def plugin_factory(make: Callable[P, Plugin]) -> Callable[P, Plugin]:
    """Decorate a function of a module that returns a `Plugin`, so that other processes can make it.

        @plugin_factory
        def profiler(every: int = 100) -> Plugin:
            def decorate(fn): ...
            return Plugin.create("profiler").with_decorator(decorate)

    Such a process imports the function and calls it with the same arguments, which must be data.
    """

    @wraps(make)
    def factory(*args: P.args, **kwargs: P.kwargs) -> Plugin:
        plugin = make(*args, **kwargs)
        if plugin.origin is not None and plugin.origin.fits(plugin):
            return plugin
        return dataclasses.replace(plugin, origin=Origin.of(plugin, factory, args, kwargs))

    return factory


def is_for_workers(given: Any) -> bool:
    """Whether a plugin has hooks that run in worker processes; one that is switched off has none.

    Raises:
        PluginError: As `plugin_from` does.
    """
    plugin = given
    if isinstance(given, (str, Mapping, Config)):
        try:
            plugin = plugin_from(given)
        except PluginDenied:
            return False
    return isinstance(plugin, Plugin) and (plugin.decorate or plugin.around_app) is not None


def plugin_data(plugin: Any) -> PluginData:
    """Return what another process makes a plugin from.

    Args:
        plugin: A hook value or a `TaskPlugin`, a `Config` of one, or its data already: a name, or a
            mapping.

    Raises:
        InvalidPlugin: It is none of these.
        PluginNotPortable: It has a hook that no other process can import, or steps; or it was made
            with a value that is no data; or a `TaskPlugin` does not show what it was made with.
    """
    if isinstance(plugin, str):
        return plugin
    if isinstance(plugin, Mapping):
        return dict(plugin)
    if isinstance(plugin, Plugin):
        return _data_of(plugin)
    if isinstance(plugin, TaskPlugin):
        return _written(plugin.name, lambda: Config(type(plugin), **_made_with(plugin)))
    if not isinstance(plugin, Config):
        raise InvalidPlugin(repr(plugin), "is no hook value, no Config of one and no name")
    return _written(repr(plugin), lambda: plugin)


def _data_of(plugin: Plugin) -> PluginData:
    origin = plugin.origin
    if origin is not None and origin.fits(plugin):
        return _written(plugin.name, lambda: Config(origin.make, *origin.args, **origin.named))
    if plugin.steps:
        raise PluginNotPortable(plugin.name, "it subscribes to events by itself")
    hooks = {name: list(parts_of(hook)) for name in HOOKS if (hook := getattr(plugin, name))}
    order = {word: list(names) for word in _ORDER if (names := getattr(plugin, word))}
    return _written(plugin.name, lambda: Config(plugin_of_hooks, plugin.name, **hooks, **order))


def _made_with(plugin: TaskPlugin) -> dict[str, Any]:
    """Return the arguments that make a task plugin anew: the fields of a data class, or none."""
    given: Any = plugin
    fields = dataclasses.fields(given) if dataclasses.is_dataclass(given) else ()
    made_with = {one.name: getattr(given, one.name) for one in fields if one.init}
    if type(plugin).__init__ is not object.__init__ and not fields:
        raise PluginNotPortable(plugin.name, "its class has an __init__ and is no data class")
    if more := sorted(vars(plugin).keys() - made_with.keys()):
        raise PluginNotPortable(plugin.name, f"it was given {more[0]!r} after it was made")
    return made_with


_ORDER = ("after", "before", "requires")


def _written(name: str, config: Callable[[], Config[Any]]) -> dict[str, Any]:
    try:
        data = to_data(config())
    except TargetUnusable as error:
        raise PluginNotPortable(name, str(error)) from error
    except ConfigInvalid as error:
        raise PluginNotPortable(name, f"what it is made from is no data: {error}") from error
    if home := _in_main(data):
        raise PluginNotPortable(name, f"{home} is in the program itself, and no module")
    return data


def _in_main(data: Any) -> str:
    if isinstance(data, Mapping):
        named = [data.get(key) for key in ("_target_", "_import_")]
        found = [one for one in named if isinstance(one, str) and one.startswith("__main__.")]
        return found[0] if found else _in_main([*data.values()])
    if isinstance(data, list):
        return next((home for one in data if (home := _in_main(one))), "")
    return ""


def plugin_of_hooks(
    name: str,
    transform: Sequence[Any] = (),
    bootstrap: Sequence[Any] = (),
    decorate: Sequence[Any] = (),
    around_app: Sequence[Any] = (),
    around_client: Sequence[Any] = (),
    after: Sequence[str] = (),
    before: Sequence[str] = (),
    requires: Sequence[str] = (),
) -> Plugin:
    """Return a plugin of functions: what a plugin without a factory is made from elsewhere."""
    given = (transform, bootstrap, decorate, around_app, around_client)
    hooks: dict[str, Any] = {}
    for kind, functions in zip(HOOKS, given, strict=True):
        for one in functions:
            hooks[kind] = composed(kind, hooks.get(kind), one)
    made = Plugin(name, **hooks)
    return made.placed(after=tuple(after), before=tuple(before), requires=tuple(requires))


def plugin_from(given: Any) -> Any:
    """Return the plugin of the kernel that data stands for; what is a plugin already as it is.

    Args:
        given: A plugin, a `Config` of one, or data: a name, or what `plugin_data` returned.

    Raises:
        InvalidPlugin: What is made is no plugin.
        PluginNotFound: There is no plugin of that name.
        PluginNotLoadable: It cannot be imported or made.
        ConfigInvalid: The data does not fit what it names.
    """
    if isinstance(given, Mapping):
        given, mistakes = from_data(dict(given))
        if mistakes:
            raise ConfigInvalid("a plugin", tuple(one.told() for one in mistakes))
    return admit(given.build() if isinstance(given, Config) else given)


def made_plugins(given: Iterable[Any]) -> list[Any]:
    """Return plugins with those that are data made; names are left to the kernel that gets them.

    Raises:
        PluginError: As `plugin_from` does.
        ConfigInvalid: As above.
    """
    return [plugin_from(one) if isinstance(one, (Mapping, Config)) else one for one in given]
