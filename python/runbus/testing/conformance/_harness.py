"""Runs single jobs on an executor, without a kernel; what every contract starts from."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncIterator  # noqa: TC003 - fixtures are read at run time
from contextlib import asynccontextmanager
from pathlib import Path  # noqa: TC003
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, TypedDict

import anyio
import pytest
import pytest_asyncio

from runbus.abc import After, JobRef, JobSpec, Resources, Timeouts
from runbus.events import Image
from runbus.testing._waiting import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType
    from typing import Self, Unpack

    from runbus.abc import Executor, Observation, Package
    from runbus.events import Condition

__all__ = ["DEADLINE_S", "Contract", "Ended", "ExecutorFactory", "Harness"]

DEADLINE_S = PATIENCE_S
"""How long anything may take before it is wrong."""

ExecutorFactory: TypeAlias = "Callable[[], AbstractAsyncContextManager[Executor]]"
"""Makes an executor of the kind under test."""


class JobOptions(TypedDict, total=False):
    """What a job may differ in."""

    name: str
    env: dict[str, str]
    secrets: dict[str, str]
    cwd: str
    folder: str
    attempt: int
    resources: Resources
    timeouts: Timeouts
    package: Package
    image: Image
    bootstrap: tuple[str, ...]
    artifacts: tuple[str, ...]
    after: tuple[After, ...]


class Ended(NamedTuple):
    """How a job ended, and what it wrote."""

    seen: Observation
    stdout: bytes
    stderr: bytes


class Harness:
    """Makes jobs and takes them to their ends.

    Args:
        make: Makes an executor of the kind under test; each must see what the others started.
        folder: Where the folders of experiments go.
    """

    def __init__(
        self, make: Callable[[], AbstractAsyncContextManager[Executor]], folder: str
    ) -> None:
        self._make = make
        self._folder = folder
        self._numbers = itertools.count(1)
        self._owner: asyncio.Task[None] | None = None
        self._close = anyio.Event()
        self._started: list[JobRef] = []
        self.executor: Executor

    async def __aenter__(self) -> Self:
        """Make the first executor."""
        await self._enter()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Kill what still runs, and close."""
        try:
            await self.executor.cancel(self._started, 0)
            with anyio.move_on_after(DEADLINE_S):
                for ref in self._started:
                    await self.phase(ref, "ended", "gone", "preempted")
        finally:
            await self._leave()

    async def restart(self) -> None:
        """Close the executor, as the end of its process would, and continue with a new one."""
        async with self.away():
            pass

    @asynccontextmanager
    async def away(self) -> AsyncIterator[None]:
        """Close the executor for the length of the block, and continue with a new one."""
        await self._leave()
        yield
        await self._enter()

    async def _enter(self) -> None:
        """Make an executor and enter it in a task of its own: a fixture ends in another."""
        ready: asyncio.Future[Executor] = asyncio.Future()
        self._close = close = anyio.Event()

        async def own() -> None:
            try:
                async with self._make() as executor:
                    ready.set_result(executor)
                    await close.wait()
            except Exception as error:
                if ready.done():
                    raise
                ready.set_exception(error)

        self._owner = asyncio.create_task(own(), name="the executor's owner")
        self.executor = await ready

    async def _leave(self) -> None:
        self._close.set()
        if self._owner is not None:
            await self._owner

    def job(self, *argv: str, **options: Unpack[JobOptions]) -> JobSpec:
        """Return a job in folders of its own, as the job store would make them."""
        number = next(self._numbers)
        experiment = os.path.join(self._folder, "experiments", "conformance", "20260101-000000-c0")
        attempt = options.get("attempt", 1)
        folder = options.get("folder") or os.path.join(
            experiment, "jobs", f"{number}-job", str(attempt)
        )
        run_folder = os.path.join(experiment, "runs", f"20260101-000000-c0-{number}")
        for made in (folder, os.path.join(run_folder, "metrics")):
            os.makedirs(made, mode=0o700, exist_ok=True)
        return JobSpec(
            experiment_id="20260101-000000-c0",
            name=options.get("name", f"job-{number}"),
            run_id=os.path.basename(run_folder),
            executor=self.executor.name,
            argv=argv,
            cwd=options.get("cwd", "/"),
            env=options.get("env", {}),
            secrets=options.get("secrets", {}),
            folder=folder,
            run_folder=run_folder,
            attempt=attempt,
            resources=options.get("resources", Resources()),
            timeouts=options.get("timeouts", Timeouts()),
            package=options.get("package"),
            image=options.get("image", Image()),
            bootstrap=options.get("bootstrap", ()),
            artifacts=options.get("artifacts", ()),
            after=options.get("after", ()),
        )

    def shell(self, script: str, **options: Unpack[JobOptions]) -> JobSpec:
        """Return a job that runs a shell script."""
        return self.job("/bin/sh", "-c", script, **options)

    @staticmethod
    def end_of(job: JobSpec, when: Condition = "afterok") -> After:
        """Return what another job waits for that waits for this one in the same queue."""
        return After(job=job.name, folder=job.folder, when=when)

    async def submit(self, job: JobSpec) -> JobRef:
        """Plan and submit a job; it is killed after the test if it has not ended by then."""
        with anyio.fail_after(DEADLINE_S):
            ref = await self.executor.submit(self.executor.plan(job))
        self._started.append(ref)
        return ref

    async def submit_all(self, jobs: Sequence[JobSpec]) -> list[JobRef]:
        """Plan jobs and submit them in one call; each is killed after the test, as by `submit`.

        Raises:
            RunbusError: One of them could not be submitted.
        """
        requests = [self.executor.plan(job) for job in jobs]
        with anyio.fail_after(2 * DEADLINE_S):
            outcomes = await self.executor.submit_all(requests)
        refs = [outcome for outcome in outcomes if isinstance(outcome, JobRef)]
        self._started += refs
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        return refs

    @property
    def started(self) -> Sequence[JobRef]:
        """What was submitted, in its order."""
        return tuple(self._started)

    async def phase(self, ref: JobRef, *phases: str) -> Observation:
        """Wait until a job is in one of some phases.

        Raises:
            TimeoutError: It is not, after two minutes.
        """
        with anyio.fail_after(DEADLINE_S):
            while True:
                seen = (await self.executor.observe([ref])).get(ref)
                if seen is not None and seen.phase in phases:
                    return seen
                await self.executor.wait_for_change(0.02)

    async def told_of_end(self, ref: JobRef) -> bool | None:
        """Wait until a job that runs has ended; return whether that was told as a change.

        None if it had ended before it was waited for: this machine is slow today.
        """
        told = None
        # What tells may be as late as anything; of what tells nothing, nothing is awaited.
        patience_s = DEADLINE_S if self.executor.capabilities.pushes else 3.0
        with anyio.fail_after(2 * DEADLINE_S):
            while (await self.executor.observe([ref]))[ref].phase != "ended":
                # Between the end of a process and its record there is a moment.
                told = await self.executor.wait_for_change(0.1 if told else patience_s) or bool(
                    told
                )
        return told

    async def end(self, ref: JobRef) -> Ended:
        """Wait until a job has ended; its logs are read at that moment, not later."""
        seen = await self.phase(ref, "ended")
        return Ended(seen, self.log(ref, "stdout.log"), self.log(ref, "stderr.log"))

    async def run(self, job: JobSpec) -> Ended:
        """Submit a job and wait until it has ended."""
        return await self.end(await self.submit(job))

    async def output(self, ref: JobRef, wanted: bytes) -> bytes:
        """Wait until a job has written something to stdout; return all that is there.

        Raises:
            TimeoutError: It has not, after two minutes.
        """
        with anyio.fail_after(DEADLINE_S):
            while wanted not in (data := self.log(ref, "stdout.log")):
                # Executors that copy logs from elsewhere do so while they are asked.
                await self.executor.observe([ref])
                await self.executor.wait_for_change(0.02)
        return data

    def log(self, ref: JobRef, name: str) -> bytes:
        """Return what is in a log here; nothing if there is none."""
        try:
            with open(os.path.join(ref.folder, name), "rb") as file:
                return file.read()
        except FileNotFoundError:
            return b""


class Contract:
    """The fixtures of the contract."""

    @pytest.fixture
    def executors(self) -> ExecutorFactory:
        """Return a function that makes an executor; a subclass says which."""
        raise NotImplementedError("a subclass of the contract has a fixture `executors`")

    @pytest_asyncio.fixture
    async def harness(self, executors: ExecutorFactory, tmp_path: Path) -> AsyncIterator[Harness]:
        """Return what runs jobs."""
        async with Harness(executors, os.fspath(tmp_path / "a höme")) as harness:
            yield harness
