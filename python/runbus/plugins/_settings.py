"""What a plugin is made from, for all faces: one precedence, one check, one place for errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from runbus.config import PluginSettings, Word
from runbus.plugins._extension_settings import settings_of as configured_for

if TYPE_CHECKING:
    from collections.abc import Collection

    from runbus.config import SaidPlugin

__all__ = ["said_of", "settings_of", "with_settings"]


def said_of(
    name: str,
    given: Mapping[str, Any] | None = None,
    *,
    known: Collection[str] = (),
    settings: PluginSettings | None = None,
) -> SaidPlugin:
    """Return what is said of a plugin: by the call, by variables, or by `runbus.yaml`.

    What `configure_plugins` was given is of the call, too; `given` goes before it.

    Args:
        name: Its name.
        given: What the call says.
        known: The names of the other plugins, which variables may mean.
        settings: Has read the file already; reads it if None.

    Raises:
        ConfigInvalid: The file cannot be read, or its section of plugins has another form.
        UsageError: Two variables set the same value.
    """
    settings = PluginSettings() if settings is None else settings
    return settings.of(name, {**configured_for(name), **(given or {})}, known)


def with_settings(plugin: Any, recorded: Mapping[str, Mapping[str, Any]]) -> Any:
    """Return a plugin of an experiment as a kernel takes it: a name with what is recorded for it.

    What this process was told itself, in `configure_plugins`, goes before that.

    Args:
        plugin: A name; anything else is returned as it is.
        recorded: By the names of plugins; texts mean what the types say that take them.
    """
    if not isinstance(plugin, str) or not (settings := recorded.get(plugin)):
        return plugin
    return {"type": plugin, **_merged(_as_words(settings), configured_for(plugin))}


def _as_words(value: Any) -> Any:
    if isinstance(value, Mapping):
        is_place = [*value] == ["secret"]
        return dict(value) if is_place else {key: _as_words(one) for key, one in value.items()}
    return Word(value) if isinstance(value, str) else value


def _merged(before: dict[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(before)
    for key, value in after.items():
        known = found.get(key)
        is_inner = isinstance(known, dict) and isinstance(value, Mapping)
        found[key] = _merged(known, value) if is_inner and known is not None else value
    return found


def settings_of(name: str, given: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return what is said of a plugin as plain data, for those that take a mapping. Blocking.

    Secrets are in it themselves, in the place of `{secret: env:NAME}`.

    Args:
        name: Its name.
        given: What the call says, before `configure_plugins`, variables such as
            `RUNBUS_PLUGIN_NAME_FIELD` and `runbus.yaml`.

    Raises:
        ConfigInvalid: The file cannot be read, its section of plugins has another form, or a
            secret is not there.
        UsageError: Two variables set the same value.
    """
    return said_of(name, given).values()
