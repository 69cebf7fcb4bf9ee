"""Containers and their engine when something goes wrong, or is asked for in the engine's words."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from runbus.abc import Resources
from runbus.errors import ConnectionLost, JobNotStarted
from runbus.executors import DockerExecutor
from runbus.executors._docker_container import container_name
from runbus.testing.conformance.executor import Harness
from runbus.testing.dockerd import IMAGE, Dockerd

pytestmark = pytest.mark.services


class Place:
    """Makes harnesses for executors of one engine with different options."""

    def __init__(self, engine: Dockerd, folder: Path) -> None:
        self.engine, self.folder = engine, folder
        self._numbers = itertools.count()

    def executor(self, image: str = IMAGE, **options: Any) -> DockerExecutor:
        volumes = [*self.engine.host_volumes, *options.pop("volumes", ())]
        asked = {"socket": self.engine.socket, "network": "none", "volumes": volumes} | options
        return DockerExecutor(image, **asked)

    def harness(self, image: str = IMAGE, **options: Any) -> Harness:
        here = self.folder / f"here-{next(self._numbers)}"
        return Harness(lambda: self.executor(image, **options), str(here))


@pytest.fixture
def place(engine: Dockerd, tmp_path: Path) -> Place:
    return Place(engine, tmp_path)


@pytest.fixture
async def harness(place: Place) -> AsyncIterator[Harness]:
    async with place.harness() as harness:
        yield harness


async def test_a_container_is_removed_once_the_end_of_its_job_is_on_record(
    harness: Harness, engine: Dockerd
) -> None:
    job = harness.shell("exit 3")
    assert (await harness.run(job)).seen.exit_code == 3
    await harness.executor.observe([await found(harness, job)])
    await harness.restart()

    assert container_name(job) not in engine.attempts()
    assert (await harness.executor.observe([await found(harness, job)])) != {}


async def found(harness: Harness, job: Any) -> Any:
    ref = await harness.executor.find(job)
    assert ref is not None
    return ref


async def test_a_container_that_is_removed_by_hand_is_gone(
    harness: Harness, engine: Dockerd
) -> None:
    job = harness.shell("echo up; exec sleep 600")
    ref = await harness.submit(job)
    await harness.output(ref, b"up")

    engine.docker("rm", "-f", container_name(job))

    assert (await harness.phase(ref, "gone", "ended")).phase == "gone"


async def test_a_container_that_is_killed_is_told_by_the_engine(
    harness: Harness, engine: Dockerd
) -> None:
    job = harness.shell("echo up; exec sleep 600")
    ref = await harness.submit(job)
    await harness.output(ref, b"up")

    engine.docker("kill", container_name(job))
    seen = await harness.phase(ref, "gone", "ended")

    assert (seen.phase, seen.exit_code, seen.signal) == ("ended", None, 9)
    await harness.restart()
    again = await harness.phase(ref, "gone", "ended")
    assert (again.phase, again.signal, again.ended_ns) == ("ended", 9, seen.ended_ns)


async def test_a_container_that_reached_its_memory_says_so(place: Place) -> None:
    async with place.harness(memory=32 << 20) as harness:
        ended = await harness.run(harness.shell("tail /dev/zero; exit 1"))

    assert (ended.seen.exit_code, ended.seen.signal) == (1, None) or (
        "out of memory" in ended.seen.reason
    )


async def test_an_image_that_is_not_there_is_named(place: Place) -> None:
    async with place.harness("no-such-image:at-all") as harness:
        with pytest.raises(JobNotStarted, match=r"no-such-image:at-all"):
            await harness.submit(harness.shell("true"))


async def test_gpus_without_a_driver_are_told_apart_from_other_failures(
    place: Place, engine: Dockerd
) -> None:
    async with place.harness(num_gpus=1) as harness:
        job = harness.shell("true")
        with pytest.raises(JobNotStarted, match="the engine has no GPU driver") as caught:
            await harness.submit(job)

        assert "toolkit" in str(caught.value.hint)
        assert container_name(job) not in engine.attempts()
        assert await harness.executor.find(job) is None


async def test_a_job_that_is_lent_gpus_asks_the_engine_for_those(place: Place) -> None:
    gpus = [f"GPU-{os.urandom(4).hex()}"]
    async with place.harness(gpus=gpus) as harness:
        with pytest.raises(JobNotStarted, match="no GPU driver"):
            await harness.submit(harness.shell("true", resources=Resources(gpus=1)))
    assert not set(gpus) & {
        name.removeprefix("gpu-") for name in os.listdir(f"/dev/shm/runbus-gpus-{os.getuid()}")
    }


async def test_a_mount_that_is_not_there_is_named(place: Place) -> None:
    async with place.harness(volumes=["/no/such/folder:/data"]) as harness:
        with pytest.raises(JobNotStarted, match="/no/such/folder"):
            await harness.submit(harness.shell("true"))


async def test_an_engine_that_is_not_there_is_told_at_once(place: Place, tmp_path: Path) -> None:
    async with place.harness(socket=str(tmp_path / "no.sock")) as harness:
        job = harness.shell("true")
        async with asyncio.timeout(120):
            with pytest.raises(JobNotStarted, match=r"no\.sock does not answer") as caught:
                await harness.submit(job)
        assert "doctor" in str(caught.value.hint)
        assert await harness.executor.find(job) is None


async def test_a_name_that_somebody_else_has_taken_is_left_alone(
    harness: Harness, engine: Dockerd
) -> None:
    job = harness.shell("true")
    engine.docker("create", "--name", container_name(job), IMAGE, "/bin/true")

    with pytest.raises(JobNotStarted, match="in the way"):
        await harness.submit(job)

    labels: Any = engine.inspect(container_name(job))["Config"]
    assert "runbus.attempt" not in (labels["Labels"] or {})


async def test_a_container_that_has_run_is_never_started_again(
    harness: Harness, engine: Dockerd
) -> None:
    """The engine itself would start it: as often as it is asked, and without the wrapper's no."""
    job = harness.shell("echo ran")
    ref = await harness.submit(job)
    await asyncio.to_thread(engine.docker, "wait", container_name(job))
    (Path(job.folder) / "exit.json").unlink()
    # One that has seen the record looks at the engine again only after half a minute.
    await harness.restart()

    assert await harness.executor.find(job) == ref
    assert await harness.submit(job) == ref

    seen = await harness.phase(ref, "ended")
    assert (seen.exit_code, seen.signal) == (None, None)
    assert (Path(job.folder) / "stdout.log").read_bytes() == b"ran\n"


async def test_a_container_that_was_made_and_not_started_is_started_by_the_next_submit(
    harness: Harness,
) -> None:
    """As a process leaves it that is killed between the two requests."""
    job = harness.shell("echo ran")
    executor: Any = harness.executor
    body = executor.plan(job).body
    await executor._starter.prepare(job, body.attempt, {})
    await executor._engine.create(container_name(job), body.document)
    await harness.restart()

    assert await harness.executor.find(job) is None
    assert (await harness.run(job)).stdout == b"ran\n"


async def test_an_entrypoint_runs_before_the_job_and_one_that_fails_is_told(
    place: Place, engine: Dockerd, tmp_path: Path
) -> None:
    volumes = [f"{tmp_path}:{tmp_path}"]
    for name, script in {
        "good": 'echo hello >&2; MADE=1 exec "$@"',
        "bad": "echo not today >&2; exit 5",
        "deaf": "exit 0",
    }.items():
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        engine.docker(
            "import", "-c", f'ENTRYPOINT ["{path}"]', "-", f"runbus/{name}:1",
            given=bare(engine),
        )  # fmt: skip
    async with place.harness("runbus/good:1", volumes=volumes) as harness:
        assert (await harness.run(harness.shell('echo "$MADE"'))).stdout == b"1\n"
    async with place.harness("runbus/bad:1", volumes=volumes) as harness:
        ended = await harness.run(harness.shell("echo ran"))
        assert (ended.stdout, ended.stderr) == (b"", b"not today\n")
        assert ended.seen.exit_code == 5
        assert ended.seen.reason == "its container ended before the job began: not today"
    async with place.harness("runbus/deaf:1", volumes=volumes) as harness:
        seen = (await harness.run(harness.shell("echo ran"))).seen
        assert (seen.exit_code, seen.signal) == (None, None)
    async with place.harness("runbus/bad:1", volumes=volumes, entrypoint=[]) as harness:
        assert (await harness.run(harness.shell("echo ran"))).stdout == b"ran\n"


def bare(engine: Dockerd) -> bytes:
    """Return the files of the image with nothing in it."""
    name = engine.docker("create", IMAGE, "/x").strip()
    done = subprocess.run(
        ["docker", "-H", f"unix://{engine.socket}", "export", name],
        capture_output=True,
        check=True,
        timeout=120,
    )
    engine.docker("rm", name)
    return done.stdout


async def test_no_secret_is_in_what_the_engine_shows(
    harness: Harness, engine: Dockerd, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text(canary := os.urandom(8).hex())
    job = harness.shell('echo "$A"; exec sleep 600', secrets={"A": f"file:{tmp_path}/secret"})
    ref = await harness.submit(job)

    assert (await harness.output(ref, b"\n")).decode() == f"{canary}\n"
    assert canary not in str(engine.inspect(container_name(job)))
    assert not (Path(job.folder) / "secrets").exists()


@pytest.fixture
def network(engine: Dockerd) -> Iterator[str]:
    name = f"test-{os.urandom(4).hex()}"
    yield name
    for container in engine.docker("ps", "-aq", "--filter", f"network={name}").split():
        engine.docker("rm", "-f", container)
    engine.docker("network", "rm", name)


async def test_jobs_on_one_network_find_each_other_by_name(place: Place, network: str) -> None:
    # The host's /etc would bring its own resolv.conf over the container's.
    async with place.harness(network=network) as harness:
        asked = "import socket; s = socket.create_server(('', 7000)); print('up', flush=True); "
        asked += "c = s.accept()[0]; print(c.recv(9).decode())"
        server = await harness.submit(
            harness.job("/usr/bin/python3", "-c", asked, name="my_server")
        )
        await harness.output(server, b"up")
        told = "import socket; socket.create_connection(('my-server', 7000), 120).sendall(b'hello')"
        client = await harness.run(harness.job("/usr/bin/python3", "-c", told, name="client"))

        assert client.stderr == b""
        assert (await harness.end(server)).stdout == b"up\nhello\n"


async def test_a_published_port_answers_on_the_host(
    place: Place, network: str, engine: Dockerd
) -> None:
    async with place.harness(network=network, ports=["127.0.0.1:7123:7000"]) as harness:
        asked = "import socket; s = socket.create_server(('', 7000)); print('up', flush=True); "
        asked += "c = s.accept()[0]; c.sendall(b'hello'); s.accept()"
        ref = await harness.submit(harness.job("/usr/bin/python3", "-c", asked))
        await harness.output(ref, b"up")
        told = "import socket; print(socket.create_connection(('127.0.0.1', 7123), 120).recv(9))"
        done = await asyncio.to_thread(
            subprocess.run,
            [*engine.within, "/usr/bin/python3", "-c", told],
            capture_output=True, timeout=120, check=False,
        )  # fmt: skip

        assert done.stdout == b"b'hello'\n"
        with pytest.raises(JobNotStarted, match="7123"):
            await harness.submit(harness.job("/bin/true"))


async def test_options_reach_the_container(place: Place) -> None:
    async with place.harness(
        shm_size=8 << 20,
        ulimits=["nofile=100:200"],
        read_only=True,
        tmpfs={"/scratch": "size=1m"},
        workdir="/scratch",
        pids=50,
        labels={"team": "x"},
        engine_options={"Hostname": "chosen", "HostConfig": {"CapDrop": ["MKNOD"]}},
    ) as harness:
        script = "ulimit -Sn; ulimit -Hn; df -k /dev/shm | tail -1; pwd; hostname; echo >/x || :"
        ended = await harness.run(harness.shell(script))

    soft, hard, shm, folder, host = ended.stdout.decode().splitlines()
    assert (soft, hard, folder, host) == ("100", "200", "/scratch", "chosen")
    assert shm.split()[1] == "8192"
    assert b"Read-only" in ended.stderr


async def test_a_privileged_container_on_the_hosts_memory_has_the_runtime_that_was_asked_for(
    place: Place, engine: Dockerd
) -> None:
    script = "grep CapEff /proc/self/status; readlink /proc/self/ns/ipc; echo up; exec sleep 600"
    found = {}
    asked: dict[str, dict[str, Any]] = {
        "plain": {},
        "asked": {"privileged": True, "ipc_mode": "host", "runtime": "bare", "user": "0:0"},
    }
    for name, options in asked.items():
        async with place.harness(**options) as harness:
            ref = await harness.submit(job := harness.shell(script))
            told = (await harness.output(ref, b"up")).decode().split()
            document: Any = engine.inspect(container_name(job))
            found[name] = int(told[1], 16), told[2], document["HostConfig"]["Runtime"]

    assert found["plain"][0] & ~found["asked"][0] == 0
    assert found["asked"][0].bit_count() > found["plain"][0].bit_count() + 10
    own = os.readlink("/proc/self/ns/ipc")
    assert (found["plain"][1] != own, found["asked"][1], found["asked"][2]) == (True, own, "bare")


async def test_a_job_of_another_user_leaves_records_that_can_be_read(place: Place) -> None:
    async with place.harness(user="1234:1234") as harness:
        job = harness.shell("id -u; exit 4")
        ended = await harness.run(job)

    assert (ended.stdout, ended.seen.exit_code) == (b"1234\n", 4)
    assert (Path(job.folder) / "exit.json").stat().st_uid == 1234


class TestEngine:
    """What becomes of jobs when the engine itself goes away: one of its own for these tests."""

    @pytest.fixture
    def engine(self, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dockerd]:
        from runbus.testing.dockerd import dockerd

        with dockerd(tmp_path_factory.mktemp("own")) as found:
            yield found

    @pytest.fixture
    def place(self, engine: Dockerd, tmp_path: Path) -> Place:
        return Place(engine, tmp_path)

    async def test_an_engine_that_is_killed_changes_nothing_about_jobs(
        self, place: Place, engine: Dockerd
    ) -> None:
        async with place.harness() as harness:
            runs = await harness.submit(running := harness.shell("echo up; exec sleep 600"))
            job = harness.job(
                "/bin/sh", "-c", 'echo up; read -r line <"$RUNBUS_ATTEMPT/go"; exit 7'
            )
            os.mkfifo(go := f"{job.folder}/go")
            ending = await harness.submit(job)
            for ref in (runs, ending):
                await harness.output(ref, b"up")

            engine.stop(by=signal.SIGKILL)
            with pytest.raises(ConnectionLost):
                await harness.executor.find(running)
            await asyncio.to_thread(Path(go).write_text, "\n")

            assert (await harness.end(ending)).seen.exit_code == 7
            seen = (await harness.executor.observe([runs])).get(runs)
            assert seen is None or seen.phase == "running"

            await harness.executor.cancel([runs], 60)
            assert (await harness.end(runs)).seen.signal == 15
            engine.start()
