"""What the types of a job's fields do not say: of scripts, tasks, folders, variables, secrets."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from runbus._secrets import Secret
from runbus.abc import FilePatterns, pattern_problem
from runbus.config._batch_types import words_in
from runbus.config._function import Function
from runbus.config._node import Mistake
from runbus.config._script import Script
from runbus.config._task import words_of
from runbus.config._task_kinds import decode_task
from runbus.errors import FieldInvalid, ScriptUnusable, SecretMissing, TaskInvalid, UsageError

if TYPE_CHECKING:
    from runbus.config._node import Mistakes, Path

__all__ = ["check_meaning"]


def check_meaning(job: dict[Any, Any], at: Path, folder: str, *, with_secrets: bool) -> Mistakes:
    """Check what the types of the fields do not say; what is of another type is passed over."""
    line = job.get("command")
    problems = _check_command(line, (*at, "command"))
    script, task, cwd, env = (job.get(name) for name in ("script", "task", "cwd", "env"))
    if (line is not None) + (script is not None) + (task is not None) != 1:
        problems.append(Mistake("a job has a command, a script or a task, and one of them", at))
    elif script is None and job.get("args"):
        message = "args go with a script; other tasks hold their own"
        problems.append(Mistake(message, (*at, "args")))
    if job.get("group") and job.get("retries"):
        message = "the jobs of a group end together: none has another attempt by itself"
        problems.append(Mistake(message, (*at, "retries")))
    if isinstance(task, dict):
        problems += _check_task_of(job, task, (*at, "task"), folder)
    if isinstance(script, str):
        try:
            Script(os.path.join(folder, script)).command_line()
        except ScriptUnusable as error:
            problems.append(Mistake(str(error), (*at, "script")))
    if cwd and isinstance(cwd, str) and not os.path.isdir(os.path.join(folder, cwd)):
        problems.append(Mistake(f"{cwd!r} is not a folder", (*at, "cwd")))
    for name, value in env.items() if isinstance(env, dict) else ():
        problems += _check_variable(name, value, (*at, "env", str(name)), folder, look=with_secrets)
    problems += _check_artifacts(job.get("artifacts"), (*at, "artifacts"))
    return problems + _check_sweep(job, (*at, "sweep"), folder)


def _check_artifacts(patterns: Any, at: Path) -> Mistakes:
    """Check patterns one by one; that they are a list of texts is checked elsewhere."""
    if not isinstance(patterns, list) or not all(isinstance(one, str) for one in patterns):
        return []
    problems = [
        Mistake(f"{_shortened(pattern)!r} is no pattern: {told[0]}; {told[1]}", (*at, index))
        for index, pattern in enumerate(patterns)
        if (told := pattern_problem(pattern)) is not None
    ]
    if not problems:
        try:
            FilePatterns(patterns)
        except FieldInvalid as error:
            problems.append(Mistake(f"{error.reason}; {error.hint}", at))
    return problems


def _shortened(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:60]}…"


def _check_command(line: Any, at: Path) -> Mistakes:
    if isinstance(line, str):
        message = f"a command is a list of words: {words_in(line)}, or for a shell [sh, -c, …]"
        return [Mistake(message, at)]
    if isinstance(line, list) and line and isinstance(line[0], dict):
        return [Mistake("the first word is the program, which no other job can return", (*at, 0))]
    return []


def _check_sweep(job: dict[Any, Any], at: Path, folder: str) -> Mistakes:
    if not isinstance(job.get("sweep"), dict):
        return []
    from runbus.config._sweep_check import sweep_mistakes  # most batches have none

    return sweep_mistakes(job, at, folder)


def _check_task_of(job: dict[Any, Any], task: dict[str, Any], at: Path, folder: str) -> Mistakes:
    if not isinstance(job.get("sweep"), dict):
        return _check_task(task, at, folder)
    from runbus.config._sweep_check import begun_with

    task, swept = begun_with(job, folder)
    of_sweep = {(*at, "values", name) for name in swept}
    found = _check_task(task, at, folder)
    return [one for one in found if one.path[: len(at) + 2] not in of_sweep]


def _check_task(data: dict[str, Any], at: Path, folder: str) -> Mistakes:
    try:
        words_of(task := decode_task(data, folder))
        if isinstance(task, Function):
            from runbus.config._function_check import function_mistakes  # it imports much

            return function_mistakes(task, at)
    except TaskInvalid as error:
        return [Mistake(error.reason, at)]
    except UsageError as error:
        return [Mistake(str(error), at)]
    except Exception as error:  # of the task, which is not ours
        return [Mistake(f"{type(error).__name__}: {error}", at)]
    return []


def _check_variable(name: Any, value: Any, at: Path, folder: str, *, look: bool) -> Mistakes:
    problems: Mistakes = []
    if isinstance(name, str) and not (name.isidentifier() and name.isascii()):
        problems.append(Mistake(f"{name!r} is not a valid name of an environment variable", at))
    reference = value.get("secret") if isinstance(value, dict) else None
    if isinstance(reference, str):
        problems += _check_secret(reference, (*at, "secret"), folder, look=look)
    return problems


def _check_secret(reference: str, at: Path, folder: str, *, look: bool) -> Mistakes:
    """Check where a secret is said to be and, if asked to look, whether it is there."""
    try:
        secret = Secret(reference).relative_to(folder)
    except UsageError as error:
        return [Mistake(str(error), at)]
    try:
        if look:
            secret.value()
    except SecretMissing as error:
        return [Mistake(f"{error}; {error.hint}", at)]
    return []
