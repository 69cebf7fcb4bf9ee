"""Standard error that nobody reads: the jobs do not wait for it."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from runbus._home import Home
from runbus.jobs import JobRecord, JobState, read_jobs
from runbus.testing._waiting import wait_until

RUNBUS = os.path.join(os.path.dirname(sys.executable), "runbus")

LOUD = {"name": "loud", "command": ["sh", "-c", "seq 20000; echo done >&2"]}
"""More than a pipe or a terminal takes when nobody reads it."""


def jobs() -> dict[str, JobRecord]:
    return {
        name: job for one in Home().experiment_folders() for name, job in read_jobs(one).items()
    }


def state(name: str) -> JobState | None:
    job = jobs().get(name)
    return job.state if job else None


@contextmanager
def unread(kind: str) -> Iterator[tuple[int, int]]:
    """Yield the end that nobody reads, and the other: a pipe, or a terminal held by Ctrl-S."""
    read, write = os.pipe() if kind == "pipe" else pty.openpty()
    if kind == "terminal":
        termios.tcflow(write, termios.TCOOFF)
    try:
        yield read, write
    finally:
        os.close(read)
        os.close(write)


@contextmanager
def submitted(
    tmp_path: Path, error: int, *batch: dict[str, Any]
) -> Iterator[subprocess.Popen[bytes]]:
    path = tmp_path / "batch.json"
    path.write_text(json.dumps({"project": "p", "jobs": [LOUD, *batch], "max_parallel": 1}))
    with subprocess.Popen(
        [RUNBUS, "submit", str(path)], stdout=subprocess.PIPE, stderr=error
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("kind", ["pipe", "terminal"])
def test_jobs_go_on_time_limits_hold_and_the_result_is_there_for_who_comes_back(
    kind: str, tmp_path: Path
) -> None:
    limited = {"name": "limited", "command": ["sleep", "600"], "timeout": 1}
    with unread(kind) as (read, write), submitted(tmp_path, write, limited) as leader:
        wait_until(lambda: state("limited") is JobState.TIMEOUT)
        assert state("loud") is JobState.SUCCEEDED
        assert leader.poll() is None
        if kind == "terminal":
            termios.tcflow(write, termios.TCOON)
        shown = b""
        while b"everything is in" not in shown:
            shown += os.read(read, 1 << 16)
        assert leader.stdout is not None
        assert b"TIMEOUT" in leader.stdout.read()
        assert leader.wait(120) == 1


def test_cancel_ends_jobs_whose_output_nobody_reads(tmp_path: Path) -> None:
    slow = {"name": "slow", "command": ["sleep", "600"]}
    with unread("pipe") as (_, write), submitted(tmp_path, write, slow):
        wait_until(lambda: state("slow") is JobState.RUNNING)
        done = subprocess.run([RUNBUS, "cancel", "latest"], timeout=120, check=False)

        assert done.returncode == 0
        # It has ended, which its leader notes once it comes to it.
        wait_until(lambda: state("slow") is JobState.CANCELLED)


def test_a_signal_ends_a_process_whose_output_nobody_reads(tmp_path: Path) -> None:
    with unread("pipe") as (_, write), submitted(tmp_path, write) as leader:
        wait_until(lambda: state("loud") is JobState.SUCCEEDED)
        leader.send_signal(signal.SIGTERM)
        assert leader.wait(120) != 0
