"""An engine that goes away in all its ways, under experiments: no job runs twice, no end is wrong.

`RUNBUS_ROUNDS=30 RUNBUS_SEED=7 pytest tests/services/test_docker_rounds.py` for more of the same.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from runbus.errors import JobNotStarted
from runbus.executors import DockerExecutor
from runbus.packaging import DockerImagePackager, build_package
from runbus.testing.conformance.executor import Harness
from runbus.testing.dockerd import HOST_VOLUMES, IMAGE, Dockerd, dockerd

from .rounds import ROUNDS, Round, chance_of

pytestmark = pytest.mark.services


@pytest.fixture
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose path is short, as those of sockets must be."""
    return tmp_path_factory.mktemp("e")


async def test_jobs_end_with_an_engine_that_takes_its_containers_along(
    short: Path, tmp_path: Path
) -> None:
    with dockerd(short, outlived=False) as engine:

        def make() -> DockerExecutor:
            return DockerExecutor(
                IMAGE, socket=engine.socket, network="none", volumes=HOST_VOLUMES,
                # The polite one must have the time to end, on a machine that is busy, too.
                engine_options={"StopTimeout": 5},
            )  # fmt: skip

        async with Harness(make, str(tmp_path / "here")) as harness:
            deaf = harness.shell("trap '' TERM; echo up; while :; do sleep 0.1; done")
            polite = harness.shell(
                "trap 'echo asked; exit 5' TERM; echo up; while :; do sleep 0.1; done"
            )
            refs = [await harness.submit(job) for job in (deaf, polite)]
            for ref in refs:
                await harness.output(ref, b"up")

            engine.stop()
            engine.start()

            first, second = [await harness.phase(ref, "ended", "gone") for ref in refs]
            assert (first.phase, first.signal) == ("ended", 9)
            assert (second.phase, second.exit_code) == ("ended", 5)
            assert (await harness.run(harness.shell("echo again"))).stdout == b"again\n"
            await harness.restart()
            assert (await harness.phase(refs[0], "ended", "gone")).signal == 9


@pytest.fixture
def small(short: Path) -> Iterator[Path]:
    """A folder for an engine whose images have 24 MiB."""
    (short / "data").mkdir()
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", short / "data"], check=True, timeout=120
    )
    yield short
    subprocess.run(["umount", "--lazy", short / "data"], check=False, timeout=120)


async def test_a_full_disk_of_the_engine_is_told_and_starts_nothing(
    small: Path, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "weights").write_bytes(os.urandom(20 << 20))
    package = await build_package(DockerImagePackager(IMAGE), source, home=tmp_path / "home")
    with dockerd(small) as engine:

        def make() -> DockerExecutor:
            return DockerExecutor(IMAGE, socket=engine.socket, network="none", volumes=HOST_VOLUMES)

        async with Harness(make, str(tmp_path / "here")) as harness:
            with pytest.raises(JobNotStarted, match="no space left on device") as caught:
                await harness.submit(harness.job("true", package=package))
            assert "docker system df" in str(caught.value.hint)

            (source / "weights").unlink()
            (source / "train.sh").write_text("echo fits")
            package = await build_package(
                DockerImagePackager(IMAGE), source, home=tmp_path / "home"
            )
            job = harness.job("sh", "train.sh", package=package, cwd=str(source))
            assert (await harness.run(job)).stdout == b"fits\n"


class DockerRound(Round):
    """A round on an engine.

    Args:
        engine: The engine.
        folder: An empty folder.
        chance: Decides what happens, and when.
    """

    def __init__(self, engine: Dockerd, folder: Path, chance: random.Random) -> None:
        super().__init__(folder, chance)
        self.engine = engine
        self.was_away = False

    def start(self) -> None:
        """Submit the jobs."""
        executor = {
            "type": "docker", "container_image": IMAGE, "socket": self.engine.socket,
            "network": "none", "workdir": "/",
            "volumes": [*HOST_VOLUMES, f"{self.marks}:{self.marks}"],
        }  # fmt: skip
        self.begin("submit", str(self.write(executor)))

    def disturb(self) -> str:
        """Let something happen; return what."""
        what = self.chance.choice(
            ["engine killed", "engine stopped", "leader killed", "container killed",
             "container removed", "container paused"],
        )  # fmt: skip
        if what.startswith("engine"):
            self.was_away = True
            self.engine.stop(by=signal.SIGKILL if what == "engine killed" else signal.SIGTERM)
            time.sleep(self.chance.uniform(0, 1.5))
            self.engine.start()
        elif what == "leader killed":
            self.kill_leader()
        else:
            self._to_a_container(what.partition(" ")[2])
        return what

    def _to_a_container(self, verb: str) -> None:
        names = [name for name in self.engine.attempts() if self.job_of(name)]
        if not names:
            return
        name = self.chance.choice(names)
        with suppress(subprocess.CalledProcessError):  # it may have ended by itself
            if verb == "paused":
                self.engine.docker("pause", name)
                time.sleep(0.3)
                self.engine.docker("unpause", name)
                return
            self.harmed.add(self.job_of(name))
            self.engine.docker(*{"killed": ["kill"], "removed": ["rm", "-f"]}[verb], name)

    def check(self, jobs: list[dict[str, Any]]) -> None:
        """See that each job ran once, and ended as its record says."""
        for job in jobs:
            name, state = job["name"], job["state"]
            marks = self.marks_of(name)
            assert marks in ([], ["began"], ["began", "done"]), (job, marks)
            if "could not be started" in job["reason"]:
                # The engine was not there, and nobody has seen it yet.
                assert (state, marks, self.was_away) == ("FAILED", [], True), job
                continue
            if self.was_away and "SIGTERM" in job["reason"]:
                # An engine that was killed while it started a container ends that when it is back.
                assert (state, job["exit_code"]) == ("FAILED", None), job
                assert marks != ["began", "done"], job
                continue
            if name in self.harmed:
                assert state in {"SUCCEEDED", "FAILED", "LOST"}, job
            else:
                assert state == ("FAILED" if self.codes[name] else "SUCCEEDED"), job
            if state == "SUCCEEDED" or (state == "FAILED" and job["exit_code"] == 3):
                assert marks == ["began", "done"], job
                assert job["exit_code"] == self.codes[name], job


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dockerd]:
    with dockerd(tmp_path_factory.mktemp("own")) as engine:
        yield engine


@pytest.mark.timeout(900)
@pytest.mark.parametrize("number", range(ROUNDS))
def test_whatever_happens_no_job_runs_twice_and_no_end_is_wrong(
    own: Dockerd, tmp_path: Path, number: int
) -> None:
    chance = chance_of(number)
    one = DockerRound(own, tmp_path, chance)
    one.start()
    happened = []
    for _ in range(chance.randint(1, 2)):
        time.sleep(chance.uniform(0.2, 1.8))
        happened.append(one.disturb())
    try:
        one.check(one.finish())
    except AssertionError as error:
        raise AssertionError(f"after {happened}: {error}\n{one.told()}") from error
