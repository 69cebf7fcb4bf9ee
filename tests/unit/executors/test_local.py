from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import anyio
import pytest
from msgspec.structs import replace

from runbus.abc import JobRef, JobSpec, Observation
from runbus.attempt import render_request, wrapper_program
from runbus.executors import LocalExecutor
from runbus.testing._waiting import until


def job_in(folder: Path, *argv: str) -> JobSpec:
    return JobSpec(
        experiment_id="e",
        name="a",
        run_id="e-1",
        executor="local",
        argv=argv,
        cwd=str(folder),
        env={},
        folder=str(folder),
        run_folder=str(folder),
    )


async def end_of(executor: LocalExecutor, job: JobSpec) -> Observation:
    ref = await executor.submit(executor.plan(job))
    with anyio.fail_after(120):
        while (seen := (await executor.observe([ref]))[ref]).phase != "ended":
            await executor.wait_for_change(1)
    return seen


async def test_a_job_that_another_wrapper_runs_already_is_followed_to_its_end(
    tmp_path: Path,
) -> None:
    """As one that a launcher had started when it was killed, and could not tell of any more."""
    os.mkfifo(tmp_path / "go")
    job = job_in(tmp_path, "sh", "-c", "read -r _ <go; exit 7")
    program = wrapper_program()
    assert program is not None
    (tmp_path / "request").write_bytes(render_request(job))
    other = await asyncio.create_subprocess_exec(program, "run", tmp_path, start_new_session=True)
    await until((tmp_path / "pid.json").exists)
    with closing(LocalExecutor()) as executor:
        ref = await executor.submit(executor.plan(job))
        assert await executor.wait_for_change(120)  # the second wrapper has ended
        assert (await executor.observe([ref]))[ref].phase == "running"

        (tmp_path / "go").write_text("\n")
        assert await executor.wait_for_change(120)
        await other.wait()
        assert (await executor.observe([ref]))[ref].exit_code == 7


LAUNCHER = """
import asyncio, sys
from runbus import Command, Job, Kernel, LocalExecutor
from runbus.experiment import ExperimentDraft

async def main():
    program = f"{sys.executable} -c 'x = bytearray(400 << 20)'; true"
    job = Job(name="a", task=Command(("sh", "-c", program)))
    async with Kernel(plugins=[LocalExecutor()]) as kernel:
        (record,) = await ExperimentDraft("p", [job]).run(kernel.bus)
    print(record.max_rss_bytes)

asyncio.run(main())
"""


def test_the_most_memory_that_a_job_had_is_told() -> None:
    """Also of a process that the job started, and that is gone when the job ends.

    Another process launches it: this one has had more, which is not told of either.
    """
    bytearray(600 << 20)
    done = subprocess.run([sys.executable, "-c", LAUNCHER], capture_output=True, timeout=200)

    assert done.stderr == b""
    assert 400 << 20 < int(done.stdout) < 600 << 20


async def test_what_this_process_had_is_not_taken_for_the_job_s(tmp_path: Path) -> None:
    with closing(LocalExecutor()) as executor:
        seen = await end_of(executor, job_in(tmp_path, "true"))

    # The wrapper asks the kernel; this process has had far more.
    assert seen.max_rss_bytes is not None
    assert 0 < seen.max_rss_bytes < 32 << 20


@pytest.fixture
def far_job(tmp_path: Path) -> JobRef:
    """A job that another machine has begun in a folder that both see."""
    record = {"pid": os.getpid(), "start": 1, "boot": "far", "host": "far", "uptime": 1.0}
    (tmp_path / "pid.json").write_text(json.dumps(record) + "\n")
    return JobRef(name="a", folder=str(tmp_path), handle="1")


async def test_of_a_job_on_another_machine_nothing_is_said(far_job: JobRef) -> None:
    with closing(LocalExecutor()) as executor:
        assert await executor.observe([far_job]) == {}


async def test_a_job_on_another_machine_runs_while_its_heart_beats(far_job: JobRef) -> None:
    folder = Path(far_job.folder)
    (folder / "beat").write_text("0.05\n")
    phases = []
    with closing(LocalExecutor()) as executor, anyio.fail_after(120):
        for beat in range(10):
            (folder / "heartbeat").write_text(f"{beat}\n")
            phases.append((await executor.observe([far_job]))[far_job].phase)
        assert set(phases) == {"running"}

        while (await executor.observe([far_job]))[far_job].phase != "gone":
            await executor.wait_for_change(0.01)


async def test_a_heartbeat_is_asked_for_where_it_is_wanted(tmp_path: Path) -> None:
    with closing(LocalExecutor(heartbeat_s=7)) as executor:
        seen = await end_of(
            executor, job_in(tmp_path, "sh", "-c", "until [ -s heartbeat ]; do :; done")
        )

    assert seen.exit_code == 0
    assert float((tmp_path / "heartbeat").read_text()) > 0


async def test_a_grace_of_half_a_second_arrives_as_such(tmp_path: Path) -> None:
    ref = JobRef(name="a", folder=str(tmp_path), handle="1")
    with closing(LocalExecutor()) as executor:
        await executor.cancel([ref], 0.5)
        assert await executor.wait_for_change(120)

    assert float((tmp_path / "cancel").read_text()) == 0.5


@pytest.mark.parametrize(
    ("inherit", "expected"),
    [
        (True, {"PATH", "KEPT", "OTHER", "OWN"}),
        (False, {"PATH", "OWN"}),
        (["KEPT", "SOURCE"], {"KEPT", "OWN"}),
        ([], {"OWN"}),
    ],
    ids=["all", "needed", "named", "none"],
)
async def test_a_job_inherits_what_its_executor_says_and_nobody_s_secret(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    inherit: bool | list[str],
    expected: set[str],
) -> None:
    for name in ("KEPT", "OTHER", "SOURCE", "RUNBUS_SECRET_LEFT", "RUNBUS_ATTEMPT"):
        monkeypatch.setenv(name, "from outside")
    job = replace(job_in(tmp_path, "/usr/bin/env", "-0"), env={"OWN": "1"}, withheld=("SOURCE",))
    with closing(LocalExecutor(env_inherit=inherit)) as executor:
        await end_of(executor, job)

    pairs = (tmp_path / "stdout.log").read_text().split("\0")[:-1]
    seen = dict(pair.split("=", 1) for pair in pairs)
    assert seen.keys() & {"PATH", "KEPT", "OTHER", "OWN", "SOURCE"} == expected
    assert seen["RUNBUS_ATTEMPT"] == str(tmp_path)
    assert not [name for name in seen if name.startswith("RUNBUS_SECRET_")]
