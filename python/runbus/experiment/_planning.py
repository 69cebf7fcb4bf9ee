"""What is asked of an experiment, and what would be sent for its jobs: nothing is written."""

from __future__ import annotations

import operator
import os
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from runbus import config
from runbus._files import absolute_path
from runbus._home import Home
from runbus._ids import slug
from runbus._listed import check_mapping, listed
from runbus._secrets import redacted_text
from runbus.abc import JobSpec, Timeouts
from runbus.errors import NoExecutor, UsageError, near_matches
from runbus.experiment._again import jobs_recorded
from runbus.experiment._checks import (
    check_places,
    check_texts,
    check_title,
    check_unicode,
    with_words,
)
from runbus.experiment._copies import as_copies
from runbus.experiment._job import Job
from runbus.experiment._others import Others
from runbus.experiment._packages import planned_code, unbuilt_code
from runbus.experiment._set_up import set_up, submitted
from runbus.experiment._specs import Specs
from runbus.experiment._stored import StoredExperiment
from runbus.experiment._unsent import unsent
from runbus.jobs import Asked, JobRecord, JobState, read_jobs, read_requests

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping, Sequence
    from typing import Self

    from runbus.abc import Executor, Package, Request
    from runbus.config import Config, ExecutorEntry
    from runbus.experiment._checks import Worded
    from runbus.jobs import ChangedBy
    from runbus.packaging import Chosen
    from runbus.plugins import TaskPlugin

__all__ = ["Planning"]

_FAILURES = (JobState.FAILED, JobState.TIMEOUT, JobState.LOST)


class Planning:
    """Knows what is asked of an experiment, and what would be sent; writes nothing.

    What it takes, has and raises is that of `ExperimentDraft`.
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
        # What was recorded has its copies; those of the others are known with their executors.
        self._jobs = with_words(as_copies(jobs, {}, executor))
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
        self._only_here = max_parallel is None
        largest = max(map(len, self._groups.values()), default=0)
        self._max_parallel = max_parallel or max(largest, len(os.sched_getaffinity(0)))
        self._check_groups()
        given = listed(plugins, "plugins", object, "plugins")
        self.plugins: list[Any] = [_data_of(one) for one in given]
        self._stored: StoredExperiment | None = None
        self._asked: Asked | None = None
        self._packages: dict[str, Package] = {}
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
            max_parallel=asked.bound,
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

    def _with_copies(
        self, jobs: Worded, executors: Mapping[str, Executor], before: Worded
    ) -> Worded:
        """Return jobs with a copy for each that their executors run."""
        given, known = [job for job, _ in jobs], [job for job, _ in before]
        every = as_copies(given, executors, self._executor, known)
        if len(every) == len(given) and all(map(operator.is_, every, given)):
            return jobs
        return with_words(every, known)

    def _check_groups(self, executors: Mapping[str, Executor] | None = None) -> None:
        """Make sure that the jobs of each group can run at a time, by the executors that are known.

        Raises:
            UsageError: Those of one cannot.
        """
        known = executors if executors and self._only_here else {}
        far = {name for name, one in known.items() if one.capabilities.elsewhere}
        apart = {job.name for job, _ in self._jobs if (job.executor or self._executor) in far}
        for group, members in self._groups.items():
            if (count := len(set(members) - apart)) > self._max_parallel:
                most = f"max_parallel is {self._max_parallel}"
                raise UsageError(
                    f"group {group!r} has {count} jobs that start together, and {most}"
                )

    @property
    def executors(self) -> dict[str, dict[str, Any]]:
        """What the executors that come with it are made from, by name."""
        return {name: entry.data for name, entry in self.executor_entries.items()}

    @property
    def _timeouts(self) -> dict[str, Timeouts]:
        """The time-outs that executors have for their jobs, of those that have any."""
        entries = self.executor_entries.items()
        return {name: one.timeouts for name, one in entries if one.timeouts != Timeouts()}

    @property
    def task_plugins(self) -> Mapping[str, Sequence[TaskPlugin]]:
        """What is told the ends of the jobs that were recorded here, by their names."""
        return self._stored.task_plugins if self._stored else {}

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
        specs = self._dry_specs(executors)
        return self._plan([submitted(spec, plugins) for spec in specs], executors)

    def _plan(self, specs: Sequence[JobSpec], executors: Mapping[str, Executor]) -> list[Request]:
        for spec in specs:
            if spec.executor not in executors:
                raise NoExecutor(spec.executor, near_matches(spec.executor, executors), ())
        check_places(specs, {name: one.limits().jobs for name, one in executors.items()})
        packages = unbuilt_code(executors, self._root)
        requests = [
            executors[spec.executor].plan(
                replace(spec, package=spec.package or packages.get(spec.executor))
            )
            for spec in specs
        ]
        return _together(requests, executors)

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

    def _dry_specs(self, executors: Mapping[str, Executor]) -> list[JobSpec]:
        """Return the jobs as `run` would hand them on, without writing anything."""
        known = () if self._stored is None else self._stored.specs
        new = self._with_copies(self._jobs[len(known) :], executors, self._jobs[: len(known)])
        if self._stored is None:
            jobs = self._set_up("EXPERIMENT", new)
            return self._specs(jobs).of(jobs)
        more = self._set_up(self.id, new)
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
            timeouts=self._timeouts,
            plugins=self.plugins,
            groups=self._groups,
            others=self._others,
        )

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

    def _check_open(self, jobs: Mapping[str, JobRecord]) -> None:
        """Refuse further jobs that could not begin."""
        if any(one.job is None for one in read_requests(self.folder).values()):
            raise UsageError(f"{self.id} is being cancelled: its jobs begin no more")
        failed = [one.name for one in jobs.values() if one.state in _FAILURES]
        if self._fail_fast and failed:
            ends = f"it ends all jobs at the first failure, and {failed[0]!r} has failed"
            raise UsageError(f"{self.id} takes no more jobs: {ends}; runbus retry begins anew")


def _together(requests: Sequence[Request], executors: Mapping[str, Executor]) -> list[Request]:
    """Return requests with those of a group as they are sent if its jobs begin at once."""
    groups: dict[Hashable, list[int]] = {}
    for index, request in enumerate(requests):
        together = executors[request.job.executor].capabilities.together
        if request.job.group and together is not None:
            groups.setdefault((request.job.group, together), []).append(index)
    planned = list(requests)
    for members in groups.values():
        if len(members) > 1:
            first = executors[requests[members[0]].job.executor]
            sent = first.plan_together([requests[index] for index in members])
            for index, request in zip(members, sent, strict=True):
                planned[index] = request
    return planned


def _data_of(plugin: Any) -> Any:
    if isinstance(plugin, str):
        return plugin
    from runbus.plugins import plugin_data  # costs what most experiments need not pay

    return plugin_data(plugin)
