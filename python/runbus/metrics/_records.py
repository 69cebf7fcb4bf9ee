"""The records of a run: everything it keeps that is no metric, in the order in which it came.

Each writer appends to an index of its own, `records/<writer>.journal`: a journal of the same format
as that of events, whose records are JSON objects. So writers never wait for each other, a record is
there as a whole or not at all, and reading merges the writers by time. Small things (params, tags,
notes, texts, histograms) are in the index; files are in `artifacts/`, and the index names them.
"""

from __future__ import annotations

import json
import os
import time
from _thread import allocate_lock  # as functools does: threading is no small module
from typing import TYPE_CHECKING, Any

from runbus._core import Journal, JournalReader
from runbus._files import make_folder
from runbus._secrets import redacted_value
from runbus.errors import os_reason
from runbus.metrics._folder import size_or_zero, writer_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from runbus.metrics._artifacts import ArtifactStore

__all__ = ["Record", "RecordReader", "RecordWriter", "decoded", "merged"]

Record = dict[str, Any]
"""What is recorded under "what", when under "time_ns" (Unix time), the rest as it needs."""

_FIELDS: dict[str, dict[str, type]] = {
    "params": {"params": dict},
    "tags": {"added": list, "removed": list},
    "note": {"text": str},
    "names": {"names": dict},
    "text": {"name": str},
    "histogram": {"name": str, "counts": list, "edges": list, "not_finite": int},
    "artifact": {"name": str, "kind": str, "size": int},
    "collected": {"attempt": int, "files": int, "size": int, "notes": list},
    "end": {"reason": str},
}
"""What a record of each kind must have to be one; those of other kinds are passed over."""

_TEXTS = {"name", "caption", "added", "removed", "notes"}
"""Fields that a user fills with texts, beside those that are redacted where they are given."""

_FOLDER = "records"
_SUFFIX = ".journal"


class RecordWriter:
    """Writes the index of one writer; made with the run, and costs nothing until it is used.

    Never raises for the disk's sake: what could not be kept is counted, and reported once to the
    logger `runbus.metrics`. In a forked child it only counts. Threads may share it.

    Args:
        folder: The run's folder.
        writer: The writer's name, unique within the run; None for one that keeps nothing.

    Attributes:
        lost: How many records could not be kept.
        params: What this writer knows of the values of params.
    """

    __slots__ = (
        *("_closed", "_folder", "_journal", "_kept", "_lock", "_pid", "_store", "_told", "_writer"),
        *("lost", "params"),
    )

    def __init__(self, folder: str, writer: str | None, *, lost: int = 0) -> None:
        self._folder = folder
        self._writer = writer
        self._pid = os.getpid()
        self._lock = allocate_lock()
        self._journal: Journal | None = None
        self._store: ArtifactStore | None = None
        self._closed = False
        self._told = False
        self._kept = 0
        self.lost = lost
        self.params: dict[str, Any] | None = None

    def keep(self, what: str, make: Callable[[], Record]) -> Record | None:
        """Append a record and return it; None if it could not be kept.

        Args:
            what: Which kind of record.
            make: Returns the rest of it, and puts files where they belong. An `OSError` from it is
                the disk's; other errors are the caller's and are passed on.

        Raises:
            ValueError: The run is finished, or the record is larger than 128 MiB.
        """
        if self._closed:
            raise ValueError("the run is finished")
        if self._writer is None or os.getpid() != self._pid:
            self.lost += 1
            return None
        time_ns = time.time_ns()
        try:
            self._look_for_files()
            record = {"what": what, "time_ns": time_ns, **_without_secrets(make())}
            self._opened().append(json.dumps(record, separators=(",", ":")).encode())
        except OSError as error:
            self._lose(error)
            return None
        self._kept += 1
        if self._told:
            self._told = False
            self.warn(f"records are kept again; {self.lost} were lost")
        return record

    @property
    def store(self) -> ArtifactStore:
        """Where the files go."""
        with self._lock:
            if self._store is None:
                from runbus.metrics._artifacts import ArtifactStore

                self._store = ArtifactStore(self._folder, self._writer or "")
            return self._store

    def sync(self) -> None:
        """Wait until all files and the index are on the disk.

        Raises:
            OSError: The disk failed.
        """
        if os.getpid() != self._pid:
            return
        if self._store is not None:
            self._store.sync()
        if self._journal is not None and not self._closed:
            self._journal.sync()

    def close(self) -> None:
        """End the index and wait for the disk; safe to repeat."""
        self.let_go()
        self._closed = True

    def let_go(self) -> None:
        """Wait for the disk and hold no file open until the next record; safe to repeat."""
        if self._closed:
            return
        try:
            try:
                self.sync()
            finally:
                with self._lock:
                    journal, self._journal = self._journal, None
                if journal is not None:
                    journal.close()
        except FileNotFoundError:
            self._look_for_files(lose=True)
        except OSError as error:
            self.warn(f"records may not be on the disk: {os_reason(error)}")

    def warn(self, message: str) -> None:
        """Tell the logger something about the run."""
        import logging

        logging.getLogger("runbus.metrics").warning("%s: %s", self._folder, message)

    def _opened(self) -> Journal:
        with self._lock:
            if self._journal is None:
                path = os.path.join(self._folder, _FOLDER, f"{self._writer}{_SUFFIX}")
                try:
                    make_folder(os.path.dirname(path))  # the run's own is not made again
                except FileExistsError:
                    pass
                self._journal = Journal(path)
            return self._journal

    def _look_for_files(self, *, lose: bool = False) -> None:
        """Notice that somebody has removed the index or the whole run.

        Raises:
            OSError: The run's folder is not there; not if it is to be counted at once.
        """
        try:
            os.stat(self._folder)
        except OSError as error:
            self.lost, self._kept = self.lost + self._kept, 0
            if not lose:
                raise
            self._lose(error)
            return
        if self._journal is not None and not os.path.exists(self._journal.path):
            with self._lock:
                self._journal = None
            self.lost, lost, self._kept = self.lost + self._kept, self._kept, 0
            self.warn(f"the index of records was removed: {lost} are lost")

    def _lose(self, error: OSError) -> None:
        self.lost += 1
        if not self._told:
            self._told = True
            self.warn(f"records are lost: {os_reason(error)}")


class RecordReader:
    """Reads the indexes of a run, whatever state they are in, and continues where it stopped.

    Holds no file open in between.

    Args:
        folder: The run's folder; it need not have any index yet.
        positions: Where to begin in these files; others are read from their start.

    Attributes:
        positions: Where to continue in each file.
        damage: The damaged stretches found so far as (offset, bytes), by the file's path relative
            to the run's folder.
        unread: Why indexes could not be read at the last `poll`, by their paths.
    """

    def __init__(self, folder: str, positions: Mapping[str, int] | None = None) -> None:
        self._folder = folder
        self.positions = dict(positions or {})
        self.damage: dict[str, list[tuple[int, int]]] = {}
        self.unread: dict[str, str] = {}

    def poll(self, is_wanted: Callable[[str], bool] | None = None) -> dict[str, list[Record]]:
        """Return what is new, by the names of the files; one that cannot be read hides no other.

        Args:
            is_wanted: Whether to read what a writer of a name has recorded; all is read if None.

        Raises:
            OSError: Their folder cannot be read.
        """
        self.unread.clear()
        found = {}
        for name in self._listed():
            if is_wanted is None or is_wanted(writer_of(name)):
                try:
                    found[name] = self._read(name)
                except (OSError, ValueError) as error:
                    path = self._path(name)
                    self.unread[path] = _reason(path, error)
                    self.damage[f"{_FOLDER}/{name}"] = [(0, size_or_zero(path))]
        return found

    def unreadable(self) -> dict[str, str]:
        """Return why indexes cannot be read at all, by their paths: they are only opened."""
        try:
            paths = [self._path(name) for name in self._listed()]
        except OSError as error:
            return {os.path.join(self._folder, _FOLDER): os_reason(error)}
        found = {}
        for path in paths:
            try:
                JournalReader(path)
            except FileNotFoundError:
                continue  # the run was removed meanwhile
            except (OSError, ValueError) as error:
                found[path] = _reason(path, error)
        return found

    def _listed(self) -> list[str]:
        try:
            names = os.listdir(os.path.join(self._folder, _FOLDER))
        except FileNotFoundError:
            return []
        return sorted(name for name in names if name.endswith(_SUFFIX))

    def _path(self, name: str) -> str:
        return os.path.join(self._folder, _FOLDER, name)

    def _read(self, name: str) -> list[Record]:
        path = self._path(name)
        offset = self.positions.get(name, 0)
        try:
            reader = JournalReader(path, offset=offset)
        except ValueError:
            if not offset:
                raise
            # Twice is better than never.
            reader = JournalReader(path)
        wrong: list[tuple[int, int]] = []
        records = []
        while blobs := reader.poll():
            for offset, blob in blobs:
                if (record := decoded(blob)) is not None:
                    records.append(record)
                else:
                    wrong.append((offset, len(blob)))
        self.positions[name] = reader.position
        if found := [*reader.damage, *wrong]:
            self.damage.setdefault(f"{_FOLDER}/{name}", []).extend(sorted(found))
        return records


def _reason(path: str, error: OSError | ValueError) -> str:
    """Return why an index cannot be read."""
    return os_reason(error) if isinstance(error, OSError) else str(error).removeprefix(f"{path}: ")


def _without_secrets(fields: Record) -> Record:
    """Return what is to be recorded with the secrets in its texts replaced."""
    texts = {
        name: redacted_value(value, lambda other: other)
        for name, value in fields.items()
        if name in _TEXTS
    }
    return {**fields, **texts}


def merged(writers: Iterable[list[Record]]) -> list[Record]:
    """Return the records of several writers by time, those of one always in its own order."""
    import heapq  # who only writes does not need it

    return list(heapq.merge(*writers, key=lambda record: record["time_ns"]))


def decoded(blob: bytes) -> Record | None:
    """Return a record; None if it is not one, which no checksum can tell."""
    try:
        record = json.loads(blob)
    except ValueError:
        return None
    if not isinstance(record, dict) or not isinstance(record.get("what"), str):
        return None
    fields = {"time_ns": int, **_FIELDS.get(record["what"], {})}
    return record if all(isinstance(record.get(f), kind) for f, kind in fields.items()) else None
