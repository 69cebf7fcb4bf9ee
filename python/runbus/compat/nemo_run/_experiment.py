"""Experiments with the arguments that NeMo Run's have, and what those print."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any

import runbus
from runbus.config import Partial
from runbus.experiment import jobs_asked

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from runbus import JobHandle, RunRecord
    from runbus.api import ExperimentStatus, Plan

__all__ = ["Experiment", "run"]


class Experiment(runbus.Experiment):
    """`runbus.Experiment` with NeMo Run's arguments; `status`, `logs` and `dryrun` print, too.

    A job whose dependency has failed is skipped, and `run` raises `ExperimentFailed` if one did not
    succeed.

    Args:
        title: What it is called.
        executor: Where jobs run that say nothing else; here if None.
        id: Nothing reads it: ids are made, and never collide.
        log_level: Nothing reads it.
        base_dir: The home folder; `$RUNBUS_HOME` or `~/.runbus` if None.
        clean_mode: Nothing reads it.
    """

    def __init__(
        self,
        title: str,
        executor: Any = None,
        id: str | None = None,
        log_level: str = "INFO",
        base_dir: str | None = None,
        clean_mode: bool = False,
    ) -> None:
        del id, log_level, clean_mode
        super().__init__(title, executor=executor or "local", home=base_dir)

    def add(  # type: ignore[override] # their order, and None for nothing
        self,
        task: Any,
        executor: Any = None,
        name: str = "",
        plugins: Sequence[Any] | None = None,
        tail_logs: bool = False,
        dependencies: Sequence[str | JobHandle] | None = None,
        **values: Any,
    ) -> JobHandle:
        """Add a job; see `runbus.Experiment.add`.

        Args:
            task: A `Partial`, a `Script`, a function, or a list of these.
            executor: Where.
            name: What it is called; the task's title if empty.
            plugins: What changes it.
            tail_logs: Nothing reads it: `run` does.
            dependencies: What must have succeeded before: what `add` has returned.
            values: The arguments of a function.
        """
        del tail_logs
        return super().add(
            task,
            executor=executor,
            name=name or None,
            plugins=plugins or (),
            dependencies=dependencies or (),
            **values,
        )

    def status(self, return_dict: bool = False) -> ExperimentStatus | dict[str, Any]:  # type: ignore[override]
        """Print where the jobs stand.

        Args:
            return_dict: Whether to return that as a dict by job instead.
        """
        found = super().status()
        if not return_dict:
            sys.stdout.write(f"{found}\n")
            return found
        return {
            one.record.name: {
                "name": one.record.name,
                "status": str(one.record.state),
                "executor": one.record.executor,
                "job_id": one.record.run_id,
                "local_dir": one.folder,
            }
            for one in found
        }

    def logs(self, job_id: str | JobHandle, regex: str | None = None) -> str:  # type: ignore[override]
        """Print what a job has written, and return it.

        Args:
            job_id: The job.
            regex: Only lines in which this is found; all if None.
        """
        text = super().logs(job_id)
        if regex is not None:
            found = [line for line in text.splitlines(keepends=True) if re.search(regex, line)]
            text = "".join(found)
        sys.stdout.write(text)
        return text

    def reset(self) -> Self:
        """Make this a new experiment that asks for the same, and return it; nothing runs yet.

        The jobs have the dependencies, executors and limits that they had. No code of the old one
        is imported or run; the code that is packaged is what is there now.

        Raises:
            UsageError: It has not been run yet.
            FileUnreadable: Its record is damaged.
        """
        asked, jobs = jobs_asked(self._recorded_folder())
        runbus.Experiment.__init__(
            self,
            self.title,
            jobs,
            executor=asked.executor,
            executors=asked.executor_entries,
            max_parallel=asked.bound,
            root=asked.root or None,
            plugins=asked.plugins,
            home=self._home,
            fail_fast=asked.fail_fast,
        )
        return self

    def dryrun(self, log: bool = True) -> Plan:
        """Return what would be sent for each job; nothing is written or sent.

        Args:
            log: Whether to print it, too.
        """
        plan = super().dryrun()
        if log:
            sys.stdout.write(f"{plan}\n")
        return plan


def run(
    task: Any,
    executor: Any = None,
    plugins: Any = None,
    name: str = "",
    dryrun: bool = False,
    direct: bool = False,
    detach: bool = False,
    tail_logs: bool = True,
    log_level: str = "INFO",
) -> RunRecord | None:
    """Run a task as a job, and return its run; see `runbus.run`.

    Args:
        task: A `Partial`, a `Script`, or a function.
        executor: Where; here, as a job, if None.
        plugins: A plugin, or a list of them.
        name: What it is called; the task's title if empty.
        dryrun: Whether to print what would be sent instead.
        direct: Whether to call a function in this process, without a job.
        detach: Whether to return once it is recorded.
        tail_logs: Whether to write what it writes to standard error.
        log_level: Nothing reads it.

    Raises:
        ExperimentFailed: It did not succeed.
    """
    del log_level
    listed = plugins if isinstance(plugins, (list, tuple)) else [plugins] if plugins else []
    if direct:
        made = task.build() if isinstance(task, Partial) else task
        made()
        return None
    if dryrun:
        planned = Experiment(name or "dryrun", executor)
        planned.add(task, name=name, plugins=listed)
        planned.dryrun()
        return None
    return runbus.run(
        task,
        executor=executor or "local",
        plugins=listed,
        name=name or None,
        detach=detach,
        tail_logs=tail_logs,
    )
