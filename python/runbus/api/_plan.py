"""Before anything runs: nothing here submits a job."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from runbus.api._executors import executors_of
from runbus.api._planned import Plan
from runbus.api._status import folder_of
from runbus.catalog import find_job
from runbus.errors import UsageError
from runbus.experiment import ExperimentDraft, jobs_to_rerun, jobs_to_retry, kept_code
from runbus.jobs import current_record, merged, read_jobs, read_settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from runbus.abc import Executor, Package
    from runbus.experiment import Job, StoredExperiment
    from runbus.jobs import Asked

    PluginValues = dict[str, dict[str, Any]]
    """What plugins are made from, by their names."""

__all__ = ["plan", "plan_on", "prepare", "rerun", "retry"]


def plan(experiment: ExperimentDraft) -> Plan:
    """Return what would be sent for each job; nothing is written or sent. Blocks.

    It has the requests as their plugins make them, and those of the names that the experiment has;
    `Request.render` shows one without its secrets.

    Raises:
        HookError: A plugin that changes a job has failed.
        PluginStuck: A plugin that changes a job took too long.
        PluginNotFound: A plugin of such a name is not installed.
        PluginNotLoadable: It cannot be imported or made.
        PackageUnreadable: A file of the code cannot be read.
        Unsupported: A job asks for what its executor cannot give.
        UsageError: A job, or its code, cannot be run as it is.
    """
    return plan_on(experiment, executors_of(experiment.executors))


def plan_on(experiment: ExperimentDraft, executors: Mapping[str, Executor]) -> Plan:
    """Return what would be sent for each job to executors that are made already; see `plan`."""
    from runbus.plugins import plugin_from, task_plugins_of

    changing = task_plugins_of(map(plugin_from, experiment.plugins))
    requests = experiment.plan(executors, plugins=changing)
    code = experiment.plan_code(requests, executors)
    queues = {name: one.capabilities.after for name, one in executors.items()}
    return Plan(experiment.project, requests, code, queues)


def prepare(experiment: ExperimentDraft) -> StoredExperiment:
    """Record an experiment, with its code, for `lead` or `detach`. Blocks.

    Raises:
        Unsupported: A job asks for what its executor cannot give.
        UsageError: A job, or its code, cannot be run as asked; nothing is left behind.
        SecretMissing: A secret cannot be read; nothing is left behind.
        HomeUnusable: The home folder cannot be written.
    """
    return experiment.prepare(executors_of(experiment.executors))


def retry(
    batch: str,
    *,
    plugins: Sequence[str] = (),
    settings: PluginValues | None = None,
    failed_only: bool = False,
) -> ExperimentDraft:
    """Return a new experiment of the jobs that did not succeed in one.

    Args:
        batch: Its folder, or what `find_experiment` takes: its id, a project (the newest of it), or
            "latest".
        plugins: The names of installed plugins that its leader loads, besides those of the old one.
        settings: What its leader gives to plugins, by their names, before what the old one has.
        failed_only: Whether those that were cancelled are left as they are: only those that failed
            run again, and those that were skipped for them.

    Raises:
        ExperimentNotFound: It does not exist; names those that read almost the same.
        AmbiguousId: It is a part of several ids.
        UsageError: Every job of it has succeeded or is not over yet.
    """
    folder = folder_of(batch)
    asked, jobs = jobs_to_retry(folder, failed_only=failed_only)
    if not jobs:
        name = os.path.basename(folder)
        known = [current_record(folder, one) for one in read_jobs(folder).values()]
        still = len(asked.jobs) - sum(one.state.is_terminal for one in known)
        if not still:
            all_fine = "no job of it has failed" if failed_only else "every job of it has succeeded"
            raise UsageError(f"nothing to retry in {name}: {all_fine}")
        counted = "one job of it is" if still == 1 else f"{still:,} jobs of it are"
        raise UsageError(f"nothing to retry in {name} yet: {counted} not over, and none has failed")
    return _again(asked, folder, jobs, plugins, settings, None)


def rerun(
    named: str,
    values: Mapping[str, str] | None = None,
    *,
    plugins: Sequence[str] = (),
    settings: PluginValues | None = None,
) -> ExperimentDraft:
    """Return a new experiment that runs one, or one job, once more. Blocks.

    It takes the same packaged code along, to the last bit, and has the same command lines, unless
    other values are given. Where a job took no code along, it runs what is there now.

    Args:
        named: The experiment's folder, or what `find_job` takes: the id of an experiment, or the id
            or name of a job or its run; a project (the newest of it), or "latest".
        values: What is different this time, by name: options of scripts, and values of functions,
            whose modules are imported to check them.
        plugins: The names of installed plugins that its leader loads, besides those of the old one.
        settings: What its leader gives to plugins, by their names, before what the old one has.

    Raises:
        ExperimentNotFound: It does not exist; names those that read almost the same.
        AmbiguousId: It is a part of several ids.
        PackageChanged: The code is gone, or is not what it was.
        FileUnreadable: Its record is damaged.
        UsageError: A value does not fit.
    """
    folder, only = (named, None) if os.sep in named else find_job(named)
    asked, jobs = jobs_to_rerun(folder, only, values)
    return _again(asked, folder, jobs, plugins, settings, kept_code(asked, folder) or None)


def _again(
    asked: Asked,
    folder: str,
    jobs: Sequence[Job],
    plugins: Sequence[str],
    settings: PluginValues | None,
    code: Mapping[str, Package] | None,
) -> ExperimentDraft:
    """Return an experiment of jobs of another one, which runs them as that one did."""
    return ExperimentDraft(
        asked.project,
        jobs,
        executors=asked.executor_entries,
        max_parallel=asked.bound,
        root=asked.root or None,
        plugins=[*asked.plugins, *(one for one in plugins if one not in asked.plugins)],
        fail_fast=asked.fail_fast,
        again_of=asked.id,
        settings=merged(merged(asked.settings, read_settings(folder)), settings or {}),
        code=code,
        changed_by=asked.changed_by,
    )
