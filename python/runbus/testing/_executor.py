"""An executor whose backend does as it is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
from msgspec.structs import replace

from runbus.abc import (
    Capabilities,
    Executor,
    JobRef,
    JsonBody,
    Limits,
    Observation,
    Request,
)
from runbus.events import ResolveExecutor

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Literal

    from runbus.abc import JobSpec, Scope

__all__ = ["FakeExecutor"]

_DONE = Observation(
    phase="ended", host="fake", pid=1, started_ns=10**18, ended_ns=10**18 + 1, exit_code=0,
    evidence="fake",
)  # fmt: skip
_KILLED = replace(_DONE, exit_code=None, signal=15)


class FakeExecutor(Executor):
    """Keeps jobs in memory and runs nothing: what a job shows is set by `show`.

    For tests of plugins, and of whatever follows jobs: it can show every phase that a backend may,
    such as "provisioning", "suspended", "preempted", and that it has begun a job anew. A plugin
    like any executor.

    Args:
        name: What jobs call it.
        jobs: How many jobs it takes at a time; None for any number.
        pushes: Whether `show` wakes those who wait for a change.

    Attributes:
        first: What a job shows once it is submitted.
        jobs: What each job shows, by name.
        submits: The names of the jobs that were submitted, in order.
        finds: The names of those that were looked up.
        looks: The names that each call of `observe` asked for.
        cancelled: The names of those that were cancelled: they show that they were killed.
    """

    def __init__(self, name: str = "fake", *, jobs: int | None = None, pushes: bool = True) -> None:
        self.name = name
        self.first = _DONE
        self.jobs: dict[str, Observation] = {}
        self.submits: list[str] = []
        self.finds: list[str] = []
        self.looks: list[set[str]] = []
        self.cancelled: list[str] = []
        self._limit, self._pushes = jobs, pushes
        self._changed = anyio.Event()

    async def setup(self, scope: Scope) -> None:
        """Answer for this executor's name; what a plugin does."""
        scope.on(ResolveExecutor, lambda event: self if event.name == self.name else None)

    def show(self, name: str, seen: Observation) -> None:
        """Let a job be seen as `seen` from now on."""
        self.jobs[name] = seen
        self.tell()

    def tell(self) -> None:
        """Say that something may have changed."""
        self._changed.set()

    @property
    def capabilities(self) -> Capabilities:
        """What it offers: nothing but to push."""
        return Capabilities(pushes=self._pushes)

    def limits(self) -> Limits:
        """Return how many jobs it takes at a time."""
        return Limits(jobs=self._limit)

    def plan(self, job: JobSpec) -> Request:
        """Return a request that nobody is sent."""
        self.capabilities.check(job, self.name)
        return Request(job=job, body=JsonBody({"argv": list(job.argv)}))

    async def submit(self, request: Request) -> JobRef:
        """Take a job; it shows `first`."""
        name = request.job.name
        self.submits.append(name)
        self.show(name, self.first)
        return self._ref(request.job)

    async def find(self, job: JobSpec) -> JobRef | None:
        """Return the job if it was submitted."""
        self.finds.append(job.name)
        return self._ref(job) if job.name in self.jobs else None

    async def observe(self, refs: Sequence[JobRef]) -> dict[JobRef, Observation]:
        """Return what the jobs show."""
        self.looks.append({ref.name for ref in refs})
        return {ref: self.jobs[ref.name] for ref in refs if ref.name in self.jobs}

    async def wait_for_change(self, timeout_s: float) -> bool:
        """Return when something was shown since the last call, or after `timeout_s` seconds."""
        with anyio.move_on_after(timeout_s):
            await (self._changed.wait() if self._pushes else anyio.sleep_forever())
        told = self._pushes and self._changed.is_set()
        self._changed = anyio.Event()
        return told

    async def logs(self, ref: JobRef, source: Literal["stdout", "stderr"], offset: int) -> bytes:
        """Return nothing: no job writes."""
        del ref, source, offset
        return b""

    async def cancel(self, refs: Sequence[JobRef], grace_s: float) -> None:
        """Let jobs show that they were killed."""
        del grace_s
        for ref in refs:
            self.cancelled.append(ref.name)
            if ref.name in self.jobs:
                self.show(ref.name, _KILLED)

    @staticmethod
    def _ref(job: JobSpec) -> JobRef:
        return JobRef(name=job.name, folder=job.folder, handle=f"h-{job.name}")
