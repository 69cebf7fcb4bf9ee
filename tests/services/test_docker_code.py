"""Images of packaged code: built once, named by what is in them, pushed, and fetched by digest."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from msgspec.structs import replace

from runbus import Command, Image, api
from runbus.abc import Package
from runbus.errors import HttpRefused, JobNotStarted
from runbus.executors import DockerExecutor, build_image
from runbus.packaging import DockerImagePackager, build_package
from runbus.testing.conformance.executor import Harness
from runbus.testing.dockerd import IMAGE, Dockerd

from .registry import LOGIN, registry

pytestmark = pytest.mark.services


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Code that no other test has."""
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "train.sh").write_text(f"echo {os.urandom(4).hex()}; echo $KIND; pwd; >mine; ls\n")
    return folder


@pytest.fixture
def harness(engine: Dockerd, tmp_path: Path) -> Harness:
    return Harness(
        lambda: DockerExecutor(socket=engine.socket, network="none", volumes=engine.host_volumes),
        str(tmp_path / "here"),
    )


def images(engine: Dockerd, repository: str = "runbus/code") -> set[str]:
    shown = engine.docker("images", "--format", "{{.Repository}}:{{.Tag}}", repository)
    return set(shown.split())


async def ran(harness: Harness, source: Path, package: Package) -> list[str]:
    job = harness.job("sh", f"{source}/train.sh", package=package, cwd=str(source))
    ended = await harness.run(job)
    assert (ended.seen.exit_code, ended.stderr) == (0, b"")
    return ended.stdout.decode().splitlines()


async def test_code_is_built_into_an_image_once_and_built_again_if_that_is_gone(
    engine: Dockerd, harness: Harness, source: Path, tmp_path: Path
) -> None:
    before = images(engine)
    package = await build_package(DockerImagePackager(IMAGE), source, home=tmp_path / "home")
    async with harness:
        _, kind, folder, *files = await ran(harness, source, package)
        assert (kind, folder, files) == ("", "/code", ["mine", "train.sh"])
        (made,) = images(engine) - before
        await harness.restart()
        # Each container has files of its own, and nobody's are in the image.
        assert (await ran(harness, source, package))[3:] == ["mine", "train.sh"]
        assert images(engine) - before == {made}

        engine.docker("rmi", "-f", made)
        await ran(harness, source, package)
        assert images(engine) - before == {made}

        (source / "train.sh").write_text("echo changed\n")
        changed = await build_package(DockerImagePackager(IMAGE), source, home=tmp_path / "home")
        assert await ran(harness, source, changed) == ["changed"]
        assert len(images(engine) - before) == 2


async def test_a_dockerfile_of_ones_own_has_the_code_as_its_context(
    engine: Dockerd, harness: Harness, source: Path, tmp_path: Path
) -> None:
    (source / "custom.Dockerfile").write_text(
        "ARG BASE_IMAGE\nFROM $BASE_IMAGE\nENV KIND=own\nCOPY train.sh /srv/app/\n"
    )
    packager = DockerImagePackager(IMAGE, "custom.Dockerfile", folder="/srv/app")
    package = await build_package(packager, source, home=tmp_path / "home")
    async with harness:
        assert (await ran(harness, source, package))[1:] == [
            "own", "/srv/app", "mine", "train.sh",
        ]  # fmt: skip

        broken = DockerImagePackager(IMAGE, "FROM scratch\nCOPY no-such-file /\n")
        package = await build_package(broken, source, home=tmp_path / "home")
        with pytest.raises(JobNotStarted, match="no-such-file"):
            await harness.submit(harness.job("true", package=package))


async def test_an_archive_that_is_not_what_it_was_starts_nothing(
    engine: Dockerd, harness: Harness, source: Path, tmp_path: Path
) -> None:
    package = await build_package(DockerImagePackager(IMAGE), source, home=tmp_path / "home")
    before = images(engine)
    os.truncate(package.path, package.size // 2)
    async with harness:
        with pytest.raises(JobNotStarted, match="damaged"):
            await harness.submit(harness.job("true", package=package))
        gone = replace(package, path=f"{package.path}.gone")
        with pytest.raises(JobNotStarted, match="gone"):
            await harness.submit(harness.job("true", package=gone))
    assert images(engine) == before


async def test_a_pushed_image_is_fetched_by_its_digest(
    engine: Dockerd, harness: Harness, source: Path, tmp_path: Path
) -> None:
    with registry(tmp_path, 5001, within=engine.within) as host:
        packager = DockerImagePackager(IMAGE, push=f"{host}/team/train")
        package = await build_package(packager, source, home=tmp_path / "home")
        named = await build_image(package, socket=engine.socket)
        assert named.startswith(f"{host}/team/train@sha256:")
        assert await build_image(package, socket=engine.socket) == named

        (made,) = images(engine, f"{host}/team/train")
        engine.docker("rmi", "-f", made)
        async with harness:
            job = harness.job("sh", "/code/train.sh", image=Image(base=named))
            assert b"/\n" in (await harness.run(job)).stdout
            assert (await ran(harness, source, package))[2] == "/code"


async def test_a_registry_is_told_who_asks_by_reference(
    engine: Dockerd, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "no-such-folder"))
    (secret := tmp_path / "login").write_text(LOGIN)
    place = tmp_path / "registry"
    place.mkdir()
    with registry(place, 5002, within=engine.within, closed=True) as host:
        packager = DockerImagePackager(IMAGE, push=f"{host}/train")
        package = await build_package(packager, source, home=tmp_path / "home")
        with pytest.raises(HttpRefused, match="cannot be pushed"):
            await build_image(package, socket=engine.socket)
        packager = DockerImagePackager(IMAGE, push=f"{host}/train", login=f"file:{secret}")
        package = await build_package(packager, source, home=tmp_path / "home")
        named = await build_image(package, socket=engine.socket)

        def make(logins: dict[str, str]) -> Harness:
            return Harness(
                lambda: DockerExecutor(
                    named, socket=engine.socket, network="none", volumes=engine.host_volumes,
                    registry_logins=logins,
                ),
                str(tmp_path / f"here-{len(logins)}"),
            )  # fmt: skip

        engine.docker("rmi", "-f", *images(engine, f"{host}/train"))
        async with make({}) as harness:
            with pytest.raises(JobNotStarted) as caught:
                await harness.submit(harness.job("/bin/true"))
            assert "registry_logins" in str(caught.value.hint)
        async with make({host: f"file:{secret}"}) as harness:
            assert (await harness.run(harness.job("/bin/true"))).seen.exit_code == 0


def test_an_experiment_takes_its_code_along_as_an_image(
    engine: Dockerd, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(source)
    executor = {
        "type": "docker",
        "container_image": IMAGE,
        "socket": engine.socket,
        "network": "none",
        "volumes": list(engine.host_volumes),
        "packager": {"type": "image"},
    }
    run = api.run(Command(("sh", "train.sh")), executor=executor)
    assert run.state == "SUCCEEDED"
    assert "/code" in Path(run.attempt_folder(1) or "", "stdout.log").read_text()
