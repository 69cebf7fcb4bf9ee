"""What `runbus doctor` looks at."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import tempfile
import time
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, NamedTuple

from runbus.attempt import WRAPPER, observe_folder
from runbus.catalog import job_statuses, survey
from runbus.config import ExecutorNames, default_plugins, format_size, list_executors
from runbus.errors import ExperimentNotFound, FileUnreadable, JournalError, RunbusError, os_reason
from runbus.executors import LocalExecutor
from runbus.jobs import TAKE_OVER_S, Asked, JobState, is_left, leader_of
from runbus.metrics import BUILD_PROFILE, __version__

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runbus._home import Home
    from runbus.catalog import RunRow

__all__ = ["Check", "ahead_s", "all_checks", "clock_check", "space_check"]

_SMALL_BYTES = 16 << 10
_SEALING = "runbus seal --all packs what was logged value by value to a fifth; arrays less"
_LOW_DISK_BYTES = 1 << 30
_CLOCK_STEP_S = 2.0


_MANY_BYTES = 100 << 20
"""So much that nothing in a home needs is worth a word."""


class Check(NamedTuple):
    """Something that was looked at.

    Attributes:
        title: What.
        is_well: Whether it is as it should be.
        found: What was seen.
        advice: What to do; empty if there is nothing to do.
    """

    title: str
    is_well: bool
    found: str
    advice: str = ""


def all_checks(home: Home) -> Iterator[Check]:
    """Look at everything on this machine, one thing at a time."""
    yield _version_check()
    yield _home_check(home)
    yield _disk_check(home)
    yield from _settings_checks(home)
    yield from _journal_checks(home)
    yield _file_clock_check(home)
    yield _job_check()
    yield _gpu_check()
    yield from _experiment_checks(home)


def _home_check(home: Home) -> Check:
    try:
        os.makedirs(home.path, exist_ok=True)
        with tempfile.TemporaryFile(dir=home.path):
            pass
    except OSError as error:
        reason = os_reason(error)
        return Check("home", False, f"{home.path}: {reason}", "set RUNBUS_HOME to another folder")
    from runbus.catalog import leftovers

    size = sum(one.size for one in leftovers(home))
    told = f", with {format_size(size)} that runbus gc can remove" if size >= _MANY_BYTES else ""
    return Check("home", True, f"{home.path}{told}")


def _settings_checks(home: Home) -> Iterator[Check]:
    """Read the files that describe executors and plugins, as each command does that needs them."""
    told: dict[str, None] = {}
    try:
        listed, problems = list_executors(ExecutorNames(home=home.path))
        wrong = [*problems, *(problem for one in listed for problem in one.problems)]
        told = dict.fromkeys(map(str, wrong))
        default_plugins("")
    except RunbusError as error:
        told[str(error)] = None
    for text in told:
        yield Check("settings", False, text, "runbus executors shows what is read from them")
    if not told:
        yield Check("settings", True, "runbus.yaml and executors.yaml can be read")


def _disk_check(home: Home) -> Check:
    try:
        free = shutil.disk_usage(home.path).free
    except OSError as error:
        return Check("disk", False, os_reason(error))
    return space_check("disk", free)


def space_check(title: str, free: int) -> Check:
    """Judge how many bytes are free on a disk."""
    is_well = free >= _LOW_DISK_BYTES
    advice = "" if is_well else "points and facts are dropped on a full disk: make room"
    return Check(title, is_well, f"{free / 1e9:.1f} GB free", advice)


def _journal_checks(home: Home) -> Iterator[Check]:
    """Say what sealing would give back; a small segment takes as much as its journal."""
    rows = survey(home=home)
    for row in rows:
        if row.problem:
            yield Check(f"run {row.id}", False, row.problem, _advice(row))
        for path, reason in (row.run.unreadable() if row.run else {}).items():
            advice = "restore it from a copy, or move it away: what lies beside it is read"
            yield Check(f"run {row.id}", False, f"{path}: {reason}", advice)
    sizes = [row.run.journal_bytes() for row in rows if row.run and _is_over(row)]
    if unsealed := [size for size in sizes if size > _SMALL_BYTES]:
        found = f"those of {len(unsealed)} finished runs take {format_size(sum(unsealed))}"
        yield Check("journals", True, found, _SEALING)


def _is_over(row: RunRow) -> bool:
    return row.state in JobState.__members__ and JobState(row.state).is_terminal


def _advice(row: RunRow) -> str:
    """Say what to do about a run that cannot be read."""
    if "permission denied" in row.problem:
        return "ask its owner, or let the group read it: see RUNBUS_SHARED in the docs"
    return f"restore it from a copy, or move {row.folder} out of the home"


def _file_clock_check(home: Home) -> Check:
    """Compare this machine's clock with the file system's, which may be a server's."""
    asked_s = time.time()
    try:
        with tempfile.NamedTemporaryFile(dir=home.path) as file:
            theirs_s = os.stat(file.name).st_mtime
    except OSError as error:
        return Check("clock", False, os_reason(error))
    return clock_check("clock", ahead_s(theirs_s, asked_s, time.time()), "the file system's")


def ahead_s(theirs_s: float, asked_s: float, answered_s: float, *, tick_s: float = 0.0) -> float:
    """Return how far another clock is ahead of ours at least; negative if it is behind.

    Args:
        theirs_s: What it showed when it was asked.
        asked_s: When that was by our clock.
        answered_s: When it had been answered: busy machines take seconds for it.
        tick_s: How much later than what it shows it may have been.
    """
    return max(theirs_s - answered_s, 0.0) or min(theirs_s + tick_s - asked_s, 0.0)


def clock_check(title: str, ahead: float, whose: str) -> Check:
    """Judge how far another clock is ahead of ours, in seconds."""
    is_well = abs(ahead) < _CLOCK_STEP_S
    advice = "" if is_well else "times of jobs on other machines will not compare: synchronize"
    return Check(title, is_well, f"{whose} is {round(ahead, 1) + 0.0:+.1f} s from ours", advice)


def _version_check() -> Check:
    """Compare what is installed with what its core was built from."""
    python = f"Python {platform.python_version()}"
    try:
        installed = version("runbus")
    except PackageNotFoundError:
        installed = "not installed"
    if installed != __version__:
        found = f"runbus is {installed}, but its core {__version__}"
        return Check("versions", False, found, "install it anew: two versions are mixed")
    found = f"runbus {installed}, a {BUILD_PROFILE} build, {python}"
    if BUILD_PROFILE != "release":
        return Check("versions", False, found, "a debug build logs many times slower")
    return Check("versions", True, found)


def _gpu_check() -> Check:
    """Say what the executor of this machine has to lend."""
    gpus = LocalExecutor().gpus
    processors = len(os.sched_getaffinity(0))
    lent = f"GPUs {', '.join(gpus)}" if gpus else "no GPUs"
    return Check("executor local", True, f"{processors} processors, {lent}")


def _job_check() -> Check:
    """Run a job as an executor would."""
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "request.sh"), "w", encoding="ascii") as file:
            file.write("exit 42\n")
        try:
            subprocess.run(["/bin/sh", WRAPPER, "run", folder], timeout=30, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            return Check("jobs", False, str(error), "jobs need a POSIX shell at /bin/sh")
        seen = observe_folder(folder)
    if seen is None or seen.exit_code != 42:
        return Check("jobs", False, f"a trial job left {seen}", "jobs need a POSIX shell")
    if shutil.which("setsid") is None:
        found = "a trial job ran, but there is no setsid"
        return Check("jobs", False, found, "without setsid a job's children outlive a cancel")
    return Check("jobs", True, "a trial job ran and left its record")


def _experiment_checks(home: Home) -> Iterator[Check]:
    """Name the batches whose description is damaged, and those that no process leads."""
    is_open = set(home.open_experiments())
    for folder in home.experiment_folders(problems={}):
        if not os.path.isdir(os.path.join(folder, "jobs")):
            continue  # a run that no batch made
        if found := _damage(folder):
            advice = "restore it from a copy: without it nothing can be continued or tried again"
            yield Check(f"experiment {os.path.basename(folder)}", False, found, advice)
        elif folder in is_open:
            yield from _open_checks(folder)


def _damage(folder: str) -> str:
    """Return what is wrong with the description of an experiment; empty if nothing is."""
    try:
        Asked.read(folder)
    except ExperimentNotFound:
        return f"{folder}/experiment.json is missing"
    except FileUnreadable as error:
        return str(error)
    return ""


def _open_checks(folder: str) -> Iterator[Check]:
    """Say if an experiment has unfinished jobs, and nothing is heard of a leader."""
    name = os.path.basename(folder)
    try:
        nobody, leader = is_left(folder), leader_of(folder)  # before where the jobs stand
        states = [status.record.state for status in job_statuses(folder)]
        unfinished = sum(not state.is_terminal for state in states)
    except (FileUnreadable, JournalError) as error:
        yield Check(f"experiment {name}", False, str(error), f"move {folder} out of the home")
        return
    if unfinished and leader is not None and leader.is_silent:
        again = f"kill -CONT {leader.pid} lets it continue; " if leader.is_stopped else ""
        advice = f"{again}runbus attach leads on after {TAKE_OVER_S:.0f} s of silence"
        yield Check(f"experiment {name}", False, str(leader), advice)
    elif unfinished and nobody:
        yield Check(
            "unfinished",
            False,
            f"{unfinished} of {len(states)} jobs of {name}, and no process leads it",
            f"runbus attach {name} continues with it",
        )
