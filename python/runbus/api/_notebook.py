"""What a notebook shows while jobs run: one line, which is written anew."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from runbus.events import JobEnded, JobFact, JobIntended, JobStarted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runbus.abc import Plugin, Scope

__all__ = ["notebook_progress"]


def notebook_progress(jobs: int) -> Sequence[Plugin]:
    """Return a plugin that shows how far some jobs are, if this is a notebook's process.

    Args:
        jobs: How many jobs there are, until it is told of each.
    """
    # Loaded by the notebook itself; nothing else must pay for it.
    if "ipykernel" not in sys.modules or "IPython.display" not in sys.modules:
        return ()
    return (_NotebookProgress(jobs, sys.modules["IPython.display"]),)


class _NotebookProgress:
    """Counts jobs, and shows the counts."""

    name = "notebook"

    def __init__(self, jobs: int, display: Any) -> None:
        self._jobs = jobs
        self._known: set[str] = set()
        self._started: set[str] = set()
        self._ended: dict[str, str] = {}
        self._module = display
        self._handle = display.display(self._shown(), display_id=True)

    async def setup(self, scope: Scope) -> None:
        """Subscribe; what a plugin does."""
        scope.on(JobFact, self._take_in)

    def _take_in(self, event: JobFact) -> None:
        if isinstance(event, JobIntended):
            # What was added may be a group, or one that its executor runs as several copies.
            self._known.add(event.job)
        elif isinstance(event, JobStarted):
            self._started.add(event.job)
        elif isinstance(event, JobEnded):
            self._ended[event.job] = event.state
        else:
            return
        self._handle.update(self._shown())

    def _shown(self) -> Any:
        failed = sum(state not in ("SUCCEEDED", "SKIPPED") for state in self._ended.values())
        running = len(self._started - self._ended.keys())
        text = f"{len(self._ended)} of {len(self._known) or self._jobs} done"
        text += f", {failed} failed" if failed else ""
        return self._module.HTML(f"<p>{text}{f' · {running} running' if running else ''}</p>")
