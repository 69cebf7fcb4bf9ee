"""The files of a job's run on their way here: each comes before the record that names it."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

import anyio.to_thread

from runbus.attempt import blobs
from runbus.errors import RemoteFailed, os_reason
from runbus.executors._shell import files_script, parse_files
from runbus.metrics import Incoming

if TYPE_CHECKING:
    from runbus.abc import Tunnel

__all__ = ["NamedFiles"]

logger = logging.getLogger("runbus.executors")

_PIECE = 1 << 20
_BUDGET = 8 << 20
"""Bytes that are copied at one look, so that one large file does not silence other jobs."""
_FILE_COST = 64 << 10
"""What asking for a file counts of them."""


class NamedFiles:
    """Copies the files and folders that the records of a run name.

    What cannot be copied is logged, once, and its record comes without it.

    Args:
        job: The job's name.
        here: The run's folder here.
        there: The run's folder on the machine.
    """

    def __init__(self, job: str, here: str, there: str) -> None:
        self._job = job
        self._here = here
        self._there = there
        self._missing: set[str] = set()
        self._damaged: set[str] = set()
        self._parts: dict[str, list[str]] = {}

    async def ready(self, tunnel: Tunnel, data: bytes, *, at_start: bool, final: bool) -> int:
        """Copy what records name, some at a time, and return how many bytes of them may follow.

        Args:
            tunnel: The machine.
            data: Bytes of an index, from between two records on.
            at_start: Whether they are its first.
            final: The job has ended: what this machine's disk does not take is given up.

        Raises:
            HostError: The machine cannot be reached; it continues where it stopped.
            OSError: It cannot be written here.
        """
        left = _BUDGET
        for start, record in blobs(data, at_start=at_start):
            incoming = Incoming.named_by(self._here, record)
            if incoming is None or incoming.place in self._missing or incoming.is_here():
                continue
            try:
                left = await self._copy(tunnel, incoming, left)
            except RemoteFailed as error:
                self._give_up(incoming, str(error))
            except OSError as error:
                if not final:
                    raise
                self._give_up(incoming, os_reason(error))
            if left <= 0:
                return start
        return len(data)

    async def _copy(self, tunnel: Tunnel, incoming: Incoming, left: int) -> int:
        """Copy some of a file or folder; return what is left then, 0 if it is not whole yet.

        Raises:
            RemoteFailed: It cannot be copied.
        """
        place, content = incoming.place, incoming.content
        path = os.fsencode(f"{self._there}/{place}")
        if place not in self._parts:
            self._parts[place] = await self._files(tunnel, path) if content.is_folder else [""]
        parts = self._parts[place]
        while parts:
            part = parts[-1]
            there = os.path.join(path, os.fsencode(part)) if part else path
            left -= _FILE_COST
            size = _PIECE
            while size == _PIECE:
                if left <= 0:
                    return 0
                data = await tunnel.read(there, incoming.size_so_far(part), _PIECE)
                incoming.add(data, part)
                if incoming.size_so_far(part) > content.size:
                    raise RemoteFailed(tunnel.name, "it is larger than what was logged")
                size = len(data)
                left -= size
            parts.pop()
        del self._parts[place]
        if await anyio.to_thread.run_sync(incoming.settle):
            return max(left, 1)
        if place in self._damaged:
            raise RemoteFailed(tunnel.name, "it is not there as it was logged")
        # What an earlier process left here may be what is wrong: once more from the start.
        self._damaged.add(place)
        incoming.discard()
        return 0

    async def _files(self, tunnel: Tunnel, path: bytes) -> list[str]:
        _, output = await tunnel.call(files_script(path))
        try:
            return parse_files(output, path)
        except ValueError as error:
            raise RemoteFailed(tunnel.name, str(error)) from error

    def _give_up(self, incoming: Incoming, reason: str) -> None:
        self._missing.add(incoming.place)
        self._parts.pop(incoming.place, None)
        incoming.discard()
        logger.warning("cannot copy %s of job %s: %s", incoming.place, self._job, reason)
