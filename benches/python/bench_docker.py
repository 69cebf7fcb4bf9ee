"""A job as a container, beside the same four requests to the engine made bare."""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from pathlib import Path

import httpx

from benches.row import Row
from benches.scratch import scratch
from runbus.executors import DockerExecutor
from runbus.testing.conformance.executor import Harness
from runbus.testing.dockerd import IMAGE, Dockerd, dockerd

ROUNDS = 12
NAME = "create, run and end of /bin/true in a container"


def main() -> list[Row]:
    with scratch() as name:
        os.environ["RUNBUS_HOME"] = os.path.join(name, "home")
        folder = Path(name)
        (folder / "e").mkdir()
        try:
            with dockerd(folder / "e") as engine:
                return asyncio.run(measured(engine, folder))
        except (FileNotFoundError, PermissionError) as error:
            return [Row(NAME, 0.0, "ms", note=f"not measured: {error}; needs dockerd and root")]


async def measured(engine: Dockerd, folder: Path) -> list[Row]:
    def make() -> DockerExecutor:
        return DockerExecutor(
            IMAGE, socket=engine.socket, network="none", volumes=engine.host_volumes
        )

    ours, bare = [], []
    transport = httpx.AsyncHTTPTransport(uds=engine.socket)
    async with (
        httpx.AsyncClient(transport=transport, base_url="http://engine", timeout=60) as client,
        Harness(make, str(folder / "jobs")) as harness,
    ):
        # By turns: how busy this machine is changes from minute to minute.
        for number in range(ROUNDS + 1):
            ours.append(await timed_job(harness))
            bare.append(await timed_bare(client, harness, number))
    seconds = statistics.median(ours[1:])
    return [
        Row(
            NAME,
            seconds * 1e3,
            "ms",
            beside={"the same four requests, bare": statistics.median(bare[1:]) * 1e3},
            ratios={"the same four requests, bare": 1.15},
            note="ours: logs, exit record and adoption included; its end is the record's",
        )
    ]


async def timed_job(harness: Harness) -> float:
    job = harness.job("/bin/true")
    began = time.perf_counter()
    ended = await harness.run(job)
    seconds = time.perf_counter() - began
    assert ended.seen.exit_code == 0
    # Its container is removed in the background, which would slow down what is measured next.
    await harness.restart()
    return seconds


async def timed_bare(client: httpx.AsyncClient, harness: Harness, number: int) -> float:
    """Create, start, wait for the end, look at it: with the mounts that a job has."""
    executor = harness.executor
    document = executor.plan(harness.job("/bin/true")).body.document  # type: ignore[attr-defined]
    document = {**document, "Cmd": ["/bin/true"], "Labels": {}}
    name = f"bare-{number}"
    began = time.perf_counter()
    for method, path, given in (
        ("POST", f"/v1.41/containers/create?name={name}", document),
        ("POST", f"/v1.41/containers/{name}/start", None),
        ("POST", f"/v1.41/containers/{name}/wait", None),
        ("GET", f"/v1.41/containers/{name}/json", None),
    ):
        answer = await client.request(method, path, json=given)
        answer.raise_for_status()
    seconds = time.perf_counter() - began
    (await client.delete(f"/v1.41/containers/{name}")).raise_for_status()
    return seconds
