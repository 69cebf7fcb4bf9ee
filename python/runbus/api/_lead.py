"""Leading experiments, following those that others lead, and asking for their end."""

from __future__ import annotations

import asyncio
import logging
import os
from contextlib import asynccontextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
import anyio.to_thread

from runbus._secrets import redacted_text
from runbus.api._executors import executors_of
from runbus.api._plan import prepare
from runbus.api._status import folder_of
from runbus.api._supervise import start_supervisor
from runbus.catalog import job_statuses
from runbus.errors import JournalError, JournalHeld, innermost
from runbus.experiment import StoredExperiment
from runbus.jobs import (
    TAKE_OVER_S,
    CancelRequest,
    ask_to_cancel,
    handed_over_s,
    leader_of,
    read_jobs,
)
from runbus.kernel import Kernel
from runbus.supervisor import Follower

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from contextlib import AbstractAsyncContextManager

    from runbus.abc import Plugin
    from runbus.experiment import ExperimentDraft
    from runbus.jobs import JobRecord

    Watching = Callable[[StoredExperiment], Sequence[Plugin | str]]
    """Returns fresh plugins that watch an experiment, or the names of installed ones."""

    Leading = Callable[[StoredExperiment], AbstractAsyncContextManager[object]]
    """Returns what is entered while this process leads: to cancel it on a signal, say."""

__all__ = [
    "attach",
    "cancel",
    "detach",
    "follow",
    "giving_up",
    "is_over",
    "lead",
    "lead_new",
    "submit",
    "to_its_end",
]

T = TypeVar("T")

logger = logging.getLogger("runbus.api")

_POLL_S = 0.1
_SLOW_START_S = 5.0
"""A supervisor that takes longer to begin is worth a word."""

_CANCELLED = "cancelled before it began"


def _nobody(experiment: StoredExperiment) -> Sequence[Plugin]:
    del experiment
    return ()


def _unattended(experiment: StoredExperiment) -> AbstractAsyncContextManager[object]:
    del experiment
    return nullcontext()


async def submit(
    experiment: ExperimentDraft,
    *,
    watching: Watching = _nobody,
    leading: Leading = _unattended,
    trace: bool = False,
) -> list[JobRecord]:
    """Prepare an experiment and lead it to its end.

    Args:
        experiment: What to run.
        watching: Returns plugins that watch it.
        leading: Returns what is entered while this process leads it.
        trace: Whether the kernel writes its trace into the experiment's folder.

    Returns:
        The records of the jobs, in the order in which they were given. A job that failed raises
        nothing.

    Raises:
        UsageError: A job, or its code, cannot be run as asked; nothing was submitted.
        SecretMissing: A secret cannot be read; nothing was submitted.
        HomeUnusable: The home folder cannot be written.
        LeaseLost: Another process has taken the lead away from this one; jobs continue.
        JournalError: The journal cannot be written; jobs that run already continue by themselves.
    """
    made: list[StoredExperiment] = []
    try:
        await to_its_end(lambda: made.append(prepare(experiment)))
    except asyncio.CancelledError:
        for stored in made:
            await _give_up(stored, _CANCELLED)
        raise
    return await lead_new(made[0], watching=watching, leading=leading, trace=trace)


async def lead_new(
    experiment: StoredExperiment,
    *,
    watching: Watching = _nobody,
    leading: Leading = _unattended,
    trace: bool = False,
) -> list[JobRecord]:
    """Lead an experiment that this process has just prepared, as `lead` does.

    If nothing can be started, because a plugin cannot be set up, say, or this is cancelled before
    that, its jobs end as CANCELLED with that reason: nobody would lead them.

    Raises:
        RunbusError: As `lead` does.
    """
    async with giving_up(experiment):
        return await lead(experiment, watching=watching, leading=leading, trace=trace)
    raise AssertionError


@asynccontextmanager
async def giving_up(experiment: StoredExperiment) -> AsyncIterator[None]:
    """End the jobs that the block was to start, as CANCELLED, if it ends before their intents."""
    try:
        yield
    except JournalError:
        raise
    except asyncio.CancelledError:
        await _give_up(experiment, _CANCELLED)
        raise
    except Exception as error:
        why = innermost(error)
        reason = f"it could not be started: {type(why).__name__}: {why}"
        await _give_up(experiment, redacted_text(reason))
        raise


async def _give_up(experiment: StoredExperiment, reason: str) -> None:
    with suppress(JournalError):  # another process leads it, and begins its jobs
        await to_its_end(experiment.give_up, reason)


async def to_its_end(work: Callable[..., T], *args: Any) -> T:
    """Call what blocks in a thread, and wait for its end also if this is cancelled meanwhile.

    The thread goes on in any case. What it has recorded can be given up only after that; given up
    before, it would be left to nobody.
    """
    calling = asyncio.create_task(anyio.to_thread.run_sync(work, *args), name="records")
    cancelled: asyncio.CancelledError | None = None
    # No scope reaches into this, but the task itself may be cancelled, even twice.
    with anyio.CancelScope(shield=True):
        while not calling.done():
            try:
                await asyncio.wait([calling])
            except asyncio.CancelledError as error:
                cancelled = error
    if cancelled is not None:
        calling.exception()  # it is not missed: the cancellation says what to do
        raise cancelled
    return calling.result()


async def lead(
    experiment: StoredExperiment,
    *,
    only: str | None = None,
    watching: Watching = _nobody,
    leading: Leading = _unattended,
    trace: bool = False,
    with_plugins: bool = True,
) -> list[JobRecord]:
    """Lead an experiment that no process leads to its end, with a kernel of its own.

    Cancelling this ends the jobs (TERM, then KILL after 10 s) before it is cancelled itself.

    Args:
        experiment: The experiment.
        only: The name of the one job to lead; all if None.
        watching: Returns plugins that watch it.
        leading: Returns what is entered first: from then on jobs may run.
        trace: Whether the kernel writes its trace into the experiment's folder.
        with_plugins: Whether to load the installed plugins that the experiment names.

    Returns:
        The records of those jobs, in the order in which they were given.

    Raises:
        JournalHeld: Another process leads it.
        LeaseLost: Another process has taken the lead away from this one; jobs continue.
        JournalError: The journal cannot be written; jobs that run already continue by themselves.
        SecretMissing: A job that is still to be submitted needs a secret that cannot be read.
        PluginNotFound: A plugin that the experiment names is not installed.
        PluginNotLoadable: It cannot be imported or made.
    """
    async with leading(experiment):
        plugins = [*executors_of(experiment.executors).values(), *watching(experiment)]
        if with_plugins and experiment.plugins:
            # Costs what most experiments need not pay.
            from runbus.plugins import made_plugins, with_settings

            known = [getattr(one, "name", one) for one in plugins]
            made = made_plugins(one for one in experiment.plugins if one not in known)
            wanted = [one for one in made if getattr(one, "name", one) not in known]
            plugins += [with_settings(one, experiment.settings) for one in wanted]
        path = os.path.join(experiment.folder, "trace.jsonl") if trace else None
        async with Kernel(plugins=plugins, trace=path, contain_exits=True) as kernel:
            records = await experiment.run(kernel.bus, only=only)
    return records


async def follow(experiment: StoredExperiment, *, watching: Watching) -> None:
    """Watch what another process does with an experiment, until all is over or no process leads it.

    Changes nothing. Cancelling it is harmless.
    """
    async with Kernel(plugins=watching(experiment)) as kernel:
        await Follower(kernel.bus, experiment.folder, experiment.specs).run()


async def attach(
    folder: str,
    *,
    watching: Watching = _nobody,
    leading: Leading = _unattended,
    trace: bool = False,
) -> list[JobRecord]:
    """Lead the experiment in `folder` to its end, or follow its leader and take over if it dies.

    A leader of which nothing was heard for a minute is replaced, too. An experiment that was left
    to a supervisor a moment ago is not led here: who detached it and attaches to it only watches.

    Args:
        folder: The experiment's folder, or what `find_experiment` takes: its id or a part of it, a
            project (the newest of it), or "latest".
        watching: Returns plugins that watch it; called again after each take-over.
        leading: Returns what is entered while this process leads it, and only then.
        trace: Whether the kernel that leads writes its trace into the experiment's folder.

    Returns:
        The records of the jobs, in the order in which they were given.

    Raises:
        ExperimentNotFound: There is no experiment of that name or folder.
        AmbiguousId: It is a part of several ids.
        LeaseLost: Another process has taken the lead away from this one; jobs continue.
        JournalError: The journal cannot be written; jobs that run already continue by themselves.
    """
    folder = folder_of(folder)
    is_slow = False
    while True:
        experiment = StoredExperiment.open(folder)
        leader = leader_of(folder)
        if leader is not None and not leader.can_be_replaced:
            await follow(experiment, watching=watching)
            records = [status.record for status in job_statuses(folder)]
            if records and all(record.state.is_terminal for record in records):
                return records
            leader = leader_of(folder)
        if leader is None and (handed_s := handed_over_s(folder)) is not None:
            if handed_s >= _SLOW_START_S and not is_slow:
                is_slow = True
                after = f"its jobs are led here after {TAKE_OVER_S:.0f} s"
                logger.warning("the supervisor of %s has not begun: %s", experiment.id, after)
            await anyio.sleep(_POLL_S)
            continue
        try:
            return await lead(experiment, watching=watching, leading=leading, trace=trace)
        except JournalHeld:
            await anyio.sleep(_POLL_S)


async def detach(
    experiment: StoredExperiment, recorded: Callable[[], object] = lambda: None
) -> list[JobRecord]:
    """Record the intent of every job for good and leave them to the supervisor of the home.

    Args:
        experiment: The experiment.
        recorded: Called in between: a request that it leaves is there before a new supervisor is.

    Returns:
        The records of the jobs, in the order in which they were given.

    Raises:
        JournalError: The journal cannot be written, or another process leads the experiment.
    """
    records = await _intended(experiment)
    recorded()
    start_supervisor(experiment)
    return records


async def _intended(experiment: StoredExperiment) -> list[JobRecord]:
    """Return the records of the jobs once the intent of each is on record.

    A supervisor that was there already may have taken the experiment up before this process came
    to it: then it records them, or finds that it cannot lead it and leaves it to this process.

    Raises:
        JournalHeld: It has not come to that within the time in which a leader is taken for dead.
    """
    with anyio.move_on_after(TAKE_OVER_S):
        while True:
            with suppress(JournalHeld):
                return await to_its_end(experiment.intend)
            known = await anyio.to_thread.run_sync(read_jobs, experiment.folder)
            if all(spec.name in known for spec in experiment.specs):
                return [known[spec.name] for spec in experiment.specs]
            await anyio.sleep(_POLL_S)
    return await to_its_end(experiment.intend)


async def cancel(folder: str, job: str | None, reason: str, grace_s: float) -> bool:
    """End a job through whichever process leads it, or here if none does, and wait for the end.

    A leader of which nothing was heard for a minute does not lead; until then it is waited for.

    Args:
        folder: The experiment's folder, or what `find_experiment` takes.
        job: The job's name; None for all jobs.
        reason: Who asks, and why.
        grace_s: Seconds between TERM and KILL; 0 kills at once.

    Returns:
        Whether there was anything to end.

    Raises:
        ExperimentNotFound: There is no experiment of that name or folder.
        AmbiguousId: It is a part of several ids.
        JournalError: The journal cannot be written.
    """
    folder = folder_of(folder)
    if is_over(folder, job):
        return False
    ask_to_cancel(folder, CancelRequest(job, reason, grace_s))
    is_silent = False
    while not is_over(folder, job):
        try:
            # The end of a job must not wait for a plugin that cannot be loaded.
            await lead(StoredExperiment.open(folder), only=job, with_plugins=False)
        except JournalHeld:
            # Its leader will act; if it dies, or stands still for long, the next round leads.
            leader = leader_of(folder)
            if leader is not None and leader.is_silent and not is_silent:
                is_silent = True
                after = f"it is replaced after {TAKE_OVER_S:.0f} s"
                logger.warning("%s is %s: %s", os.path.basename(folder), leader, after)
            await anyio.sleep(_POLL_S)
    return True


def is_over(folder: str, job: str | None = None) -> bool:
    """Whether a job of an experiment, or all of it, has ended. Blocks."""
    records = [one.record for one in job_statuses(folder) if job in (None, one.record.name)]
    return bool(records) and all(record.state.is_terminal for record in records)
