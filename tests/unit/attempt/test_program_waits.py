"""The wrapper program where its user may have no more processes: it waits, and can be ended."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runbus.abc import JobSpec
from runbus.attempt import render_request
from runbus.testing._waiting import wait_until

STRANGER = 20_000 + os.getpid() % 40_000
"""A user of whom nothing runs, so that a limit on its processes is one on those of the test.

Another process that runs such tests has another one: the system counts all that a user has.
"""

ENOUGH = 100


@pytest.fixture
def folder() -> Iterator[Path]:
    """The folder of an attempt that is the stranger's, in a place that it can reach."""
    if os.getuid() != 0:
        pytest.skip("needs root, to become a user of whom nothing runs")
    made = Path(tempfile.mkdtemp())
    os.chown(made, STRANGER, STRANGER)
    yield made
    shutil.rmtree(made)


@pytest.fixture
def waiting(program: str, folder: Path) -> Iterator[Callable[[int], subprocess.Popen[bytes]]]:
    """Start a wrapper whose user may have so many processes, and return once it waits for more."""
    started: list[subprocess.Popen[bytes]] = []
    shutil.copy(program, folder / "program")
    os.chown(folder / "program", STRANGER, STRANGER)

    def waiting(most: int) -> subprocess.Popen[bytes]:
        wrapper = start(folder, most, "echo", "ran")
        started.append(wrapper)
        wait_until(lambda: (folder / "stderr.log").exists() and sleeps(wrapper.pid))
        return wrapper

    yield waiting
    for wrapper in started:
        wrapper.kill()
        wrapper.wait(120)


def start(folder: Path, most: int, *argv: str) -> subprocess.Popen[bytes]:
    """Start a wrapper whose user may have so many processes."""
    job = JobSpec(
        experiment_id="e", name="a", run_id="e-1", executor="local", argv=argv, cwd="/", env={},
        folder=str(folder), run_folder=str(folder),
    )  # fmt: skip
    (folder / "request").write_bytes(render_request(job))
    os.chown(folder / "request", STRANGER, STRANGER)
    return subprocess.Popen(
        [folder / "program", "run", folder], stdin=subprocess.DEVNULL, user=STRANGER,
        group=STRANGER, extra_groups=[], start_new_session=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NPROC, (most, ENOUGH)),
    )  # fmt: skip


def sleeps(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"


def test_a_job_waits_until_there_is_room_for_its_process(waiting, folder: Path) -> None:
    wrapper = waiting(1)

    raised = ["prlimit", "--pid", str(wrapper.pid), f"--nproc={ENOUGH}"]
    subprocess.run(raised, check=True, user=STRANGER, group=STRANGER, extra_groups=[])
    wrapper.wait(120)

    assert json.loads((folder / "exit.json").read_text())["status"] == 0
    assert (folder / "stdout.log").read_text() == "ran\n"


@pytest.mark.parametrize(
    ("by", "reason"),
    [("cancel", "cancelled"), ("TERM", "its wrapper was told to end (SIGTERM)")],
)
def test_a_job_that_waits_for_room_can_be_ended(
    waiting, folder: Path, program: str, by: str, reason: str
) -> None:
    wrapper = waiting(1)

    if by == "TERM":
        wrapper.terminate()
    else:
        subprocess.run([program, "cancel", str(folder), "0"], check=True, timeout=120)
    wrapper.wait(120)

    record = json.loads((folder / "exit.json").read_text())
    assert (record["signal"], record["reason"]) == (signal.SIGTERM, reason)
    assert (folder / "stdout.log").read_bytes() == b""


def test_where_there_is_no_room_for_a_second_process_the_wrapper_keeps_what_a_job_prints(
    program: str, folder: Path
) -> None:
    shutil.copy(program, folder / "program")
    os.chown(folder / "program", STRANGER, STRANGER)

    with start(
        folder, 2, "sh", "-c", "echo first; exec sh -c 'echo second; exec sleep 0.2'"
    ) as wrapper:
        wrapper.wait(120)

    assert json.loads((folder / "exit.json").read_text())["status"] == 0
    assert (folder / "stdout.log").read_text() == "first\nsecond\n"
