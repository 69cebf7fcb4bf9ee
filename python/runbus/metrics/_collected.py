"""Files that a job left where it worked, on their way into its run when an attempt ends.

The leader of the experiment collects them, into an index of its own:
`records/<time>-<pid>-a<attempt>-c.journal`. Besides the files it records what came of the patterns.
Another process that takes over goes on with what is not recorded yet.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import time
from typing import TYPE_CHECKING, NamedTuple

from runbus.errors import FileUnreadable
from runbus.metrics._artifacts import UNFINISHED, ArtifactStore, Content, safe_name
from runbus.metrics._folder import attempt_of
from runbus.metrics._records import RecordReader, RecordWriter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runbus.metrics._records import Record

__all__ = ["Collected", "Collection", "StagedFile"]

_COLLECTOR = "-c"


class Collected(NamedTuple):
    """What was collected when an attempt of a run's job had ended.

    Attributes:
        attempt: The attempt.
        time_ns: When it was done, Unix time in nanoseconds.
        files: How many files were collected.
        size: How many bytes they have together.
        notes: What was not collected, and why; which pattern meant no file.
    """

    attempt: int
    time_ns: int
    files: int
    size: int
    notes: tuple[str, ...]

    @classmethod
    def of(cls, record: Record) -> Collected:
        """Return what a record says."""
        fields = {**record, "notes": tuple(map(str, record["notes"]))}
        return cls._make(fields[field] for field in cls._fields)


class Collection:
    """Takes the files of one attempt into its run. All methods block.

    Args:
        folder: The run's folder.
        attempt: The attempt.

    Attributes:
        sizes: The bytes of what was collected, by name; by earlier processes, too.
        is_over: Whether an earlier process has collected all that there was.

    Raises:
        FileUnreadable: What earlier processes have collected of the attempt cannot be read.
        OSError: The run's indexes cannot be listed.
    """

    def __init__(self, folder: str, attempt: int) -> None:
        self._attempt = attempt
        self._folder = folder
        writer = f"{time.time_ns():016x}-{os.getpid()}-a{attempt}{_COLLECTOR}"
        self._records = RecordWriter(folder, writer)
        self._store = ArtifactStore(folder, writer)
        self.sizes: dict[str, int] = {}
        self.is_over = False
        for record in self._earlier():
            if record["what"] == "artifact":
                self.sizes[record["name"]] = record["size"]
            self.is_over |= record["what"] == "collected"
        self._clear()

    def _earlier(self) -> list[Record]:
        indexes = RecordReader(self._folder)
        found = indexes.poll(self._is_collector)
        for path, reason in indexes.unread.items():
            raise FileUnreadable(path, reason)
        return [record for records in found.values() for record in records]

    def _is_collector(self, writer: str) -> bool:
        return writer.endswith(_COLLECTOR) and attempt_of(writer) == self._attempt

    def _clear(self) -> None:
        """Remove what earlier collectors of the attempt had begun with, and did not finish."""
        begun = re.compile(rf"{re.escape(UNFINISHED)}[0-9a-f]+-\d+-a{self._attempt}-c-\d+")
        root = os.path.join(self._folder, "artifacts")
        try:
            names = [] if os.path.islink(root) else os.listdir(root)
        except OSError:
            return
        for name in filter(begun.fullmatch, names):
            shutil.rmtree(os.path.join(root, name), ignore_errors=True)

    def room(self) -> int:
        """Return how many bytes the disk has room for.

        Raises:
            OSError: The folder is not there.
        """
        disk = os.statvfs(self._folder)
        return disk.f_bavail * disk.f_frsize

    def stage(self, path: str, *, is_executable: bool) -> StagedFile:
        """Begin with a file.

        Args:
            path: Where it lies in the folder where the job worked.
            is_executable: Whether it may be run.

        Raises:
            OSError: The disk is full or failing.
        """
        return StagedFile(self._store.stage(), safe_name(path), is_executable=is_executable)

    def keep(self, name: str, staged: StagedFile) -> bool:
        """Keep a file that is there as a whole, and record it; return whether that was possible.

        Args:
            name: What the run calls it.
            staged: The file.

        Raises:
            OSError: The disk is full or failing.
        """
        content = self._store.settle(staged.folder, staged.finish())
        about = {"name": name, "step": None, "kind": "file", "caption": None}
        if self._records.keep("artifact", lambda: {**about, **content._asdict()}) is None:
            return False
        self.sizes[name] = content.size
        return True

    def finish(self, notes: Sequence[str]) -> None:
        """Record that everything was collected, and wait until it is on the disk.

        Args:
            notes: What was not, and why.

        Raises:
            OSError: The disk is full or failing.
        """
        about = {
            "attempt": self._attempt,
            "files": len(self.sizes),
            "size": sum(self.sizes.values()),
            "notes": list(notes),
        }
        self._records.keep("collected", lambda: about)
        self._store.sync()

    def close(self) -> None:
        """End the index; safe to repeat."""
        self._records.close()


class StagedFile:
    """A file that is being copied.

    Args:
        folder: Where, as `ArtifactStore.stage` made it.
        file: What it is to be called.
        is_executable: Whether it may be run.

    Attributes:
        folder: Where.
        size: How many bytes have come.
    """

    def __init__(self, folder: str, file: str, *, is_executable: bool) -> None:
        self.folder = folder
        self.size = 0
        self._file = file
        self._hash = hashlib.sha256()
        mode = 0o700 if is_executable else 0o600
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        self._opened: int | None = os.open(os.path.join(folder, file), flags, mode)

    def add(self, data: bytes) -> None:
        """Add bytes.

        Raises:
            OSError: The disk is full or failing.
        """
        assert self._opened is not None
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._opened, rest) :]
        self._hash.update(data)
        self.size += len(data)

    def finish(self) -> Content:
        """Return what it is, now that all has come."""
        self._close()
        return Content(self._hash.hexdigest(), self.size, self._file, is_folder=False)

    def discard(self) -> None:
        """Remove what has come, unless it was kept; safe to repeat."""
        self._close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _close(self) -> None:
        opened, self._opened = self._opened, None
        if opened is not None:
            os.close(opened)
