"""Jobs on three hosts over SSH, beside a `run` a job of asyncssh and of fabric: no records."""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import asyncssh

from benches.row import Row
from benches.scratch import scratch
from runbus import Command, Job, Kernel
from runbus.executors import SSHExecutor
from runbus.experiment import ExperimentDraft
from runbus.jobs import JobState
from runbus.testing.sshd import Sshd, sshds
from runbus.transports import SSHTunnel

JOBS, SLOTS, ROUNDS = 200, 8, 3
FABRIC_JOBS = 30
NAME = f"a job of /bin/true over SSH, {JOBS} on 3 hosts, {SLOTS} at a time each"


def main() -> list[Row]:
    with scratch() as name:
        os.environ["RUNBUS_HOME"] = os.path.join(name, "home")
        folder = Path(name)
        (folder / "sshd").mkdir()
        try:
            with sshds(folder / "sshd") as hosts:
                return measured(hosts, folder)
        except (FileNotFoundError, PermissionError) as error:
            return [Row(NAME, 0.0, "ms", note=f"not measured: {error}; needs sshd and root")]


def measured(hosts: list[Sshd], folder: Path) -> list[Row]:
    # By turns: how busy this machine is changes from minute to minute.
    pairs = [
        [timed_with(wrapper, hosts, folder / f"{wrapper}-{n}") for wrapper in ("program", "script")]
        for n in range(ROUNDS)
    ]
    ours, with_script = zip(*pairs, strict=True)
    bare = [asyncio.run(bare_runs(hosts)) for _ in range(ROUNDS)]
    seconds = statistics.median(ours)
    return [
        Row(
            NAME,
            seconds / JOBS * 1e3,
            "ms",
            1e3 / 60,
            {
                "the shell script": statistics.median(with_script) / JOBS * 1e3,
                "asyncssh run a job, as many at a time": statistics.median(bare) / JOBS * 1e3,
                "fabric run a job, one at a time a host": fabric_runs(hosts) / FABRIC_JOBS * 1e3,
            },
            note=f"{JOBS / seconds:.0f} jobs/s, intent, logs and exit record included",
            ratios={"the shell script": 1 / 1.3},
        )
    ]


def timed_with(wrapper: str, hosts: list[Sshd], remote: Path) -> float:
    """Return the seconds that all jobs take under one of the two wrappers."""
    os.environ["RUNBUS_WRAPPER"] = wrapper
    try:
        return asyncio.run(timed(hosts, remote))
    finally:
        del os.environ["RUNBUS_WRAPPER"]


async def timed(hosts: list[Sshd], remote: Path) -> float:
    """Return the seconds that all jobs take, connecting included."""
    tunnels = [
        SSHTunnel(
            host.address, "root", host.port, str(remote), str(host.identity),
            known_hosts=str(host.known_hosts), config="", agent=False,
        )
        for host in hosts
    ]  # fmt: skip
    jobs = [Job(name=f"true-{index}", task=Command(("/bin/true",))) for index in range(JOBS)]
    executor = SSHExecutor(tunnels, slots=SLOTS, workdir="/")
    async with Kernel(plugins=[executor]) as kernel:
        experiment = ExperimentDraft("bench", jobs, executor="ssh", max_parallel=3 * SLOTS)
        start = time.perf_counter()
        records = await experiment.run(kernel.bus)
        span = time.perf_counter() - start
    assert all(record.state is JobState.SUCCEEDED for record in records)
    return span


async def bare_runs(hosts: list[Sshd]) -> float:
    start = time.perf_counter()
    connections = [
        await asyncssh.connect(
            host.address, host.port, username="root", client_keys=[str(host.identity)],
            known_hosts=str(host.known_hosts), config=None, agent_path=None,
        )
        for host in hosts
    ]  # fmt: skip
    slots = [asyncio.Semaphore(SLOTS) for _ in hosts]

    async def run(index: int) -> None:
        async with slots[index % len(hosts)]:
            await connections[index % len(hosts)].run("/bin/true", check=True)

    await asyncio.gather(*(run(index) for index in range(JOBS)))
    span = time.perf_counter() - start
    for connection in connections:
        connection.close()
        await connection.wait_closed()
    return span


def fabric_runs(hosts: list[Sshd]) -> float:
    import fabric
    import paramiko

    start = time.perf_counter()
    connections = [
        fabric.Connection(
            host.address, "root", host.port, connect_kwargs={"key_filename": str(host.identity)}
        )
        for host in hosts
    ]
    for connection, host in zip(connections, hosts, strict=True):
        connection.client.load_host_keys(str(host.known_hosts))
        connection.client.set_missing_host_key_policy(paramiko.RejectPolicy())
        connection.open()

    def run_share(number: int) -> None:
        for _ in range(number, FABRIC_JOBS, len(hosts)):
            connections[number].run("/bin/true", hide=True, in_stream=False)

    # A connection is used by one thread at a time, as its groups do.
    with ThreadPoolExecutor(len(hosts)) as threads:
        list(threads.map(run_share, range(len(hosts))))
    span = time.perf_counter() - start
    for connection in connections:
        connection.close()
    return span
