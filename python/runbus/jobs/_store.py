"""The journal of an experiment: every fact about its jobs, in order."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from runbus import codec
from runbus._files import open_file, sync_file, write_file
from runbus.attempt import Journal, JournalReader
from runbus.errors import JournalError
from runbus.events import JobEnded, JobFact, JobIntended
from runbus.jobs._lease import Lease, passing
from runbus.jobs._state import JobRecord, fold

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from runbus.attempt import Syncing

__all__ = ["FactReader", "JobStore", "StoreSync", "read_jobs"]

_FILE = "events.journal"

_MARK = b"\xc1runbus.led "
"""How the record begins that a leader writes first into its copy of the journal of another, which
did not give up the lead. No event begins so."""


class JobStore:
    """The one writer of an experiment's journal, and the state it adds up to.

    Opening takes the lead, and continues an existing journal: a torn tail is cut off, the whole
    records are folded. From a leader of which nothing was heard for a minute the lead is taken
    away; it continues in a copy of its journal, which that process cannot write.

    Attributes:
        folder: The experiment's folder.

    Raises:
        JournalHeld: Another process leads this experiment.
        JournalError: The file cannot be written.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._path = os.path.join(folder, _FILE)
        self._ended: list[JobRecord] = []
        self._is_synced = False
        self._lock = threading.Lock()
        try:
            with passing(folder):
                self._lease = Lease.take(folder)
                self._open()
        except (OSError, ValueError) as error:
            raise JournalError(self._path, _reason(error)) from error

    def _open(self) -> None:
        try:
            if self._lease.is_owed:
                _copy(self._path)
                self._lease.paid()
            self._journal = Journal(self._path, lock=False)
            self._jobs = read_jobs(self.folder)
            # Their leader may not have come to sync what it had intended.
            self._asked = [
                job for job in self._jobs.values() if not job.handle and not job.state.is_terminal
            ]
        except BaseException:
            self._lease.close()
            raise

    @property
    def jobs(self) -> Mapping[str, JobRecord]:
        """The records by job name, in the order of their intents."""
        return self._jobs

    def relative(self, folder: str) -> str:
        """Return a folder within the experiment's as the journal names it."""
        inside = folder.removeprefix(self.folder + os.sep)
        return inside if inside != folder else os.path.relpath(folder, self.folder)

    def absolute(self, folder: str) -> str:
        """Return the path of a folder as the journal names it."""
        return os.path.join(self.folder, folder)

    def record(self, fact: JobFact) -> JobRecord | None:
        """Append a fact and return the job's record after it.

        The fact outlives this process at once, and a power failure after the next `sync`.

        Raises:
            LeaseLost: Another process leads; the state is unchanged, and so is its journal.
            JournalError: It could not be written; the state is unchanged.
        """
        self._lease.check()
        try:
            self._journal.append(codec.encode_event(fact))
        except OSError as error:
            raise JournalError(self._path, str(error.strerror or error)) from error
        self._is_synced = False
        # Only now is it certain that the next leader has it, too.
        self._lease.check()
        record = _apply(self._jobs, fact)
        if record is not None:
            with self._lock:
                if isinstance(fact, JobIntended):
                    self._asked.append(record)
                elif isinstance(fact, JobEnded):
                    self._ended.append(record)
        return record

    @property
    def has_unsynced_ends(self) -> bool:
        """Whether a job has ended since the last `sync`."""
        return bool(self._ended)

    def sync(self) -> None:
        """Make everything recorded so far survive a power failure. Blocks for the disk.

        May be called from another thread than `record`, by one at a time.

        With the intents and the ends that were recorded it does so for what they rest on: what was
        asked for and the runs that were made, the records that the wrappers left, and how far the
        runs had been read. The disk is waited for once.

        Raises:
            JournalError: The disk failed.
        """
        self.begin_sync().wait()

    def begin_sync(self) -> StoreSync:
        """Begin what `sync` does, and return at once.

        Raises:
            JournalError: The process has no more files.
        """
        with self._lock:
            asked, ended, self._asked, self._ended = self._asked, self._ended, [], []
            self._is_synced = True

        def failed(error: OSError) -> JournalError:
            with self._lock:
                self._asked += asked
                self._ended += ended
                self._is_synced = False
            return JournalError(self._path, str(error.strerror or error))

        try:
            paths = [*self._asked_for(asked), *self._left_by(ended)]
            return StoreSync(self._journal.begin_sync(paths), failed)
        except OSError as error:
            raise failed(error) from error

    def check(self) -> None:
        """Make sure that this process still leads: before it does what only the leader may.

        Raises:
            LeaseLost: It does not.
        """
        self._lease.check()

    def beat(self, now: float) -> None:
        """Let others see that this process still leads; to be called once a second or more often.

        Args:
            now: This moment, in seconds of any clock that is never set.

        Raises:
            LeaseLost: It does not lead any more.
        """
        self._lease.beat(now)

    def close(self, *, is_handed_over: bool = False) -> None:
        """Sync and give the journal back; safe to repeat. Blocks for the disk.

        Args:
            is_handed_over: Whether another process is about to lead.
        """
        try:
            # Of a folder that was removed there is nothing to keep.
            if not self._is_synced and os.path.exists(self._path):
                self.sync()
        finally:
            self._is_synced = True
            try:
                self._journal.close(sync=False)
            finally:
                self._lease.close(is_handed_over=is_handed_over)

    def _asked_for(self, jobs: Sequence[JobRecord]) -> Iterator[str]:
        """Yield what the intents of jobs rest on: what was asked for, their code and their runs."""
        if jobs:
            yield os.path.join(self.folder, "experiment.json")
        for package in {job.package for job in jobs if job.package}:
            path = os.path.join(self.folder, package)
            yield from (path, os.path.dirname(path))
        for job in jobs:
            run = f"{self.folder}/runs/{job.run_id}"
            yield from (f"{run}/run.json", run)

    def _left_by(self, jobs: Sequence[JobRecord]) -> Iterator[str]:
        """Yield what the ends of jobs rest on."""
        for job in jobs:
            folder = os.path.join(self.folder, job.folder)
            yield from (f"{folder}/exit.json", f"{folder}/pid.json", folder)
            run = f"{self.folder}/runs/{job.run_id}"
            cursors = (f"{run}/metrics.cursor", f"{run}/records.cursor")
            if any(map(os.path.exists, cursors)):
                yield from (*cursors, run)


class StoreSync:
    """A sync of a store that was begun.

    Args:
        syncing: What a thread of its own is busy with.
        failed: Called when the disk fails: the next sync does it all again.
    """

    def __init__(self, syncing: Syncing, failed: Callable[[OSError], JournalError]) -> None:
        self._syncing = syncing
        self._failed = failed

    def fileno(self) -> int:
        """Return a descriptor that is readable when it is done."""
        return self._syncing.fileno()

    def wait(self) -> None:
        """Return when it is done.

        Raises:
            JournalError: The disk failed.
        """
        try:
            self._syncing.wait()
        except OSError as error:
            raise self._failed(error) from error


def _copy(path: str) -> None:
    """Put a copy in the place of a journal that a former leader may have open.

    Whatever that process writes from now on is in a file that nobody reads.
    """
    try:
        reader = JournalReader(path)
    except FileNotFoundError:
        return
    while reader.poll():
        pass
    copy = f"{path}.new"
    with os.fdopen(open_file(path), "rb") as file:
        write_file(copy, file.read(reader.position))
    with Journal(copy, lock=False) as journal:
        journal.append(_MARK + os.urandom(8).hex().encode())
    os.rename(copy, path)
    sync_file(os.path.dirname(path))


def read_jobs(folder: str) -> dict[str, JobRecord]:
    """Fold the journal of the experiment in `folder`, also while another process writes it.

    Returns:
        The records by job name, in the order of their intents; empty if there is no journal.

    Raises:
        JournalError: The journal cannot be read.
    """
    jobs: dict[str, JobRecord] = {}
    for fact in FactReader(folder).poll():
        _apply(jobs, fact)
    return jobs


class FactReader:
    """Reads the facts of an experiment, also while another process writes them.

    Args:
        folder: The experiment's folder; its journal need not exist yet.
    """

    def __init__(self, folder: str) -> None:
        self._path = os.path.join(folder, _FILE)
        self._reader: JournalReader | None = None
        self._dev_ino = (0, 0)
        self._marks: set[bytes] = set()

    def poll(self) -> Iterator[JobFact]:
        """Yield the facts that were recorded since the last call, or from the beginning.

        Raises:
            JournalError: The journal cannot be read.
        """
        if self._reader is None:
            self._reader = self._opened()
        while self._reader is not None:
            before = self._reader.position
            records = self._polled(self._reader)
            if self._is_replaced():
                # Some of them may have been written too late to count.
                self._reader = self._moved_on(before)
                continue
            if not records:
                return
            for _, payload in records:
                if (fact := self._decoded(payload)) is not None:
                    yield fact

    def _decoded(self, payload: bytes) -> JobFact | None:
        if payload.startswith(_MARK):
            self._marks.add(payload)
            return None
        try:
            fact = codec.decode_event(payload)
        except codec.DecodeError:
            # A newer runbus, or a plugin that is not here, knows what that is.
            return None
        return fact if isinstance(fact, JobFact) else None

    def _opened(self, offset: int = 0) -> JournalReader | None:
        """Open the file that is now in place; None if there is none."""
        try:
            while True:
                found = os.stat(self._path)
                self._dev_ino = found.st_dev, found.st_ino
                reader = JournalReader(self._path, offset=offset)
                if not self._is_replaced():
                    return reader
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise JournalError(self._path, _reason(error)) from error

    def _is_replaced(self) -> bool:
        """Whether a leader continues in another file, because the one before may write to this."""
        try:
            found = os.stat(self._path)
        except OSError:
            return False
        return (found.st_dev, found.st_ino) != self._dev_ino

    def _moved_on(self, position: int) -> JournalReader | None:
        """Open the copy, where it begins to differ from what was read up to `position`.

        It does at its leader's mark: what follows that in the file before was written too late.
        """
        reader = self._opened()
        while reader is not None and (records := self._polled(reader)):
            for offset, payload in records:
                if offset >= position or (payload.startswith(_MARK) and payload not in self._marks):
                    return self._opened(offset)
        return reader

    def _polled(self, reader: JournalReader) -> list[tuple[int, bytes]]:
        try:
            return reader.poll()
        except (OSError, ValueError) as error:
            raise JournalError(self._path, _reason(error)) from error


def _apply(jobs: dict[str, JobRecord], fact: JobFact) -> JobRecord | None:
    record = fold(jobs.get(fact.job), fact)
    if record is not None:
        jobs[fact.job] = record
    return record


def _reason(error: OSError | ValueError) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return str(error).rpartition(": ")[2]
