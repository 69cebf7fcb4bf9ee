"""What plugins of an experiment are to be made from, said after it was recorded: a file beside."""

from __future__ import annotations

import os
from typing import Any

from runbus import codec
from runbus._files import add_check, read_file, take_check, write_file
from runbus.errors import FileUnreadable

__all__ = ["note_settings", "read_settings"]

_FILE = "settings.json"
_LARGEST = 4 << 20


def note_settings(folder: str, settings: dict[str, dict[str, Any]]) -> None:
    """Add settings of plugins to those of the experiment in `folder`, for its next leader.

    Args:
        folder: The experiment's folder.
        settings: By the names of plugins; secrets as `{secret: …}`. A later one goes before.

    Raises:
        OSError: They cannot be written.
    """
    both = merged(read_settings(folder), settings)
    write_file(os.path.join(folder, _FILE), add_check(codec.encode_json(both, indent=2)))


def read_settings(folder: str) -> dict[str, dict[str, Any]]:
    """Return what was noted; empty if nothing was, or if the file is damaged."""
    path = os.path.join(folder, _FILE)
    try:
        data = take_check(read_file(path, limit=_LARGEST), path)
        return codec.decode_json(data, dict[str, dict[str, Any]])
    except (FileNotFoundError, FileUnreadable, codec.DecodeError):
        return {}


def merged(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """Return two mappings as one, at any depth; of two values the one of `after` counts."""
    found = dict(before)
    for key, value in after.items():
        known = found.get(key)
        if isinstance(known, dict) and isinstance(value, dict):
            value = merged(known, value)
        found[key] = value
    return found
