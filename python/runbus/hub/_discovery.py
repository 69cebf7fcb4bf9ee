"""Where a manager finds plugins."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from runbus.plugins import ENV_PATH, Selection, find

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runbus.plugins import FoundPlugin

__all__ = ["discovered"]


def discovered(
    paths: Sequence[str | os.PathLike[str]], use_default_paths: bool
) -> list[FoundPlugin]:
    """Return the plugins that are installed, registered, or in folders, and wanted. Blocks.

    Nothing is imported. What `RUNBUS_PLUGINS` or `RUNBUS_WITHOUT_PLUGINS` leaves out is not there.

    Args:
        paths: Folders and files to look in, before all others.
        use_default_paths: Whether to look in those of `RUNBUS_PLUGIN_PATH` and the home, too.
    """
    given = [os.path.realpath(os.path.expanduser(os.fspath(path))) for path in paths]
    folders = [os.path.dirname(path) if path.endswith(".py") else path for path in given]
    environment = os.environ if use_default_paths else {**os.environ, ENV_PATH: ""}
    selection = Selection.current()
    return [
        one
        for name, one in find(environment, folders).plugins.items()
        if name in selection and (not one.path or use_default_paths or _is_in(one.path, given))
    ]


def _is_in(path: str, given: list[str]) -> bool:
    return path in given or os.path.dirname(path) in given
