"""The plugin manager without `await`: the same, through the portal."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from runbus.api import portal
from runbus.hub._async_manager import AsyncPluginManager
from runbus.plugins import LIMIT_S

if TYPE_CHECKING:
    import os
    from collections.abc import Awaitable, Callable, Iterable, Mapping
    from types import TracebackType
    from typing import Self

    from runbus.hub._lives import ManagedInfo
    from runbus.plugins import PluginBase, PluginType, RoutingRule, SampledRun

__all__ = ["PluginManager"]

T = TypeVar("T")


class PluginManager:
    """Finds managed plugins, and takes them through their lives.

    Every method waits for its end; any thread may call it. The plugins run in a kernel in the
    process's portal thread, which stops them when the interpreter ends, if nobody did before. See
    `AsyncPluginManager` for what each method raises.

        with PluginManager() as manager:
            manager.start_plugins({"tracker": {"server_url": "https://…"}})
    """

    def __init__(
        self,
        plugin_paths: Iterable[str | os.PathLike[str]] | None = None,
        use_default_paths: bool = True,
        *,
        limit_s: float = LIMIT_S,
    ) -> None:
        """Prepare a manager; nothing is looked for yet.

        Args:
            plugin_paths: Folders and files with plugins, besides installed ones.
            use_default_paths: Whether to look in the folders that are always looked in, too.
            limit_s: How long one call of a plugin's code may take, in seconds, unless the plugin's
                `call_s` says so.
        """
        self._manager = AsyncPluginManager(plugin_paths, use_default_paths, limit_s=limit_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self, deadline_s: float = 25.0) -> None:
        """Stop every plugin; safe to repeat."""
        self._call(self._manager.close, deadline_s)

    def _call(self, fn: Callable[..., Awaitable[T]], *args: Any, **named: Any) -> T:
        return portal().call(partial(fn, *args, **named))

    # -- finding

    def discover_plugins(self) -> dict[str, ManagedInfo]:
        """Look for plugins and import them; return all that are known, by name."""
        return self._call(self._manager.discover_plugins)

    def register_plugin(self, plugin_class: type[PluginBase]) -> ManagedInfo:
        """Make a class known, without starting it; the same one again changes nothing."""
        return self._call(self._manager.register_plugin, plugin_class)

    def load_plugin(self, plugin_name: str) -> bool:
        """Import a plugin, unless that was done; return True."""
        return self._call(self._manager.load_plugin, plugin_name)

    def validate_plugin(self, plugin_name: str) -> bool:
        """Check a plugin and all that it depends on, without running it; return True."""
        return self._call(self._manager.validate_plugin, plugin_name)

    def resolve_dependencies(self, plugin_names: Iterable[str]) -> list[str]:
        """Return plugins and all that they depend on, in the order in which to start them."""
        return self._call(self._manager.resolve_dependencies, list(plugin_names))

    # -- one by one

    def initialize_plugin(self, plugin_name: str, config: Mapping[str, Any] | None = None) -> bool:
        """Make an instance and let it have its configuration; return True."""
        return self._call(self._manager.initialize_plugin, plugin_name, config)

    def start_plugin(self, plugin_name: str, *, run: SampledRun | None = None) -> bool:
        """Start a plugin that is initialized, after those that it depends on; return True."""
        return self._call(self._manager.start_plugin, plugin_name, run=run)

    def stop_plugin(self, plugin_name: str) -> bool:
        """Stop a plugin, after those that depend on it; return True."""
        return self._call(self._manager.stop_plugin, plugin_name)

    # -- all at once

    def start_plugins(
        self,
        plugin_configs: Mapping[str, Mapping[str, Any]] | None = None,
        deadline_s: float = 120.0,
    ) -> dict[str, Exception | None]:
        """Initialize and start plugins; return what went wrong with each, None for nothing."""
        return self._call(self._manager.start_plugins, plugin_configs, deadline_s)

    def stop_all_plugins(self, deadline_s: float = 25.0) -> dict[str, Exception | None]:
        """Stop all plugins; return what went wrong with each, None for nothing."""
        return self._call(self._manager.stop_all_plugins, deadline_s)

    # -- looking

    def get_plugin_instance(self, plugin_name: str) -> PluginBase | None:
        """Return the instance of a plugin that is initialized; None if there is none."""
        return self._manager.get_plugin_instance(plugin_name)

    def get_plugin_by_name(self, plugin_name: str) -> type[PluginBase] | None:
        """Return the class of a plugin; None if there is none."""
        return self._call(self._manager.get_plugin_by_name, plugin_name)

    def get_plugin(
        self, plugin_type: PluginType | str, plugin_name: str
    ) -> type[PluginBase] | None:
        """Return the class of a plugin of a kind; None if there is none."""
        return self._call(self._manager.get_plugin, plugin_type, plugin_name)

    def list_plugins(
        self, plugin_type: PluginType | str | None = None, *, capability: str | None = None
    ) -> list[ManagedInfo]:
        """Return what is known of the plugins of a kind, or that can do something, by name."""
        return self._manager.list_plugins(plugin_type, capability=capability)

    def get_plugins_by_type(self, plugin_type: PluginType | str) -> list[ManagedInfo]:
        """Return what is known of the plugins of a kind, by name."""
        return self._manager.get_plugins_by_type(plugin_type)

    def get_status(self) -> dict[str, Any]:
        """Return how all plugins do; started ones are asked, at most 2 seconds, all at once."""
        return self._call(self._manager.get_status)

    # -- configurations and rules

    def load_config(self, config_path: str | os.PathLike[str]) -> dict[str, Any]:
        """Read configurations of plugins from a file; return them by name."""
        return self._call(self._manager.load_config, config_path)

    def follow_run(self, run_id: str) -> None:
        """Let the sinks have what a run logs and records, from its start until it ends."""
        self._call(self._manager.follow_run, run_id)

    def add_route(self, rule: RoutingRule) -> RoutingRule:
        """Let a rule hold from now on; see `runbus.plugins.RoutingRule`."""
        return self._manager.add_route(rule)

    def remove_route(self, rule: RoutingRule) -> bool:
        """Let a rule hold no more; return whether it did."""
        return self._manager.remove_route(rule)
