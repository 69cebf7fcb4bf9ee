"""Entrypoints on executors: `python train.py executor=local lr=0.1`."""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from runbus import api
from runbus.abc import Executor, Timeouts
from runbus.cli._configuring import Configured, with_meanings
from runbus.cli._exit import ExitStatus
from runbus.cli._table import print_table
from runbus.config import (
    ExecutorNames,
    Function,
    Partial,
    apply_overrides,
    function_task,
    target_of,
    to_data,
)
from runbus.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runbus.config import ExecutorEntry, Override

__all__ = ["chosen_executor", "launch_on"]


def _on(executor: Executor) -> Executor:
    return executor


class ChosenExecutor(NamedTuple):
    """The executor that a command line describes.

    Attributes:
        config: What makes it; it belongs to one event loop: each run makes its own.
        timeouts: Those of its jobs.
    """

    config: Any
    timeouts: Timeouts

    def make(self) -> Executor:
        """Return a new one."""
        made: Executor = self.config.build()()
        return made


def chosen_executor(changes: Sequence[Override]) -> ChosenExecutor:
    """Return the executor that the words of a command line describe.

    Raises:
        ConfigInvalid: There is none of that name, or a field does not fit.
        UsageError: Its fields do not fit together.
    """
    config: Any = Partial(_on)
    timeouts = Timeouts()
    meant = []
    for one in changes:
        entry = _named(one)
        meant.append(one if entry is None else one._replace(value=entry.data))
        timeouts = timeouts if entry is None else entry.timeouts
    apply_overrides(config, with_meanings(config, meant))
    config.complete().build()  # so that all mistakes are told before anything runs
    return ChosenExecutor(config, timeouts)


def _named(change: Override) -> ExecutorEntry | None:
    """Return what files say of the executor that a change names; None if they say nothing."""
    name = str(change.value)
    if change.path != ("executor",) or change.operator != "=" or _CALL.search(name):
        return None
    return ExecutorNames().of_files(name)


_CALL = re.compile(r"[\[({]")


def launch_on(executor: ChosenExecutor, found: Sequence[Configured], project: str) -> ExitStatus:
    """Run configured functions as jobs, one after the other, and say how they ended."""
    runs = [
        run
        for one in found
        for run in api.run(
            _task_of(one.config),
            executor=executor.make(),
            project=project,
            name=one.title or None,
            timeouts=executor.timeouts,
        )
    ]
    print_table(
        ["run", "name", "state", "reason"],
        [[one.id, one.name, one.state, one.reason] for one in runs],
    )
    for one in runs:
        if one.error:
            click.echo(one.error["traceback"], err=True, nl=False)
    is_well = all(one.state == "SUCCEEDED" for one in runs)
    return ExitStatus.OK if is_well else ExitStatus.FAILED


def _task_of(config: Any) -> Function:
    """Return a function as a task; one of the script itself is imported from its file.

    Raises:
        TaskInvalid: It is of a prompt or notebook.
        UsageError: The name of the script cannot be that of a module.
    """
    target = target_of(config)
    file = getattr(sys.modules["__main__"], "__file__", None)
    if target.__module__ != "__main__" or not file:
        return function_task(config)
    module, end = os.path.splitext(os.path.basename(file))
    if end != ".py" or not module.isidentifier():
        raise UsageError(f"{file}: a job can only import a script with a name such as train.py")
    data = _renamed(to_data(config), module)
    del data["_partial_"]
    return Function(data.pop("_target_"), data, os.path.dirname(os.path.abspath(file)))


_NAMES = ("_target_", "_import_", "_type_")


def _renamed(data: Any, module: str) -> Any:
    """Return data whose targets of `__main__` are those of the module that it is for others."""
    if isinstance(data, list):
        return [_renamed(one, module) for one in data]
    if not isinstance(data, dict):
        return data
    return {
        key: one.replace("__main__.", f"{module}.", 1)
        if key in _NAMES and isinstance(one, str) and one.startswith("__main__.")
        else _renamed(one, module)
        for key, one in data.items()
    }
