"""What a job ran in: interpreter, packages, machine, and the names of its variables.

A file in the attempt's folder, written by its first process that logs. It costs a millisecond: of
the packages the names of their folders are read, and nothing else.
"""

from __future__ import annotations

import json
import os
import re
import sys
from typing import TYPE_CHECKING, Any

from runbus._files import file_mode, read_file
from runbus.errors import FileUnreadable

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ENVIRONMENT", "ENVIRONMENT_BYTES", "note_environment", "read_environment"]

ENVIRONMENT = "environment.json"
"""What the file is called."""

ENVIRONMENT_BYTES = 4 << 20
"""So many bytes it has at the most."""

# Compiled where it is needed: `init()` outside of a job does not pay for it.
_DIST = r"(.+?)-([^-]+)(?:-.*)?\.(?:dist|egg)-info"
_MOST = 10_000
"""So many packages, and so many variables, are recorded at the most."""

_GPUS = "/proc/driver/nvidia/gpus"
_IMAGES = ("RUNBUS_IMAGE", "APPTAINER_CONTAINER", "SINGULARITY_CONTAINER")
"""Variables that tell the image of the container, with its digest where the runtime knows it."""


def note_environment(folder: str) -> None:
    """Note what this process runs in, unless another process of the attempt has; never raises.

    Args:
        folder: The attempt's folder.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        file = os.open(os.path.join(folder, ENVIRONMENT), flags, file_mode())
    except OSError:
        return  # it is there, or there is no such folder
    try:
        text = json.dumps(_environment(), indent=1, ensure_ascii=True)
        os.write(file, text.encode())
    except OSError:
        pass  # on a full disk the job continues all the same
    finally:
        os.close(file)


def read_environment(folder: str) -> dict[str, Any]:
    """Return what an attempt ran in; empty if that is not known, or the file is damaged."""
    try:
        found = json.loads(read_file(os.path.join(folder, ENVIRONMENT), limit=ENVIRONMENT_BYTES))
    except (FileNotFoundError, FileUnreadable, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _environment() -> dict[str, Any]:
    """Return what this process runs in; the values of its variables are not in it."""
    machine = os.uname()
    return {
        "python": sys.version.split()[0],
        "executable": sys.executable or "",
        "host": machine.nodename,
        "system": f"{machine.sysname} {machine.release} {machine.machine}",
        "image": next((value for name in _IMAGES if (value := os.environ.get(name))), ""),
        "gpus": list(_gpus()),
        "variables": sorted(name for name in os.environ if name.isprintable())[:_MOST],
        "packages": _packages(),
    }


def _packages() -> dict[str, str]:
    """Return the versions of the distributions that can be imported, by their names."""
    found: dict[str, str] = {}
    for folder in dict.fromkeys(sys.path):
        try:
            names = os.listdir(folder or ".")
        except OSError:
            continue
        for name in sorted(names):
            if (
                name.endswith("-info")
                and (parts := re.fullmatch(_DIST, name))
                and len(found) < _MOST
            ):
                # What comes first on the path is what is imported.
                found.setdefault(parts[1].replace("_", "-").lower(), parts[2])
    return dict(sorted(found.items()))


def _gpus() -> Iterator[str]:
    """Yield the models of the machine's GPUs, as its driver tells them without being loaded."""
    try:
        for name in sorted(os.listdir(_GPUS)):
            text = read_file(os.path.join(_GPUS, name, "information"), limit=1 << 16)
            yield from re.findall(r"(?m)^Model:\s*(.+?)\s*$", text.decode(errors="replace"))
    except (OSError, FileUnreadable):
        return
