"""Jobs from what people add to an experiment: a task, a function and its arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from runbus._listed import listed
from runbus.abc import Dependency, RetryPolicy, Timeouts
from runbus.config import Function, Partial, check_task, name_script, seconds_of
from runbus.errors import FieldInvalid, TaskInvalid, UsageError, near_matches
from runbus.experiment import Job, JobHandle

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runbus.config import Task

__all__ = ["checked_dependencies", "retry_of", "task_of", "timeouts_of", "with_plugins"]


def task_of(given: Any, values: Mapping[str, Any]) -> Task:
    """Return what was given to run as a task.

    Args:
        given: A task, a `Partial`, or a function.
        values: The arguments of the function, or more of them for the `Partial`, by name.

    Raises:
        TaskInvalid: It is none of these, there are values and no function, or no other process
            could import the function.
        ConfigInvalid: A value is missing or does not fit.
    """
    name_script()
    if isinstance(given, Partial):
        if values:
            given = given.copy()
            for name, value in values.items():
                given[name] = value
    elif callable(given) and not hasattr(given, "command_line"):
        given = Partial(given, **values)
    elif values:
        reason = f"only a function takes values, and it got {', '.join(values)}"
        raise TaskInvalid(repr(given), reason, "give a function, or a Partial of one")
    return check_task(given)


def retry_of(given: int | RetryPolicy) -> RetryPolicy:
    """Return after which ends a job gets another attempt: a number of retries, or a policy."""
    if isinstance(given, RetryPolicy):
        return given
    return RetryPolicy(retries=given)


def timeouts_of(given: float | str | Timeouts | None) -> Timeouts:
    """Return how long a job may take: seconds, a text such as `5m`, or `Timeouts`.

    Raises:
        FieldInvalid: It is none of these.
    """
    if given is None:
        return Timeouts()
    if isinstance(given, Timeouts):
        return given
    seconds = seconds_of(given) if isinstance(given, str) else given
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or seconds % 1:
        advice = "write 300, '5m' or Timeouts(run_s=300, idle_s=60)"
        expected = "expected whole seconds, or a text such as 90s, 5m or 2h30m"
        raise FieldInvalid("timeout", repr(given), expected, advice)
    return Timeouts(run_s=int(seconds))


def checked_dependencies(
    given: Any, name: str, owner: object, known: Mapping[str, JobHandle]
) -> tuple[str | Dependency, ...]:
    """Return what a job waits for, each of it added before: so that nothing waits in a circle.

    Args:
        given: Names, handles and `Dependency`s, or one of them.
        name: The job's name.
        owner: Its experiment.
        known: What was added before, by name.

    Raises:
        UsageError: One of them is unknown, or of an experiment that is not recorded yet.
    """
    kinds = (str, JobHandle, Job, Dependency)
    if isinstance(given, kinds):
        given = [given]
    found: dict[str, str | Dependency] = {}
    for one in listed(given, "dependencies", kinds, "what add returned, or names"):
        if isinstance(one, JobHandle):
            if one.owner is owner:
                found |= {job: job for job in one.jobs}
                continue
            if not one.experiment_id:
                other = f"{one.name!r} is of another experiment, which is not recorded yet"
                raise UsageError(f"job {name!r}: {other}")
            others = [Dependency(job=job, experiment=one.experiment_id) for job in one.jobs]
            found |= {f"{one.experiment_id}/{each.job}": each for each in others}
            continue
        if isinstance(one, Dependency) and one.experiment:
            found[f"{one.experiment}/{one.job}"] = one
            continue
        parent = one if isinstance(one, str) else one.name if isinstance(one, Job) else one.job
        if (several := known.get(parent)) is not None and several.is_sweep:
            when = one.when if isinstance(one, Dependency) else "afterok"
            found |= {job: Dependency(job=job, when=when) for job in several.jobs}
            continue
        if parent not in known:
            near = near_matches(parent, known)
            meant = f"; did you mean {near[0]!r}" if near else ""
            raise UsageError(f"job {name!r}: there is no job {parent!r}{meant}")
        found[parent] = one if isinstance(one, Dependency) else parent
    return tuple(found.values())


def with_plugins(task: Task, given: Any) -> tuple[Task, tuple[Any, ...]]:
    """Return a task with the hooks that wrap it in its process, and what changes its job.

    Args:
        task: The task.
        given: `TaskPlugin`s, and plugins with hooks for worker processes: values, names or data.

    Raises:
        FieldInvalid: One of them hooks into more than one job.
        PluginError: One cannot be found, made, or made again in another process.
    """
    plugins = listed(given, "plugins", object, "plugins")
    if not plugins:
        return task, ()
    from runbus.plugins import is_for_workers, plugin_data, plugin_from, task_plugins_of

    changing: list[Any] = []
    wrapping: list[Any] = []
    for one in plugins:
        made = plugin_from(one)
        if task_plugins := task_plugins_of([made]):
            changing += task_plugins
        elif is_for_workers(made) and isinstance(task, Function):
            wrapping.append(plugin_data(one))
        else:
            reason = "it is neither a TaskPlugin nor a hook of a function's process"
            advice = "give it to the experiment: Experiment(title, plugins=[…])"
            raise FieldInvalid("plugins", repr(one), reason, advice)
    if wrapping and isinstance(task, Function):
        task = replace(task, plugins=(*task.plugins, *wrapping))
    return task, tuple(changing)
