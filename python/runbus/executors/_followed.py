"""A job on a machine, and how far what it writes there has been copied here."""

from __future__ import annotations

import logging
import os
import re
from typing import TYPE_CHECKING

from runbus.errors import RemoteFailed
from runbus.executors._contents import Contents
from runbus.executors._mirror import JournalCopy, LogCopy

if TYPE_CHECKING:
    from runbus.abc import JobRef, Observation, Tunnel
    from runbus.executors._placement import Placement

__all__ = ["FollowedJob"]

logger = logging.getLogger("runbus.executors")

_PIECE = 1 << 20
_BUDGET = 8 << 20
"""Bytes of a log that are copied at one look, so that one loud job does not silence others."""

_JOURNAL = re.compile(r"(metrics|records)/[0-9a-z.-]+\.journal")


class FollowedJob:
    """A job on a machine, and how far it has been copied.

    Attributes:
        behind: Indexes whose records wait for the files that they name.
        uncopied_since: Since when its end waits for files out of reach, by a clock that is not set.
    """

    __slots__ = (
        "behind", "contents", "gone_since", "journals", "logs", "observation", "placement",
        "recorded", "records", "ref", "run_folder", "uncopied_since",
    )  # fmt: skip

    def __init__(self, ref: JobRef, placement: Placement) -> None:
        self.ref = ref
        self.placement = placement
        self.run_folder = os.path.normpath(os.path.join(ref.folder, placement.local_run_folder))
        self.contents = Contents(ref.name, self.run_folder, placement.run_folder)
        self.behind: set[str] = set()
        self.logs = {
            f"{source}.log": LogCopy(ref.folder, source) for source in ("stdout", "stderr")
        }
        self.journals: dict[str, JournalCopy] = {}
        self.observation: Observation | None = None
        self.records: set[str] = set()
        self.recorded: Observation | None = None
        self.gone_since: float | None = None
        self.uncopied_since: float | None = None

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

    async def _copy_journal(self, tunnel: Tunnel, name: str, *, final: bool) -> bool:
        copy = self.journal(name)
        start = copy.offset
        path = os.fsencode(f"{self.placement.run_folder}/{name}")
        more = True
        while more and (final or copy.offset - start < _BUDGET):
            before = copy.offset, copy.window
            data = await tunnel.read(path, copy.offset, copy.window)
            if not await self._is_ready(tunnel, name, data, final=final):
                return True
            more = copy.take(data)
            more = more and (copy.offset, copy.window) != before
        if final:
            await self._copy_damaged(tunnel, path, copy)
        return copy.offset > start

    async def _is_ready(self, tunnel: Tunnel, name: str, data: bytes, *, final: bool) -> bool:
        """Copy what records name; if not all of it is here yet, take in the records before."""
        if name.startswith("metrics/"):
            return True
        copy = self.journals[name]
        ready = await self.contents.ready(tunnel, data, at_start=copy.offset == 0, final=final)
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
