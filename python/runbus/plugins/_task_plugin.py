"""Task plugins: code that changes jobs before they are submitted, and is told how they ended."""

from __future__ import annotations

import copy
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from runbus._files import absolute_path
from runbus._listed import check_mapping
from runbus._secrets import Secret
from runbus.config import (
    Command,
    Function,
    Output,
    Partial,
    Script,
    check_task,
    function_task,
    given_by,
    plain_words_of,
    task_given,
)
from runbus.errors import FieldInvalid, FieldUnknown, near_matches
from runbus.events import JobDraft, JobEnded, JobTransform, Resources
from runbus.plugins._blocking import call_blocking, failing_as
from runbus.plugins._extension import name_from_class

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from runbus.abc import Scope
    from runbus.config import Task

__all__ = [
    "JobOptions",
    "TaskPlugin",
    "adapt",
    "changed_draft",
    "changed_task",
    "task_plugins_of",
    "told_end",
]

_experiment: ContextVar[str | None] = ContextVar("experiment of a task plugin", default=None)
"""Not a field of the plugin: one value may change the jobs of several experiments at a time."""


class TaskPlugin:
    """Changes jobs before they are submitted, and is told when they have ended.

        class Debugging(TaskPlugin):
            def setup(self, task, executor):
                executor.env_vars["NCCL_DEBUG"] = "INFO"

    As a plugin of a kernel it changes every job that is submitted there, before each attempt. As
    one of a `Job` it changes that job when it is recorded. In both cases it gets copies: nothing
    that it does to them reaches the task, the executor or the job that they were made from.

    Nothing here has to be called by a subclass, which may be a data class, too.

    Attributes:
        name: Unique among the plugins of a kernel; from the name of the class, unless the class or
            the object says otherwise.
        experiment_id: The experiment of the job, within `setup` and `cleanup`, and None otherwise;
            `EXPERIMENT` in a dry run.
        call_s: How long `setup` may take, and so may `cleanup`, in seconds.
    """

    name: ClassVar[str] = "task_plugin"
    call_s: ClassVar[float] = 20.0

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        if "name" not in vars(cls):
            cls.name = name_from_class(cls)

    @property
    def experiment_id(self) -> str | None:
        """The experiment of the job that is changed, or has ended."""
        return _experiment.get()

    @experiment_id.setter
    def experiment_id(self, experiment_id: str | None) -> None:
        _experiment.set(experiment_id)

    def assign(self, experiment_id: str) -> None:
        """Take note of the experiment whose job is set up next, in the same thread."""
        self.experiment_id = experiment_id

    def setup(self, task: Any, executor: JobOptions) -> Any:
        """Change a job. Called in a worker thread, perhaps for several jobs at once.

        Args:
            task: A `Partial` for a function; for anything else an object with the fields of the
                task, lists and dicts among them: `argv` of a command, `args` and `env` of a script.
                A kernel knows the command lines of jobs only: there scripts are commands, too.
            executor: What the job asks of its executor.

        Returns:
            None, or another task for the job.
        """

    def cleanup(self, record: JobEnded) -> None:
        """Take note of the end of a job that was set up, whatever became of it.

        Args:
            record: How it ended: `job`, `run_id`, `state`, `exit_code`, `reason`, `duration_s` ….
        """


class JobOptions:
    """What a job asks of its executor, to be changed.

    Attributes:
        name: The name of the executor.
        job: The name of the job.
        env_vars: Its environment variables, texts and a `Secret` or an `Output` each; `env` is the
            same.
        cwd: The folder it starts in.
        resources: Which share of a machine it gets, as a whole: replace it.
    """

    __slots__ = ("cwd", "env_vars", "job", "name", "resources")

    def __init__(
        self,
        name: str,
        job: str,
        env_vars: Mapping[str, str | Secret | Output],
        cwd: str | None,
        resources: Resources,
    ) -> None:
        self.name = name
        self.job = job
        self.env_vars = dict(env_vars)
        self.cwd = cwd
        self.resources = resources

    @property
    def env(self) -> dict[str, str | Secret | Output]:
        """Its environment variables."""
        return self.env_vars

    def check(self) -> None:
        """Refuse what no job can have.

        Raises:
            FieldInvalid: A value is of another type than its field.
        """
        check_mapping(self.env_vars, "env_vars", "names to texts")
        env_vars: dict[Any, Any] = self.env_vars
        for name, value in env_vars.items():
            if not isinstance(name, str) or not isinstance(value, (str, Secret, Output)):
                got = type(value).__name__
                reason = "expected text, a Secret or an Output"
                raise FieldInvalid(f"env_vars[{name!r}]", got, reason)
        resources: Any = self.resources
        if not isinstance(resources, Resources):
            raise FieldInvalid("resources", repr(resources)[:100], "expected Resources(…)")


class TaskCopy:
    """The fields of a task, to be changed: lists in the place of tuples."""

    def __init__(self, task: Any) -> None:
        fields = {name: getattr(task, name) for name in task.__struct_fields__}
        lists = {k: [*v] if isinstance(v, tuple) else v for k, v in fields.items()}
        object.__setattr__(self, "_kind", type(task))
        vars(self).update(copy.deepcopy(lists))

    def __setattr__(self, name: str, value: Any) -> None:
        known = tuple(vars(self))[1:]
        if name not in known:
            raise FieldUnknown(vars(self)["_kind"].__name__, name, near_matches(name, known), known)
        vars(self)[name] = value

    def made(self) -> Task:
        """Return the task that it is now."""
        fields = dict(vars(self))
        return check_task(fields.pop("_kind")(**fields))


def changed_task(
    plugin: TaskPlugin, task: Task, options: JobOptions, experiment_id: str
) -> tuple[Task, JobOptions]:
    """Return what a task and its options are after the `setup` of a plugin. Blocking.

    Args:
        plugin: The plugin.
        task: The task, which stays as it is.
        options: What the plugin changes.
        experiment_id: The experiment of the job.

    Raises:
        RunbusError: What the plugin made of them cannot be run.
        FieldInvalid: The plugin tried to change `resources` in place.
        Exception: Whatever the plugin raised.
    """
    given: Any = task
    if isinstance(task, Function):
        given = task.configured()
    elif isinstance(task, (Command, Script)):
        given = TaskCopy(task)
    else:
        given = copy.deepcopy(task)
    try:
        with _of(experiment_id):
            plugin.assign(experiment_id)
            made = plugin.setup(given, options)
    except AttributeError as error:
        if str(error) != f"immutable type: {Resources.__name__!r}":
            raise
        reason = (
            "they are replaced as a whole: executor.resources = "
            "msgspec.structs.replace(executor.resources, …)"
        )
        raise FieldInvalid("resources", "changed in place", reason) from error
    made = given if made is None else made
    options.check()
    if isinstance(made, TaskCopy):
        return made.made(), options
    if isinstance(made, Partial) and isinstance(task, Function):
        return function_task(made, task.folder, task.python), options
    return check_task(made), options


def told_end(plugin: TaskPlugin, event: JobEnded) -> None:
    """Tell a plugin how a job has ended. Blocking.

    Raises:
        Exception: Whatever the plugin raised.
    """
    with _of(event.experiment_id):
        plugin.cleanup(event)


@contextmanager
def _of(experiment_id: str) -> Iterator[None]:
    token = _experiment.set(experiment_id)
    try:
        yield
    finally:
        _experiment.reset(token)


def changed_draft(plugin: TaskPlugin, event: JobTransform) -> JobDraft:
    """Return what a job about to be submitted is after the `setup` of a plugin. Blocking.

    Raises:
        RunbusError: What the plugin made of it cannot be run.
        Exception: Whatever the plugin raised.
    """
    draft = event.value
    env: dict[str, str | Secret] = dict(draft.env)
    env |= {name: Secret(at) for name, at in draft.secrets}
    options = JobOptions(event.executor, event.job, env, draft.cwd, draft.resources)
    task, options = changed_task(plugin, _task_of(draft), options, event.experiment_id)
    for name, value in options.env.items():
        if isinstance(value, Output):
            # What a job waits for is known before it is recorded.
            raise FieldInvalid(f"env_vars[{name!r}]", repr(value), "the job is recorded already")
    return msgspec.structs.replace(
        draft,
        argv=plain_words_of(task),
        given=given_by(task),
        cwd=absolute_path(options.cwd or draft.cwd),
        env=tuple((k, v) for k, v in options.env.items() if isinstance(v, str)),
        secrets=tuple((k, v.reference) for k, v in options.env.items() if isinstance(v, Secret)),
        resources=options.resources,
    )


def _task_of(draft: JobDraft) -> Task:
    """Return the task of a command line: a function where it calls one."""
    if values := task_given(draft.given):
        target = values.pop("_target_")
        if values.pop("_partial_", False) and target in draft.argv[3:4]:
            folder = draft.argv[4] if len(draft.argv) > 4 else ""
            return Function(target, values, folder, draft.argv[0])
    return Command(draft.argv, draft.given)


class _KernelTaskPlugin:
    """A task plugin as the kernel takes plugins."""

    def __init__(self, plugin: TaskPlugin) -> None:
        self.name = plugin.name
        self.plugin = plugin
        self._set_up: set[str] = set()

    async def setup(self, scope: Scope) -> None:
        """Change every job that is submitted, and tell the ends of those that were changed."""
        scope.on(JobTransform, self._transform)
        scope.on(JobEnded, self._ended)

    async def _transform(self, event: JobTransform) -> JobDraft:
        self._set_up.add(event.run_id)
        plugin = self.plugin
        with failing_as(self.name, "setup"):
            return await call_blocking(
                changed_draft, plugin, event, plugin=self.name, doing="setup", limit_s=plugin.call_s
            )

    async def _ended(self, event: JobEnded) -> None:
        if event.run_id in self._set_up:
            self._set_up.discard(event.run_id)
            plugin = self.plugin
            with failing_as(self.name, "cleanup"):
                await call_blocking(
                    told_end,
                    plugin,
                    event,
                    plugin=self.name,
                    doing="cleanup",
                    limit_s=plugin.call_s,
                )


def adapt(plugin: TaskPlugin) -> _KernelTaskPlugin:
    """Return a task plugin as the kernel takes plugins."""
    return _KernelTaskPlugin(plugin)


def task_plugins_of(plugins: Iterable[Any]) -> list[TaskPlugin]:
    """Return the task plugins among plugins, whether or not they are adapted to a kernel."""
    own = [one.plugin if isinstance(one, _KernelTaskPlugin) else one for one in plugins]
    return [one for one in own if isinstance(one, TaskPlugin)]
