"""Plugins in folders: files that are read, and not run, to know what is in them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from runbus._files import read_file
from runbus._home import Home
from runbus.errors import FileUnreadable, os_reason
from runbus.plugins._found import FoundPlugin, bad_name
from runbus.plugins._source import SourceUnreadable, declared_in
from runbus.plugins._trust import distrust

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["ENV_PATH", "PluginFile", "folder_plugins", "read_plugin_file"]

ENV_PATH = "RUNBUS_PLUGIN_PATH"
"""Lists folders with plugins, separated as in PATH: one whose name has a colon cannot be there."""

_MOST_FILES = 1000
_LIMIT = 1 << 20
"""So long may the source of a plugin be, in bytes."""

_INIT = "__init__.py"


class PluginFile(NamedTuple):
    """The source of plugins, once it is known to be nobody else's.

    Attributes:
        path: The file, without links on the way.
        source: What is in it.
    """

    path: str
    source: bytes


def folder_plugins(
    environment: Mapping[str, str], before: Iterable[str] = ()
) -> tuple[list[FoundPlugin], list[str]]:
    """Return what plugins files in folders declare, in their order, and why folders are left out.

    The folders are those given, those of `RUNBUS_PLUGIN_PATH`, then `plugins` in the home. Within
    one the files come in the order of their names; a folder with an `__init__.py` counts as a file.
    What begins with a dot or an underscore is left alone.

    Args:
        environment: The variables that say where to look.
        before: Folders to look in before.
    """
    found: list[FoundPlugin] = []
    problems: list[str] = []
    given = map(os.path.realpath, before)
    for folder in dict.fromkeys([*given, *_folders(environment)]):
        try:
            names = _names(folder)
        except FileUnreadable as error:
            problems.append(str(error))
            continue
        for name in names:
            found += _declared(folder, name)
    return found, problems


def _folders(environment: Mapping[str, str]) -> Iterator[str]:
    for path in environment.get(ENV_PATH, "").split(os.pathsep):
        if path.strip():
            yield os.path.realpath(os.path.expanduser(path))
    own = os.path.join(Home(environment.get("RUNBUS_HOME")).path, "plugins")
    if os.path.lexists(own):  # most homes have none
        yield os.path.realpath(own)


def _names(folder: str) -> list[str]:
    """Return the names in a folder that may be plugins.

    Raises:
        FileUnreadable: It cannot be listed, others may write it, or it holds too much.
    """
    try:
        if reason := distrust(folder, is_folder=True):
            raise FileUnreadable(folder, reason)
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if _may_be(folder, entry)]
    except (OSError, ValueError) as error:
        reason = os_reason(error) if isinstance(error, OSError) else str(error)
        raise FileUnreadable(folder, reason) from error
    if len(names) > _MOST_FILES:
        reason = f"it holds {len(names):,} files of plugins, and {_MOST_FILES:,} are the most"
        raise FileUnreadable(folder, reason)
    return sorted(names)


def _may_be(folder: str, entry: os.DirEntry[str]) -> bool:
    if entry.name[0] in "._":
        return False
    if entry.name.endswith(".py"):
        return True
    return entry.is_dir() and os.path.lexists(os.path.join(folder, entry.name, _INIT))


def _declared(folder: str, name: str) -> Iterator[FoundPlugin]:
    path = os.path.join(folder, name)
    stem = name.removesuffix(".py")
    try:
        if not stem.isidentifier():
            raise FileUnreadable(path, f"{stem!r} is not the name of a module")
        plugins = declared_in(read_plugin_file(path).source)
        if not plugins:
            raise FileUnreadable(path, "no plugin is declared in it")
    except (FileUnreadable, SourceUnreadable) as error:
        reason = error.reason if isinstance(error, FileUnreadable) else str(error)
        yield FoundPlugin(stem, "", path=path, problem=reason)
        return
    for one in plugins:
        yield FoundPlugin(one.name, one.target, path=path, problem=bad_name(one.name))


def read_plugin_file(path: str) -> PluginFile:
    """Return the source of a file, or of a package's `__init__.py`, that nobody else may write.

    Raises:
        FileUnreadable: Others may write it, it is no regular file, too large, or cannot be read.
    """
    real = os.path.realpath(path)
    try:
        if os.path.isdir(real):
            if reason := distrust(real, is_folder=True):
                raise FileUnreadable(path, reason)
            real = os.path.realpath(os.path.join(real, _INIT))
        if reason := distrust(real):
            raise FileUnreadable(path, reason)
        return PluginFile(real, read_file(real, limit=_LIMIT))
    except FileNotFoundError as error:
        raise FileUnreadable(path, os_reason(error)) from error
