"""What links an experiment with those that run its jobs again: a line in a file of its folder."""

from __future__ import annotations

import os

from runbus._files import file_mode, read_file
from runbus._ids import is_experiment_id
from runbus.errors import FileUnreadable

__all__ = ["note_again", "read_again"]

_FILE = "again"
_LARGEST = 1 << 20


def note_again(folder: str, experiment_id: str) -> None:
    """Note that an experiment runs jobs of the one in `folder` again.

    Raises:
        OSError: It cannot be written.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    file = os.open(os.path.join(folder, _FILE), flags, file_mode())
    try:
        os.write(file, f"{experiment_id}\n".encode())
    finally:
        os.close(file)


def read_again(folder: str) -> list[str]:
    """Return the ids of the experiments that run jobs of the one in `folder` again, oldest first.

    What is no id in the file, or cannot be read, is left out.
    """
    try:
        text = read_file(os.path.join(folder, _FILE), limit=_LARGEST).decode("ascii", "replace")
    except (FileNotFoundError, FileUnreadable):
        return []
    return [line for line in text.splitlines() if is_experiment_id(line)]
