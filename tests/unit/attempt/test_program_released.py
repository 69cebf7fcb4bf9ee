"""A job that is ended while its wrapper program has not yet let it begin."""

from __future__ import annotations

import os
import select
import signal
import subprocess
from pathlib import Path

import pytest

from runbus.abc import JobSpec
from runbus.attempt import observe_folder, render_request
from runbus.testing._waiting import wait_until


def child_of(pid: int) -> int:
    """Wait until a process has a child that leads a session of its own; return it."""
    children = Path(f"/proc/{pid}/task/{pid}/children")

    def leaders() -> list[int]:
        pids = map(int, children.read_text().split())
        return [pid for pid in pids if os.getsid(pid) == pid]

    return wait_until(leaders)[0]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_job_that_is_ended_before_it_is_released_has_a_record_of_its_end(
    program: str, tmp_path: Path, number: signal.Signals
) -> None:
    job = JobSpec(
        experiment_id="e", name="a", run_id="e-1", executor="local", argv=("true",), env={},
        cwd=str(tmp_path), folder=str(tmp_path), run_folder=str(tmp_path),
    )  # fmt: skip
    (tmp_path / "request").write_bytes(render_request(job))
    # Nobody reads it: the wrapper waits before it has recorded who runs.
    os.mkfifo(tmp_path / "pid.json")
    wrapper = subprocess.Popen([program, "run", str(tmp_path)], start_new_session=True)
    try:
        child = child_of(wrapper.pid)
        ended = os.pidfd_open(child)
        os.kill(child, number)
        assert select.select([ended], [], [], 120)[0]
        os.close(ended)
        with open(tmp_path / "pid.json", "rb") as record:
            record.read()
        wrapper.wait(120)
    finally:
        wrapper.kill()
        wrapper.wait(120)
    os.unlink(tmp_path / "pid.json")

    assert wrapper.returncode == 0
    seen = observe_folder(str(tmp_path))
    assert seen is not None
    assert (seen.phase, seen.signal) == ("ended", number)
