"""An experiment as it lies on disk: what was asked, and leading it to its end."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import anyio.to_thread

from runbus._clock import SYSTEM_CLOCK
from runbus._home import Home
from runbus._secrets import Secret
from runbus.abc import GRACE_S
from runbus.errors import NoExecutor, NoHandler
from runbus.events import JobEnded, ResolveExecutor
from runbus.experiment._results import Results
from runbus.experiment._set_up import tell_ends
from runbus.jobs import (
    Asked,
    CancelRequest,
    End,
    Facts,
    JobRecord,
    JobState,
    JobStore,
    ask_to_cancel,
    intend,
    merged,
    read_requests,
    read_settings,
)
from runbus.supervisor import Supervisor

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from typing import Self

    from runbus.abc import Executor, JobSpec
    from runbus.bus import Bus
    from runbus.plugins import TaskPlugin

__all__ = ["StoredExperiment", "check_secrets", "find_executors"]


class StoredExperiment:
    """An experiment that was prepared: it can be led, by one process at a time.

    `ExperimentDraft.prepare` makes one; `StoredExperiment.open` finds it again.

    Args:
        folder: Its folder.
        asked: What was asked of it, with the folders as paths.
        home: The home that it lies in.

    Attributes:
        id: Its id.
        folder: Its folder.
        project: What its runs are gathered under.
        executors: What the executors that come with it are made from, by name.
        plugins: The names of installed plugins that its leader loads.
        specs: The jobs as the executors get them, as of their first attempts.
        max_parallel: How many jobs run at a time.
        only_here: Whether those that run elsewhere (`Capabilities.elsewhere`) are not counted.
        fail_fast: Whether the first job that fails ends all others.
        task_plugins: What is told the ends of jobs, by their names: only in the process that has
            prepared the experiment.
    """

    def __init__(self, folder: str, asked: Asked, *, home: Home) -> None:
        self.id = asked.id
        self.folder = folder
        self.project = asked.project
        self.executors = asked.executors
        self.plugins = asked.plugins
        self._settings = asked.settings
        self.specs = asked.jobs
        self.max_parallel = asked.max_parallel
        self.only_here = asked.only_here
        self.fail_fast = asked.fail_fast
        self.task_plugins: Mapping[str, Sequence[TaskPlugin]] = {}
        self._home = home
        self._supervisor: Supervisor | None = None
        self._brought: dict[str, Executor] = {}

    @classmethod
    def open(cls, folder: str, *, home: Home | None = None) -> Self:
        """Read the experiment in a folder; changes nothing.

        Args:
            folder: The experiment's folder.
            home: The home that it lies in; the default one if None.

        Raises:
            ExperimentNotFound: There is no experiment in that folder.
        """
        return cls(folder, Asked.read(folder).absolute(folder), home=home or Home())

    @property
    def settings(self) -> dict[str, dict[str, Any]]:
        """What its leader gives to plugins, by their names, as of now: see `note_settings`."""
        return merged(self._settings, read_settings(self.folder))

    def intend(self) -> list[JobRecord]:
        """Record the intent of every job, durably, for another process to carry out.

        Returns:
            The records of the jobs, in the order in which they were given.

        Raises:
            JournalHeld: Another process leads the experiment.
            JournalError: The journal cannot be written.
        """
        store = JobStore(self.folder)
        try:
            records = intend(store, self.specs)
            store.close(is_handed_over=True)
        finally:
            store.close()
        return records

    def give_up(self, reason: str) -> None:
        """End the jobs whose intents nobody has recorded, as CANCELLED. Blocks for the disk.

        What was handed to another process, or may have been submitted, is left as it is.

        Args:
            reason: Why they cannot be led.

        Raises:
            JournalHeld: Another process leads the experiment.
            JournalError: The journal cannot be written.
        """
        store = JobStore(self.folder)
        try:
            new = [spec for spec in self.specs if spec.name not in store.jobs]
            intend(store, new)
            facts = Facts(SYSTEM_CLOCK)
            for spec in new:
                store.record(facts.ended(spec, End(JobState.CANCELLED, reason, None)))
            store.sync()
            if all(record.state.is_terminal for record in store.jobs.values()):
                self._home.note_closed(self.folder)
        finally:
            store.close()

    async def run(
        self,
        bus: Bus,
        *,
        only: str | None = None,
        executors: Mapping[str, Executor] | None = None,
    ) -> list[JobRecord]:
        """Run all jobs to their ends; jobs that have ended already are left as they are.

        Cancelling this ends the jobs (TERM, then KILL after 10 s) before it is cancelled itself.
        Publishes `JobIntended`, `JobSubmitted`, `JobStarted`, `JobRetrying` and `JobEnded` for
        each job, and emits its `LogLines` and `MetricBatch`.

        Args:
            bus: What finds the executors and is told what happens.
            only: The name of the one job to run; the others are neither started nor ended, and
                stay as they are for the next leader of the experiment. All jobs if None.
            executors: What runs its jobs, by the names that they use; the bus is asked for the
                others. Several experiments on one bus may so mean different executors by one name;
                those that share one are looked at in the same requests.

        Returns:
            The records of those jobs, in the order in which they were given.

        Raises:
            NoExecutor: No plugin brings an executor that a job names.
            SecretMissing: A job that is still to be submitted needs a secret that cannot be read;
                nothing was submitted.
            JournalError: The journal cannot be written, or another process leads the experiment.
            TypeError: `bus` is not one, but perhaps the kernel itself.
        """
        own = executors or {}
        names = {spec.executor for spec in self.specs}
        executors = {name: own[name] for name in names & own.keys()}
        executors |= await find_executors(bus, names - own.keys())
        store = JobStore(self.folder)
        try:
            if only is not None:
                # Nobody may take the experiment for one of that job alone.
                await anyio.to_thread.run_sync(intend, store, self.specs)
            # From here to the supervisor nothing is awaited: what `add` brings goes to it.
            specs = [spec for spec in self.specs if only in (None, spec.name)]
            check_secrets(
                Secret(place)
                for spec in specs
                if spec.secrets and self._will_be_submitted(store, spec)
                for place in spec.secrets.values()
            )
            if any(record.state is JobState.PREEMPTED for record in store.jobs.values()):
                # Its backend may have begun it anew: then the experiment is not over any more.
                self._home.note_open(self.folder)
            executors |= self._brought
            self._supervisor = Supervisor(
                bus, executors, store, fail_fast=self.fail_fast,
                filled=Results(self.folder, store.jobs).filled,
            )  # fmt: skip
            with self._telling_ends(bus):
                records = await self._supervisor.run(
                    specs, max_parallel=self.max_parallel, only_here=self.only_here
                )
            if all(record.state.is_terminal for record in store.jobs.values()):
                self._home.note_closed(self.folder)
            return records
        finally:
            self._brought.clear()
            store.close()

    async def add(
        self, specs: Sequence[JobSpec], executors: Mapping[str, Executor] | None = None
    ) -> None:
        """Take up further jobs, which are in `experiment.json` already.

        While `run` runs here, they begin; otherwise the next `run` begins them.

        Args:
            specs: The jobs; what they depend on was given before, or is among them.
            executors: What runs them, by the names that they use, besides what `run` was given.

        Raises:
            JournalError: The journal cannot be written, or another process leads the experiment.
        """
        self.specs = [*self.specs, *specs]
        self._brought |= executors or {}
        if self._supervisor is not None:
            await self._supervisor.add(specs, executors)

    async def cancel(self, reason: str, grace_s: float = GRACE_S) -> None:
        """Ask every job to end, and submit no more; `run` then returns as usual.

        Args:
            reason: Who asked, and why.
            grace_s: Seconds between TERM and KILL. A repeated call may shorten it; 0 kills now.
        """
        if self._supervisor is not None:
            await self._supervisor.cancel(reason, grace_s)
        else:
            # As another process would ask: its first leader, this process or not, acts on it.
            ask_to_cancel(self.folder, CancelRequest(None, reason, grace_s))

    def _telling_ends(self, bus: Bus) -> AbstractContextManager[object]:
        """Tell the task plugins of the jobs how those end."""
        if not self.task_plugins:
            return nullcontext()

        async def tell(event: JobEnded) -> None:
            if event.experiment_id == self.id:
                await tell_ends(self.task_plugins, event)

        return bus.on(JobEnded, tell)

    def _will_be_submitted(self, store: JobStore, spec: JobSpec) -> bool:
        """Whether a job is still to be submitted, and nobody has asked for its end."""
        record = store.jobs.get(spec.name)
        if record and (record.handle or record.state.is_terminal):
            return False
        asked = read_requests(self.folder).values()
        return not any(request.job in (None, spec.name) for request in asked)


def check_secrets(secrets: Iterable[Secret]) -> None:
    """Look once for each secret, and keep none."""
    for secret in sorted(set(secrets), key=lambda one: one.reference):
        secret.value()


async def find_executors(bus: Bus, names: Iterable[str]) -> dict[str, Executor]:
    """Return the executors of some names, from whichever plugins bring them.

    Raises:
        NoExecutor: No plugin brings one of them.
        TypeError: `bus` is not one, but perhaps the kernel itself.
    """
    from runbus.bus import check_bus  # not for those who only look at runs

    check_bus(bus)
    return {name: await _find_executor(bus, name) for name in sorted(names)}


async def _find_executor(bus: Bus, name: str) -> Executor:
    """Return the executor of a name, from whichever plugin brings it.

    Raises:
        NoExecutor: None does.
    """
    try:
        _, executor = await bus.first(ResolveExecutor(name=name))
    except NoHandler as error:
        raise NoExecutor(name, (), error.asked) from None
    return executor
