"""Models as files that run no code when they are read: arrays as npz, everything else as JSON."""

from __future__ import annotations

import json
import os
import zipfile
from typing import TYPE_CHECKING, Any

from runbus._files import read_file
from runbus.errors import ExtraMissing, FileUnreadable, ModelUnreadable, os_reason

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["load_state", "numpy", "save_state"]

_ARRAYS, _VALUES = "arrays.npz", "values.json"
_MOST_BYTES = 1 << 30
_MOST_VALUE_BYTES = 4 << 20


def numpy() -> Any:
    """Return the module numpy.

    Raises:
        ExtraMissing: It is not installed.
    """
    try:
        import numpy as np
    except ImportError as error:
        raise ExtraMissing("an experiment", "numpy", "hub") from error
    return np


def save_state(folder: str, kind: str, values: Mapping[str, Any], **arrays: Any) -> None:
    """Write the state of a model to a folder.

    Args:
        folder: The folder.
        kind: Which kind of model it is of; `load_state` asks for the same.
        values: What JSON can hold.
        arrays: Arrays of numbers, by name.

    Raises:
        OSError: They cannot be written.
    """
    np = numpy()
    with open(os.path.join(folder, _ARRAYS), "xb") as file:
        np.savez(file, **{name: np.asarray(one) for name, one in arrays.items()})
    with open(os.path.join(folder, _VALUES), "x", encoding="utf-8") as text:
        json.dump({"kind": kind, "format": 1, **values}, text)


def load_state(folder: str, kind: str, *names: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the values and arrays that `save_state` has written.

    Args:
        folder: The folder; its files may come from anywhere, and nothing in them is run.
        kind: Which kind of model is wanted.
        names: The arrays that must be there, each of finite floating-point numbers.

    Raises:
        ModelUnreadable: A file is missing, damaged, too large, or of another kind of model.
    """
    try:
        values = json.loads(read_file(os.path.join(folder, _VALUES), limit=_MOST_VALUE_BYTES))
    except FileUnreadable as error:
        raise ModelUnreadable(folder, f"{_VALUES}: {error.reason}") from error
    except (OSError, ValueError, RecursionError) as error:
        reason = os_reason(error) if isinstance(error, OSError) else "it is not JSON"
        raise ModelUnreadable(folder, f"{_VALUES}: {reason}") from error
    if not isinstance(values, dict) or values.get("format") != 1:
        raise ModelUnreadable(folder, f"{_VALUES} is not of a format that is read here")
    if values.get("kind") != kind:
        raise ModelUnreadable(folder, f"it is a model of {values.get('kind')!r}, not of {kind!r}")
    return values, _arrays(folder, names)


def _arrays(folder: str, names: tuple[str, ...]) -> dict[str, Any]:
    np = numpy()
    path = os.path.join(folder, _ARRAYS)
    found = {}
    try:
        with zipfile.ZipFile(path) as archive:
            # What is packed small may be large.
            if sum(one.file_size for one in archive.infolist()) > _MOST_BYTES:
                raise ModelUnreadable(folder, f"{_ARRAYS} holds more than {_MOST_BYTES:,} bytes")
        with np.load(path, allow_pickle=False) as arrays:
            for name in names:
                found[name] = np.asarray(arrays[name], dtype=np.float64)
    except ModelUnreadable:
        raise
    except KeyError as error:
        raise ModelUnreadable(folder, f"{_ARRAYS} has no array {error.args[0]!r}") from error
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
        reason = os_reason(error) if isinstance(error, OSError) and error.errno else "it is damaged"
        raise ModelUnreadable(folder, f"{_ARRAYS}: {reason}") from error
    for name, array in found.items():
        if not np.isfinite(array).all():
            raise ModelUnreadable(folder, f"{_ARRAYS}: {name} is not finite")
    return found
