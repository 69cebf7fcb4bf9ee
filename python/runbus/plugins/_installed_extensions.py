"""Extensions that are found by name: registered when a name is missing, or all are listed."""

from __future__ import annotations

import logging
import os
import threading
from typing import TYPE_CHECKING

from runbus._home import Home
from runbus.config import may_be_installed
from runbus.errors import PluginNotLoadable, RunbusError
from runbus.plugins._extension import Extension
from runbus.plugins._faces import face_of
from runbus.plugins._shared_extensions import in_time, is_within, register_plugin

if TYPE_CHECKING:
    from collections.abc import Collection

    from runbus.plugins._found import FoundPlugin

__all__ = ["register_installed"]

logger = logging.getLogger("runbus.plugins")

_looking = threading.RLock()
_seen: set[tuple[str, str]] = set()


def register_installed() -> None:
    """Register what extensions of other distributions and of plugin folders bring, each once.

    One that cannot be is logged, and nothing of it is registered. Plugins of other faces are
    imported to learn what they are, and nothing of them is called.
    """
    if is_within() or not _may_be_any():
        return  # or the name is looked for by an extension that is being registered
    from runbus.plugins._discovery import find  # loads importlib.metadata
    from runbus.plugins._loading import broken
    from runbus.plugins._selection import Selection

    with _looking:
        plugins = find().plugins
        selection = Selection.current()
        for name, found in plugins.items():
            key = (found.origin, found.target)
            if found.value is not None or key in _seen or name not in selection:
                continue
            _seen.add(key)
            try:
                _register(found, plugins)
            except PluginNotLoadable as error:
                logger.warning("%s; it is left out", error)
            except RunbusError as error:
                logger.warning("%s; it is left out", broken(found, str(error)))


def _register(found: FoundPlugin, known: Collection[str]) -> None:
    from runbus.plugins._loading import import_found

    limit_s = Extension.begin_s
    target = in_time(import_found, found, plugin=found.name, doing="import", limit_s=limit_s)
    if face_of(target).name == "extension":
        # What these import, the bus with it, is only for those who have extensions.
        from runbus.plugins._extension_life import ExtensionPlugin
        from runbus.plugins._making import make

        made = in_time(make, found, None, known, plugin=found.name, doing="make", limit_s=limit_s)
        assert isinstance(made.plugin, ExtensionPlugin)
        register_plugin(made.plugin.extension, origin=found.by or found.origin)


def _may_be_any() -> bool:
    """Whether any plugin may be found: to look for them takes 40 ms."""
    from runbus.plugins._folders import ENV_PATH

    groups = ("runbus.plugins", "nemo_run_plugins", "tracelet.plugins")
    folder = os.path.join(Home().path, "plugins")
    return ENV_PATH in os.environ or os.path.isdir(folder) or any(map(may_be_installed, groups))
