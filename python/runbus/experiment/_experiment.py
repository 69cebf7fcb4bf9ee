"""A set of jobs, submitted and followed as one."""

from __future__ import annotations

import os
import time
from collections import Counter
from functools import cached_property
from typing import TYPE_CHECKING, Any

import anyio.to_thread
from msgspec.structs import replace

from runbus import config
from runbus._files import absolute_path, make_folders
from runbus._home import ENV_RUN, Home
from runbus._ids import meaning_of, run_id_of, slug
from runbus._listed import check_mapping, listed
from runbus._secrets import Secret, redacted_text
from runbus.abc import GRACE_S, JobSpec
from runbus.errors import HomeUnusable, NoExecutor, UsageError, near_matches, os_reason
from runbus.experiment._job import Job
from runbus.experiment._packages import build_code, keep_code, unbuilt_code
from runbus.experiment._stored import (
    StoredExperiment,
    check_secrets,
    find_executors,
)
from runbus.jobs import Asked, JobRecord
from runbus.metrics import Origin, RunInfo, make_run_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from runbus.abc import Executor, Package, Request
    from runbus.bus import Bus
    from runbus.config import Config, ExecutorEntry

__all__ = ["AsyncExperiment"]


class AsyncExperiment:
    """Runs jobs and keeps the record of it.

    Everything on disk is made by `prepare`, which `run` calls if nobody has: an experiment that is
    never run leaves nothing behind.

    Args:
        project: What its runs are gathered under.
        jobs: What to run, in this order.
        executor: The executor of the jobs that name none.
        executors: The executors that come with the experiment, by the names that jobs use: each a
            `Config` of one, or data such as `{"type": "ssh", "hosts": ["box"]}`. Its leader, which
            may be another process, makes them and gives them to its kernel.
        max_parallel: How many jobs run at a time; as many as there are processors if None.
        root: The folder whose code executors package that take code along; the current one if None.
        plugins: The names of installed plugins that its leader loads, another process too; a kernel
            that `run` is given has those that it was made with.
        home: The home folder; the default one if None.

    Attributes:
        id: Its id; empty before `prepare`.
        folder: Its folder; empty before `prepare`.
        project: What its runs are gathered under.
        executors: What the executors that come with it are made from, by name.
        plugins: The names of installed plugins that its leader loads.

    Raises:
        ConfigInvalid: What an executor is made from does not fit.
        FieldInvalid: What should be a list of jobs, or a mapping, is none.
        UsageError: There is no job, two have one name, `max_parallel` is below 1, a text is not
            valid Unicode, or a name is "latest" or an id, which mean others.
        ScriptUnusable: A script is missing, or is not a file that can be read.
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
        plugins: Sequence[str] = (),
        home: str | os.PathLike[str] | None = None,
    ) -> None:
        jobs = listed(jobs, "jobs", Job, "jobs")
        if executors is not None:
            check_mapping(executors, "executors", "names to fields")
        if not jobs:
            raise UsageError("an experiment needs at least one job")
        if max_parallel is not None and max_parallel < 1:
            raise UsageError(f"max_parallel is {max_parallel}, but must be at least 1")
        names = Counter(job.name for job in jobs)
        if twice := sorted(name for name, count in names.items() if count > 1):
            raise UsageError(f"two jobs are named {twice[0]!r}")
        for what, name in (("the project", slug(project)), *(("a job", job.name) for job in jobs)):
            if means := meaning_of(name):
                raise UsageError(f"{what} cannot be called {name!r}: that means {means}")
        self._jobs = [(job, config.words_of(job.task)) for job in jobs]
        self._root = absolute_path(root or ".")
        _check_unicode("", (("the project", project), ("the root folder", self._root)))
        for job, argv in self._jobs:
            _check_texts(job, argv)
        self._executor = executor
        self.executors = {
            name: config.executor_data(one, name) for name, one in (executors or {}).items()
        }
        self._max_parallel = max_parallel or len(os.sched_getaffinity(0))
        self.plugins = list(listed(plugins, "plugins", of="names"))
        self._home = Home(home)
        self._stored: StoredExperiment | None = None
        self._cancel: tuple[str, float] | None = None
        self._origins: dict[str, Origin] = {}
        self._reaps: list[Callable[[], None]] = []
        self.project = redacted_text(project)
        self.id = ""
        self.folder = ""

    @property
    def specs(self) -> Sequence[JobSpec]:
        """The jobs as the executors get them; empty before `prepare`."""
        return self._stored.specs if self._stored else ()

    def plan(self, executors: Mapping[str, Executor]) -> list[Request]:
        """Return what `run` would submit, without writing or sending anything.

        Args:
            executors: What runs the jobs, by the names that they use.

        Raises:
            NoExecutor: A job names one that is not given.
            Unsupported: A job asks for what its executor cannot give.
            UsageError: A job cannot be run as it is.
        """
        specs = self._dry_specs()
        for spec in specs:
            if spec.executor not in executors:
                raise NoExecutor(spec.executor, near_matches(spec.executor, executors), ())
        packages = unbuilt_code(executors, self._root)
        return [
            executors[spec.executor].plan(replace(spec, package=packages.get(spec.executor)))
            for spec in specs
        ]

    def prepare(self, executors: Mapping[str, Executor] | None = None) -> StoredExperiment:
        """Package the code, and make the folders and records of experiment, jobs and runs. Blocks.

        A power failure may take them until the intents of the jobs are recorded: they are written
        to the disk with those.

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
        """
        check_secrets(
            value
            for job, _ in self._jobs
            for value in job.env.values()
            if isinstance(value, Secret)
        )
        packages = {}
        if executors is not None:
            self.plan(executors)
            if any(executor.packager for executor in executors.values()):
                used = sorted({job.executor or self._executor for job, _ in self._jobs})
                packages = build_code(executors, used, self._root, self._home)
        self.id, self.folder = self._home.new_experiment(self.project)
        try:
            packages = keep_code(packages, self.folder)
            asked = Asked(
                id=self.id,
                project=self.project,
                created_ns=time.time_ns(),
                max_parallel=self._max_parallel,
                jobs=[
                    self._make_job(index, job, argv, packages)
                    for index, (job, argv) in enumerate(self._jobs, start=1)
                ],
                executors=self.executors,
                root=self._root,
                plugins=self.plugins,
            )
            # While there is room for it: a full disk must not keep anybody from ending the jobs.
            make_folders(os.path.join(self.folder, "requests"))
            asked.write(self.folder)
            self._home.note_open(self.folder)
        except OSError as error:
            # A write that finds no room does not say in which file.
            where = f" ({error.filename})" if error.filename else ""
            reason = os_reason(error) + where
            raise HomeUnusable(self._home.path, reason) from None
        finally:
            while self._reaps:
                self._reaps.pop()()
        self._stored = StoredExperiment(self.folder, asked, home=self._home)
        return self._stored

    def _dry_specs(self) -> list[JobSpec]:
        """Return the jobs as `run` would hand them on, without writing anything."""
        folder = os.path.join(self._home.experiments, slug(self.project), "EXPERIMENT")
        return [
            self._spec(index, job, argv, folder)
            for index, (job, argv) in enumerate(self._jobs, start=1)
        ]

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
        if (stored := self._stored) is None:
            named = {job.executor or self._executor for job, _ in self._jobs}
            executors = await find_executors(bus, named)
            # Thousands of folders, and perhaps code to be packaged: not in the loop's thread.
            stored = await anyio.to_thread.run_sync(self.prepare, executors)
            if self._cancel is not None:
                await stored.cancel(*self._cancel)
        return await stored.run(bus)

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

    def _make_job(
        self, index: int, job: Job, argv: tuple[str, ...], packages: Mapping[str, Package]
    ) -> JobSpec:
        spec = self._spec(index, job, argv, self.folder)
        spec = replace(spec, package=packages.get(spec.executor))
        origin = self._origin(spec.argv, spec.cwd)
        info = RunInfo.new(
            spec.run_id, job.name, self.project, job.config, job=job.name, origin=origin
        )
        make_run_folder(self.folder, info)
        make_folders(spec.folder)
        return spec

    def _origin(self, argv: tuple[str, ...], cwd: str) -> Origin:
        """Return where a job comes from; git is asked once for each folder."""
        if cwd not in self._origins:
            self._origins[cwd] = Origin.of_job(argv, cwd)
            self._reaps.append(self._origins[cwd].ask_git(self.folder))
        return self._origins[cwd].with_argv(argv)

    @cached_property
    def _withheld(self) -> tuple[str, ...]:
        """The variables that jobs name as their secrets: others do not inherit them."""
        references = {
            value.reference
            for job, _ in self._jobs
            for value in job.env.values()
            if isinstance(value, Secret)
        }
        names = (reference.partition(":") for reference in references)
        return tuple(sorted(name for kind, _, name in names if kind == "env"))

    def _spec(self, index: int, job: Job, argv: tuple[str, ...], experiment: str) -> JobSpec:
        experiment_id = self.id or "EXPERIMENT"
        run_id = run_id_of(experiment_id, index)
        run_folder = os.path.join(experiment, "runs", run_id)
        # The index keeps apart names that differ only in what a folder's name cannot hold.
        folder = os.path.join(experiment, "jobs", f"{index}-{slug(job.name)}", "1")
        secrets = {name: v.reference for name, v in job.env.items() if isinstance(v, Secret)}
        plain = {name: value for name, value in job.env.items() if isinstance(value, str)}
        return JobSpec(
            experiment_id=experiment_id,
            name=job.name,
            run_id=run_id,
            executor=job.executor or self._executor,
            argv=argv,
            given=config.given_by(job.task),
            cwd=absolute_path(job.cwd or "."),
            # Lines must reach the log when they are printed, not when a buffer is full.
            env={"PYTHONUNBUFFERED": "1", **plain, ENV_RUN: run_folder},
            secrets=secrets,
            withheld=self._withheld,
            folder=folder,
            run_folder=run_folder,
            resources=job.resources,
            timeouts=job.timeouts,
            retry=job.retry,
        )


def _check_texts(job: Job, argv: Iterable[str]) -> None:
    """Refuse what no record can hold: the bytes of a file name, say, that are not UTF-8."""
    texts = [
        ("its name", job.name),
        ("the text it is given", config.given_by(job.task)),
        *((repr(word), word) for word in argv),
    ]
    # The value of a variable may be something that is not to be shown.
    texts += [(f"the variable {name!r}", f"{name}={value}") for name, value in job.env.items()]
    _check_unicode(f"job {job.name!r}: ", texts)


def _check_unicode(whose: str, texts: Iterable[tuple[str, str]]) -> None:
    for what, text in texts:
        try:
            text.encode()
        except UnicodeEncodeError:
            raise UsageError(f"{whose}{what} is not valid Unicode") from None
