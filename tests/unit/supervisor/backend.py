"""A backend that does as it is told, and calls back while it does."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import anyio
from msgspec.structs import replace

from runbus.abc import JobRef, JobSpec, Observation, Request
from runbus.testing import FakeExecutor

QUEUED = Observation(phase="queued")
RUNNING = Observation(phase="running", host="h", pid=1, started_ns=10**18)
DONE = replace(RUNNING, phase="ended", exit_code=0, ended_ns=10**18 + 1)
KILLED = replace(RUNNING, phase="ended", signal=15)


class Backend(FakeExecutor):
    """One that can hang, and whose calls can be acted on."""

    def __init__(self, name: str = "a", *, jobs: int | None = None, pushes: bool = True) -> None:
        super().__init__(name, jobs=jobs, pushes=pushes)
        self.on_submit: Callable[[str, int], None] = lambda _name, _count: None
        self.on_find: Callable[[int], None] = lambda _count: None
        self.on_look: Callable[[set[str]], None] = lambda _names: None
        self.first = DONE
        self.submitted = anyio.Event()
        self.hang = False
        self.asked_to_end: list[tuple[JobRef, float]] = []

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
        found = await super().find(job)
        self.on_find(len(self.finds))
        return found

    async def cancel(self, refs: Sequence[JobRef], grace_s: float) -> None:
        self.asked_to_end += [(ref, grace_s) for ref in refs]
        await super().cancel(refs, grace_s)

    async def observe(self, refs: Sequence[JobRef]) -> dict[JobRef, Observation]:
        self.on_look({ref.name for ref in refs})
        return await super().observe(refs)


def leads() -> None:
    """Say, as `JobStore.check` does, that this process leads."""
