"""A backend that does as it is told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import anyio
from msgspec.structs import replace

from runbus.abc import (
    Capabilities,
    Executor,
    JobRef,
    JobSpec,
    JsonBody,
    Limits,
    Observation,
    Request,
)

QUEUED = Observation(phase="queued")
RUNNING = Observation(phase="running", host="h", pid=1, started_ns=10**18)
DONE = replace(RUNNING, phase="ended", exit_code=0, ended_ns=10**18 + 1)
KILLED = replace(RUNNING, phase="ended", signal=15)


class Backend(Executor):
    """Keeps jobs in memory. What a job shows is set from outside; it says when that has changed."""

    def __init__(self, name: str = "a", *, jobs: int | None = None, pushes: bool = True) -> None:
        self.name = name
        self.jobs: dict[str, Observation] = {}
        self.submits: list[str] = []
        self.finds: list[str] = []
        self.looks: list[set[str]] = []
        self.cancelled: list[str] = []
        self.on_submit: Callable[[str, int], None] = lambda _name, _count: None
        self.on_find: Callable[[int], None] = lambda _count: None
        self.on_look: Callable[[set[str]], None] = lambda _names: None
        self.first = DONE
        self.submitted = anyio.Event()
        self.hang = False
        self._jobs, self._pushes = jobs, pushes
        self._changed = anyio.Event()

    def show(self, name: str, seen: Observation) -> None:
        self.jobs[name] = seen
        self.tell()

    def tell(self) -> None:
        """Say that something may have changed."""
        self._changed.set()

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(pushes=self._pushes)

    def limits(self) -> Limits:
        return Limits(jobs=self._jobs)

    def plan(self, job: JobSpec) -> Request:
        self.capabilities.check(job, self.name)
        return Request(job=job, body=JsonBody({"argv": list(job.argv)}))

    async def submit(self, request: Request) -> JobRef:
        name = request.job.name
        self.submits.append(name)
        self.submitted.set()
        if self.hang:
            await anyio.sleep_forever()
        self.on_submit(name, len(self.submits))
        self.show(name, self.first)
        return JobRef(name=name, folder=request.job.folder, handle=f"h-{name}")

    async def find(self, job: JobSpec) -> JobRef | None:
        self.finds.append(job.name)
        self.on_find(len(self.finds))
        if job.name not in self.jobs:
            return None
        return JobRef(name=job.name, folder=job.folder, handle=f"h-{job.name}")

    async def observe(self, refs: Sequence[JobRef]) -> dict[str, Observation]:
        self.looks.append({ref.name for ref in refs})
        self.on_look(self.looks[-1])
        return {ref.name: self.jobs[ref.name] for ref in refs if ref.name in self.jobs}

    async def wait_for_change(self, timeout_s: float) -> bool:
        with anyio.move_on_after(timeout_s):
            await (self._changed.wait() if self._pushes else anyio.sleep_forever())
        told = self._pushes and self._changed.is_set()
        self._changed = anyio.Event()
        return told

    async def logs(self, ref: JobRef, source: Literal["stdout", "stderr"], offset: int) -> bytes:
        return b""

    async def cancel(self, refs: Sequence[JobRef], grace_s: float) -> None:
        for ref in refs:
            self.cancelled.append(ref.name)
            if ref.name in self.jobs:
                self.show(ref.name, KILLED)
