"""What a script or a notebook is told while its experiment runs, on standard error."""

from __future__ import annotations

import itertools
import sys
from typing import TYPE_CHECKING

import anyio.to_thread

from runbus.api._failures import failure_of
from runbus.api._job_lines import JobLines
from runbus.catalog import job_statuses
from runbus.errors import RunbusError
from runbus.events import JobEnded, LogLines
from runbus.jobs import FAILURES

if TYPE_CHECKING:
    from runbus.abc import Scope

__all__ = ["Teller", "plain"]

_NUMBERS = itertools.count(1)

_CHUNKS = 16
"""How many pieces of output may wait to be written; one has up to 1 MiB."""


class Teller:
    """Tells the first failure of an experiment when it happens, and if asked every line of a job.

    Args:
        home: The home that it lies in; the default one if None.
        tail_logs: Whether to write what jobs write, each line behind the name of its job.

    Attributes:
        folder: The experiment's folder, once it is recorded.
    """

    def __init__(self, *, home: str | None = None, tail_logs: bool = False) -> None:
        self.name = f"teller-{next(_NUMBERS)}"
        self.folder = ""
        self._home = home
        self._tail_logs = tail_logs
        self._has_told = False
        self._lines = JobLines()

    async def setup(self, scope: Scope) -> None:
        """Subscribe; what a plugin does."""
        scope.on(JobEnded, self._take_in)
        if self._tail_logs:
            stream = scope.stream(LogLines, maxsize=_CHUNKS, overflow="block")

            async def show() -> None:
                async for event in stream:
                    if isinstance(event, LogLines) and self._is_ours(event.experiment_id):
                        self._show(event)

            scope.start(show)

    def _is_ours(self, experiment_id: str) -> bool:
        return self.folder.endswith(f"/{experiment_id}")

    def _show(self, event: LogLines) -> None:
        lines = self._lines.take(event)
        label = f"{plain(event.job)} | "
        text = "".join(f"{label}{line.decode('utf-8', 'replace')}\n" for line in lines)
        sys.stderr.write(text)
        sys.stderr.flush()

    async def _take_in(self, event: JobEnded) -> None:
        if self._has_told or event.state not in FAILURES or not self._is_ours(event.experiment_id):
            return
        self._has_told = True
        await anyio.to_thread.run_sync(self._tell, event.job)

    def _tell(self, job: str) -> None:
        try:
            found = [one.record for one in job_statuses(self.folder) if one.record.name == job]
        except (RunbusError, OSError):
            return  # the end of the experiment tells it, too
        for record in found:
            lines = str(failure_of(record, self.folder, home=self._home)).splitlines()
            sys.stderr.write("".join(f"{plain(line)}\n" for line in lines))
            sys.stderr.flush()


def plain(text: str) -> str:
    r"""Return a text that does nothing to a terminal: an ESC in it becomes `\x1b`."""
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)
