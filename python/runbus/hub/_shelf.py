"""The managed plugins that a manager knows: found, imported, checked; nothing of them runs yet."""

from __future__ import annotations

import inspect
import logging
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio

from runbus._revealed import cause_of, unrevealed
from runbus.abc import PluginState
from runbus.errors import (
    DuplicatePlugin,
    HookError,
    InvalidPlugin,
    PluginError,
    PluginNotFound,
    PluginNotLoadable,
    RunbusError,
    near_matches,
)
from runbus.hub._discovery import discovered
from runbus.hub._lives import LOADED, ManagedInfo, in_order
from runbus.plugins import (
    LIMIT_S,
    PluginBase,
    call_blocking,
    check_config,
    face_of,
    import_found,
    is_requirement,
    metadata_of,
    missing_distributions,
    missing_plugins,
)

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator

    from runbus.plugins import ManagedLife, PluginMetadata

__all__ = ["Entry", "Shelf", "told"]

logger = logging.getLogger("runbus.hub")

_REGISTERED = "registered in Python"


class Entry:
    """One plugin, from discovery on.

    Attributes:
        name: Its name.
        load: Imports its class.
        origin: Where it is from.
        cls: Its class; None while it is not imported.
        metadata: What it says of itself; as above.
        state: How far it is.
        error: Why it has failed; empty if it has not.
        missing: Why distributions that it depends on are not there.
        life: Its instance; None if there is none.
        lock: Held while its state changes.
    """

    def __init__(self, name: str, load: Callable[[], type[PluginBase]], origin: str) -> None:
        self.name = name
        self.load = load
        self.origin = origin
        self.cls: type[PluginBase] | None = None
        self.metadata: PluginMetadata | None = None
        self.state = PluginState.DISCOVERED
        self.error = ""
        self.missing: tuple[str, ...] = ()
        self.life: ManagedLife | None = None
        self.lock = anyio.Lock()

    def move(self, state: PluginState, error: str = "") -> None:
        """Note how far it is now."""
        self.state = state
        self.error = error

    @property
    def needs(self) -> tuple[str, ...]:
        """The plugins that it depends on."""
        return self.metadata.plugins if self.metadata is not None else ()

    def info(self) -> ManagedInfo:
        """Return what is known of it."""
        cls = self.cls
        return ManagedInfo(
            name=self.name,
            state=self.state,
            error=self.error,
            face=face_of(cls).name if cls is not None else "",
            version=self.metadata.version if self.metadata is not None else "",
            origin=self.origin,
            requires=self.metadata.distributions if self.metadata is not None else (),
            metadata=self.metadata,
            module_path=cls.__module__ if cls is not None else "",
            class_name=cls.__qualname__ if cls is not None else "",
            missing=self.missing,
        )


class Shelf:
    """The plugins of one manager by name.

    Args:
        paths: Folders and files to look in.
        use_default_paths: Whether to look where plugins always are, too.
        limit_s: How long one call of a plugin's code may take, in seconds.
    """

    def __init__(
        self, paths: Iterable[str | os.PathLike[str]], use_default_paths: bool, limit_s: float
    ) -> None:
        self._paths = [*paths]
        self._use_default_paths = use_default_paths
        self._limit_s = limit_s
        self._entries: dict[str, Entry] = {}
        self._aliases: dict[str, str] = {}
        self._has_looked = False
        self._looking = anyio.Lock()

    def __iter__(self) -> Iterator[Entry]:
        return iter([entry for _, entry in sorted(self._entries.items())])

    def known(self, name: str) -> Entry | None:
        """Return a plugin, by its own name or that of its entry point; None if it is not known."""
        return self._entries.get(self._aliases.get(name, name))

    async def find(self, name: str) -> Entry:
        """Return a plugin; the first one that is not known lets it look for all.

        Raises:
            PluginNotFound: There is none of that name.
        """
        if self.known(name) is None:
            await self._look_once()
        if (entry := self.known(name)) is None:
            raise PluginNotFound(name, near_matches(name, self._entries))
        return entry

    async def discover(self) -> None:
        """Look for plugins and import them; those that are known stay as they are."""
        async with self._looking:
            await self._look()

    async def _look_once(self) -> None:
        """Look for plugins unless that was done; who comes meanwhile waits for what is found."""
        async with self._looking:
            if not self._has_looked:
                await self._look()

    async def _look(self) -> None:
        for found in await call_blocking(
            discovered,
            self._paths,
            self._use_default_paths,
            plugin="runbus",
            doing="discover_plugins",
        ):
            if self.known(found.name) is not None:
                continue
            entry = Entry(found.name, partial(import_found, found), found.origin)
            await self.load(entry)
            if entry.cls is not None or entry.state is PluginState.FAILED:
                self._aliases[found.name] = entry.name
                self._entries.setdefault(entry.name, entry)
        self._has_looked = True

    async def register(self, cls: type[PluginBase]) -> Entry:
        """Make a class known; the same one again changes nothing.

        Raises:
            InvalidPlugin: It is no class of managed plugins.
            DuplicatePlugin: Another class has its name, which was registered or is in use.
        """
        given: Any = cls
        if not isinstance(given, type) or not issubclass(given, PluginBase):
            what = given.__qualname__ if isinstance(given, type) else repr(given)
            raise InvalidPlugin(what, "is no class derived from PluginBase")
        metadata = await self._metadata(cls)
        there = self._entries.get(metadata.name)
        if there is not None and there.cls is cls:
            return there
        if there is not None and (there.life is not None or there.origin == _REGISTERED):
            raise DuplicatePlugin(metadata.name)
        entry = Entry(metadata.name, lambda: cls, _REGISTERED)
        entry.cls, entry.metadata = cls, metadata
        entry.move(PluginState.LOADED)
        self._entries[entry.name] = entry
        return entry

    def order(self, names: Iterable[str]) -> list[str]:
        """Return plugins and all that they depend on, in the order in which to start them.

        Raises:
            MissingPlugin: One depends on a plugin that is not there.
            OrderCycle: They depend on each other.
        """
        return in_order(names, lambda name: self._entries[name].needs, self._entries)

    def dependents(self, entry: Entry) -> list[Entry]:
        """Return those that depend on a plugin, directly."""
        return [one for one in self if entry.name in one.needs]

    async def load(self, entry: Entry) -> PluginError | None:
        """Import a plugin; return why that cannot be done."""
        try:
            cls: Any = await call_blocking(
                entry.load, plugin=entry.name, doing="import", limit_s=max(self._limit_s, LIMIT_S)
            )
            if not isinstance(cls, type) or not issubclass(cls, PluginBase):
                # A plugin of another form, which is not managed.
                return InvalidPlugin(entry.name, "is no class derived from PluginBase")
            entry.metadata = await self._metadata(cls)
            entry.cls = cls
        except Exception as error:
            failure = told(entry.name, "import", error)
            entry.move(PluginState.FAILED, str(failure))
            return failure
        entry.name = entry.metadata.name
        entry.move(PluginState.LOADED)
        return None

    async def validate(self, entry: Entry, *, is_strict: bool) -> None:
        """Check a plugin and what it needs, without running it; import it if need be.

        Args:
            entry: The plugin.
            is_strict: Whether distributions among its `dependencies` must be there.

        Raises:
            PluginError: Something is wrong; it has failed with that.
        """
        if (entry.state not in LOADED or entry.cls is None) and (
            error := await self.load(entry)
        ) is not None:
            raise error
        try:
            await self._check_needs(entry, is_strict=is_strict)
        except RunbusError as error:
            entry.move(PluginState.FAILED, str(error))
            raise
        if entry.state is PluginState.LOADED:
            entry.move(PluginState.VALIDATED)

    async def _check_needs(self, entry: Entry, *, is_strict: bool) -> None:
        assert entry.metadata is not None
        assert entry.cls is not None
        metadata = entry.metadata
        check_config(metadata.config_schema, {})
        if not {*metadata.plugins} <= {*self._entries}:
            await self._look_once()
        lacking = [
            *missing_plugins(metadata.plugins, self._entries),
            *missing_distributions(metadata.requires),
        ]
        entry.missing = tuple(missing_distributions(filter(is_requirement, metadata.dependencies)))
        if lacking or (is_strict and entry.missing):
            problem = "; ".join([*lacking, *entry.missing])
            raise PluginNotLoadable(entry.name, entry.cls.__qualname__, "", problem)
        self.order([entry.name])
        if entry.missing:
            logger.warning("plugin %r: %s", entry.name, "; ".join(entry.missing))

    async def _metadata(self, cls: type[PluginBase]) -> PluginMetadata:
        if inspect.isabstract(cls):
            lacks = ", ".join(sorted(cls.__abstractmethods__))
            raise InvalidPlugin(cls.__qualname__, f"lacks {lacks}")
        return await call_blocking(
            metadata_of, cls, plugin=cls.__qualname__, doing="get_metadata", limit_s=self._limit_s
        )


def told(name: str, hook: str, error: BaseException) -> PluginError:
    """Return what a plugin raised as an error of ours."""
    if isinstance(error, PluginError):
        return error
    failure = HookError(name, hook, "", unrevealed(f"raised {type(error).__name__}: {error}"))
    failure.__cause__ = cause_of(error)
    return failure
