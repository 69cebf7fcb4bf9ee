"""What executors get of jobs."""

from __future__ import annotations

import os
from functools import cached_property
from typing import TYPE_CHECKING

from runbus import config
from runbus._files import absolute_path
from runbus._home import ENV_RUN, ENV_SYSTEM
from runbus._ids import run_id_of, slug
from runbus._secrets import Secret
from runbus.abc import JobSpec
from runbus.experiment._checks import withheld_by

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from runbus.abc import Timeouts
    from runbus.experiment._checks import Worded
    from runbus.experiment._job import Job
    from runbus.experiment._others import Others

__all__ = ["Specs"]


class Specs:
    """Makes of jobs what their executors get; nothing is written.

    Args:
        folder: The experiment's folder, whose name is its id.
        jobs: All its jobs: their secrets are withheld from the others.
        executor: The executor of the jobs that name none.
        timeouts: The time-outs that executors have for their jobs, by name.
        plugins: What wraps functions in their processes, among others, as data.
        groups: The members of each group of jobs.
        others: The experiments that jobs name.
    """

    def __init__(
        self,
        folder: str,
        jobs: Worded,
        *,
        executor: str,
        timeouts: Mapping[str, Timeouts],
        plugins: Sequence[Any],
        groups: Mapping[str, Sequence[str]],
        others: Others,
    ) -> None:
        self._folder = folder
        self._id = os.path.basename(folder)
        self._sampling = _sampling()
        self._withheld = withheld_by(jobs)
        self._executor = executor
        self._timeouts = timeouts
        self._plugins = plugins
        self._groups = groups
        self._others = others

    def of(self, jobs: Worded, *, first: int = 1) -> list[JobSpec]:
        """Return what executors get of some of the jobs.

        Args:
            jobs: The jobs, one after the other in the experiment.
            first: Where the first of them stands in it, counted from 1.
        """
        return [self._of(index, *job) for index, job in enumerate(jobs, start=first)]

    def _of(self, index: int, job: Job, argv: Sequence[config.Argument]) -> JobSpec:
        run_id = run_id_of(self._id, index)
        run_folder = f"{self._folder}/runs/{run_id}"
        # The index keeps apart names that differ only in what a folder's name cannot hold.
        folder = f"{self._folder}/jobs/{index}-{slug(job.name)}/1"
        secrets = {name: v.reference for name, v in job.env.items() if isinstance(v, Secret)}
        plain = {name: value for name, value in job.env.items() if isinstance(value, str)}
        taken = {name: v for name, v in job.env.items() if isinstance(v, config.Output)}
        executor = job.executor or self._executor
        times = self._timeouts.get(executor)
        wrapped_by = self._for_workers if isinstance(job.task, config.Function) else ()
        return JobSpec(
            experiment_id=self._id,
            name=job.name,
            run_id=run_id,
            executor=executor,
            argv=tuple(map(config.argument_text, argv)),
            given=self._others.given(config.given_by(job.task, wrapped_by)),
            cwd=absolute_path(job.cwd) if job.cwd else self._here,
            # Lines must reach the log when they are printed, not when a buffer is full.
            env={"PYTHONUNBUFFERED": "1", **self._sampling, **plain, ENV_RUN: run_folder},
            secrets=secrets,
            outputs={name: self._others.output(one) for name, one in taken.items()},
            output_words={
                at: self._others.output(word)
                for at, word in enumerate(argv)
                if isinstance(word, config.Output)
            },
            withheld=self._withheld,
            folder=folder,
            run_folder=run_folder,
            resources=job.resources,
            timeouts=job.timeouts if times is None else job.timeouts.or_else(times),
            retry=job.retry,
            depends_on=config.without_groups(
                [*map(self._others.dependency, job.dependencies)], self._groups
            ),
            group=job.group,
            stop=job.stop,
            artifacts=tuple(job.artifacts),
            artifact_limits=job.artifact_limits,
            copy=job.copy,
            is_trial=job.point is not None and config.Trials.tag in job.point.space,
        )

    @cached_property
    def _here(self) -> str:
        """The current folder, where jobs start that name none."""
        return absolute_path()

    @cached_property
    def _for_workers(self) -> tuple[Any, ...]:
        """The plugins with hooks in worker processes, as data; those of a name are looked at."""
        if not self._plugins:
            return ()
        from runbus.plugins import is_for_workers

        return tuple(one for one in self._plugins if is_for_workers(one))


def _sampling() -> dict[str, str]:
    """Return what jobs are told of whether and how to sample, wherever they run; often nothing."""
    asked = os.environ.get(ENV_SYSTEM)
    return {ENV_SYSTEM: asked} if asked else {}
