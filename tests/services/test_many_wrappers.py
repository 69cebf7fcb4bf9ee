"""A thousand wrappers of one machine, all at once."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from runbus.abc import JobSpec
from runbus.attempt import render_request, wrapper_program

pytestmark = pytest.mark.services

JOBS = 1000
WAITS = 'exec 3<"$0"; echo >"$1"; read -r _ <&3; exit "$2"'
"""A job that says when it has begun, and ends when nobody holds the gate open for writing."""


def request_of(folder: Path, *words: str) -> bytes:
    job = JobSpec(
        experiment_id="e", name="a", run_id="e-1", executor="local", argv=words, cwd="/", env={},
        folder=str(folder), run_folder=str(folder),
    )  # fmt: skip
    return render_request(job)


def of_attempts_in(folder: Path) -> Iterator[str]:
    """Yield the processes that belong to an attempt below a folder."""
    mark = b"RUNBUS_ATTEMPT=%s/" % os.fsencode(folder)
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if mark in Path(f"/proc/{pid}/environ").read_bytes():
                yield pid
        except OSError:
            continue


@pytest.mark.timeout(360)
def test_a_thousand_wrappers_at_once_each_record_an_end_and_leave_nothing(tmp_path: Path) -> None:
    program = wrapper_program(tmp_path / "home")
    assert program is not None
    gate, ready = tmp_path / "gate", tmp_path / "ready"
    os.mkfifo(gate)
    os.mkfifo(ready)
    # To read and write, so that nobody waits for the other end.
    held, told = os.open(gate, os.O_RDWR), os.open(ready, os.O_RDWR)
    deadline = time.monotonic() + 300
    wrappers = []
    try:
        for number in range(JOBS):
            folder = tmp_path / str(number)
            folder.mkdir()
            words = ("/bin/sh", "-c", WAITS, str(gate), str(ready), str(number % 7))
            (folder / "request").write_bytes(request_of(folder, *words))
            command = [program, "run", str(folder)]
            wrappers.append(
                subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
            )
        begun = 0
        while begun < JOBS:
            assert time.monotonic() < deadline
            begun += len(os.read(told, JOBS))
    finally:
        os.close(held)
        os.close(told)
        for wrapper in wrappers:
            wrapper.wait(max(1.0, deadline - time.monotonic()))

    for number in range(JOBS):
        record = json.loads((tmp_path / str(number) / "exit.json").read_text())
        assert (record["status"], record["signal"], record["left"]) == (number % 7, None, 0)
    assert list(of_attempts_in(tmp_path)) == []
