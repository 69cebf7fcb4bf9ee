"""What code a job runs, as a digest: a point of a sweep runs again once its code has changed."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

from runbus._files import absolute_path, read_file
from runbus.errors import FileUnreadable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["code_digest"]

_MOST_FILES = 5_000
_MOST_ENTRIES = 50_000
_LARGEST = 4 << 20
_LEFT_OUT = {"__pycache__", "node_modules", "site-packages"}


def code_digest(words: Sequence[str], cwd: str, folder: str = "") -> str:
    """Return a digest of the files that a command line names, and of the Python code around them.

    Of a script in Python, or a function, that is every `.py` file in its folder and those below:
    it may import them. What is hidden, installed, or an environment is left out, and so is all but
    the named files in a folder with more than 5,000 of them, which is hardly code.

    Args:
        words: The command line.
        cwd: The folder that it starts in.
        folder: A folder that modules are imported from; none if empty.
    """
    digest = hashlib.sha256()
    folders = {absolute_path(folder)} if folder else set()
    for word in words[1:] if os.path.isabs(words[0]) else words:
        path = os.path.join(cwd, word)
        if len(word) < os.pathconf("/", "PC_PATH_MAX") and os.path.isfile(path):
            _add(digest, os.path.basename(path), path)
            if path.endswith(".py"):
                folders.add(absolute_path(os.path.dirname(path)))
    for one in sorted(folders):
        files = list(_python_files(one))
        if len(files) <= _MOST_FILES:
            for path in files:
                _add(digest, os.path.relpath(path, one), path)
    return digest.hexdigest()


def _add(digest: hashlib._Hash, name: str, path: str) -> None:
    try:
        content = hashlib.sha256(read_file(path, limit=_LARGEST)).hexdigest()
    except (OSError, FileUnreadable):
        content = "unreadable"
    digest.update(f"{name}\n{content}\n".encode("utf-8", "surrogateescape"))


def _python_files(folder: str) -> Iterator[str]:
    """Yield the code in a folder and those below, in an order that depends on the names alone."""
    seen = 0
    for at, folders, files in os.walk(folder):
        seen += len(folders) + len(files)
        if seen > _MOST_ENTRIES:
            yield from ("",) * (_MOST_FILES + 1)
            return
        if "pyvenv.cfg" in files:
            folders.clear()
            continue
        folders[:] = sorted(one for one in folders if one[0] != "." and one not in _LEFT_OUT)
        yield from (os.path.join(at, one) for one in sorted(files) if one.endswith(".py"))
