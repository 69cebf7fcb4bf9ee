"""The journal of an experiment: every fact about its jobs, in order."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from runbus import codec
from runbus._files import sync_files
from runbus.attempt import Journal, JournalReader, has_writer
from runbus.errors import JournalError, JournalHeld
from runbus.events import JobEnded, JobFact
from runbus.jobs._state import JobRecord, fold

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["FactReader", "JobStore", "is_led", "read_jobs"]

_FILE = "events.journal"


class JobStore:
    """The one writer of an experiment's journal, and the state it adds up to.

    Opening continues an existing journal: a torn tail is cut off, the whole records are folded.

    Attributes:
        folder: The experiment's folder.

    Raises:
        JournalHeld: Another process leads this experiment.
        JournalError: The file cannot be written.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._path = os.path.join(folder, _FILE)
        self._jobs: dict[str, JobRecord] = {}
        self._ended: list[JobRecord] = []
        try:
            self._journal = Journal(self._path)
            self._jobs = read_jobs(folder)
        except BlockingIOError as error:
            raise JournalHeld(self._path) from error
        except (OSError, ValueError) as error:
            raise JournalError(self._path, _reason(error)) from error

    @property
    def jobs(self) -> Mapping[str, JobRecord]:
        """The records by job name, in the order of their intents."""
        return self._jobs

    def relative(self, folder: str) -> str:
        """Return a folder within the experiment's as the journal names it."""
        return os.path.relpath(folder, self.folder)

    def absolute(self, folder: str) -> str:
        """Return the path of a folder as the journal names it."""
        return os.path.join(self.folder, folder)

    def record(self, fact: JobFact) -> JobRecord | None:
        """Append a fact and return the job's record after it.

        The fact outlives this process at once, and a power failure after the next `sync`.

        Raises:
            JournalError: It could not be written; the state is unchanged.
        """
        try:
            self._journal.append(codec.encode_event(fact))
        except OSError as error:
            raise JournalError(self._path, str(error.strerror or error)) from error
        record = _apply(self._jobs, fact)
        if record is not None and isinstance(fact, JobEnded):
            self._ended.append(record)
        return record

    def sync(self) -> None:
        """Make everything recorded so far survive a power failure. Blocks for the disk."""
        self._journal.sync()

    def close(self) -> None:
        """Sync and give the journal back; safe to repeat. Blocks for the disk.

        What this process has told of the ends of jobs is then on the disk, too: the records that
        their wrappers left, and how far their runs had been read.
        """
        ended, self._ended = self._ended, []
        sync_files(
            os.path.join(self.folder, folder, name)
            for job in ended
            for folder, names in (
                (job.folder, ("exit.json", "pid.json", ".")),
                (os.path.join("runs", job.run_id), ("metrics.cursor", "records.cursor", ".")),
            )
            for name in names
        )
        self._journal.close()


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

    def poll(self) -> Iterator[JobFact]:
        """Yield the facts that were recorded since the last call, or from the beginning.

        Raises:
            JournalError: The journal cannot be read.
        """
        if self._reader is None:
            try:
                self._reader = JournalReader(self._path)
            except FileNotFoundError:
                return
            except (OSError, ValueError) as error:
                raise JournalError(self._path, _reason(error)) from error
        while records := self._polled(self._reader):
            for _, payload in records:
                try:
                    fact = codec.decode_event(payload)
                except codec.DecodeError:
                    # A newer runbus, or a plugin that is not here, knows what that is.
                    continue
                if isinstance(fact, JobFact):
                    yield fact

    def _polled(self, reader: JournalReader) -> list[tuple[int, bytes]]:
        try:
            return reader.poll()
        except (OSError, ValueError) as error:
            raise JournalError(self._path, _reason(error)) from error


def is_led(folder: str) -> bool:
    """Whether a process leads the experiment in `folder`. Changes nothing."""
    return has_writer(os.path.join(folder, _FILE))


def _apply(jobs: dict[str, JobRecord], fact: JobFact) -> JobRecord | None:
    record = fold(jobs.get(fact.job), fact)
    if record is not None:
        jobs[fact.job] = record
    return record


def _reason(error: OSError | ValueError) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return str(error).rpartition(": ")[2]
