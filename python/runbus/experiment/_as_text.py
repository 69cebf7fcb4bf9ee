"""What was asked of an experiment, as a batch file and as Python code that asks for the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import fields, replace

from runbus._home import ENV_SYSTEM
from runbus._secrets import Secret
from runbus.abc import ArtifactLimits, Dependency, EarlyStop, Resources, RetryPolicy, Timeouts
from runbus.config import (
    CodeWriter,
    Command,
    Function,
    Output,
    Script,
    data_text,
    encode_task,
    flat_keys,
    output_data,
)
from runbus.experiment._again import jobs_asked
from runbus.experiment._copies import members_by_origin
from runbus.experiment._job import Job

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runbus.jobs import Asked

__all__ = ["as_batch", "as_python"]

_VALUES = (ArtifactLimits, EarlyStop, Resources, RetryPolicy, Timeouts)
_GIVEN_BY_US = {"PYTHONUNBUFFERED": "1"}
_WIDTH = 88


def as_batch(folder: str) -> str:
    """Return a batch file that asks for what was asked of the experiment in `folder`.

    Comments at its beginning say what a batch file has no words for.

    Raises:
        ExperimentNotFound: There is no experiment in that folder.
        FileUnreadable: Its files cannot be read, or are damaged.
        TaskInvalid: There is no task of some type any more, or it takes other fields.
    """
    asked, jobs = _asked(folder)
    data: dict[str, Any] = {"project": asked.project}
    names = {job.executor or "local" for job in jobs}
    common = names.pop() if len(names) == 1 else "local"
    if common != "local":
        data["executor"] = common
    if asked.executors:
        data["executors"] = _executors(asked)
    data["max_parallel"] = asked.max_parallel
    if asked.fail_fast:
        data["fail_fast"] = True
    notes = [*_notes(asked)]
    entries = []
    for job in jobs:
        entries.append(_entry(job, common))
        if left := [key for key, one in _config(job).items() if not _is_scalar(one)]:
            notes.append(f"job {job.name!r} has nested values in its config: {', '.join(left)}")
    data["jobs"] = entries
    head = "".join(f"# {' '.join(note.split())}\n" for note in notes)
    return head + data_text(data, "yaml")


def as_python(folder: str) -> str:
    """Return Python code that asks for what was asked of the experiment in `folder`.

    Raises:
        ExperimentNotFound: There is no experiment in that folder.
        FileUnreadable: Its files cannot be read, or are damaged.
        TaskInvalid: There is no task of some type any more, or it takes other fields.
    """
    asked, jobs = _asked(folder)
    code = _Code()
    options: dict[str, Any] = {"max_parallel": asked.max_parallel}
    if asked.executors:
        options["executors"] = _executors(asked)
    if asked.root and any(spec.package for spec in asked.jobs):
        options["root"] = asked.root
    if asked.plugins:
        options["plugins"] = asked.plugins
    if asked.fail_fast:
        options["fail_fast"] = True
    code.ours.add("Experiment")
    words = [code.expression(asked.project, 1)]
    words += [f"{name}={code.expression(one, 1)}" for name, one in options.items()]
    lines = [CodeWriter.wrapped("experiment = Experiment(", words, ")", 0)]
    lines += [
        CodeWriter.wrapped("experiment.add(", [code.expression(job, 1)], ")", 0) for job in jobs
    ]
    notes = "".join(f"# {' '.join(note.split())}\n" for note in _notes(asked, is_python=True))
    imports = _import("runbus", code.ours) + _import("runbus.config", code.tasks)
    body = "\n".join(lines)
    return f'{notes}{imports}\n{body}\n\nif __name__ == "__main__":\n    experiment.run()\n'


def _import(module: str, names: set[str]) -> str:
    if not names:
        return ""
    line = f"from {module} import {', '.join(sorted(names))}\n"
    if len(line) <= _WIDTH:
        return line
    return CodeWriter.wrapped(f"from {module} import (", sorted(names), ")", 0) + "\n"


def _executors(asked: Asked) -> dict[str, Any]:
    return {name: entry.said for name, entry in asked.executor_entries.items()}


def _asked(folder: str) -> tuple[Asked, list[Job]]:
    """Return what was asked, with jobs that say nothing that is said of every job anyhow."""
    asked, jobs = jobs_asked(folder)
    found = []
    for job, spec in zip(jobs, asked.jobs, strict=True):
        env = {
            name: one
            for name, one in job.env.items()
            if _GIVEN_BY_US.get(name) != one and name != ENV_SYSTEM
        }
        task: Any = job.task
        if isinstance(task, Script):
            if task.path and not task.module and isinstance(spec.argv[1], str):
                task = replace(task, path=spec.argv[1])
            # They are the job's own by now.
            task = replace(task, env={}, cwd=None)
        found.append(replace(job, task=task, env=env))
    return asked, _whole(found)


def _whole(jobs: list[Job]) -> list[Job]:
    """Return jobs with one in the place of the copies that its executor runs of it."""
    of = {job.name: job.copy.of for job in jobs if job.copy is not None}
    found: dict[str, Job] = {}
    for job in jobs if of else ():
        waits = [
            one if one.experiment else replace(one, job=of.get(one.job, one.job))
            for one in job.dependencies
        ]
        name = of.get(job.name, job.name)
        whole = replace(job, name=name, copy=None, depends_on=[*dict.fromkeys(waits)])
        found.setdefault(name, whole)
    return list(found.values()) if of else jobs


def _config(job: Job) -> dict[str, Any]:
    """Return what the run records as its config besides the values of its function."""
    values = job.task.values if isinstance(job.task, Function) else {}
    return {key: one for key, one in job.config.items() if values.get(key, ...) != one}


def _notes(asked: Asked, *, is_python: bool = False) -> Iterator[str]:
    yield f"what was asked of {asked.id}"
    if not is_python and asked.root and any(spec.package for spec in asked.jobs):
        yield f"its code was packaged from {asked.root}: a batch file packages the folder it is in"
    if not is_python and asked.plugins:
        named = [one for one in asked.plugins if isinstance(one, str)]
        other = len(asked.plugins) - len(named)
        yield f"plugins: {', '.join(named)}{f' and {other} others' if other else ''}"
    if asked.settings:
        yield f"settings of plugins: {', '.join(sorted(asked.settings))}"
    copies = members_by_origin({spec.name: spec.copy for spec in asked.jobs})
    for name, members in copies.items():
        yield f"job {name!r} ran as {len(members):,} copies of it: {', '.join(members)}"
    for sweep in asked.sweeps:
        yield f"sweep {sweep.name!r}: {len(sweep.jobs)} of its {sweep.total} points, one by one"


def _entry(job: Job, executor: str) -> dict[str, Any]:
    """Return a job as a batch file has it."""
    found: dict[str, Any] = {"name": job.name, **_task_entry(job.task)}
    if env := {name: _value(one) for name, one in job.env.items()}:
        found["env"] = env
    if config := {name: one for name, one in _config(job).items() if _is_scalar(one)}:
        found["config"] = config
    found["cwd"] = job.cwd
    if job.executor != executor:
        found["executor"] = job.executor
    found |= flat_keys(job)
    if job.depends_on:
        found["depends_on"] = [_dependency(one) for one in job.dependencies]
    if job.group:
        found["group"] = job.group
    if job.artifacts:
        found["artifacts"] = list(job.artifacts)
    return found


def _task_entry(task: Any) -> dict[str, Any]:
    if isinstance(task, Command) and not task.given:
        return {"command": _words(task.argv)}
    if isinstance(task, Script) and task == Script(task.path or ".", task.args):
        args = _words(task.args)
        return {"script": task.path, **({"args": args} if args else {})}
    if isinstance(task, Command):
        return {"task": {"type": task.tag, "argv": [*task.argv], "given": task.given}}
    return {"task": _with_from(encode_task(task))}


def _words(words: Sequence[Any]) -> list[Any]:
    return [word if isinstance(word, str) else _value(word) for word in words]


def _with_from(data: Any) -> Any:
    """Return data in which what other jobs return is written as in a batch file."""
    if isinstance(data, (list, tuple)):
        return [_with_from(one) for one in data]
    if not isinstance(data, dict):
        return data
    return {"from" if key == "_from_" else key: _with_from(one) for key, one in data.items()}


def _value(value: str | Secret | Output) -> Any:
    if isinstance(value, Secret):
        return {"secret": value.reference}
    return _with_from(output_data(value)) if isinstance(value, Output) else value


def _dependency(one: Dependency) -> str | dict[str, str]:
    data = {"job": one.job, "when": one.when, "experiment": one.experiment}
    if one.when == "afterok" and not one.experiment:
        return one.job
    return {key: text for key, text in data.items() if text}


def _is_scalar(value: object) -> bool:
    return value is None or isinstance(value, (bool, int, float, str))


class _Code(CodeWriter):
    """Writes jobs as code, with the quotes of a formatter.

    Attributes:
        tasks: What must be imported from runbus.config.
    """

    def __init__(self) -> None:
        super().__init__()
        self.tasks: set[str] = set()

    def expression(self, value: Any, indent: int) -> str:
        """Return the code of a value; lines after its first are indented by so many levels."""
        if isinstance(value, Secret):
            self.ours.add("Secret")
            return f"Secret({self.expression(value.reference, 0)})"
        if isinstance(value, Output):
            self.ours.add("Output")
            words = [self.expression(one, 0) for one in (value.job, value.key) if one]
            if value.experiment:
                words.append(f"experiment={self.expression(value.experiment, 0)}")
            return f"Output({', '.join(words)})"
        if isinstance(value, msgspec.Struct):
            return self._struct(value, indent)
        text = super().expression(value, indent)
        if isinstance(value, str) and text[0] == "'" and '"' not in text:
            return f'"{text[1:-1]}"'
        return text

    def _struct(self, value: msgspec.Struct, indent: int) -> str:
        name = type(value).__name__
        said = _said(value)
        if isinstance(value, Job):
            said |= {"config": _config(value)}
            said = {field: one for field, one in said.items() if one != {}}
        (self.tasks if isinstance(value, Function) else self.ours).add(name)
        parts = [f"{field}={self.expression(one, indent + 1)}" for field, one in said.items()]
        return CodeWriter.wrapped(f"{name}(", parts, ")", indent)


def _said(value: msgspec.Struct) -> dict[str, Any]:
    """Return the fields of a value that are not what they are anyhow."""
    found = {}
    for field in fields(type(value)):
        one = getattr(value, field.name)
        default = field.default
        if field.default_factory is not msgspec.NODEFAULT:
            default = field.default_factory()
        if field.name not in ("point", "copy", "takes_over", "plugins") and one != default:
            found[field.name] = one
    return found
