"""runbus.yaml: what holds in a folder, and in those below it within its repository."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from runbus._files import absolute_path
from runbus.config._node import Mistake
from runbus.errors import near_matches

if TYPE_CHECKING:
    from runbus.config._node import Mistakes
    from runbus.config._sources import Loaded

__all__ = ["FILE", "default_plugins", "nearest_settings", "plugin_section", "read_settings"]

FILE = "runbus.yaml"
_KEYS = ("executors", "plugins")


def nearest_settings(folder: str) -> str:
    """Return the file that counts in a folder: its own, or the nearest above it in its repository.

    Where there is none, the path that its own would have.

    Raises:
        NoCurrentFolder: It is relative to the current folder, which has been deleted.
    """
    above = [absolute_path(folder or ".")]
    while not os.path.lexists(os.path.join(above[-1], ".git")):
        parent = os.path.dirname(above[-1])
        if parent == above[-1]:  # in no repository: what others put above it is not ours
            del above[1:]
            break
        above.append(parent)
    paths = [os.path.join(one, FILE) for one in above]
    return next(filter(os.path.lexists, paths), paths[0])


def read_settings(path: str) -> Loaded:
    """Read such a file, with what it builds on.

    Raises:
        ConfigInvalid: It cannot be read, or has a key that means nothing.
    """
    from runbus.config._sources import read_source  # costs what nobody pays without such a file

    loaded = read_source(path)
    mistakes: Mistakes = []
    for key in loaded.data:
        if key not in _KEYS:
            near = near_matches(str(key), _KEYS)
            there = "" if near else f"; there are {' and '.join(_KEYS)}"
            mistakes.append(Mistake(f"unknown key {key!r}{there}", (str(key),), near=near))
    loaded.raise_mistakes(mistakes)
    return loaded


def default_plugins(folder: str) -> list[str]:
    """Return the names of the plugins that are asked for where a folder is; none if nobody does.

    Raises:
        ConfigInvalid: The file cannot be read, or something in it is wrong.
    """
    path = nearest_settings(folder)
    return [*plugin_section(path)[1]] if os.path.lexists(path) else []


def plugin_section(path: str) -> tuple[Loaded, dict[str, dict[str, Any]]]:
    """Return what such a file says, and the settings of each plugin that it asks for, by name.

    Its section `plugins` is a list of names, or a mapping from names to settings.

    Raises:
        ConfigInvalid: The file cannot be read, or the section has another form.
    """
    loaded = read_settings(path)
    said = loaded.data.get("plugins") or {}
    if isinstance(said, list):
        said = {name if isinstance(name, str) else None: None for name in said}
    names = list(said) if isinstance(said, dict) else [None]
    if not all(isinstance(name, str) and name for name in names):
        told = "plugins is a list of names of plugins, or a mapping from names to their settings"
        loaded.raise_mistakes([Mistake(told, ("plugins",))])
    mistakes = [
        Mistake("the settings of a plugin are a mapping", ("plugins", name))
        for name, fields in said.items()
        if not isinstance(fields, (dict, type(None)))
    ]
    loaded.raise_mistakes(mistakes)
    return loaded, {name: dict(fields or {}) for name, fields in said.items()}
