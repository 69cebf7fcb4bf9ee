"""DockerExecutor against a real Podman, by its socket of the same form."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from runbus.executors import DockerExecutor
from runbus.executors._docker_container import container_name
from runbus.packaging import DockerImagePackager, build_package
from runbus.testing.conformance.executor import Harness
from runbus.testing.dockerd import HOST_VOLUMES

from .podman import BARE, Podman, podman

pytestmark = pytest.mark.services


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Podman]:
    with podman(tmp_path_factory.mktemp("podman")) as found:
        yield found


@pytest.fixture
async def harness(service: Podman, tmp_path: Path) -> AsyncIterator[Harness]:
    options: dict[str, Any] = {"socket": service.socket, "network": "none"}

    def make() -> DockerExecutor:
        return DockerExecutor(BARE, volumes=HOST_VOLUMES, **options)

    async with Harness(make, str(tmp_path / "here")) as harness:
        yield harness


async def test_a_job_runs_and_is_found_again(harness: Harness) -> None:
    ended = await harness.run(harness.shell("echo out; echo err >&2; exit 3"))
    assert (ended.stdout, ended.stderr, ended.seen.exit_code) == (b"out\n", b"err\n", 3)

    job = harness.shell("echo up; exec sleep 600")
    ref = await harness.submit(job)
    await harness.output(ref, b"up")
    await harness.restart()
    assert await harness.executor.find(job) == ref
    assert await harness.submit(job) == ref
    await harness.executor.cancel([ref], 60)
    ended = await harness.end(ref)
    assert (ended.stdout, ended.seen.signal) == (b"up\n", 15)


async def test_what_happens_to_its_container_is_told(harness: Harness, service: Podman) -> None:
    killed, removed = (harness.shell("echo up; exec sleep 600") for _ in range(2))
    refs = [await harness.submit(job) for job in (killed, removed)]
    for ref in refs:
        await harness.output(ref, b"up")

    service.ask("kill", container_name(killed))
    service.ask("rm", "-f", "-t", "0", container_name(removed))

    seen = await harness.phase(refs[0], "ended", "gone")
    assert (seen.phase, seen.signal) == ("ended", 9)
    assert (await harness.phase(refs[1], "ended", "gone")).phase in {"gone", "ended"}


async def test_code_is_built_into_an_image(harness: Harness, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "train.sh").write_text("pwd; ls")
    package = await build_package(DockerImagePackager(), source, home=tmp_path / "home")

    ended = await harness.run(harness.job("sh", "train.sh", package=package, cwd=str(source)))

    assert (ended.stdout, ended.stderr) == (b"/code\ntrain.sh\n", b"")
