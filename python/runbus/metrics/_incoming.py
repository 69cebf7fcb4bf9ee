"""Content of a run that comes from another machine, piece by piece.

artifacts/.new-<sha256>/<file>   as far as it has come; the next process continues where it ends
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from runbus._files import file_mode, make_folders
from runbus.metrics._artifacts import UNFINISHED, Content, digest, path_of, protect, size_of
from runbus.metrics._records import decoded

if TYPE_CHECKING:
    from typing import Self

__all__ = ["Incoming"]

_APPENDING = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class Incoming:
    """Content that a record names: it appears whole, checked against its hash, or not at all.

    Args:
        folder: The run's folder here.
        content: What is to come.

    Attributes:
        content: What is to come.
        place: Where it lies in a run's folder, here as there.
    """

    __slots__ = ("_folder", "_new", "content", "place")

    def __init__(self, folder: str, content: Content) -> None:
        place = path_of("", content)
        assert place is not None
        self.content = content
        self.place = place
        self._folder = folder
        top, shelf, file = place.split("/")
        self._new = os.path.join(folder, top, UNFINISHED + shelf, file)

    @classmethod
    def named_by(cls, folder: str, record: bytes) -> Self | None:
        """Return what a record of an index names; None if nothing, or nothing that can be true."""
        found = decoded(record)
        if found is None or not isinstance(found.get("sha256"), str):
            return None
        content = Content._make(found.get(field) for field in Content._fields)
        try:
            is_true = path_of("", content) is not None and b"\0" not in os.fsencode(content.file)
        except ValueError:
            return None
        return cls(folder, content) if is_true and isinstance(content.size, int) else None

    def is_here(self) -> bool:
        """Whether it has come, perhaps long ago."""
        try:
            return size_of(os.path.join(self._folder, self.place)) == self.content.size
        except OSError:
            return False

    def size_so_far(self, part: str = "") -> int:
        """Return how many bytes have come of the file, or of a file in the folder.

        Args:
            part: The file's path in the folder.
        """
        try:
            return os.stat(os.path.join(self._new, part) if part else self._new).st_size
        except FileNotFoundError:
            return 0

    def add(self, data: bytes, part: str = "") -> None:
        """Add bytes to the file, or to a file in the folder; even none make it.

        Raises:
            OSError: They cannot be written.
        """
        path = os.path.join(self._new, part) if part else self._new
        make_folders(os.path.dirname(path))
        file = os.open(path, _APPENDING, file_mode())
        with open(file, "ab") as appended:
            appended.write(data)

    def settle(self) -> bool:
        """Give it its place; return False if it is not what was named. Reads all of it.

        Raises:
            OSError: The disk failed.
        """
        if not os.path.exists(self._new) or digest(self._new) != self.content.sha256:
            return False
        path = os.path.join(self._folder, self.place)
        shelf = os.path.dirname(path)
        protect(os.path.dirname(self._new))
        make_folders(shelf)
        if os.path.isdir(path) and not self.is_here():
            shutil.rmtree(path)  # cut short by a power failure
        if not self.is_here():
            os.rename(self._new, path)
        self.discard()
        return True

    def discard(self) -> None:
        """Remove what has come so far; safe to repeat."""
        shutil.rmtree(os.path.dirname(self._new), ignore_errors=True)
