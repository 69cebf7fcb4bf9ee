"""A set of jobs, submitted and followed as one."""

from __future__ import annotations

import os
import shutil
import time
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import TYPE_CHECKING

import anyio.to_thread
from msgspec.structs import replace

from runbus import config
from runbus._files import make_folders
from runbus._secrets import Secret
from runbus.abc import GRACE_S, JobSpec
from runbus.errors import (
    HomeUnusable,
    JournalHeld,
    RunbusError,
    UsageError,
    innermost,
    os_reason,
)
from runbus.experiment._checks import with_words
from runbus.experiment._copies import as_copies
from runbus.experiment._packages import build_code, keep_code
from runbus.experiment._planning import Planning
from runbus.experiment._recorder import MANY, Recorder
from runbus.experiment._stored import StoredExperiment, check_secrets, find_executors
from runbus.experiment._sweep import sweeps_of
from runbus.jobs import Asked, JobRecord, JobStore, intend, note_again

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from runbus.abc import Executor, Package
    from runbus.bus import Bus
    from runbus.config import ExecutorEntry
    from runbus.experiment._checks import Worded
    from runbus.experiment._job import Job

__all__ = ["ExperimentDraft"]


class ExperimentDraft(Planning):
    """Runs jobs and keeps the record of it.

    Everything on disk is made by `prepare`, which `run` calls if nobody has: an experiment that is
    never run leaves nothing behind.

    Args:
        project: What its runs are gathered under.
        jobs: What to run, in this order.
        executor: The executor of the jobs that name none.
        executors: The executors that come with the experiment, by the names that jobs use: each a
            `Config` of one, or data such as `{"type": "ssh", "hosts": ["box"]}`. Its leader, which
            may be another process, makes them and gives them to its kernel. A job that says
            nothing of a time-out has that of its executor.
        max_parallel: How many jobs run at a time; as many as there are processors if None,
            and besides these all that run elsewhere.
        root: The folder whose code executors package that take code along; the current one if None.
        plugins: What its leader loads, another process too; a kernel that `run` is given has those
            that it was made with. Names of plugins that can be found, and hook values: a `Config`
            of one, its data, or a `Plugin` that can be made in another process. Hooks for worker
            processes wrap every job that is a function.
        home: The home folder; the default one if None.
        again_of: The id of the experiment whose jobs it runs again; empty if it is the first.
        settings: What its leader gives to the plugins that have names, by these, before variables
            and files do; secrets as `{secret: …}`.
        code: Packages that the jobs take along, by executor, instead of the code that is there now.
        fail_fast: Whether the first job that fails ends all others. It is CANCELLED and SKIPPED
            what they are, and the one that failed keeps its state.
        changed_by: What has changed its jobs already, for those that are added later.

    Attributes:
        id: Its id; empty before `prepare`.
        folder: Its folder; empty before `prepare`.
        project: What its runs are gathered under.
        executor_entries: The executors that come with it, and the time-outs of their jobs, by name.
        plugins: The plugins that its leader loads, as data.

    Raises:
        ConfigInvalid: What an executor is made from does not fit.
        FieldInvalid: What should be a list of jobs, or a mapping, is none.
        UsageError: There is no job, two have one name, one waits for a job that is not there or in
            a circle, `max_parallel` is below 1, a text is not valid Unicode, another experiment
            is not there or has no such job, or a name is "latest" or an id, which mean others.
        ScriptUnusable: A script is missing, or is not a file that can be read.
        PluginNotPortable: A plugin is given as a value, and no other process could make it.
    """

    _cancel: tuple[str, float] | None = None

    @cached_property
    def _recorder(self) -> Recorder:
        return Recorder()

    def prepare(self, executors: Mapping[str, Executor] | None = None) -> StoredExperiment:
        """Package the code, and make the folders and records of experiment, jobs and runs. Blocks.

        Nothing is promised yet: a power failure may take all of it, or leave parts, which no job
        has run from. It is on the disk when `StoredExperiment.intend` has returned, or before `run`
        submits the first job: with the intents, which are waited for anyway.

        Returns:
            The experiment as it lies in its folder, to be led here or elsewhere.

        Args:
            executors: What will run the jobs, by the names that they use: nothing is made if one of
                them cannot run its jobs. If None, that is not looked at, and no code is packaged.

        Raises:
            NoExecutor: A job names one that is not given.
            Unsupported: A job asks for what its executor cannot give.
            UsageError: A job cannot be run, or the code cannot be packaged, as asked.
            SecretMissing: A secret cannot be read; nothing was made.
            HomeUnusable: The folders cannot be written.
            HookError: A plugin of a job has failed; nothing was made.
            PluginStuck: A plugin of a job took too long; nothing was made.
        """
        stored = self._make(executors)
        self._recorder.see_asked()
        return stored

    def _make(self, executors: Mapping[str, Executor] | None) -> StoredExperiment:
        """Do what `prepare` does, but for `Recorder.see_asked`."""
        if executors is not None:
            self._ready = self._jobs = self._with_copies(self._jobs, executors, [])
        packages = self._begin(executors)
        with self._writing():
            self._packages = keep_code(packages, self.folder)
            asked = Asked(
                id=self.id,
                project=self.project,
                created_ns=time.time_ns(),
                max_parallel=self._max_parallel,
                only_here=self._only_here,
                jobs=self._record(self._ready),
                executors=self.executors,
                timeouts=self._timeouts,
                root=self._root,
                plugins=self.plugins,
                fail_fast=self._fail_fast,
                tasks=[config.encode_task(config.check_task(job.task)) for job, _ in self._ready],
                again_of=self._again_of,
                settings=self._settings,
                sweeps=sweeps_of(job for job, _ in self._ready),
                executor=self._executor,
                changed_by=self._changed_by,
            )
            # While there is room for it: a full disk must not keep anybody from ending the jobs.
            make_folders(os.path.join(self.folder, "requests"))
            asked.write(self.folder)
            self._home.note_open(self.folder)
            self._link()
        self._asked = asked
        self._stored = StoredExperiment(self.folder, asked, home=self._home)
        self._tell_plugins(self._stored)
        return self._stored

    def extend(
        self,
        jobs: Sequence[Job],
        executors: Mapping[str, Executor],
        described: Mapping[str, ExecutorEntry],
    ) -> Sequence[JobSpec]:
        """Record further jobs of an experiment that `prepare` has made. Blocks.

        The journal is not touched: give what this returns to `StoredExperiment.add`.

        Args:
            jobs: What else is to run, in this order.
            executors: What will run the jobs, by the names that they use.
            described: What the executors are made from that come with these jobs, by name.

        Returns:
            The jobs as the executors get them.

        Raises:
            UsageError: As the constructor and `prepare` do; nothing was recorded.
            SecretMissing: A secret cannot be read; nothing was recorded.
            HomeUnusable: The home folder cannot be written.
        """
        assert self._asked is not None
        assert self._stored is not None
        before, entries = len(self._jobs), self.executor_entries
        known = [job for job, _ in self._jobs]
        new_jobs = with_words(as_copies(jobs, executors, self._executor, known), known)
        self._others.learn(jobs)
        self._jobs = [*self._jobs, *new_jobs]
        groups = self._groups
        self._groups = config.members_by_group({job.name: job.group for job, _ in self._jobs})
        self.executor_entries = {**entries, **described}
        try:
            self._check_groups(executors)
            new = self._set_up(self.id, self._jobs[before:])
            packages = self._checked(executors, new)
            with self._writing():
                self._packages |= keep_code(packages, self.folder)
                self._ready = [*self._ready, *new]
                specs = self._record(new, first=before + 1)
                asked = replace(
                    self._asked,
                    jobs=[*self._asked.jobs, *specs],
                    tasks=[
                        *self._asked.tasks,
                        *(config.encode_task(config.check_task(job.task)) for job, _ in new),
                    ],
                    sweeps=sweeps_of(job for job, _ in self._ready),
                    executors=self.executors,
                    timeouts=self._timeouts,
                )
                asked.write(self.folder)
                self._home.note_open(self.folder)
                self._recorder.see_asked()
        except BaseException:
            self._jobs, self._ready = self._jobs[:before], self._ready[:before]
            self._groups, self.executor_entries = groups, entries
            raise
        self._asked = asked
        self._tell_plugins(self._stored)
        return specs

    def bound(self, max_parallel: int | None = None, fail_fast: bool | None = None) -> None:
        """Record how its jobs are run from now on, by whichever process leads it. Blocks.

        Args:
            max_parallel: How many run at a time; as many as before if None.
            fail_fast: Whether the first that fails ends all others; as before if None.

        Raises:
            UsageError: A group has more jobs than may run at a time; nothing was recorded.
            HomeUnusable: The home folder cannot be written.
        """
        assert self._asked is not None
        assert self._stored is not None
        if (now := self._bounds(max_parallel, fail_fast)) == (before := self._bounds()):
            return
        self._max_parallel, self._only_here, self._fail_fast = now
        try:
            self._check_groups()
            most, only_here, ends = now
            asked = replace(self._asked, max_parallel=most, only_here=only_here, fail_fast=ends)
            with self._writing():
                asked.write(self.folder)
        except BaseException:
            self._max_parallel, self._only_here, self._fail_fast = before
            raise
        self._asked = asked
        stored = self._stored
        stored.max_parallel, stored.only_here, stored.fail_fast = now

    def _bounds(
        self, max_parallel: int | None = None, fail_fast: bool | None = None
    ) -> tuple[int, bool, bool]:
        ends = self._fail_fast if fail_fast is None else fail_fast
        only_here = self._only_here and max_parallel is None
        return max_parallel or self._max_parallel, only_here, ends

    def join(
        self,
        jobs: Sequence[Job],
        executors: Mapping[str, Executor],
        described: Mapping[str, ExecutorEntry],
        *,
        max_parallel: int | None = None,
        fail_fast: bool | None = None,
    ) -> None:
        """Record what the next leader of the experiment does: further jobs, and how they run.

        Blocks.

        Args:
            jobs: What else is to run, in this order.
            executors: What will run the jobs, by the names that they use.
            described: What the executors are made from that come with these jobs, by name.
            max_parallel: As `bound` takes it.
            fail_fast: As `bound` takes it.

        Raises:
            UsageError: Another process leads it, somebody has asked for its end, or a failure ends
                all its jobs; or as `extend` and `bound` do. No job was recorded.
            SecretMissing: A secret cannot be read; no job was recorded.
            HomeUnusable: The home folder cannot be written.
            JournalError: The journal cannot be written.
        """
        if not jobs and self._bounds(max_parallel, fail_fast) == self._bounds():
            return
        try:
            store = JobStore(self.folder)
        except JournalHeld as error:
            wait = "add them there, or once it has ended"
            keeps = "its max_parallel and fail_fast stay as they are until then"
            told = f"{self.id} is led by another process: {wait if jobs else keeps}"
            raise UsageError(told) from error
        try:
            self.bound(max_parallel, fail_fast)
            if jobs:
                self._check_open(store.jobs)
                intend(store, self.extend(jobs, executors, described))
        finally:
            store.close()

    def _tell_plugins(self, stored: StoredExperiment) -> None:
        stored.task_plugins = {job.name: job.plugins for job, _ in self._ready if job.plugins}

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Write into the home: a refusal of the disk becomes an error that says where."""
        try:
            yield
        except OSError as error:
            # A write that finds no room does not say in which file.
            where = f" ({error.filename})" if error.filename else ""
            raise HomeUnusable(self._home.path, os_reason(error) + where) from None

    def _link(self) -> None:
        """Note in the experiment whose jobs this one runs again that it does."""
        if self._again_of and (first := self._home.find_experiment(self._again_of)) is not None:
            with suppress(OSError):  # it may be somebody else's
                note_again(first, self.id)

    def _begin(self, executors: Mapping[str, Executor] | None) -> dict[str, Package]:
        """Set the jobs up, check them, package their code, and make the experiment's folder."""
        if not any(job.plugins for job, _ in self._jobs):
            packages = self._checked(executors, self._ready)
            self.id, self.folder = self._home.new_experiment(self.project)
            return packages
        # The plugins are told the id.
        self.id, self.folder = self._home.new_experiment(self.project)
        try:
            self._ready = self._set_up(self.id, self._jobs)
            return self._checked(executors, self._ready)
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.id, self.folder, self._ready = "", "", self._jobs
            raise

    def _checked(
        self, executors: Mapping[str, Executor] | None, ready: Worded
    ) -> dict[str, Package]:
        """Look for the secrets of the jobs and whether they can run; return their packaged code."""
        jobs = [job for job, _ in ready]
        check_secrets(
            value for job in jobs for value in job.env.values() if isinstance(value, Secret)
        )
        if executors is None:
            return {}
        self._plan(self._specs(ready).of(ready), executors)
        if self._code is not None:
            return dict(self._code)
        if not any(executor.packager for executor in executors.values()):
            return {}
        used = {job.executor or self._executor for job in jobs}
        used -= self._packages.keys()  # what has been packaged is not looked for again
        return build_code(executors, sorted(used), self._root, self._home)

    def _record(self, jobs: Worded, *, first: int = 1) -> list[JobSpec]:
        """Make the folders of jobs and of their runs; return what executors get of them."""
        specs = [
            replace(spec, package=self._packages.get(spec.executor))
            for spec in self._specs(self._ready).of(jobs, first=first)
        ]
        named = [(job, spec) for (job, _), spec in zip(jobs, specs, strict=True)]
        self._recorder.record(self.folder, self.project, named)
        return specs

    async def run(self, bus: Bus) -> list[JobRecord]:
        """Prepare the experiment unless that is done, and run all jobs to their ends.

        See `StoredExperiment.run` for what is published and what cancelling does.

        Args:
            bus: What finds the executors and is told what happens.

        Returns:
            The records of the jobs, in the order in which they were given.

        Raises:
            NoExecutor: No plugin brings an executor that a job names.
            UsageError: A job, or its code, cannot be run as asked; nothing was submitted.
            SecretMissing: A secret that a job needs cannot be read; nothing was submitted.
            HomeUnusable: The home folder cannot be written.
            JournalError: The journal cannot be written, or another process leads the experiment.
            TypeError: `bus` is not one, but perhaps the kernel itself.
        """
        if self._stored is not None:
            return await self._stored.run(bus)
        named = {job.executor or self._executor for job, _ in self._jobs}
        executors = await find_executors(bus, named)
        if self._is_made_at_once(executors):
            # A thread for a few folders takes longer than they do.
            stored = self._make(executors)
            if self._recorder.has_asked:
                await anyio.to_thread.run_sync(self._recorder.see_asked)
        else:
            stored = await self._prepare_beside(executors)
        if self._cancel is not None:
            await stored.cancel(*self._cancel)
        return await stored.run(bus, executors=executors)

    def _is_made_at_once(self, executors: Mapping[str, Executor]) -> bool:
        """Whether `prepare` waits for nothing but a few folders and files of the home."""
        jobs = [job for job, _ in self._jobs]
        return (
            len(jobs) <= MANY
            and not any(executor.packager for executor in executors.values())
            and not any(job.plugins or job.takes_over for job in jobs)
            and self._code is None
            and not self._again_of
        )

    async def _prepare_beside(self, executors: Mapping[str, Executor]) -> StoredExperiment:
        """Make everything on disk while executors begin with what their first `submit` needs."""
        try:
            async with anyio.create_task_group() as beside:
                for executor in {id(one): one for one in executors.values()}.values():
                    beside.start_soon(executor.make_ready, name="make ready")
                # Thousands of folders, and perhaps code to be packaged: not in the loop's thread.
                stored = await anyio.to_thread.run_sync(self.prepare, executors)
                beside.cancel_scope.cancel()  # the supervisor gives them the time for it
        except BaseExceptionGroup as group:
            raise innermost(group, RunbusError) from None
        return stored

    async def cancel(self, reason: str, grace_s: float = GRACE_S) -> None:
        """Ask every job to end, and submit no more; `run` then returns as usual.

        Args:
            reason: Who asked, and why.
            grace_s: Seconds between TERM and KILL. A repeated call may shorten it; 0 kills now.
        """
        if self._stored is not None:
            await self._stored.cancel(reason, grace_s)
        else:
            self._cancel = (reason, grace_s)
