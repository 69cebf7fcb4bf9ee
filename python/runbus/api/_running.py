"""Running what was added to an experiment, and what is added while it runs."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from runbus._home import Home
from runbus.api._composed import Composed
from runbus.api._executors import executors_of
from runbus.api._failures import raise_failures
from runbus.api._lead import attach, cancel, giving_up, is_over, to_its_end
from runbus.api._lead import detach as lead_elsewhere
from runbus.api._notebook import notebook_progress
from runbus.api._plan import plan_on
from runbus.api._session import Session
from runbus.api._status import ExperimentStatus
from runbus.api._teller import Teller
from runbus.config import is_importing
from runbus.errors import JournalError, UsageError, innermost
from runbus.experiment import ExperimentDraft, StoredExperiment
from runbus.jobs import Asked, CancelRequest, ask_to_cancel

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from runbus.abc import Executor, Plugin
    from runbus.api._planned import Plan
    from runbus.experiment import Job, JobHandle
    from runbus.jobs import JobRecord
    from runbus.kernel import Kernel

__all__ = ["Running"]

_POLL_S = 0.1


class Running(Composed):
    """What both faces of an experiment do, each in its own way."""

    def _runs_here(self) -> bool:
        return self._is_led_here

    async def _run(
        self,
        *,
        sequential: bool = False,
        detach: bool = False,
        tail_logs: bool = False,
        max_parallel: int | None = None,
        fail_fast: bool | None = None,
        kernel: Kernel | None = None,
        check: bool = True,
    ) -> list[JobRecord]:
        """See `AsyncExperiment.run`."""
        self._check_begins(max_parallel)
        is_found = bool(self._folder) and self._draft is None
        if kernel is not None and (is_found or detach):
            alone = "an experiment that was found again is led on a kernel of its own"
            away = "an experiment that is detached is led by another process"
            raise UsageError(f"{alone if is_found else away}: leave kernel= out")
        at_a_time = 1 if sequential else max_parallel
        self._is_led_here = True
        try:
            if is_found:
                await to_its_end(self._join, at_a_time, fail_fast)
                if detach:
                    return await lead_elsewhere(StoredExperiment.open(self._folder))
                records = await self._go_on(tail_logs=tail_logs)
            elif detach:
                return await self._detach(at_a_time, fail_fast)
            else:
                teller = Teller(home=self._home, tail_logs=tail_logs)
                shown = [teller] if kernel is None or tail_logs else []
                records = await self._lead(kernel, teller, shown, at_a_time, fail_fast)
        except asyncio.CancelledError:
            # Nobody leads what was recorded for this call and not begun yet.
            await to_its_end(self._give_up)
            raise
        finally:
            self._is_led_here = False
        if self._refused:
            raise self._refused.pop(0)
        if check:
            await anyio.to_thread.run_sync(self._check, records)
        return records

    def _check_begins(self, max_parallel: int | None) -> None:
        """Refuse to run where nothing may begin."""
        if is_importing():
            raise UsageError(
                "the experiment would run while its module is imported, in each of its jobs, too: "
                'write what runs it under if __name__ == "__main__":'
            )
        if self._runs_here():
            raise UsageError(f"{self.id or self.title} runs already")
        if max_parallel is not None and max_parallel < 1:
            raise UsageError(f"max_parallel is {max_parallel}, but must be at least 1")

    def _check(self, records: Sequence[JobRecord]) -> None:
        raise_failures(records, self.folder, home=self._home)

    async def _lead(
        self, kernel: Kernel | None, teller: Teller, shown: Sequence[Any],
        max_parallel: int | None, fail_fast: bool | None,
    ) -> list[JobRecord]:  # fmt: skip
        own = [] if kernel is not None else notebook_progress(len(self._handles))
        plugins = [*self._plugins.hooking, *own, *shown]
        try:
            async with Session.open(kernel, self._executors, plugins) as session:
                await self._record(session, max_parallel, fail_fast)
                teller.folder = self.folder
                assert self._stored is not None
                async with giving_up(self._stored):
                    return await self._follow(session, self._stored)
        except BaseExceptionGroup as group:
            # The kernel's and the tasks' of this: what was raised is what the caller handles.
            if (error := innermost(group)) is group:
                raise
            raise error from None
        raise AssertionError

    async def _go_on(self, *, tail_logs: bool) -> list[JobRecord]:
        """Lead what was recorded before, or follow its leader."""

        def watching(stored: StoredExperiment) -> Sequence[Plugin]:
            teller = Teller(home=self._home, tail_logs=tail_logs)
            teller.folder = stored.folder
            return [*notebook_progress(len(stored.specs)), teller]

        @asynccontextmanager
        async def leading(stored: StoredExperiment) -> AsyncIterator[None]:
            stored.task_plugins = self._task_plugins
            yield

        return await attach(self._folder, watching=watching, leading=leading)

    async def _follow(self, session: Session, stored: StoredExperiment) -> list[JobRecord]:
        """Lead all jobs to their ends, with those that are added meanwhile."""
        news = asyncio.Event()
        loop = asyncio.get_running_loop()
        turn = anyio.Lock()
        with self._lock:
            self._notify = lambda: loop.call_soon_threadsafe(news.set)
            if self._added:  # since the others were recorded, when nobody was to be told
                news.set()

        async def take_in() -> None:
            while True:
                await news.wait()
                news.clear()
                async with turn:
                    await self._extend(session, stored)

        try:
            async with anyio.create_task_group() as group:
                group.start_soon(take_in, name="take in added jobs")
                while True:
                    records = await stored.run(session.bus, executors=session.executors)
                    async with turn:
                        await self._extend(session, stored)
                    if len(records) == len(stored.specs):
                        break
                group.cancel_scope.cancel()
        finally:
            with self._lock:
                self._notify = None
        return records

    async def _record(
        self, session: Session, max_parallel: int | None, fail_fast: bool | None
    ) -> None:
        """Record what was added, the first time all of it."""
        if self._stored is not None:
            assert self._draft is not None
            await to_its_end(self._draft.bound, max_parallel, fail_fast)
            await self._extend(session, self._stored)
            if self._refused:
                raise self._refused.pop(0)
            return
        # What a thread adds meanwhile follows by `_extend`, which makes its executor, too.
        jobs = [*self._added]
        await session.make({job.executor or self._executor for job in jobs})
        # Thousands of folders, and perhaps code to be packaged: not in the loop's thread.
        await to_its_end(self._prepare, len(jobs), session.executors, max_parallel, fail_fast)

    def _prepare(
        self,
        count: int,
        executors: Mapping[str, Executor],
        max_parallel: int | None = None,
        fail_fast: bool | None = None,
    ) -> StoredExperiment:
        """Record the first `count` jobs of those that were added."""
        jobs = self._taken(count)
        try:
            draft = self._drafted(jobs, max_parallel, fail_fast)
            self._stored = draft.prepare(executors)
        except BaseException:
            with self._lock:
                self._added = [*jobs, *self._added]
            raise
        self._draft = draft
        self._folder = draft.folder
        self._split(self._stored.specs)
        return self._stored

    def _drafted(
        self,
        jobs: Sequence[Job],
        max_parallel: int | None = None,
        fail_fast: bool | None = None,
    ) -> ExperimentDraft:
        return ExperimentDraft(
            self.title,
            jobs,
            executor=self._executor,
            executors=dict(self._executors.entries),  # to which a thread may add meanwhile
            max_parallel=max_parallel or self._max_parallel,
            root=self._root,
            plugins=self._plugins.travelling,
            home=self._home,
            fail_fast=self._fail_fast if fail_fast is None else fail_fast,
            changed_by=self._plugins.changed_by,
        )

    async def _extend(self, session: Session, stored: StoredExperiment) -> None:
        """Record what was added since; what cannot be is kept for the end of `run`."""
        jobs = self._taken()
        if not jobs:
            return
        assert self._draft is not None
        try:
            await session.make({job.executor or self._executor for job in jobs})
            specs = await to_its_end(
                self._draft.extend, jobs, session.executors, dict(self._executors.entries)
            )
        except Exception as error:
            # The jobs that run must not end because another cannot begin.
            self._refused.append(error)
            for job in jobs:
                self._handles.pop(job.name, None)
        else:
            await stored.add(specs, session.executors)
            self._split(stored.specs)

    def _give_up(self) -> None:
        """End the jobs that are recorded and not begun, as CANCELLED."""
        if not self._folder:
            return
        stored = StoredExperiment.open(self._folder, home=Home(self._home))
        with suppress(JournalError):  # of another leader, which begins them
            stored.give_up("cancelled before it began")

    def _join(self, max_parallel: int | None, fail_fast: bool | None) -> None:
        """Record what is new of an experiment that was recorded before: jobs, and how they run."""
        if not self._added and max_parallel is None and fail_fast is None:
            return
        jobs = self._taken()
        try:
            draft = ExperimentDraft.open(self._folder, home=self._home)
            described = draft.executor_entries | self._executors.entries
            used = {job.executor or self._executor for job in jobs}
            needed = {name: described[name] for name in used & described.keys()}
            executors = executors_of({name: one.data for name, one in needed.items()})
            self._executors.check(used - executors.keys())
            draft.join(jobs, executors, needed, max_parallel=max_parallel, fail_fast=fail_fast)
            self._split(Asked.read(self._folder).jobs)
            # Those of the jobs that this process has recorded.
            self._task_plugins |= draft.task_plugins
        except BaseException:
            with self._lock:
                self._added = [*jobs, *self._added]
            raise

    async def _detach(self, max_parallel: int | None, fail_fast: bool | None) -> list[JobRecord]:
        if self._stored is not None:
            raise UsageError(f"{self.id} has run here already: what is added to it runs here, too")
        jobs = [*self._added]
        executors = executors_of(self._executors.data)
        used = {job.executor or self._executor for job in jobs}
        self._executors.check(used - executors.keys())
        stored = await to_its_end(self._prepare, len(jobs), executors, max_parallel, fail_fast)
        self._draft = None  # another process leads it
        return await lead_elsewhere(stored)

    def dryrun(self) -> Plan:
        """Return what `run` would send for each job; nothing is written or sent. Blocks.

        Printed, it is what `runbus plan` shows: the graph, the code that jobs take along, and every
        request without its secrets. Of an experiment that is recorded it has the jobs that are
        still to be sent, and what was added since.

        Raises:
            ConfigInvalid: There is no executor of a name.
            Unsupported: A job asks for what its executor cannot give.
            UsageError: A job, or its code, cannot be run as it is; or the experiment takes no more.
            HookError: A plugin that changes a job has failed.
            FileUnreadable: The experiment's record is damaged.
        """
        jobs = [*self._added]
        executors = self._made()
        self._executors.check({job.executor or self._executor for job in jobs} - executors.keys())
        if self._folder:
            draft = ExperimentDraft.open(self._folder, home=self._home, more=jobs)
            return plan_on(draft, executors)
        return plan_on(self._drafted(jobs), executors)

    def _copies(self) -> int:
        """Return as how many copies its executor runs a job that names none; 0 if as one."""
        made = self._made().get(self._executor)
        return 0 if made is None else len(made.capabilities.copies)

    def _made(self) -> dict[str, Executor]:
        """Return the executors that come with it, and this machine, by name."""
        return executors_of(self._executors.data) | self._executors.values

    async def _wait(self, *, check: bool = True) -> list[JobRecord]:
        """See `AsyncExperiment.wait`."""
        folder = self.folder
        if not folder:
            raise UsageError(f"{self.title} has not been run yet: nothing is to be waited for")
        if self._runs_here():
            while True:
                await anyio.sleep(_POLL_S)
                if not self._runs_here():
                    break
            records = [one.record for one in ExperimentStatus.of(folder)]
        else:
            records = await attach(folder)
        if check:
            await anyio.to_thread.run_sync(self._check, records)
        return records

    async def _cancel(self, job: str | JobHandle | None, *, grace_s: float) -> bool:
        """See `AsyncExperiment.cancel`."""
        names = [None] if job is None else [*self._named(job)]
        if not (folder := self.folder):
            return False
        done = False
        for name in names:
            done |= await self._cancel_one(folder, name, grace_s)
        return done

    async def _cancel_one(self, folder: str, name: str | None, grace_s: float) -> bool:
        reason = "by cancel() of the experiment"
        if not self._runs_here():
            return await cancel(folder, name, reason, grace_s)
        if await anyio.to_thread.run_sync(is_over, folder, name):
            return False
        request = CancelRequest(name, reason, grace_s)
        await anyio.to_thread.run_sync(ask_to_cancel, folder, request)
        while True:
            await anyio.sleep(_POLL_S)
            if not self._runs_here() or await anyio.to_thread.run_sync(is_over, folder, name):
                return True
