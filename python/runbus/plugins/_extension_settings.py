"""Settings of extensions that a program gives before they are initialized."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from runbus._listed import check_mapping

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["configure_plugins", "settings_of"]

_GIVEN: dict[str, dict[str, Any]] = {}


def configure_plugins(settings: Mapping[str, Mapping[str, Any]]) -> None:
    """Say what extensions get in `initialize`, by their names.

    A later call replaces what was said for the names that it has. Extensions that are initialized
    already keep what they have.

    Args:
        settings: By name, such as `custom_plugin` or `custom` for a `CustomPlugin`: the settings.

    Raises:
        FieldInvalid: It is no mapping of mappings.
    """
    check_mapping(settings, "settings", "names to settings")
    for name, values in settings.items():
        check_mapping(values, f"settings[{name!r}]", "names to values")
    for name, values in settings.items():
        _GIVEN[_plain(name)] = copy.deepcopy(dict(values))


def settings_of(name: str) -> dict[str, Any]:
    """Return what was said for an extension; empty if nothing was. It is the caller's to change."""
    return copy.deepcopy(_GIVEN.get(_plain(name), {}))


def _plain(name: str) -> str:
    return name.replace("-", "_").lower().removesuffix("_plugin")
