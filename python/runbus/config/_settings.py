"""runbus.yaml: what the command line takes for granted in a folder."""

from __future__ import annotations

import os
from typing import Any

from runbus.config._document import Document, read_document
from runbus.errors import ConfigInvalid

__all__ = ["default_plugins"]

_FILE = "runbus.yaml"
_KEYS = ("plugins",)


def default_plugins(folder: str) -> list[str]:
    """Return the names of the plugins that `runbus.yaml` in a folder asks for; none without it.

    Raises:
        ConfigInvalid: It cannot be read, or something in it is wrong.
    """
    path = os.path.join(folder, _FILE)
    if not os.path.lexists(path):
        return []
    document = read_document(path)
    data: Any = {} if document.data is None else document.data
    if not isinstance(data, dict):
        raise _wrong(document, (), "it is a mapping with the key plugins")
    for key in data:
        if key not in _KEYS:
            raise _wrong(document, (str(key),), f"unknown key {key!r}; there is plugins")
    names = data.get("plugins") or []
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        raise _wrong(document, ("plugins",), "plugins is a list of names of installed plugins")
    return list(names)


def _wrong(document: Document, at: tuple[str | int, ...], message: str) -> ConfigInvalid:
    return ConfigInvalid(document.path, (document.problem(at, message),))
