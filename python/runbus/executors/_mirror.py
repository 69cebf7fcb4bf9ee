"""Copies what jobs write on a machine into their folders here, and continues where the copies end.

How a job is started, seen and ended there is not its business: what knows that tells which files
there are, and how long. A backend that is only reached through a tunnel needs this part alone.
"""

from __future__ import annotations

import logging
import os
import re
import time
from typing import TYPE_CHECKING, NamedTuple

import anyio

from runbus._files import write_file
from runbus._home import RESULT, RESULT_BYTES
from runbus.errors import HostError, RemoteFailed
from runbus.executors._copies import JournalCopy, LogCopy, read_record, write_record
from runbus.executors._look import decoded
from runbus.executors._named_files import NamedFiles
from runbus.metrics import ENVIRONMENT, ENVIRONMENT_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runbus.abc import JobRef, Tunnel
    from runbus.executors._placement import Placement

__all__ = ["Copied", "Mirror", "MirroredJob"]

logger = logging.getLogger("runbus.executors")

_PIECE = 1 << 20
_BUDGET = 8 << 20
"""Bytes of a log that are copied at one look, so that one loud job does not silence others."""

_COPIES = 16
"""Jobs whose files are copied at a time."""

_NOTES = {RESULT: RESULT_BYTES, ENVIRONMENT: ENVIRONMENT_BYTES}
"""What a job says of itself in small files, and how large each may be."""

_JOURNAL = re.compile(r"(metrics|records)/[0-9a-z.-]+\.journal")


class Copied(NamedTuple):
    """What one round of copying brought.

    Attributes:
        anything: Whether something new came.
        is_enough: Whether an end may be reported: all that comes before it is here, or is given up.
        error: Why the machine did not give all of it; None if it did.
    """

    anything: bool
    is_enough: bool
    error: HostError | None = None


class Mirror:
    """Copies the files of the jobs of one machine.

    Args:
        tunnel: How to reach it.
        patience_s: How long the end of a job waits for files that cannot be copied although the
            machine answers.
    """

    def __init__(self, tunnel: Tunnel, patience_s: float) -> None:
        self._tunnel = tunnel
        self._patience_s = patience_s
        self._copying = anyio.CapacityLimiter(_COPIES)

    async def copy(
        self, job: MirroredJob, files: Mapping[str, int], *, is_over: bool, final: bool
    ) -> Copied:
        """Copy what is new of a job.

        Args:
            job: The job.
            files: What is there, with the sizes: logs and notes by their names, journals by their
                paths in the run's folder.
            is_over: Nothing of it lives any more.
            final: It has ended by its own record: its files grow no more, and are copied whole.
        """
        job.behind.intersection_update(files)
        anything, failure = False, None
        try:
            async with self._copying:
                for name, size in files.items():
                    anything |= await job.copy(self._tunnel, name, size, final=final)
            job.uncopied_since = None
        except HostError as error:
            # What was seen of the job is true all the same; its end waits for what comes before it.
            failure = error
            if is_over and not self._gives_up(job, error):
                return Copied(anything, is_enough=False, error=error)
        except OSError as error:
            # This machine's disk. What is true of the job is told all the same.
            logger.warning("cannot copy what job %s writes: %s", job.ref.name, error)
            job.behind.clear()
        is_enough = not (job.behind and is_over and job.uncopied_since is None)
        return Copied(anything, is_enough, failure)

    def _gives_up(self, job: MirroredJob, error: HostError) -> bool:
        """Whether files have been out of reach for too long while the machine answered."""
        now = time.monotonic()
        job.uncopied_since = job.uncopied_since or now
        if now - job.uncopied_since < self._patience_s:
            return False
        logger.warning(
            "what job %s wrote stays on %s, in %s, as far as it is not here: %s",
            job.ref.name, self._tunnel.name, job.placement.folder, error.reason,
        )  # fmt: skip
        return True


class MirroredJob:
    """A job on a machine, and how far it has been copied.

    Args:
        ref: The job.
        placement: Where everything of it lies there.

    Attributes:
        behind: Indexes whose records wait for the files that they name.
        records: The names of those of its records that are here.
        uncopied_since: Since when its end waits for files out of reach, by a clock that is not set.
    """

    def __init__(self, ref: JobRef, placement: Placement) -> None:
        self.ref = ref
        self.placement = placement
        self.run_folder = os.path.normpath(os.path.join(ref.folder, placement.local_run_folder))
        self.named_files = NamedFiles(ref.name, self.run_folder, placement.run_folder)
        self.behind: set[str] = set()
        self.logs = {
            f"{source}.log": LogCopy(ref.folder, source) for source in ("stdout", "stderr")
        }
        self.journals: dict[str, JournalCopy] = {}
        self.records: set[str] = set()
        self.uncopied_since: float | None = None

    def keep(self, name: str, record: bytes, time_ns: int) -> None:
        """Keep one of its records here, as if it had been written here at that time; once."""
        # Of what the disk had not taken when the power failed there may be a part.
        if decoded(read_record(self.ref.folder, name)) is None:
            write_record(self.ref.folder, name, record, time_ns)
        self.records.add(name)

    def journal(self, name: str) -> JournalCopy:
        """Return the copy of a journal of the job's run."""
        if name not in self.journals:
            path = os.path.join(self.run_folder, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            self.journals[name] = JournalCopy(path)
        return self.journals[name]

    async def copy(self, tunnel: Tunnel, name: str, size: int, *, final: bool) -> bool:
        """Copy what is new in a file; return whether anything was.

        Raises:
            HostError: The machine cannot be reached.
            OSError: It cannot be written here.
        """
        try:
            if name in self.logs:
                return await self._copy_log(tunnel, name, size, final=final)
            if name in _NOTES:
                return final and await self._copy_note(tunnel, name, _NOTES[name])
            return bool(_JOURNAL.fullmatch(name)) and await self._copy_journal(
                tunnel, name, final=final
            )
        except RemoteFailed as error:
            # One file that cannot be read must not hide how the job stands.
            logger.warning("cannot copy %s of job %s: %s", name, self.ref.name, error)
            self.behind.discard(name)
            return False

    async def _copy_log(self, tunnel: Tunnel, name: str, size: int, *, final: bool) -> bool:
        copy = self.logs[name]
        path = os.fsencode(f"{self.placement.folder}/{name}")
        copied = 0
        while copy.offset != size and (final or copied < _BUDGET):
            seen = copy.before
            start = copy.offset - len(seen)
            data = await tunnel.read(path, start, min(_PIECE, max(0, size - start)))
            if size < copy.offset or not data.startswith(seen):
                logger.warning(
                    "job %s has emptied its own %s on %s; the copy keeps what it had",
                    self.ref.name, name, tunnel.name,
                )  # fmt: skip
                copy.restart()
                continue
            if len(data) == len(seen):
                break
            copy.take(data[len(seen) :])
            copied += len(data) - len(seen)
        return copied > 0

    async def _copy_note(self, tunnel: Tunnel, name: str, most: int) -> bool:
        path = os.fsencode(f"{self.placement.folder}/{name}")
        data = b""
        # One byte more than may be there: a reader of the copy says that it is too large.
        while (left := most + 1 - len(data)) > 0:
            if not (piece := await tunnel.read(path, len(data), min(_PIECE, left))):
                break
            data += piece
        if not data:  # it is gone since it was seen
            return False
        write_file(os.path.join(self.ref.folder, name), data, is_durable=False)
        return True

    async def _copy_journal(self, tunnel: Tunnel, name: str, *, final: bool) -> bool:
        copy = self.journal(name)
        start = copy.offset
        path = os.fsencode(f"{self.placement.run_folder}/{name}")
        more = True
        while more and (final or copy.offset - start < _BUDGET):
            before = copy.offset, copy.window
            data = await tunnel.read(path, copy.offset, copy.window)
            if not await self._copy_named(tunnel, name, data, final=final):
                return True
            more = copy.take(data)
            more = more and (copy.offset, copy.window) != before
        if final:
            await self._copy_damaged(tunnel, path, copy)
        return copy.offset > start

    async def _copy_named(self, tunnel: Tunnel, name: str, data: bytes, *, final: bool) -> bool:
        """Copy what records name, and return whether all of it is here.

        If not, only the records before are taken in.
        """
        if name.startswith("metrics/"):
            return True
        copy = self.journals[name]
        ready = await self.named_files.ready(tunnel, data, at_start=copy.offset == 0, final=final)
        if ready == len(data):
            self.behind.discard(name)
            return True
        copy.take(data[:ready])
        self.behind.add(name)
        return False

    async def _copy_damaged(self, tunnel: Tunnel, path: bytes, copy: JournalCopy) -> None:
        """Copy what no record explains, up to the reserved zeros."""
        while data := (await tunnel.read(path, copy.offset, _PIECE)).rstrip(b"\0"):
            copy.take_rest(data)
