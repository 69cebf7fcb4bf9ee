"""A set of jobs, submitted and followed as one."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio.to_thread
from msgspec.structs import replace

from runbus import config
from runbus._files import absolute_path, make_folders
from runbus._home import Home
from runbus._ids import slug
from runbus._listed import check_mapping, listed
from runbus._secrets import Secret, redacted_text
from runbus.abc import GRACE_S, JobSpec, Timeouts
from runbus.errors import (
    HomeUnusable,
    JournalHeld,
    NoExecutor,
    UsageError,
    near_matches,
    os_reason,
)
from runbus.experiment._again import jobs_recorded
from runbus.experiment._checks import (
    check_places,
    check_texts,
    check_title,
    check_unicode,
    with_words,
)
from runbus.experiment._job import Job
from runbus.experiment._others import Others
from runbus.experiment._packages import build_code, keep_code, planned_code, unbuilt_code
from runbus.experiment._recorder import Recorder
from runbus.experiment._set_up import set_up, submitted
from runbus.experiment._specs import Specs
from runbus.experiment._stored import (
    StoredExperiment,
    check_secrets,
    find_executors,
)
from runbus.experiment._sweep import sweeps_of
from runbus.experiment._unsent import unsent
from runbus.jobs import (
    Asked,
    JobRecord,
    JobState,
    JobStore,
    intend,
    note_again,
    read_jobs,
    read_requests,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import Self

    from runbus.abc import Executor, Package, Request
    from runbus.bus import Bus
    from runbus.config import Config, ExecutorEntry
    from runbus.experiment._checks import Worded
    from runbus.jobs import ChangedBy
    from runbus.packaging import Chosen
    from runbus.plugins import TaskPlugin

__all__ = ["ExperimentDraft"]

REAP_S = 1.0
"""When it is looked whether the shell that asks git has ended; in the end it is waited for."""

_FAILURES = (JobState.FAILED, JobState.TIMEOUT, JobState.LOST)


class ExperimentDraft:
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
        max_parallel: How many jobs run at a time; as many as there are processors if None.
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

    def __init__(
        self,
        project: str,
        jobs: Sequence[Job],
        *,
        executor: str = "local",
        executors: Mapping[str, ExecutorEntry | Mapping[str, Any] | Config[Any]] | None = None,
        max_parallel: int | None = None,
        root: str | None = None,
        plugins: Sequence[Any] = (),
        home: str | os.PathLike[str] | None = None,
        fail_fast: bool = False,
        again_of: str = "",
        settings: Mapping[str, dict[str, Any]] | None = None,
        code: Mapping[str, Package] | None = None,
        changed_by: Sequence[ChangedBy] = (),
    ) -> None:
        jobs = listed(jobs, "jobs", Job, "jobs")
        if executors is not None:
            check_mapping(executors, "executors", "names to fields")
        if not jobs:
            raise UsageError("an experiment needs at least one job")
        if max_parallel is not None and max_parallel < 1:
            raise UsageError(f"max_parallel is {max_parallel}, but must be at least 1")
        self._home = Home(home)
        self._others = Others(self._home)
        check_title(project)
        self._jobs = with_words(jobs)
        self._others.learn(jobs)
        self._ready = self._jobs
        self._root = absolute_path(root or ".")
        check_unicode("", (("the root folder", self._root),))
        self._executor = executor
        self.executor_entries = {
            name: config.executor_entry(one, name) for name, one in (executors or {}).items()
        }
        self._fail_fast = fail_fast
        self._again_of = again_of
        self._settings = dict(settings or {})
        self._code = code
        self._changed_by = list(changed_by)
        self._groups = config.members_by_group({job.name: job.group for job in jobs})
        largest = max(map(len, self._groups.values()), default=0)
        self._max_parallel = max_parallel or max(largest, len(os.sched_getaffinity(0)))
        self._check_groups()
        given = listed(plugins, "plugins", object, "plugins")
        self.plugins: list[Any] = [_data_of(one) for one in given]
        self._stored: StoredExperiment | None = None
        self._asked: Asked | None = None
        self._packages: dict[str, Package] = {}
        self._cancel: tuple[str, float] | None = None
        self._recorder = Recorder()
        self.project = redacted_text(project)
        self.id = ""
        self.folder = ""

    @classmethod
    def open(
        cls,
        folder: str,
        *,
        home: str | os.PathLike[str] | None = None,
        more: Sequence[Job] = (),
    ) -> Self:
        """Return the draft of an experiment that is on record. Runs no code of it.

        Args:
            folder: The experiment's folder.
            home: The home that it lies in; the default one if None.
            more: What else is to run, for `plan`; `join` records further jobs.

        Raises:
            ExperimentNotFound: There is no experiment in that folder.
            FileUnreadable: Its files cannot be read, or are damaged.
            ConfigInvalid: An executor of it cannot be made any more.
            UsageError: An experiment that its jobs wait for is gone.
        """
        asked, jobs = jobs_recorded(folder)
        draft = cls(
            asked.project,
            [*jobs, *more],
            executor=asked.executor,
            executors=asked.executor_entries,
            max_parallel=asked.max_parallel,
            root=asked.root or None,
            plugins=asked.plugins,
            home=home,
            fail_fast=asked.fail_fast,
            again_of=asked.again_of,
            settings=asked.settings,
            changed_by=asked.changed_by,
        )
        draft.id, draft.folder = asked.id, folder
        draft._asked = asked = asked.absolute(folder)
        draft._stored = StoredExperiment(folder, asked, home=draft._home)
        draft._packages = {spec.executor: spec.package for spec in asked.jobs if spec.package}
        return draft

    def _check_groups(self) -> None:
        for group, members in self._groups.items():
            if (count := len(members)) > self._max_parallel:
                most = f"max_parallel is {self._max_parallel}"
                raise UsageError(
                    f"group {group!r} has {count} jobs that start together, and {most}"
                )

    @property
    def executors(self) -> dict[str, dict[str, Any]]:
        """What the executors that come with it are made from, by name."""
        return {name: entry.data for name, entry in self.executor_entries.items()}

    @property
    def specs(self) -> Sequence[JobSpec]:
        """The jobs as the executors get them; empty before `prepare`."""
        return self._stored.specs if self._stored else ()

    def plan(
        self, executors: Mapping[str, Executor], *, plugins: Sequence[TaskPlugin] = ()
    ) -> list[Request]:
        """Return what `run` would submit, without writing or sending anything.

        Of an experiment that is on record, those are the jobs that are still to be sent off.

        Args:
            executors: What runs the jobs, by the names that they use.
            plugins: What changes the jobs besides their own plugins, as a kernel would have it.

        Raises:
            NoExecutor: A job names one that is not given.
            Unsupported: A job asks for what its executor cannot give.
            UsageError: A job cannot be run as it is.
            HookError: A plugin that changes a job has failed.
            PluginStuck: A plugin that changes a job took too long.
        """
        return self._plan([submitted(spec, plugins) for spec in self._dry_specs()], executors)

    def _plan(self, specs: Sequence[JobSpec], executors: Mapping[str, Executor]) -> list[Request]:
        for spec in specs:
            if spec.executor not in executors:
                raise NoExecutor(spec.executor, near_matches(spec.executor, executors), ())
        check_places(specs, {name: one.limits().jobs for name, one in executors.items()})
        packages = unbuilt_code(executors, self._root)
        return [
            executors[spec.executor].plan(
                replace(spec, package=spec.package or packages.get(spec.executor))
            )
            for spec in specs
        ]

    def plan_code(
        self, requests: Iterable[Request], executors: Mapping[str, Executor]
    ) -> dict[str, Chosen]:
        """Return what code jobs would take along, by executor; nothing is packaged. Blocking.

        Args:
            requests: What `plan` has returned.
            executors: What runs the jobs, by the names that they use.

        Raises:
            UsageError: There is nothing to package, or not as asked.
            PackageChanged: What it takes along is packaged already, and is gone.
            PackageUnreadable: A file cannot be read.
        """
        if self._code is not None:
            return planned_code(executors, self._code, self._root, self._code)
        used = sorted({request.job.executor for request in requests})
        return planned_code(executors, used, self._root, self._packages)

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
        try:
            return self._prepare(executors)
        finally:
            self._recorder.reap()

    def _prepare(self, executors: Mapping[str, Executor] | None) -> StoredExperiment:
        """Do what `prepare` does, and leave it to the caller to let go of what asks git."""
        packages = self._begin(executors)
        with self._writing():
            self._packages = keep_code(packages, self.folder)
            asked = Asked(
                id=self.id,
                project=self.project,
                created_ns=time.time_ns(),
                max_parallel=self._max_parallel,
                jobs=self._record(self._ready),
                executors=self.executors,
                timeouts=_times(self.executor_entries),
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
        new_jobs = with_words(jobs, [job for job, _ in self._jobs])
        self._others.learn(jobs)
        self._jobs = [*self._jobs, *new_jobs]
        self._groups = config.members_by_group({job.name: job.group for job, _ in self._jobs})
        self._check_groups()
        self.executor_entries = {**entries, **described}
        try:
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
                    timeouts=_times(self.executor_entries),
                )
                asked.write(self.folder)
                self._home.note_open(self.folder)
        except BaseException:
            self._jobs, self._ready = self._jobs[:before], self._ready[:before]
            self.executor_entries = entries
            raise
        finally:
            self._recorder.reap()
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
        self._max_parallel, self._fail_fast = now
        try:
            self._check_groups()
            asked = replace(self._asked, max_parallel=now[0], fail_fast=now[1])
            with self._writing():
                asked.write(self.folder)
        except BaseException:
            self._max_parallel, self._fail_fast = before
            raise
        self._asked = asked
        self._stored.max_parallel, self._stored.fail_fast = now

    def _bounds(
        self, max_parallel: int | None = None, fail_fast: bool | None = None
    ) -> tuple[int, bool]:
        ends = self._fail_fast if fail_fast is None else fail_fast
        return max_parallel or self._max_parallel, ends

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

    def _check_open(self, jobs: Mapping[str, JobRecord]) -> None:
        """Refuse further jobs that could not begin."""
        if any(one.job is None for one in read_requests(self.folder).values()):
            raise UsageError(f"{self.id} is being cancelled: its jobs begin no more")
        failed = [one.name for one in jobs.values() if one.state in _FAILURES]
        if self._fail_fast and failed:
            ends = f"it ends all jobs at the first failure, and {failed[0]!r} has failed"
            raise UsageError(f"{self.id} takes no more jobs: {ends}; runbus retry begins anew")

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

    def _dry_specs(self) -> list[JobSpec]:
        """Return the jobs as `run` would hand them on, without writing anything."""
        if self._stored is None:
            jobs = self._set_up("EXPERIMENT", self._jobs)
            return self._specs(jobs).of(jobs)
        known = self._stored.specs
        more = self._set_up(self.id, self._jobs[len(known) :])
        if more:
            self._check_open(read_jobs(self.folder))
        specs = [
            replace(spec, package=self._packages.get(spec.executor))
            for spec in self._specs([*self._ready[: len(known)], *more]).of(
                more, first=len(known) + 1
            )
        ]
        return unsent(self.folder, [*known, *specs])

    def _specs(self, jobs: Worded) -> Specs:
        dry = os.path.join(self._home.experiments, slug(self.project), "EXPERIMENT")
        return Specs(
            self.folder or dry,
            jobs,
            executor=self._executor,
            timeouts=_times(self.executor_entries),
            plugins=self.plugins,
            groups=self._groups,
            others=self._others,
        )

    def _record(self, jobs: Worded, *, first: int = 1) -> list[JobSpec]:
        """Make the folders of jobs and of their runs; return what executors get of them."""
        specs = [
            replace(spec, package=self._packages.get(spec.executor))
            for spec in self._specs(self._ready).of(jobs, first=first)
        ]
        for (job, _), spec in zip(jobs, specs, strict=True):
            self._recorder.record(self.folder, self.project, job, spec)
        return specs

    def _set_up(self, experiment_id: str, jobs: Worded) -> Worded:
        """Return jobs as their plugins make them, with their command lines."""
        if not any(job.plugins for job, _ in jobs):
            return jobs
        ready = []
        for job, argv in jobs:
            executor = job.executor or self._executor
            made = set_up(job, executor=executor, experiment_id=experiment_id)
            words = argv if made is job else config.words_of(made.task)
            check_texts(made, words)
            ready.append((made, words))
        return ready

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
        try:
            # Thousands of folders, and perhaps code to be packaged: not in the loop's thread.
            stored = await anyio.to_thread.run_sync(self._prepare, executors)
            if self._cancel is not None:
                await stored.cancel(*self._cancel)
            # No job waits for the end of the shell that asks git.
            reap = partial(self._recorder.reap, waits=False)
            asyncio.get_running_loop().call_later(REAP_S, reap)
            return await stored.run(bus)
        finally:
            if not self._recorder.reap(waits=False):
                with anyio.CancelScope(shield=True):
                    await anyio.to_thread.run_sync(self._recorder.reap)

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


def _times(entries: Mapping[str, ExecutorEntry]) -> dict[str, Timeouts]:
    """Return the time-outs that executors have for their jobs, of those that have any."""
    return {name: one.timeouts for name, one in entries.items() if one.timeouts != Timeouts()}


def _data_of(plugin: Any) -> Any:
    if isinstance(plugin, str):
        return plugin
    from runbus.plugins import plugin_data  # costs what most experiments need not pay

    return plugin_data(plugin)
