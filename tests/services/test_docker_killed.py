"""A process is killed while it submits a container: the job runs once, whichever goes on."""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from runbus import codec
from runbus.abc import JobSpec
from runbus.errors import JobNotStarted
from runbus.executors import DockerExecutor
from runbus.testing.conformance.executor import Harness
from runbus.testing.dockerd import IMAGE, Dockerd, dockerd

pytestmark = pytest.mark.services

ROUNDS = 5
"""So many kills, from before the first request to after the start."""

SUBMITTER = """
import asyncio, sys
from runbus.abc import JobSpec
from runbus.codec import decode_json
from runbus.executors import DockerExecutor

async def main():
    socket, image, *volumes = sys.argv[1:]
    job = decode_json(sys.stdin.buffer.read(), JobSpec)
    executor = DockerExecutor(image, socket=socket, network="none", volumes=volumes)
    async with executor:
        request = executor.plan(job)
        print("ready", flush=True)
        await executor.submit(request)
        await asyncio.sleep(600)

asyncio.run(main())
"""


def submitter(engine: Dockerd, job: JobSpec) -> subprocess.Popen[bytes]:
    child = subprocess.Popen(
        [sys.executable, "-c", SUBMITTER, engine.socket, IMAGE, *engine.host_volumes],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert child.stdin is not None
    child.stdin.write(codec.encode_json(job))
    child.stdin.close()
    return child


async def test_a_job_whose_submitter_is_killed_at_any_moment_runs_once(
    engine: Dockerd, tmp_path: Path
) -> None:
    chance = random.Random(19)

    def make() -> DockerExecutor:
        return DockerExecutor(
            IMAGE, socket=engine.socket, network="none", volumes=engine.host_volumes
        )

    async with Harness(make, str(tmp_path / "here")) as harness:
        for number in range(ROUNDS):
            job = harness.shell("echo ran; sleep 0.2; exit 3")
            child = submitter(engine, job)
            assert child.stdout is not None
            assert await asyncio.to_thread(child.stdout.readline) == b"ready\n"
            await asyncio.sleep(chance.uniform(0, 0.15) + 0.15 * number)
            child.send_signal(signal.SIGKILL)
            child.wait(120)
            child.stdout.close()

            ref = await harness.executor.find(job)
            if ref is None:
                ref = await harness.submit(job)
            ended = await harness.end(ref)

            assert (ended.stdout, ended.seen.exit_code) == (b"ran\n", 3)
            try:
                assert (await harness.submit(job)).handle == ref.handle
            except JobNotStarted:
                pass  # refusing is as good
            assert (await harness.end(ref)).stdout == b"ran\n"


def test_nothing_is_left_of_an_engine_that_was_killed(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("killed")
    with dockerd(folder) as engine:
        volumes = [word for volume in engine.host_volumes for word in ("-v", volume)]
        words = ("run", "-d", "--network=none", *volumes, IMAGE, "sleep", "600")
        container = engine.docker(*words).strip()
        pid = int(engine.docker("inspect", "-f", "{{.State.Pid}}", container))
        shims = processes_of(folder)
        engine.stop(by=signal.SIGKILL)
        assert shims & processes_of(folder)

    assert not processes_of(folder)
    assert not Path(f"/proc/{pid}/exe").exists()


def processes_of(folder: Path) -> set[str]:
    """Return the processes whose command lines name a folder."""
    done = subprocess.run(["pgrep", "-f", str(folder)], capture_output=True, text=True, check=False)
    return {*done.stdout.split()}
