"""What `runbus doctor` looks at."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from typing import TYPE_CHECKING, NamedTuple

from runbus._home import Home
from runbus.errors import JournalHeld
from runbus.experiment import job_statuses
from runbus.jobs import WRAPPER, JobStore, observe_folder
from runbus.metrics import BUILD_PROFILE

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Check", "all_checks"]

_LOW_DISK_BYTES = 1 << 30
_CLOCK_STEP_S = 2.0


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


def all_checks() -> Iterator[Check]:
    """Look at everything, one thing at a time."""
    home = Home()
    yield _home_check(home)
    yield _disk_check(home)
    yield _clock_check(home)
    yield _job_check()
    yield from _open_checks(home)
    yield Check(
        "build",
        BUILD_PROFILE == "release",
        BUILD_PROFILE,
        "" if BUILD_PROFILE == "release" else "a debug build logs many times slower",
    )


def _home_check(home: Home) -> Check:
    try:
        os.makedirs(home.path, exist_ok=True)
        with tempfile.TemporaryFile(dir=home.path):
            pass
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        return Check("home", False, f"{home.path}: {reason}", "set RUNBUS_HOME to another folder")
    return Check("home", True, home.path)


def _disk_check(home: Home) -> Check:
    try:
        free = shutil.disk_usage(home.path).free
    except OSError as error:
        return Check("disk", False, (error.strerror or str(error)).lower())
    is_well = free >= _LOW_DISK_BYTES
    advice = "" if is_well else "points and facts are dropped on a full disk: make room"
    return Check("disk", is_well, f"{free / 1e9:.1f} GB free", advice)


def _clock_check(home: Home) -> Check:
    """Compare this machine's clock with the file system's, which may be a server's."""
    try:
        with tempfile.NamedTemporaryFile(dir=home.path) as file:
            ahead = os.stat(file.name).st_mtime - time.time()
    except OSError as error:
        return Check("clock", False, (error.strerror or str(error)).lower())
    is_well = abs(ahead) < _CLOCK_STEP_S
    advice = "" if is_well else "times of jobs on other machines will not compare: synchronise"
    return Check("clock", is_well, f"the file system's is {ahead:+.2f} s from ours", advice)


def _job_check() -> Check:
    """Run a job as an executor would."""
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "request.sh"), "w", encoding="ascii") as file:
            file.write("exit 42\n")
        try:
            subprocess.run(["/bin/sh", WRAPPER, "run", folder], timeout=10, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            return Check("jobs", False, str(error), "jobs need a POSIX shell at /bin/sh")
        seen = observe_folder(folder)
    if seen is None or seen.exit_code != 42:
        return Check("jobs", False, f"a trial job left {seen}", "jobs need a POSIX shell")
    if shutil.which("setsid") is None:
        found = "a trial job ran, but there is no setsid"
        return Check("jobs", False, found, "without setsid a job's children outlive a cancel")
    return Check("jobs", True, "a trial job ran and left its record")


def _open_checks(home: Home) -> Iterator[Check]:
    """Name the experiments with unfinished jobs that nobody leads."""
    for folder in home.open_experiments():
        states = [status.record.state for status in job_statuses(folder)]
        unfinished = sum(not state.is_terminal for state in states)
        if unfinished and not _is_led(folder):
            name = os.path.basename(folder)
            yield Check(
                "unfinished",
                False,
                f"{unfinished} of {len(states)} jobs of {name}, and nobody leads it",
                f"runbus attach {name} goes on with it",
            )


def _is_led(folder: str) -> bool:
    """Whether a process has the experiment in `folder` in its hands."""
    try:
        JobStore(folder).close()
    except JournalHeld:
        return True
    return False
