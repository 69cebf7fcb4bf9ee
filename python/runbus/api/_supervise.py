"""The supervisor of a home: leads experiments that were left to it, then goes."""

from __future__ import annotations

import fcntl
import os
import sys
import time
from contextlib import suppress

import anyio

from runbus._home import Home
from runbus._secrets import redacted_text
from runbus.api._fleet import Fleet
from runbus.errors import (
    ExperimentNotFound,
    HomeUnusable,
    JournalHeld,
    SecretMissing,
    innermost,
    os_reason,
)
from runbus.executors import LocalExecutor
from runbus.experiment import StoredExperiment
from runbus.jobs import TAKE_OVER_S, note_unled
from runbus.kernel import Kernel

__all__ = ["start_supervisor", "supervise"]

_LOOK_S = 0.25
_IDLE_LOOKS = 4

_LONG_LOG = 1 << 20


def start_supervisor(experiment: StoredExperiment) -> None:
    """Start the supervisor of the default home, unless there is one, out of this process' reach.

    If there is one, it may not have the variables that the experiment's secrets are in, and it runs
    in another folder than its plugins expect, so the process that is started here leads such an
    experiment all the same.
    """
    places = {place for spec in experiment.specs for place in spec.secrets.values()}
    is_own = experiment.plugins or any(place.startswith("env:") for place in places)
    own = (experiment.folder,) if is_own else ()
    log = _open_log(os.path.join(Home().path, "supervisor.log"))
    try:
        os.posix_spawn(
            sys.executable,
            (sys.executable, "-m", "runbus.cli", "supervise", *own),
            os.environ,
            file_actions=(
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, log, 1),
                (os.POSIX_SPAWN_DUP2, log, 2),
            ),
            setsid=True,
        )
    finally:
        os.close(log)


def _open_log(path: str) -> int:
    """Open the log of supervisors, of which at most two files are kept, of about 1 MiB."""
    with suppress(OSError):  # there is none yet; or it is written on, which is no matter
        if os.stat(path).st_size > _LONG_LOG:
            os.replace(path, f"{path}.old")
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


async def supervise(own: str | None = None) -> None:
    """Lead open experiments until there are none; returns at once if another supervisor is there.

    A process that leaves work behind notes it first and then starts a supervisor. So this one
    looks once more after it has given up its lease: what was noted meanwhile is not forgotten.

    An experiment whose secrets cannot be read here, that names plugins, or that cannot be led, is
    left to others.

    Args:
        own: The folder of an experiment to lead also if another supervisor is there.
    """
    home = Home()
    not_ours: set[str] = set()
    while not not_ours.issuperset(home.open_experiments()):
        lease = _take_lease(home)
        if lease is None:
            if own is not None:
                await _lead_own(own, home)
            return
        try:
            await _lead_all(home, not_ours, own)
        finally:
            os.close(lease)


def _take_lease(home: Home) -> int | None:
    """Return the held lease; it falls back when this process ends, however that happens."""
    path = os.path.join(home.path, "supervisor.lock")
    try:
        lease = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise HomeUnusable(home.path, os_reason(error)) from None
    try:
        fcntl.flock(lease, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lease)
        return None
    return lease


async def _lead_all(home: Home, not_ours: set[str], own: str | None) -> None:
    led: set[str] = set()
    idle = 0
    async with Kernel(plugins=[LocalExecutor()]) as kernel, anyio.create_task_group() as leaders:
        fleet = Fleet(kernel)
        known: list[str] = []
        while idle < _IDLE_LOOKS:
            # The notes are read only if there are others than before, or some are led by nobody.
            noted = home.open_notes()
            is_same = noted == known and len(noted) == len(led | not_ours)
            known = noted
            for folder in () if is_same else home.open_experiments():
                if _is_being_prepared(folder):
                    idle = -1
                elif folder not in led | not_ours:
                    led.add(folder)
                    leaders.start_soon(
                        _lead, folder, home, fleet, led, not_ours, own, name=f"lead {folder}"
                    )
            idle = 0 if led else idle + 1
            await anyio.sleep(_LOOK_S)


def _is_being_prepared(folder: str) -> bool:
    """Whether an experiment was recorded within a minute, by a process that is about to lead it.

    Until then there is no leader that could have been silent for so long.
    """
    if os.path.lexists(os.path.join(folder, "events.journal")):
        return False
    try:
        age_s = time.time() - os.stat(os.path.join(folder, "experiment.json")).st_mtime
    except OSError:
        return False
    return 0 <= age_s < TAKE_OVER_S


async def _lead_own(folder: str, home: Home) -> None:
    """Lead one experiment to its end, as soon as nobody else does."""
    not_ours: set[str] = set()
    async with Kernel(plugins=[LocalExecutor()]) as kernel:
        while folder in home.open_experiments() and folder not in not_ours:
            await _lead(folder, home, Fleet(kernel), set(), not_ours, folder)


async def _lead(
    folder: str, home: Home, fleet: Fleet, led: set[str], not_ours: set[str], own: str | None
) -> None:
    try:
        experiment = StoredExperiment.open(folder, home=home)
        if not experiment.plugins:
            await fleet.lead(experiment)
        elif folder == own:
            from runbus.plugins import made_plugins, with_settings

            made = made_plugins(experiment.plugins)
            plugins = [with_settings(one, experiment.settings) for one in made]
            # A kernel of its own: its plugins see what it does, and nothing of others.
            watched = Kernel(plugins=[LocalExecutor(), *plugins], contain_exits=True)
            async with watched as kernel:
                await Fleet(kernel).lead(experiment)
        else:
            not_ours.add(folder)
    except JournalHeld:
        # Somebody else leads it. If they die before its end, a later look finds it again.
        await anyio.sleep(_LOOK_S)
    except SecretMissing as error:
        sys.stderr.write(f"{folder} is left to others: {error}\n")
        not_ours.add(folder)
    except ExperimentNotFound:
        home.note_closed(folder)
    except Exception as error:
        # It must not take the others along, whose jobs would be cancelled.
        reason = innermost(error)
        told = redacted_text(f"{type(reason).__name__}: {reason}")
        sys.stderr.write(f"{folder} is left to others: {told}\n")
        with suppress(OSError):  # on a full disk the log has it, perhaps
            note_unled(folder, told)
        not_ours.add(folder)
    finally:
        led.discard(folder)
