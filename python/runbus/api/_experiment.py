"""Experiments as people write them: in async applications, and in scripts and notebooks."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from runbus.abc import GRACE_S
from runbus.api._portal import portal
from runbus.api._running import Running
from runbus.jobs import CancelRequest, ask_to_cancel

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from runbus.experiment import JobHandle
    from runbus.jobs import JobRecord
    from runbus.kernel import Kernel

__all__ = ["AsyncExperiment", "Experiment"]

_KILLED_S = 5.0
"""How long the end of killed jobs is waited for."""

_LOOK_S = 0.05


class AsyncExperiment(Running):
    """Jobs that are run, followed and kept as one.

        async with AsyncExperiment("digits") as experiment:
            data = experiment.add(prepare, seed=1)
            experiment.add(train, width=512, dependencies=[data], executor="gpu-box")
            await experiment.run()

    Nothing is on disk before `run`. What has been recorded is found again by `from_id`, in this or
    another process.

    Args:
        title: What its runs are gathered under: the project.
        jobs: What to run, besides what is added.
        executor: Where jobs run that say nothing else: as `add` takes it.
        executors: Executors by the names that jobs use: their data, or a `Config` of each.
        max_parallel: How many jobs run at a time; as many as there are processors if None,
            and besides these all that run elsewhere.
        root: The folder whose code executors package that take code along; the current one if None.
        plugins: What else hooks into the bus while it runs: plugins, names of those that can be
            found, configurations or data of hook values. Hooks for worker processes wrap every
            function, and a `TaskPlugin` changes every job.
        home: The home folder, instead of `$RUNBUS_HOME` or `~/.runbus`.
        fail_fast: Whether the first job that fails ends all others.

    Attributes:
        title: What its runs are gathered under.

    Raises:
        ConfigInvalid: What an executor is made from does not fit.
        FieldInvalid: What should be a list of jobs, or a mapping, is none.
        UsageError: The title, or a job's name, means something else; or jobs wait for others that
            are not there or in a circle.
        PluginError: A plugin cannot be found, or made.
    """

    _takes_kernel = True

    async def run(
        self,
        *,
        sequential: bool = False,
        detach: bool = False,
        tail_logs: bool = False,
        max_parallel: int | None = None,
        fail_fast: bool | None = None,
        kernel: Kernel | None = None,
        check: bool = True,
    ) -> list[JobRecord]:
        """Run what was added to its end.

        Called again, it runs what has been added since; of an experiment that was found again, what
        has not ended, or follows the process that leads it. The first failure is told on standard
        error when it happens, unless the kernel is your own; all of them are in the error.

        Cancelling this ends the jobs (TERM, then KILL after 10 s) before it is cancelled itself.

        Args:
            sequential: Whether one job runs after the other, in the order in which they were added.
            detach: Whether to return once every job is recorded, and leave them to the supervisor
                of the home, which outlives this process.
            tail_logs: Whether to write what the jobs write to standard error.
            max_parallel: How many jobs run at a time from now on; as before if None.
            fail_fast: Whether the first failure ends all others from now on; as before if None.
            kernel: A kernel that runs already; one of its own if None.
            check: Whether a job that did not succeed raises an error.

        Returns:
            The records of the jobs, in the order in which they were added.

        Raises:
            ExperimentFailed: A job did not succeed: it has the cause, the last lines and the log of
                each.
            ConfigInvalid: There is no executor of a name.
            NoExecutor: No plugin of the kernel brings an executor that a job names.
            UsageError: A job, or its code, cannot be run as asked; or it runs already; or a module
                calls this while it is imported.
            SecretMissing: A secret that a job needs cannot be read.
            HomeUnusable: The home folder cannot be written.
            JournalError: The journal cannot be written, or another process leads the experiment.
        """
        return await self._run(
            sequential=sequential,
            detach=detach,
            tail_logs=tail_logs,
            max_parallel=max_parallel,
            fail_fast=fail_fast,
            kernel=kernel,
            check=check,
        )

    async def wait(self, *, check: bool = True) -> list[JobRecord]:
        """Wait for the end of every job, whichever process leads them; leads them if none does.

        Cancelled, it ends the jobs if this process leads them, and none otherwise.

        Args:
            check: Whether a job that did not succeed raises an error.

        Returns:
            The records of the jobs, in the order in which they were added.

        Raises:
            ExperimentFailed: A job did not succeed.
            UsageError: It has not been run yet.
            JournalError: The journal cannot be written.
        """
        return await self._wait(check=check)

    async def cancel(self, job: str | JobHandle | None = None, *, grace_s: float = GRACE_S) -> bool:
        """End a job, or all, and wait for that.

        Args:
            job: The job, or the group; all if None.
            grace_s: Seconds between TERM and KILL; 0 kills at once.

        Returns:
            Whether there was anything to end.

        Raises:
            UsageError: There is no such job.
            JournalError: The journal cannot be written.
        """
        return await self._cancel(job, grace_s=grace_s)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        del exc_type, exc, traceback


class Experiment(Running):
    """Jobs that are run, followed and kept as one, in code that is not async.

        with Experiment("digits") as experiment:
            data = experiment.add(prepare, seed=1)
            experiment.add(train, width=512, dependencies=[data], executor="gpu-box")
            experiment.run()

    It is what `AsyncExperiment` is, with the same arguments and errors, and calls that wait: an
    event loop in a thread of its own runs the jobs, so it works in a notebook, too. Ctrl-C ends the
    jobs before it is raised. The `with` is not needed.

    Attributes:
        title: What its runs are gathered under.
    """

    def run(
        self,
        *,
        sequential: bool = False,
        detach: bool = False,
        tail_logs: bool = False,
        max_parallel: int | None = None,
        fail_fast: bool | None = None,
        check: bool = True,
    ) -> list[JobRecord]:
        """Run what was added to its end; see `AsyncExperiment.run`.

        Ctrl-C ends the jobs (TERM, then KILL after 10 s) before it is raised; a second one kills
        them.

        Args:
            sequential: Whether one job runs after the other, in the order in which they were added.
            detach: Whether to return once every job is recorded, and leave them to the supervisor
                of the home, which outlives this process.
            tail_logs: Whether to write what the jobs write to standard error.
            max_parallel: How many jobs run at a time from now on; as before if None.
            fail_fast: Whether the first failure ends all others from now on; as before if None.
            check: Whether a job that did not succeed raises an error.

        Returns:
            The records of the jobs, in the order in which they were added.

        Raises:
            ExperimentFailed: A job did not succeed: it has the cause, the last lines and the log of
                each.
            RunbusError: As `AsyncExperiment.run` does.
            WouldDeadlock: This is the portal's own thread: there, what is async is awaited.
        """
        run = partial(
            self._run,
            sequential=sequential,
            detach=detach,
            tail_logs=tail_logs,
            max_parallel=max_parallel,
            fail_fast=fail_fast,
            check=check,
        )
        try:
            return portal().call(run)
        except KeyboardInterrupt:
            if self._runs_here():  # a second Ctrl-C: the first one is still waiting for the ends
                self._kill()
            raise

    def _kill(self) -> None:
        """Kill the jobs, and wait a bounded time for that."""
        if not self.folder:
            return
        ask_to_cancel(self.folder, CancelRequest(None, "by Ctrl-C, twice", 0))
        until = time.monotonic() + _KILLED_S
        while self._runs_here() and time.monotonic() < until:
            time.sleep(_LOOK_S)

    def wait(self, *, check: bool = True) -> list[JobRecord]:
        """Wait for the end of every job, whichever process leads them; leads them if none does.

        Args:
            check: Whether a job that did not succeed raises an error.

        Returns:
            The records of the jobs, in the order in which they were added.

        Raises:
            ExperimentFailed: A job did not succeed.
            UsageError: It has not been run yet.
            JournalError: The journal cannot be written.
        """
        return portal().call(partial(self._wait, check=check))

    def cancel(self, job: str | JobHandle | None = None, *, grace_s: float = GRACE_S) -> bool:
        """End a job, or all, and wait for that.

        Args:
            job: The job, or the group; all if None.
            grace_s: Seconds between TERM and KILL; 0 kills at once.

        Returns:
            Whether there was anything to end.

        Raises:
            UsageError: There is no such job.
            JournalError: The journal cannot be written.
        """
        return portal().call(partial(self._cancel, job, grace_s=grace_s))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        del exc_type, exc, traceback
