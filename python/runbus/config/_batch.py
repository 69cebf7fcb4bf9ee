"""Batch files: what `runbus submit` takes, and every mistake in one, each with its place."""

from __future__ import annotations

import json
import os
import shlex
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, get_args, get_origin

import msgspec

from runbus import codec
from runbus._secrets import Secret
from runbus.config._document import Document, read_document
from runbus.config._durations import DURATIONS, no_duration, with_seconds
from runbus.config._executors import ExecutorFields, LocalFields, parse_host
from runbus.config._flat import field_types, flat_schema, nested, options
from runbus.config._task import Command, Script, Task, words_of
from runbus.config._task_kinds import decode_task
from runbus.errors import (
    BatchInvalid,
    ConfigInvalid,
    ScriptUnusable,
    SecretMissing,
    TaskInvalid,
    UsageError,
    near_matches,
)
from runbus.events import Resources, RetryPolicy, Timeouts
from runbus.events.values import worded

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Batch", "BatchJob", "SecretField", "batch_schema", "load_batch"]

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Values = dict[str, bool | int | float | str | None]


class SecretField(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a secret is, instead of the secret.

    Attributes:
        secret: `env:NAME`, or `NAME` for short: a variable of the environment that the batch is
            submitted from; or `file:PATH`, relative to the batch file.
    """

    secret: str


class BatchJob(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One job of a batch: a command or a script, and how to run it.

    In a file the fields of its resources, time-outs and retries are keys of the job itself.

    Attributes:
        name: What it is called; unique within the batch.
        command: The program and its arguments; no shell reads them.
        script: A Python script, relative to the batch file.
        task: Any other task: its `type`, and the fields of that type.
        args: What the script gets in `sys.argv[1:]`.
        env: What is added to its environment.
        config: What its run records as config.
        cwd: The folder it starts in, relative to the batch file; the batch file's own if absent.
        executor: The executor it runs on; the batch's if absent.
        gpus: How many GPUs it needs for itself.
        cpus: The processors it may run on, such as `0-3,6`; all if absent.
        nice: How much it yields to others, from 0 to 19.
        retries: How many more attempts it gets if it fails.
        retry_on: After what it gets one: `exit`, `signal`, `oom` (it took more memory than there
            was), `timeout`, `lost` (it vanished), `preempted` (its machine was taken away), `start`
            (it could not be started), and exit codes as numbers; after any of them if absent.
        backoff: Seconds before the second attempt, at most a year; doubled for each one after.
        timeout: Whole seconds that it may run before it is ended, as TIMEOUT; or a text such as
            `90s`, `5m`, `2h`, `1d`, as in the two that follow and in `backoff`.
        queue_timeout: Whole seconds that it may wait for its start once it is sent to its executor.
        idle_timeout: Whole seconds that it may run without writing to its output.
    """

    name: Name
    command: Annotated[list[str], msgspec.Meta(min_length=1)] | None = None
    script: str | None = None
    task: dict[str, Any] | None = None
    args: list[str] = []
    env: dict[str, str | SecretField] = {}
    config: Values = {}
    cwd: str | None = None
    executor: str | None = None
    resources: Resources = Resources()
    timeouts: Timeouts = Timeouts()
    retry: RetryPolicy = RetryPolicy()

    def what(self, folder: str) -> Task:
        """Return what to run; paths are relative to `folder`."""
        if self.task is not None:
            return decode_task(self.task, folder)
        if self.script is not None:
            return Script(os.path.join(folder, self.script), tuple(self.args))
        assert self.command is not None
        return Command(tuple(self.command))


DEFAULT = "default"
"""What the executor is called whose fields stand where a name could."""


class Batch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A batch file.

    Attributes:
        project: What its runs are gathered under.
        executor: The executor of the jobs that name none: a name, or its fields.
        executors: The fields of further executors, by the names that jobs use.
        max_parallel: How many jobs run at a time; as many as there are processors if absent.
        jobs: The jobs, in the order in which they are submitted.
    """

    project: Name
    jobs: Annotated[list[BatchJob], msgspec.Meta(min_length=1)]
    executor: str | ExecutorFields = "local"
    executors: dict[str, ExecutorFields] = {}
    max_parallel: Annotated[int, msgspec.Meta(ge=1)] | None = None

    @property
    def executor_name(self) -> str:
        """The name of the executor of the jobs that name none."""
        return self.executor if isinstance(self.executor, str) else DEFAULT

    def fields_of(self, job: BatchJob) -> ExecutorFields:
        """Return the fields of the executor of a job."""
        return self.all_executors.get(job.executor or self.executor_name, LocalFields())

    @property
    def all_executors(self) -> dict[str, ExecutorFields]:
        """The fields of every executor that the file describes, by name."""
        if isinstance(self.executor, str):
            return self.executors
        return {**self.executors, DEFAULT: self.executor}


def batch_schema() -> dict[str, Any]:
    """Return the JSON Schema of a batch file."""
    return flat_schema(Batch)


class _Problem(NamedTuple):
    """A mistake: where it stands, and what it is."""

    path: tuple[str | int, ...]
    message: str


def load_batch(path: str, *, with_secrets: bool = False) -> Batch:
    """Read a batch file: YAML, TOML or JSON, by the end of its name.

    Args:
        path: The file.
        with_secrets: Whether a secret that is not there counts as a mistake.

    Raises:
        BatchInvalid: It cannot be read, or something in it is wrong; every mistake is listed with
            file, line and key, in the order of the lines. Nothing was done.
    """
    try:
        document = read_document(path)
    except ConfigInvalid as error:
        raise BatchInvalid(path, tuple(map(str, error.problems))) from error.__cause__
    document.data = with_seconds(document.data)
    problems = _check(document, with_secrets=with_secrets)
    placed = [document.problem(one.path, one.message) for one in problems]
    if told := sorted((*document.repeated, *placed), key=lambda one: one.line):
        raise BatchInvalid(path, tuple(map(str, told)))
    return codec.convert(nested(document.data, Batch), Batch)


def _check(document: Document, *, with_secrets: bool) -> list[_Problem]:
    data = document.data
    if not isinstance(data, dict):
        return [_Problem((), "a batch is a mapping with the keys project and jobs")]
    problems = _check_settings(data)
    if "jobs" not in data:
        return problems
    jobs = data["jobs"]
    if not isinstance(jobs, list) or not jobs:
        return [*problems, _Problem(("jobs",), "jobs is a list of at least one job")]
    names: dict[Any, int] = {}
    described = data.get("executors", {})
    executors = {"local", *map(str, described)} if isinstance(described, dict) else None
    if executors is not None and isinstance(data.get("executor"), str):
        problems += _check_executor(data["executor"], ("executor",), executors)
    for index, job in enumerate(jobs):
        at = ("jobs", index)
        if not isinstance(job, dict):
            problems.append(_Problem(at, "a job is a mapping with a name and a command or script"))
            continue
        problems += _check_job(job, at)
        folder = os.path.dirname(document.path)
        problems += _check_meaning(job, at, folder, with_secrets=with_secrets)
        if executors is not None and isinstance(job.get("executor"), str):
            problems += _check_executor(job["executor"], (*at, "executor"), executors)
        name = job.get("name")
        if isinstance(name, str):
            if name in names:
                first = names[name]
                problems.append(
                    _Problem((*at, "name"), f"{name!r} is the name of job {first}, too")
                )
            names.setdefault(name, index + 1)
    return problems


def _check_job(given: dict[Any, Any], at: tuple[str | int, ...]) -> list[_Problem]:
    """Check the fields of a job; each by itself only if something is wrong."""
    job = _without_line(given)
    try:
        codec.convert(nested(job, BatchJob), BatchJob)
    except codec.DecodeError:
        return _check_struct(job, BatchJob, at)
    return []


def _without_line(job: dict[Any, Any]) -> dict[Any, Any]:
    """Return a job without a command in one line, of which `_check_meaning` says more."""
    if not isinstance(job.get("command"), str):
        return job
    return {key: value for key, value in job.items() if key != "command"}


def _check_executor(name: str, at: tuple[str | int, ...], known: set[str]) -> list[_Problem]:
    if name in known:
        return []
    near = near_matches(name, known)
    hint = f"did you mean {near[0]!r}" if near else f"there are {', '.join(sorted(known))}"
    return [_Problem(at, f"there is no executor {name!r}; {hint}")]


def _check_settings(data: dict[str, Any]) -> list[_Problem]:
    """Check everything but the jobs."""
    problems = [one for one in _check_struct(data, Batch, ()) if one.path[:1] != ("jobs",)]
    executors = data.get("executors")
    described = [(("executor",), data.get("executor"))] + [
        (("executors", str(name)), one)
        for name, one in (executors.items() if isinstance(executors, dict) else ())
    ]
    for at, one in described:
        hosts = one.get("hosts") if isinstance(one, dict) else None
        if isinstance(hosts, list):
            problems += _check_hosts(hosts, (*at, "hosts"))
    return problems


def _check_hosts(hosts: list[Any], at: tuple[str | int, ...]) -> list[_Problem]:
    problems = []
    known: dict[tuple[str, str, int], int] = {}
    for index, host in enumerate(hosts):
        if not isinstance(host, str):
            continue
        try:
            first = known.setdefault(parse_host(host), index)
        except UsageError as error:
            problems.append(_Problem((*at, index), str(error)))
            continue
        if first != index:
            problems.append(_Problem((*at, index), f"{host!r} is host {first + 1}, too"))
    return problems


def _check_struct(
    data: dict[str, Any], shape: type[msgspec.Struct], at: tuple[str | int, ...]
) -> list[_Problem]:
    """Check each field by itself, so that one mistake does not hide the next."""
    problems = []
    known = field_types(shape)
    tag = shape.__struct_config__.tag_field
    for key in data:
        if key not in known and (tag is None or key != tag):
            near = near_matches(str(key), known)
            hint = f"; did you mean {near[0]!r}" if near else f"; there are {', '.join(known)}"
            problems.append(_Problem((*at, str(key)), f"unknown key {key!r}{hint}"))
    for name, (of_value, is_needed) in known.items():
        if name in DURATIONS and isinstance(data.get(name), str):
            problems.append(_Problem((*at, name), no_duration(data[name])))
        elif name in data:
            problems += _check_value(data[name], of_value, (*at, name))
        elif is_needed:
            problems.append(_Problem(at, f"the key {name!r} is missing"))
    return problems


def _check_value(value: Any, shape: Any, at: tuple[str | int, ...]) -> list[_Problem]:
    """Check a value against a type; what is wrong within it is reported entry by entry."""
    try:
        codec.convert(nested(value, shape), shape)
    except codec.DecodeError as error:
        problems = list(_check_entries(value, tuple(options(shape)), at))
        return problems or [_Problem(at, worded(str(error)))]
    return []


def _check_entries(
    value: Any, kinds: tuple[Any, ...], at: tuple[str | int, ...]
) -> Iterator[_Problem]:
    """Check the entries of a mapping or list that is of none of some types."""
    for option in kinds:
        if isinstance(value, list) and get_origin(option) in (list, tuple):
            for index, item in enumerate(value):
                yield from _check_value(item, get_args(option)[0], (*at, index))
        elif isinstance(value, dict) and get_origin(option) is dict:
            of_key, of_value = get_args(option)
            for key, item in value.items():
                here = (*at, str(key))
                for wrong in _check_value(key, of_key, here):
                    yield wrong._replace(message=f"the key {key!r}: {wrong.message}")
                yield from _check_value(item, of_value, here)
    structs = [option for option in kinds if isinstance(option, type(msgspec.Struct))]
    if isinstance(value, dict) and structs:
        yield from _check_struct_of(value, structs, at)


def _check_struct_of(
    data: dict[str, Any], shapes: list[Any], at: tuple[str | int, ...]
) -> list[_Problem]:
    """Check a mapping against the one of several Structs that its tag names."""
    tag = shapes[0].__struct_config__.tag_field
    if tag is None:
        return _check_struct(data, shapes[0], at)
    if tag not in data:
        return [_Problem(at, f"the key {tag!r} is missing")]
    named = {str(shape.__struct_config__.tag): shape for shape in shapes}
    given = data[tag]
    if isinstance(given, str) and given in named:
        return _check_struct(data, named[given], at)
    near = near_matches(str(given), named)
    hint = f"did you mean {near[0]!r}" if near else f"there are {', '.join(named)}"
    return [_Problem((*at, tag), f"there is no {tag} {given!r}; {hint}")]


def _check_meaning(
    job: dict[str, Any], at: tuple[str | int, ...], folder: str, *, with_secrets: bool
) -> list[_Problem]:
    """Check what the types of the fields do not say; what is of another type is passed over."""
    problems = []
    if isinstance(line := job.get("command"), str):
        message = f"a command is a list of words: {_words_in(line)}, or for a shell [sh, -c, …]"
        problems.append(_Problem((*at, "command"), message))
    script, task, cwd, env = (job.get(name) for name in ("script", "task", "cwd", "env"))
    if sum(job.get(name) is not None for name in ("command", "script", "task")) != 1:
        problems.append(_Problem(at, "a job has a command, a script or a task, and one of them"))
    elif script is None and job.get("args"):
        message = "args go with a script; other tasks hold their own"
        problems.append(_Problem((*at, "args"), message))
    if isinstance(task, dict):
        problems += _check_task(task, (*at, "task"), folder)
    if isinstance(script, str):
        try:
            Script(os.path.join(folder, script)).command_line()
        except ScriptUnusable as error:
            problems.append(_Problem((*at, "script"), str(error)))
    if cwd and isinstance(cwd, str) and not os.path.isdir(os.path.join(folder, cwd)):
        problems.append(_Problem((*at, "cwd"), f"{cwd!r} is not a folder"))
    for name, value in env.items() if isinstance(env, dict) else ():
        problems += _check_variable(name, value, (*at, "env", str(name)), folder, look=with_secrets)
    return problems


def _words_in(line: str) -> str:
    """Return a line of a shell as the list that a batch takes."""
    try:
        words = shlex.split(line)
    except ValueError:
        words = line.split()
    return json.dumps(words, ensure_ascii=False)


def _check_task(data: dict[str, Any], at: tuple[str | int, ...], folder: str) -> list[_Problem]:
    try:
        words_of(decode_task(data, folder))
    except TaskInvalid as error:
        return [_Problem(at, error.reason)]
    except UsageError as error:
        return [_Problem(at, str(error))]
    except Exception as error:  # of the task, which is not ours
        return [_Problem(at, f"{type(error).__name__}: {error}")]
    return []


def _check_variable(
    name: Any, value: Any, at: tuple[str | int, ...], folder: str, *, look: bool
) -> list[_Problem]:
    problems = []
    if isinstance(name, str) and not (name.isidentifier() and name.isascii()):
        problems.append(_Problem(at, f"{name!r} is not a valid name of an environment variable"))
    reference = value.get("secret") if isinstance(value, dict) else None
    if isinstance(reference, str):
        problems += _check_secret(reference, (*at, "secret"), folder, look=look)
    return problems


def _check_secret(
    reference: str, at: tuple[str | int, ...], folder: str, *, look: bool
) -> list[_Problem]:
    """Check where a secret is said to be and, if asked to look, whether it is there."""
    try:
        secret = Secret(reference).relative_to(folder)
    except UsageError as error:
        return [_Problem(at, str(error))]
    try:
        if look:
            secret.value()
    except SecretMissing as error:
        return [_Problem(at, f"{error}; {error.hint}")]
    return []
