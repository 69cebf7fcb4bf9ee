"""Jobs in containers that no engine runs: Charliecloud's, on machines over SSH and under Slurm."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from runbus import Image
from runbus.abc import Resources
from runbus.errors import JobNotStarted, Unsupported
from runbus.executors import SSHExecutor, build_image
from runbus.packaging import DockerImagePackager, PatternPackager, build_package
from runbus.testing._ports import free_ports
from runbus.testing.conformance.executor import Harness
from runbus.testing.dockerd import IMAGE, Dockerd
from runbus.testing.sshd import Sshd

from .conftest import tunnel_to
from .registry import make_certificate, registry

pytestmark = pytest.mark.services

MOUNTS = [f"{path}:{path}" for path in dict.fromkeys(("/usr", "/etc", sys.base_prefix))]
"""What gives a container of a bare image the programs of this machine."""


def bare_image(folder: Path) -> Path:
    """Make an image with nothing but empty folders and links."""
    for name in ("usr", "etc", "tmp", "root", "proc", "sys", "dev", "run", "var", "ch"):
        (folder / name).mkdir(parents=True)
    for link in ("bin", "sbin", "lib", "lib64"):
        (folder / link).symlink_to(f"usr/{link}")
    for name in ("passwd", "group"):
        (folder / "etc" / name).touch()
    return folder


@pytest.fixture
def image(tmp_path: Path) -> str:
    return str(bare_image(tmp_path / "image"))


@pytest.fixture
def job_dir() -> Iterator[Path]:
    """A folder that no image has, and no container is given by itself."""
    with tempfile.TemporaryDirectory(dir="/var/lib") as folder:
        yield Path(folder) / "jobs"


@pytest.fixture
async def harness(host: Sshd, tmp_path: Path, job_dir: Path, image: str) -> AsyncIterator[Harness]:
    def make() -> SSHExecutor:
        return SSHExecutor(
            [tunnel_to(host, job_dir)],
            slots=16,
            container_runtime="charliecloud",
            container_image=image,
            container_mounts=MOUNTS,
        )

    async with Harness(make, str(tmp_path / "here")) as harness:
        yield harness


async def test_a_job_sees_its_image_and_its_own_folders_and_nothing_else_of_the_machine(
    harness: Harness, job_dir: Path, image: str
) -> None:
    (Path(image) / "only-here").touch()
    script = 'ls /; ls -d /var/lib/dpkg; cd "$RUNBUS_ATTEMPT" && echo kept >file; pwd >&2'
    ended = await harness.run(harness.shell(script))

    assert b"only-here\n" in ended.stdout
    assert b"/var/lib/dpkg" not in ended.stdout
    assert str(job_dir).encode() in ended.stderr
    assert ended.seen.exit_code == 0


async def test_variables_of_an_image_are_there_and_those_of_the_job_win(
    harness: Harness, image: str
) -> None:
    (Path(image) / "ch" / "environment").write_text("KIND=image\nMINE=image\nA=b=c d\n")
    ended = await harness.run(
        harness.shell('echo "$KIND $MINE $A"; echo "$PATH" | head -c 1', env={"MINE": "job"})
    )

    assert ended.stdout == b"image job b=c d\n/"


async def test_packaged_code_is_there_and_a_job_may_name_another_image(
    harness: Harness, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "train.sh").write_text("pwd; ls /; touch written")
    package = await build_package(PatternPackager("*"), source, home=tmp_path / "home")
    other = bare_image(tmp_path / "other")
    (other / "of-the-other").touch()
    job = harness.job(
        "sh", f"{source}/train.sh", package=package, cwd=str(source), image=Image(base=str(other))
    )
    ended = await harness.run(job)

    assert (ended.seen.exit_code, ended.stderr) == (0, b"")
    assert ended.stdout.splitlines()[0].endswith(b"/code")
    assert b"of-the-other" in ended.stdout


async def test_what_such_a_container_cannot_give_is_refused(
    host: Sshd, harness: Harness, job_dir: Path, tmp_path: Path
) -> None:
    with pytest.raises(Unsupported, match="Python packages"):
        harness.executor.plan(harness.job("true", image=Image(pip=("numpy",))))
    bare = SSHExecutor([tunnel_to(host, job_dir)], container_runtime="charliecloud")
    with pytest.raises(JobNotStarted, match="no container_image"):
        bare.plan(harness.job("true"))


async def test_an_image_that_is_not_there_is_named(harness: Harness, tmp_path: Path) -> None:
    for image in (str(tmp_path / "gone"), "127.0.0.1:9/gone"):
        ended = await harness.run(harness.job("true", image=Image(base=image)))
        assert ended.seen.exit_code not in {0, None}
        assert image.encode() in ended.stderr


async def test_a_job_in_a_container_is_ended_as_any_other(harness: Harness) -> None:
    script = "trap 'echo asked; exit 5' TERM; echo up; while :; do sleep 0.05; done"
    ref = await harness.submit(harness.shell(script, resources=Resources(nice=5)))
    await harness.output(ref, b"up")
    await harness.executor.cancel([ref], 60)
    ended = await harness.end(ref)

    assert (ended.seen.exit_code, ended.stdout) == (5, b"up\nasked\n")


async def test_an_image_of_code_is_fetched_by_its_digest(
    engine: Dockerd, harness: Harness, tmp_path: Path
) -> None:
    """A real engine builds and pushes it, and the machine's own program fetches it."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "train.sh").write_text("echo trained $KIND; pwd")
    (source / "etc").mkdir()
    for name in ("passwd", "group"):
        (source / "etc" / name).touch()
    certificate = make_certificate(tmp_path)
    (port,) = free_ports(1)
    with registry(tmp_path, port, within=engine.within, certificate=certificate) as at:
        packager = DockerImagePackager(
            IMAGE,
            "ARG BASE_IMAGE\nFROM $BASE_IMAGE\nENV KIND=well\nCOPY etc /etc\nCOPY . /code\n",
            push=f"{at}/train",
        )
        package = await build_package(packager, source, home=tmp_path / "home")
        named = await build_image(package, socket=engine.socket)
    bootstrap = (
        "PATH=/usr/bin:/bin; export PATH",
        f"export REQUESTS_CA_BUNDLE={certificate} CH_IMAGE_STORAGE={tmp_path}/storage",
    )
    with registry(tmp_path, port, certificate=certificate):
        jobs = [
            harness.job("sh", "train.sh", cwd="/code", image=Image(base=named), bootstrap=bootstrap)
            for _ in range(2)
        ]
        refs = [await harness.submit(job) for job in jobs]
        for ref in refs:
            ended = await harness.end(ref)
            assert (ended.seen.exit_code, ended.stdout) == (0, b"trained well\n/code\n")
