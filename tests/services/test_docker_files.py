"""What a job leaves in its container is kept, and the container goes only after that."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import textwrap
from pathlib import Path

import pytest

import runbus
from runbus import Command, Job, Kernel
from runbus.executors import DockerExecutor
from runbus.experiment import ExperimentDraft, StoredExperiment
from runbus.testing._waiting import until
from runbus.testing.dockerd import IMAGE, Dockerd

pytestmark = pytest.mark.services

SCRIPT = """
mkdir -p out/deep; echo w >a.ckpt; chmod 700 a.ckpt; echo {} >out/deep/m.json
ln -s /etc/passwd l.ckpt; head -c 3000000 /dev/zero >big.ckpt
long=$(printf 'n%.0s' $(seq 120)); echo $long >$long.ckpt
echo mounted >shared/s.ckpt; exit 3
"""
LONG = "n" * 120
PATTERNS = ["*.ckpt", "out/**/*.json", "shared/*", "none"]


def containers(engine: Dockerd, draft: ExperimentDraft) -> list[str]:
    """Return the containers of an experiment's jobs that are there."""
    told = engine.docker("ps", "-aq", "--filter", f"label=runbus.experiment={draft.id}")
    return told.split()


async def removed(engine: Dockerd, draft: ExperimentDraft) -> None:
    """Wait until they are gone, while their executor is at work."""
    # The engine tells the executor, and not this test.
    await until(lambda: not containers(engine, draft))


def job(shared: Path) -> Job:
    shared.mkdir()
    return Job(name="j", task=Command(("sh", "-c", SCRIPT)), artifacts=PATTERNS)


def options(engine: Dockerd, shared: Path) -> dict[str, object]:
    volumes = [*engine.host_volumes, f"{shared}:/tmp/shared"]
    return {
        "container_image": IMAGE,
        "socket": engine.socket,
        "volumes": volumes,
        "network": "none",
        "workdir": "/tmp",
    }


def check(run: runbus.RunRecord) -> None:
    found = {one.name: Path(one.path).read_bytes() for one in run.artifacts()}
    assert found.pop("big.ckpt") == bytes(3_000_000)
    assert found == {
        "a.ckpt": b"w\n",
        "out/deep/m.json": b"{}\n",
        f"{LONG}.ckpt": f"{LONG}\n".encode(),
        "shared/s.ckpt": b"mounted\n",
    }
    assert os.access(run.artifacts("a.ckpt")[0].path, os.X_OK)
    assert len(run.artifacts()) == 5
    assert run.collected[-1].notes == (
        "no file matches 'none' in that folder itself; **/none looks below it, too",
        "'l.ckpt' is left out: it is a symbolic link",
    )


async def test_what_lies_in_the_container_and_in_its_mounts_is_kept(
    engine: Dockerd, tmp_path: Path
) -> None:
    executor = DockerExecutor(**options(engine, tmp_path / "shared"))  # type: ignore[arg-type]

    async with Kernel(plugins=[executor]) as kernel:
        draft = ExperimentDraft("p", [job(tmp_path / "shared")], executor="docker")
        (record,) = await draft.run(kernel.bus)
        await removed(engine, draft)

    assert record.exit_code == 3
    check(runbus.open_run("j"))


LEADER = """
    import os, signal, sys
    import anyio
    from runbus import Kernel
    from runbus.executors import DockerExecutor
    from runbus.experiment import StoredExperiment

    class Dying(DockerExecutor):
        async def files(self, job):
            files = await super().files(job)
            read, reads = files.read, []
            async def dying(*asked):
                reads.append(asked)
                if len(reads) == 2:
                    os.kill(os.getpid(), signal.SIGKILL)
                return await read(*asked)
            files.read = dying
            return files

    async def lead():
        async with Kernel(plugins=[Dying(**eval(sys.argv[2]))]) as kernel:
            await StoredExperiment.open(sys.argv[1]).run(kernel.bus)

    anyio.run(lead)
"""


async def test_the_container_waits_for_who_takes_over_from_a_killed_leader(
    engine: Dockerd, tmp_path: Path
) -> None:
    asked = options(engine, tmp_path / "shared")
    draft = ExperimentDraft("p", [job(tmp_path / "shared")], executor="docker")
    folder = draft.prepare().folder
    leader = [sys.executable, "-c", textwrap.dedent(LEADER), folder, repr(asked)]
    died = await asyncio.create_subprocess_exec(*leader)
    assert await asyncio.wait_for(died.wait(), 120) == -signal.SIGKILL
    assert len(containers(engine, draft)) == 1

    async with Kernel(plugins=[DockerExecutor(**asked)]) as kernel:  # type: ignore[arg-type]
        await StoredExperiment.open(folder).run(kernel.bus)
        await removed(engine, draft)

    check(runbus.open_run("j"))
