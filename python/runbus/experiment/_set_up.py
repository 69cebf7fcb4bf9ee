"""What the task plugins of a job make of it, when it is recorded or only planned."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from runbus.config import Function, Script
from runbus.errors import HookError, PluginError, RunbusError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runbus.abc import JobSpec
    from runbus.events import JobEnded
    from runbus.experiment._job import Job
    from runbus.plugins import TaskPlugin

__all__ = ["set_up", "submitted", "tell_ends"]

logger = logging.getLogger("runbus.plugins")


def set_up(job: Job, *, executor: str, experiment_id: str) -> Job:
    """Return a job as its plugins make it, each after the one before. Blocking.

    Args:
        job: The job, which stays as it is.
        executor: The name of the executor that it goes to.
        experiment_id: The experiment that it belongs to.

    Raises:
        HookError: A plugin raised something, or what it made of the job cannot be run.
        PluginStuck: A plugin took longer than its `call_s`.
    """
    for plugin in job.plugins:
        job = _changed(job, plugin, executor, experiment_id)
    return job


def _changed(job: Job, plugin: TaskPlugin, executor: str, experiment_id: str) -> Job:
    from runbus.plugins import JobOptions, changed_task, in_time

    given: Any = job.task
    options = JobOptions(executor, job.name, job.env, job.cwd, job.resources)
    try:
        task, options = in_time(
            changed_task, plugin, given, options, experiment_id,
            plugin=plugin.name, doing="setup", limit_s=plugin.call_s,
        )  # fmt: skip
        config = job.config
        if isinstance(job.task, Function) and isinstance(task, Function):
            # What was said besides the function's values is kept.
            own = {k: v for k, v in config.items() if job.task.values.get(k, _NONE) != v}
            config = {**task.values, **own}
        return replace(
            job,
            task=task,
            config=config,
            env=_with_env_of(task, job.task, options.env_vars),
            cwd=options.cwd,
            resources=options.resources,
        )
    except (KeyboardInterrupt, PluginError):
        raise
    except BaseException as error:  # a plugin may also call sys.exit()
        raise _failed(plugin, job.name, error) from error


_NONE = object()


def _with_env_of(task: Any, before: Any, env: dict[str, Any]) -> dict[str, Any]:
    """Return the variables of a job whose script has other ones than before."""
    if not isinstance(task, Script) or not isinstance(before, Script):
        return env
    gone = before.env.keys() - task.env.keys()
    new = {k: v for k, v in task.env.items() if before.env.get(k, _NONE) != v}
    return {k: v for k, v in env.items() if k not in gone} | new


def submitted(spec: JobSpec, plugins: Sequence[TaskPlugin]) -> JobSpec:
    """Return a recorded job as the plugins of a kernel would make it. Blocking.

    Raises:
        HookError: A plugin raised something, or what it made of the job cannot be run.
        PluginStuck: A plugin took longer than its `call_s`.
    """
    for plugin in plugins:
        spec = _drafted(spec, plugin)
    return spec


def _drafted(spec: JobSpec, plugin: TaskPlugin) -> JobSpec:
    from runbus.plugins import changed_draft, in_time

    event = spec.transform()
    try:
        draft = in_time(
            changed_draft, plugin, event, plugin=plugin.name, doing="setup", limit_s=plugin.call_s
        )
        return spec.with_draft(draft)
    except (KeyboardInterrupt, PluginError):
        raise
    except BaseException as error:
        raise _failed(plugin, spec.name, error) from error


def _failed(plugin: TaskPlugin, job: str, error: BaseException) -> HookError:
    kind = "" if isinstance(error, RunbusError) else f"{type(error).__name__}: "
    return HookError(plugin.name, "setup", "", f"for job {job!r} raised {kind}{error}")


async def tell_ends(plugins: Mapping[str, Sequence[TaskPlugin]], event: JobEnded) -> None:
    """Tell the plugins of a job that it has ended; what one raises is logged."""
    from runbus.plugins import call_blocking, told_end

    for plugin in plugins.get(event.job, ()):
        try:
            await call_blocking(
                told_end,
                plugin,
                event,
                plugin=plugin.name,
                doing="cleanup",
                limit_s=plugin.call_s,
            )
        except Exception as error:  # of a plugin: the others are to be told, too
            logger.warning("plugin %r: cleanup of job %r: %s", plugin.name, event.job, error)
