"""The program that the wrapper starts beside a job that lasts, and ends with it."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runbus.abc import JobSpec
from runbus.attempt import observe_folder, render_request

SAMPLES = """#!/bin/sh
cd "${0%/*}"
read -r uptime _ </proc/uptime
trap ': >heard; exit' TERM
env >environment
echo "$uptime $$ $1" >began.new
mv began.new began
while :; do sleep 0.02; done
"""
"""A program that says when it began and what it was given, and whether it was told to end."""

DEAF = SAMPLES.replace("trap '", "trap '' TERM; : '")
"""It has to be killed."""

UNTIL_IT_BEGAN = 'until [ -e "$0" ]; do sleep 0.02; done'

Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def start(program: str, tmp_path: Path) -> Iterator[Start]:
    """Start a job with a sampler beside it; what is left is killed after the test."""
    started: list[tuple[str, subprocess.Popen[bytes]]] = []
    sampler = tmp_path / "samples"
    sampler.write_text(SAMPLES)
    sampler.chmod(0o755)

    def start(script: str, **options: object) -> subprocess.Popen[bytes]:
        spec = {
            "experiment_id": "e",
            "name": "a",
            "run_id": "e-1",
            "executor": "local",
            "argv": ("sh", "-c", script, str(tmp_path / "began")),
            "cwd": str(tmp_path),
            "folder": str(tmp_path),
            "run_folder": str(tmp_path),
        } | options
        spec["env"] = {"RUNBUS_RUN": "/the/run", "TOKEN": "s3cret", **spec.get("env", {})}  # type: ignore[dict-item]
        folder = str(spec["folder"])
        request = render_request(JobSpec(**spec), sampler=str(sampler))  # type: ignore[arg-type]
        Path(folder, "request").write_bytes(request)
        process = subprocess.Popen(
            [program, "run", folder], stdin=subprocess.DEVNULL, start_new_session=True
        )
        started.append((folder, process))
        return process

    yield start
    for folder, process in started:
        subprocess.run([program, "cancel", folder, "0"], check=True, timeout=120)
        process.kill()
        process.wait(120)


def began(folder: Path) -> tuple[float, int, int]:
    """Return when the sampler began, its pid, and the pid that it was given."""
    uptime, own, job = (folder / "began").read_text().split()
    return float(uptime), int(own), int(job)


def test_it_begins_when_the_job_has_lasted_a_second_and_is_told_which_it_is(
    start: Start, tmp_path: Path
) -> None:
    # Before the start: the job's own record may be late.
    before = float(Path("/proc/uptime").read_text().split()[0])
    start(UNTIL_IT_BEGAN).wait(120)
    uptime, _, job = began(tmp_path)
    # The kernel writes hundredths.
    assert uptime - before >= 0.98
    assert job == json.loads((tmp_path / "pid.json").read_text())["pid"]


def test_it_ends_before_the_end_of_the_job_is_on_record_and_is_nothing_that_the_job_left(
    start: Start, tmp_path: Path
) -> None:
    looks = DEAF.replace("sleep 0.02", 'read -r seen <exit.json; echo "[$seen]" >>seen')
    (tmp_path / "samples").write_text(looks)
    start(UNTIL_IT_BEGAN).wait(120)
    # Blank until the job has ended: it looks until it is killed.
    assert {*(tmp_path / "seen").read_text().split()} == {"[]"}
    end = json.loads((tmp_path / "exit.json").read_text())
    assert (end["status"], end.get("left", 0)) == (0, 0)


def test_it_is_told_to_end_before_it_is_killed(start: Start, tmp_path: Path) -> None:
    for number in range(20):
        (folder := tmp_path / str(number)).mkdir()
        start(UNTIL_IT_BEGAN.replace("$0", f"{tmp_path}/began"), folder=str(folder)).wait(120)
        (tmp_path / "began").unlink()
        # A machine that stands still just then does not let it hear.
        if (tmp_path / "heard").exists():
            return
    pytest.fail("it never heard")


def test_one_that_is_killed_is_waited_for_also_where_its_end_takes_a_while(
    start: Start, tmp_path: Path
) -> None:
    """It has ended when all that it started has."""
    (tmp_path / "samples").write_text(DEAF.replace("sleep 0.02", "sleep 1.5"))
    start(UNTIL_IT_BEGAN).wait(120)
    end = json.loads((tmp_path / "exit.json").read_text())
    assert (end["status"], end["left"]) == (0, 0)


def test_it_knows_what_it_needs_of_the_job_s_variables_and_no_secret(
    start: Start, tmp_path: Path
) -> None:
    start(UNTIL_IT_BEGAN, env={"CUDA_VISIBLE_DEVICES": "2"}).wait(120)
    lines = (tmp_path / "environment").read_text().splitlines()
    told = {line.partition("=")[0] for line in lines} - {"PWD", "OLDPWD", "SHLVL", "_"}
    assert told == {"RUNBUS_RUN", "RUNBUS_ATTEMPT", "CUDA_VISIBLE_DEVICES"}
    assert f"RUNBUS_ATTEMPT={tmp_path}" in lines


def test_beside_a_script_with_bootstrap_lines_it_knows_the_run_too(
    start: Start, tmp_path: Path
) -> None:
    (tmp_path / "request.sh").write_text(f"until [ -e {tmp_path}/began ]; do sleep 0.02; done")
    start("", bootstrap=("true",)).wait(120)
    assert "RUNBUS_RUN=/the/run" in (tmp_path / "environment").read_text().splitlines()


def test_it_ends_with_a_wrapper_that_is_killed(start: Start, tmp_path: Path) -> None:
    wrapper = start(f"{UNTIL_IT_BEGAN}; exec sleep 600")
    subprocess.run(["sh", "-c", UNTIL_IT_BEGAN, str(tmp_path / "began")], timeout=120, check=True)
    _, own, _ = began(tmp_path)
    file = os.pidfd_open(own)
    try:
        wrapper.send_signal(signal.SIGKILL)
        assert select.select([file], [], [], 120)[0]
    finally:
        os.close(file)


def test_a_program_that_does_not_hear_is_killed_and_holds_no_record_up(
    start: Start, tmp_path: Path
) -> None:
    (tmp_path / "samples").write_text(DEAF)
    start(UNTIL_IT_BEGAN).wait(120)
    _, own, _ = began(tmp_path)
    assert json.loads((tmp_path / "exit.json").read_text())["status"] == 0
    assert not os.path.exists(f"/proc/{own}")


def test_a_program_that_cannot_be_run_is_nobodys_failure(start: Start, tmp_path: Path) -> None:
    (tmp_path / "samples").write_text("")
    (tmp_path / "samples").chmod(0o644)
    start("sleep 1.2; exit 3").wait(120)
    seen = observe_folder(str(tmp_path))
    assert seen is not None
    assert (seen.exit_code, seen.reason) == (3, "")


def test_what_it_uses_is_not_what_the_job_used(start: Start, tmp_path: Path) -> None:
    held = "head -c 60000000 /dev/zero | tail -c 60000000 | wc -c\necho"
    (tmp_path / "samples").write_text(SAMPLES.replace("echo", held, 1))
    start(UNTIL_IT_BEGAN).wait(120)
    assert json.loads((tmp_path / "exit.json").read_text())["max_rss"] < 30_000_000


def test_no_system_asks_for_no_sampler(tmp_path: Path) -> None:
    job = JobSpec(
        experiment_id="e", name="a", run_id="e-1", executor="local", argv=("true",), cwd="/",
        env={"RUNBUS_SYSTEM": "0"}, folder=str(tmp_path), run_folder=str(tmp_path),
    )  # fmt: skip
    assert b"sampler" not in render_request(job, sampler="/bin/sampler")
