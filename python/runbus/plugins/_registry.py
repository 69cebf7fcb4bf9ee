"""Plugins found by name: listed without importing any, loaded when wanted, failures kept."""

from __future__ import annotations

import logging
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec

from runbus.abc import PluginState
from runbus.config import PluginSettings
from runbus.errors import (
    ConfigInvalid,
    PluginDenied,
    PluginNotLoadable,
    RunbusError,
    UsageError,
)
from runbus.plugins._discovery import find
from runbus.plugins._making import Made, check_found, info_of, make
from runbus.plugins._selection import Selection
from runbus.plugins._settings import said_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from runbus.abc import PluginInfo
    from runbus.plugins._discovery import Findings
    from runbus.plugins._found import FoundPlugin
    from runbus.plugins._schema_fields import SchemaField

__all__ = ["Registry", "discover"]

logger = logging.getLogger("runbus.plugins")


def discover() -> list[PluginInfo]:
    """Return what plugins there are, by name, without importing any.

    One that is not wanted, or that is known to be broken, says so in `error`.
    """
    return [*Registry().infos.values()]


def _switched_off(name: str, selection: Selection) -> str:
    reason = selection.reason(name)
    return f"switched off: {reason}" if reason else ""


def _told(error: RunbusError) -> str:
    if isinstance(error, PluginNotLoadable):
        return error.problem
    return "; ".join(map(str, error.problems)) if isinstance(error, ConfigInvalid) else str(error)


def _at_rest(found: FoundPlugin, problem: str) -> PluginInfo:
    """Return what is known of a plugin that was not imported."""
    state = PluginState.FAILED if found.problem else PluginState.DISCOVERED
    return info_of(found, state, problem)


class Registry:
    """The plugins that there are, and what became of loading them.

    Attributes:
        findings: Where each is.
        infos: What is known of each, by name.
        hidden: What is known of those that another one of the same name goes before.
        problems: Folders and metadata that cannot be used, with the reason.
        made: Those that were loaded, by name.
    """

    def __init__(
        self, findings: Findings | None = None, selection: Selection | None = None
    ) -> None:
        """Look at what plugins there are; nothing is imported.

        Args:
            findings: What was found; looked for if None.
            selection: Which plugins may be loaded; `Selection.current()` if None, which is
                all of them if nobody says anything.
        """
        self.findings = found = find() if findings is None else findings
        if selection is None:
            selection = Selection.current()
        self._selection = selection
        self._found = found.plugins
        self._settings = PluginSettings()
        self.infos: dict[str, PluginInfo] = {
            name: _at_rest(one, one.problem or _switched_off(name, selection))
            for name, one in found.plugins.items()
        }
        self.hidden = tuple(
            _at_rest(one, f"hidden by the one of {one.hidden_by}") for one in found.hidden
        )
        self.problems = found.problems
        self.made: dict[str, Made] = {}

    def info(self, name: str) -> PluginInfo:
        """Return what is known of a plugin.

        Raises:
            PluginNotFound: There is no plugin of that name.
        """
        if name not in self.infos:
            raise self.findings.not_found(name)
        return self.infos[name]

    def load(self, name: str, settings: Mapping[str, Any] | None = None) -> Any:
        """Import and make one plugin that was asked for by name.

        Args:
            name: The name.
            settings: What it is made from; these go before those of the environment and of
                `runbus.yaml`.

        Raises:
            PluginNotFound: There is no plugin of that name.
            PluginDenied: It is switched off; nothing of it is imported.
            PluginNotLoadable: It cannot be imported or made, or is for another version of runbus.
            ConfigInvalid: Its settings do not fit.
        """
        if name not in self._found:
            raise self.findings.not_found(name)
        if reason := self._selection.reason(name):
            raise PluginDenied(name, reason)
        return self._load(self._found[name], settings)

    def check(self, name: str) -> None:
        """Import one plugin and check what it is made from, without making it.

        One that is switched off is not looked at.

        Raises:
            PluginNotFound: There is no plugin of that name.
            PluginNotLoadable: It cannot be imported, or lacks something.
            ConfigInvalid: Its settings do not fit.
        """
        if name not in self._found:
            raise self.findings.not_found(name)
        if self._selection.reason(name):
            return
        said = said_of(name, known=self._found, settings=self._settings)
        check_found(self._found[name], said, self._found)

    @contextmanager
    def trying(self) -> Iterator[Callable[[str], None]]:
        """Yield what loads a plugin by its name, and tries whether it could begin.

        An extension is registered where nobody else sees it, and cleaned up at the end of the
        block; the settings of a managed plugin are checked. What is wrong is kept in `infos`.
        """
        from runbus.plugins._trial import Trial  # loads what a kernel does not need

        trial = Trial()

        def attempt(name: str) -> None:
            try:
                self.load(name)
            except (PluginNotLoadable, UsageError):
                return  # kept already
            found, made = self._found[name], self.made[name]
            began = time.perf_counter() - (self.infos[name].load_s or 0.0)
            try:
                trial.check(made.given, name, found.by or found.origin)
            except RunbusError as error:
                self._note(found, PluginState.FAILED, began, _told(error), made)

        try:
            yield attempt
        finally:
            trial.close()

    def schema_fields(self, name: str) -> tuple[SchemaField, ...]:
        """Return the fields of a managed plugin's `config_schema`; none if it was not loaded."""
        from runbus.plugins._managed import PluginBase, metadata_of
        from runbus.plugins._schema_fields import fields_of_schema

        made = self.made.get(name)
        if made is None or not isinstance(made.given, PluginBase):
            return ()
        return fields_of_schema(metadata_of(made.given).config_schema)

    def _load(self, found: FoundPlugin, settings: Mapping[str, Any] | None) -> Any:
        began = time.perf_counter()
        try:
            said = said_of(found.name, settings, known=self._found, settings=self._settings)
            made = make(found, said, self._found)
        except (PluginNotLoadable, UsageError) as error:
            self._note(found, PluginState.FAILED, began, _told(error))
            raise
        self._note(found, PluginState.LOADED, began, made=made)
        self.made[found.name] = made
        return made.plugin

    def _note(
        self,
        found: FoundPlugin,
        state: PluginState,
        began: float,
        problem: str = "",
        made: Made | None = None,
    ) -> None:
        info = info_of(found, state, problem, made)
        load_s = time.perf_counter() - began
        self.infos[found.name] = msgspec.structs.replace(info, load_s=load_s)

    def load_all(self, selection: Selection | None = None, *, strict: bool = False) -> list[Any]:
        """Import and make the selected plugins, sorted by name.

        One that fails is left out, logged, and kept in `infos` as FAILED with the reason, unless
        it was selected by name or `strict` is true.

        Args:
            selection: Which ones; those of the registry by default.
            strict: Whether to raise whatever cannot be loaded.

        Raises:
            PluginNotFound: There is no plugin of a selected name.
            PluginNotLoadable: A plugin that was selected by name cannot be loaded, or, if
                `strict`, any.
            ConfigInvalid: The settings of such a plugin do not fit.
        """
        selection = self._selection if selection is None else selection
        named = selection.only or frozenset()
        plugins = []
        for name in sorted({*self._found, *named}):
            if name not in selection:
                continue
            if name not in self._found:
                raise self.findings.not_found(name)
            try:
                plugins.append(self._load(self._found[name], None))
            except (PluginNotLoadable, UsageError) as error:
                if strict or name in named:
                    raise
                logger.warning("%s; it is left out", error)
        return plugins
