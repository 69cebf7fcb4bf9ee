"""Managed plugins by name: found, initialized, started and stopped, in a kernel of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from runbus.abc import PluginState
from runbus.catalog import open_run
from runbus.errors import MissingPlugin, PluginError, PluginNotFound
from runbus.hub._configs import PluginConfigs
from runbus.hub._flow import START, STOP, waits
from runbus.hub._followed_run import FollowedRun
from runbus.hub._lives import LOADED, check_move
from runbus.hub._managed_kernel import STOPPABLE, ManagedKernel
from runbus.hub._shelf import Shelf
from runbus.hub._together import each
from runbus.plugins import LIMIT_S, call_blocking

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping
    from types import TracebackType
    from typing import Self

    from runbus.hub._lives import ManagedInfo
    from runbus.hub._shelf import Entry
    from runbus.kernel import Kernel
    from runbus.plugins import (
        PluginBase,
        PluginMetadata,
        PluginType,
        Routing,
        RoutingRule,
        SampledRun,
    )

__all__ = ["AsyncPluginManager"]

_S = PluginState


class AsyncPluginManager:
    """Finds managed plugins, and takes them through their lives in a kernel.

    Every method that names a plugin calls its code in a worker thread, with an end: one that hangs
    or raises has failed, and touches no other. `async with` stops all of them on leaving.
    """

    def __init__(
        self,
        plugin_paths: Iterable[str | os.PathLike[str]] | None = None,
        use_default_paths: bool = True,
        *,
        kernel: Kernel | None = None,
        limit_s: float = LIMIT_S,
    ) -> None:
        """Prepare a manager; nothing is looked for yet.

        Args:
            plugin_paths: Folders and files with plugins, besides installed ones.
            use_default_paths: Whether to look in the folders that are always looked in, too.
            kernel: The kernel to start plugins in; one of its own if None.
            limit_s: How long one call of a plugin's code may take, in seconds, unless the plugin's
                `call_s` says so.
        """
        self._shelf = Shelf(plugin_paths or (), use_default_paths, limit_s)
        self._configs = PluginConfigs()
        self._kernel = ManagedKernel(self._shelf, self._configs, kernel, limit_s)
        self._followed: list[FollowedRun] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self, deadline_s: float = 25.0) -> None:
        """Stop every plugin and the kernel, if it is its own; safe to repeat."""
        await self.stop_all_plugins(deadline_s)
        await self._kernel.close()

    # -- finding

    async def discover_plugins(self) -> dict[str, ManagedInfo]:
        """Look for installed plugins and in folders, and import them; return all that are known.

        One that cannot be imported has failed, with the reason, and no other. Those that were known
        stay as they are, running ones too.
        """
        await self._shelf.discover()
        return {entry.name: entry.info() for entry in self._shelf}

    async def register_plugin(self, plugin_class: type[PluginBase]) -> ManagedInfo:
        """Make a class known, without starting it; the same one again changes nothing.

        Raises:
            InvalidPlugin: It is no class derived from `PluginBase`, or does not say what it is.
            DuplicatePlugin: Another class of its name was registered, or is in use.
        """
        return (await self._shelf.register(plugin_class)).info()

    async def load_plugin(self, name: str) -> bool:
        """Import a plugin, unless that was done; return True.

        Raises:
            PluginNotFound: No plugin has that name.
            PluginError: It cannot be imported, or does not say what it is.
        """
        entry = await self._shelf.find(name)
        async with entry.lock:
            if entry.state not in LOADED and (error := await self._shelf.load(entry)) is not None:
                raise error
        return True

    async def validate_plugin(self, name: str) -> bool:
        """Check a plugin without running it: its methods, schema, and all that it depends on.

        Raises:
            PluginNotFound: No plugin has that name.
            InvalidPlugin: It lacks methods.
            SchemaInvalid: Its `config_schema` is wrong.
            PluginNotLoadable: Plugins or distributions that it needs are not there; all are told.
            OrderCycle: It depends on itself, by way of others or not.
        """
        entry = await self._shelf.find(name)
        async with entry.lock:
            await self._shelf.validate(entry, is_strict=True)
        return True

    async def resolve_dependencies(self, names: Iterable[str]) -> list[str]:
        """Return plugins and all that they depend on, in the order in which to start them.

        Raises:
            PluginNotFound: No plugin has one of the names.
            MissingPlugin: One depends on a plugin that is not there.
            OrderCycle: They depend on each other.
        """
        asked = [await self._shelf.find(name) for name in names]
        return self._shelf.order(entry.name for entry in asked)

    # -- one by one

    async def initialize_plugin(self, name: str, config: Mapping[str, Any] | None = None) -> bool:
        """Make an instance, and let it have its configuration; return True.

        An instance that is there is stopped before, after those that depend on it.

        Args:
            name: The plugin.
            config: Its configuration; what `load_config` read for it if None.

        Raises:
            PluginNotFound: No plugin has that name.
            ConfigInvalid: The configuration does not fit the schema; every problem is told.
            PluginNotLoadable: See `validate_plugin`; a missing distribution that stands among its
                `dependencies` is only a warning, for many plugins do without.
            HookError: Its code raised something, which is `__cause__`.
            PluginStuck: Its code does not return.
        """
        entry = await self._shelf.find(name)
        await self._kernel.stop_dependents(entry)
        async with entry.lock:
            await self._kernel.initialize(entry, config)
        return True

    async def start_plugin(self, name: str, *, run: SampledRun | None = None) -> bool:
        """Start a plugin that is initialized, after those that it depends on; return True.

        What it depends on is initialized and started first, where it is not yet.

        Args:
            name: The plugin.
            run: Where a collector's samples are logged; only on the bus if None.

        Raises:
            PluginNotFound: No plugin has that name.
            IllegalTransition: It is not initialized, or is started; its code is not called.
            HookError: Its code raised something, which is `__cause__`.
            PluginStuck: Its code does not return.
        """
        entry = await self._shelf.find(name)
        check_move(entry.name, entry.state, "start")
        for needed in self._shelf.order([entry.name])[:-1]:
            await self._kernel.ensure_started(await self._shelf.find(needed))
        async with entry.lock:
            await self._kernel.start(entry, run)
        return True

    async def stop_plugin(self, name: str) -> bool:
        """Stop a plugin, after those that depend on it; return True.

        A sink is given what waits for it before.

        Raises:
            PluginNotFound: No plugin has that name.
            IllegalTransition: There is nothing to stop; its code is not called.
            HookError: Its code raised something, which is `__cause__`; it has failed then.
            PluginStuck: Its code does not return.
        """
        entry = await self._shelf.find(name)
        check_move(entry.name, entry.state, "stop")
        await self._kernel.stop_dependents(entry)
        async with entry.lock:
            check_move(entry.name, entry.state, "stop")
            await self._kernel.stop(entry)
        return True

    # -- all at once

    async def start_plugins(
        self, configs: Mapping[str, Mapping[str, Any]] | None = None, deadline_s: float = 120.0
    ) -> dict[str, Exception | None]:
        """Initialize and start plugins, each after what it depends on, others at the same time.

        Processors begin first, in their order, then sinks, then collectors. One that fails keeps
        those from starting that depend on it, and no others.

        Args:
            configs: Configurations by the names of the plugins; what `load_config` read if None.
            deadline_s: After how many seconds those that are not started are given up.

        Returns:
            What went wrong with each; None for those that are started.
        """
        given = self._configs.all() if configs is None else configs
        outcomes: dict[str, Exception | None] = {}
        wanted: dict[str, Mapping[str, Any] | None] = {}
        for name, config in given.items():
            try:
                order = await self.resolve_dependencies([name])
            except PluginError as error:
                outcomes[name] = error
                continue
            wanted = {**wanted, **{one: wanted.get(one) for one in order}}
            wanted[order[-1]] = config if configs is not None else None

        async def start(entry: Entry) -> None:
            for other in entry.needs:
                if outcomes.get(other) is not None:
                    raise MissingPlugin(entry.name, other, ())
            if entry.state is _S.STARTED and wanted[entry.name] is None:
                return
            await self.initialize_plugin(entry.name, wanted[entry.name])
            await self.start_plugin(entry.name)

        entries = [await self._shelf.find(name) for name in self._shelf.order(wanted)]
        after = waits(entries, {entry.name: entry.needs for entry in entries}, START)
        await each(
            entries,
            start,
            after=lambda entry: after[entry.name],
            outcomes=outcomes,
            deadline_s=deadline_s,
            doing="start",
        )
        return outcomes

    async def stop_all_plugins(self, deadline_s: float = 25.0) -> dict[str, Exception | None]:
        """Stop all plugins, each after those that depend on it, others at the same time.

        Collectors end first, then processors, then sinks, so that every point arrives.
        Sinks get before what the runs that are followed have logged by now; these are followed no
        more.

        Args:
            deadline_s: After how many seconds those that do not stop are left behind.

        Returns:
            What went wrong with each; None for those that are stopped.
        """
        outcomes: dict[str, Exception | None] = {}
        with anyio.move_on_after(deadline_s / 2):
            while self._followed:
                await self._followed.pop().finish()

        async def stop(entry: Entry) -> None:
            async with entry.lock:
                if entry.state in STOPPABLE:
                    await self._kernel.stop(entry)

        going = [entry for entry in self._shelf if entry.state in STOPPABLE]
        dependents = {one.name: [d.name for d in self._shelf.dependents(one)] for one in going}
        after = waits(going, dependents, STOP)
        await each(
            going,
            stop,
            after=lambda entry: after[entry.name],
            outcomes=outcomes,
            deadline_s=deadline_s,
            doing="stop",
        )
        return outcomes

    # -- looking

    def get_plugin_instance(self, name: str) -> PluginBase | None:
        """Return the instance of a plugin that is initialized; None if there is none."""
        entry = self._shelf.known(name)
        return entry.life.plugin if entry is not None and entry.life is not None else None

    async def get_plugin_by_name(self, name: str) -> type[PluginBase] | None:
        """Return the class of a plugin; None if there is none, or it cannot be imported."""
        return await self._class_of(name, None)

    async def get_plugin(self, plugin_type: PluginType | str, name: str) -> type[PluginBase] | None:
        """Return the class of a plugin of a kind; None if there is none."""
        return await self._class_of(name, plugin_type)

    async def _class_of(self, name: str, kind: PluginType | str | None) -> type[PluginBase] | None:
        try:
            entry = await self._shelf.find(name)
        except PluginNotFound:
            return None
        return entry.cls if _fits(entry.metadata, kind) else None

    def list_plugins(
        self, plugin_type: PluginType | str | None = None, *, capability: str | None = None
    ) -> list[ManagedInfo]:
        """Return what is known of the plugins, by name.

        Args:
            plugin_type: Only those of this kind.
            capability: Only those that can do this.
        """
        return [e.info() for e in self._shelf if _fits(e.metadata, plugin_type, capability)]

    def get_plugins_by_type(self, plugin_type: PluginType | str) -> list[ManagedInfo]:
        """Return what is known of the plugins of a kind, by name."""
        return self.list_plugins(plugin_type)

    async def get_status(self) -> dict[str, Any]:
        """Return how all plugins do; started ones are asked, at most 2 seconds, all at once.

        `loaded` counts those that are loaded and well: no failed or stopped ones.
        """
        entries = [*self._shelf]
        plugins = {entry.name: _status(entry) for entry in entries}

        async def ask(entry: Entry) -> None:
            if entry.state is _S.STARTED and entry.life is not None:
                plugins[entry.name]["status"] = await entry.life.status()

        async with anyio.create_task_group() as tasks:
            for entry in entries:
                tasks.start_soon(ask, entry, name=f"status of {entry.name}")
        states = [entry.state for entry in entries]
        return {
            "discovered": len(states),
            "loaded": sum(state in LOADED for state in states),
            "active": sum(state is _S.STARTED for state in states),
            "errors": sum(state is _S.FAILED for state in states),
            "plugins": plugins,
            "routes": self.routing.status()["rules"],
        }

    # -- configurations, rules, and what the plugins run in

    async def load_config(self, config_path: str | os.PathLike[str]) -> dict[str, Any]:
        """Read configurations of plugins from a file of YAML, TOML or JSON; return them by name.

        They count where no configuration is given. The file maps names to configurations, or has
        that under `plugins`.

        Raises:
            ConfigInvalid: It cannot be read, or is no such mapping; every problem has its line.
        """
        return await call_blocking(
            self._configs.read, config_path, plugin="runbus", doing="load_config"
        )

    async def follow_run(self, run_id: str) -> None:
        """Let the sinks have what a run logs and records, from its start until it ends.

        The slowest sink sets the pace; what waits for it waits in the run's own files.

        Args:
            run_id: The run: one of this process, of another one, or one that has ended.

        Raises:
            RunNotFound: There is no such run.
            DuplicatePlugin: It is followed already.
        """
        followed = FollowedRun(await anyio.to_thread.run_sync(open_run, run_id))
        kernel = await self.kernel()
        for one in [one for one in self._followed if one.has_ended]:
            self._followed.remove(one)
            await kernel.stop_plugin(one.name)
        await kernel.start_plugin(followed)
        self._followed.append(followed)

    @property
    def routing(self) -> Routing:
        """The rules that say what goes to which sink."""
        return self._kernel.routing

    def add_route(self, rule: RoutingRule) -> RoutingRule:
        """Let a rule hold from now on; see `runbus.plugins.Routing`."""
        return self.routing.add(rule)

    def remove_route(self, rule: RoutingRule) -> bool:
        """Let a rule hold no more; return whether it did."""
        return self.routing.remove(rule)

    async def kernel(self) -> Kernel:
        """Return the kernel that the plugins run in; it is started if need be."""
        return await self._kernel.running()


def _status(entry: Entry) -> dict[str, Any]:
    metadata = entry.metadata
    status: dict[str, Any] = {
        "state": entry.state.value,
        "type": metadata.type.value if metadata else None,
        "version": metadata.version if metadata else None,
    }
    if entry.error:
        status["error"] = entry.error
    if entry.missing:
        status["missing"] = list(entry.missing)
    return status


def _fits(
    metadata: PluginMetadata | None, kind: PluginType | str | None, capability: str | None = None
) -> bool:
    if kind is None and capability is None:
        return True
    return (
        metadata is not None
        and (kind is None or metadata.type == kind)
        and (capability is None or capability in metadata.capabilities)
    )
