"""Files that values name: they lie where the file that says so means."""

from __future__ import annotations

import os
import pathlib
import types
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin

from runbus._secrets import Secret
from runbus.config._node import Node
from runbus.config._units import Located

if TYPE_CHECKING:
    from collections.abc import Callable

    from runbus.config._node import Path

__all__ = ["place_all"]


def place_all(value: Any, at: Path, folder_of: Callable[[Path], str]) -> Any:
    """Let files of secrets, and other files, lie where the file that names them means."""
    if isinstance(value, Node):
        for name, one in value._values.items():
            here = (*at, name)
            # An empty text names no file.
            if isinstance(one, str) and one and _is_located(value._shape.field(name).type):
                value._values[name] = os.path.join(folder_of(here), os.path.expanduser(one))
            else:
                value._values[name] = place_all(one, here, folder_of)
    elif isinstance(value, dict):
        return {key: place_all(one, (*at, str(key)), folder_of) for key, one in value.items()}
    elif isinstance(value, (list, tuple)):
        placed = (place_all(one, (*at, index), folder_of) for index, one in enumerate(value))
        return type(value)(placed)
    elif isinstance(value, Secret):
        return value.relative_to(folder_of(at) or os.getcwd())
    elif isinstance(value, pathlib.PurePath):
        return type(value)(os.path.join(folder_of(at), os.path.expanduser(value)))
    return value


def _is_located(hint: Any) -> bool:
    """Whether a text of a type is the path of a file here."""
    if get_origin(hint) is Annotated:
        return any(isinstance(mark, Located) for mark in get_args(hint)[1:])
    return get_origin(hint) in (Union, types.UnionType) and any(map(_is_located, get_args(hint)))
