"""Collecting what jobs leave where they worked: the files that patterns mean become artifacts."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from typing import TYPE_CHECKING

import anyio.to_thread

from runbus.abc import FilePatterns
from runbus.attempt import as_it_worked
from runbus.errors import FileUnreadable, HostError, RemoteFailed, Unsupported, os_reason
from runbus.metrics import Collection
from runbus.supervisor._time import sleep

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from runbus._clock import AlarmClock
    from runbus.abc import Executor, FoundFile, JobFiles, JobSpec

__all__ = ["Collector"]

logger = logging.getLogger("runbus.supervisor")

PATIENCE_S = 60.0
_PIECE = 8 << 20
_TRIES = 3
"""How often a file is copied that changes meanwhile."""

_SPARE = 16 << 20
"""Bytes of the disk that are left to records."""

_NAMED = 20
"""How many files that were not collected are named."""

_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 5.0


class Collector:
    """Collects the files of attempts that have ended. What it cannot have it notes.

    Args:
        executors: What ran the jobs, by the names that they use.
        clock: Where the time of what happens here comes from.
        check_lead: Raises `LeaseLost` if this process does not lead the experiment any more; asked
            before anything is recorded.
        patience_s: How long a machine may be out of reach before what lies there is given up.
    """

    def __init__(
        self,
        executors: Mapping[str, Executor],
        clock: AlarmClock,
        check_lead: Callable[[], object],
        *,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._executors = executors
        self._clock = clock
        self._check_lead = check_lead
        self._patience_s = patience_s

    async def collect(self, job: JobSpec) -> None:
        """Collect what the patterns of a job mean, unless that was done; its attempt has ended.

        May be cancelled: who leads the experiment next goes on with what is missing.

        Raises:
            LeaseLost: Another process leads the experiment now.
        """
        if not job.artifacts:
            return
        try:
            collection = await anyio.to_thread.run_sync(Collection, job.run_folder, job.attempt)
            if collection.is_over:
                await self._release(job)
                return
            try:
                taking = _Taking(job, collection, self._check_lead)
                await self._take(job, taking)
                self._check_lead()
                await anyio.to_thread.run_sync(collection.finish, taking.told())
            finally:
                collection.close()
        except (OSError, FileUnreadable) as error:
            # Of this machine: the end of the job is told all the same.
            reason = error.reason if isinstance(error, FileUnreadable) else os_reason(error)
            logger.warning("artifacts of job %r are not collected: %s", job.name, reason)
            return
        for note in taking.told():
            logger.warning("artifacts of job %r: %s", job.name, note)

    async def _release(self, job: JobSpec) -> None:
        """Have given back what an earlier process has collected all of, and perhaps died then."""
        with suppress(HostError, FileUnreadable, Unsupported):
            async with await self._executors[job.executor].files(as_it_worked(job)):
                pass

    async def _take(self, job: JobSpec, taking: _Taking) -> None:
        """Take all, also if the machine is out of reach for a while."""
        executor = self._executors[job.executor]
        given_up_at = self._clock.monotonic() + self._patience_s
        pause_s = _PAUSE_S
        while True:
            copied = taking.copied
            try:
                async with await executor.files(as_it_worked(job)) as files:
                    await taking.all_of(files)
                return
            except (RemoteFailed, FileUnreadable, Unsupported) as error:
                reason = str(error) if isinstance(error, Unsupported) else error.reason
                taking.note(f"the folder where it worked cannot be read: {reason}")
                return
            except HostError as error:
                now = self._clock.monotonic()
                if taking.copied != copied:
                    given_up_at, pause_s = now + self._patience_s, _PAUSE_S
                if now >= given_up_at or not error.retryable:
                    taking.note(f"what is missing was out of reach: {error.reason}")
                    return
            await sleep(self._clock, pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


class _Taking:
    """What has been taken of one attempt.

    Attributes:
        copied: How many bytes have come.
    """

    def __init__(
        self,
        job: JobSpec,
        collection: Collection,
        check_lead: Callable[[], object],
    ) -> None:
        self._limits = job.artifact_limits
        self._patterns = FilePatterns(job.artifacts)
        self._collection = collection
        self._check_lead = check_lead
        self._notes: list[str] = []
        self._left: dict[str, str] = {}
        self.copied = 0

    def note(self, text: str) -> None:
        """Note something that a person who looks at the job should know."""
        self._notes.append(text)

    def told(self) -> list[str]:
        """Return what was not collected, and why."""
        left = [f"{name!r} is left out: {why}" for name, why in self._left.items()]
        more = [f"… and {len(left) - _NAMED} more"] if len(left) > _NAMED else []
        return [*self._notes, *left[:_NAMED], *more]

    async def all_of(self, files: JobFiles) -> None:
        """Take all that the patterns mean, and note which of them means nothing.

        Raises:
            HostError: The machine is out of reach; what was taken is taken.
            FileUnreadable: The folder cannot be read.
            OSError: The disk is full or failing.
        """
        self._left.clear()
        found = sorted(await files.find(self._patterns))
        for one in found:
            name = _name_of(one.path)
            if name not in self._collection.sizes and (why := await self._take(files, one, name)):
                self._left[name] = why
        meant = {pattern for one in found for pattern in self._patterns.of(one.path)}
        self._notes += [
            _without_match(pattern) for pattern in self._patterns.texts if pattern not in meant
        ]

    async def _take(self, files: JobFiles, found: FoundFile, name: str) -> str:
        """Take a file; return why not, or nothing."""
        for _ in range(_TRIES):
            if why := self._refusal(found):
                return why
            try:
                now = await self._copied(files, found, name)
            except (RemoteFailed, FileUnreadable) as error:
                return error.reason
            if now == found:
                return ""
            if now is None:
                return "it is gone"
            found = now
        return "it changes while it is copied"

    def _refusal(self, found: FoundFile) -> str:
        """Return why a file is not taken, as it is and with what was taken; nothing if it is."""
        if found.problem:
            return found.problem
        sizes = self._collection.sizes
        if len(sizes) >= (most := self._limits.files):
            return f"{most:,} files are the most that are collected: artifact_files says how many"
        if sum(sizes.values()) + found.size > (most := self._limits.size_bytes):
            more = f"with its {found.size:,} bytes there would be more than {most:,}"
            return f"{more}: artifact_size says how many"
        if found.size + _SPARE > self._collection.room():
            return f"the disk has no room for its {found.size} bytes"
        return ""

    async def _copied(self, files: JobFiles, found: FoundFile, name: str) -> FoundFile | None:
        """Copy a file and keep it if it is still what was found; return what it is now."""
        executable = found.is_executable
        staged = await anyio.to_thread.run_sync(
            lambda: self._collection.stage(name, is_executable=executable)
        )
        try:
            while staged.size < found.size:
                wanted = min(_PIECE, found.size - staged.size)
                if not (data := await files.read(found.path, staged.size, wanted)):
                    break
                await anyio.to_thread.run_sync(staged.add, data)
                self.copied += len(data)
            now = await files.look(found.path)
            if now == found and staged.size == found.size:
                self._check_lead()
                if not await anyio.to_thread.run_sync(self._collection.keep, name, staged):
                    raise OSError("it cannot be recorded")
            elif now == found:
                return None
            return now
        finally:
            staged.discard()


def _name_of(path: str) -> str:
    """Return what a run calls a file: its path, in which what is no UTF-8 is written out."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _without_match(pattern: str) -> str:
    deeper = "" if "/" in pattern else f" in that folder itself; **/{pattern} looks below it, too"
    return f"no file matches {pattern!r}{deeper}"
