"""Images: what is built of a job's wishes, once, and what a pull tells."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from runbus import Command, Image, Plugin, api
from runbus.errors import ExperimentFailed, JobNotStarted
from runbus.executors import DockerExecutor
from runbus.testing.conformance.executor import Harness
from runbus.testing.dockerd import Dockerd

pytestmark = pytest.mark.services

WHEEL = "own_lib-1.0-py3-none-any.whl"


@pytest.fixture(scope="session")
def python_image(engine: Dockerd, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image with a shell, this Python, uv, and a package that no index has."""
    python = f"{sys.base_prefix}/bin/python3"
    programs = ["/bin/sh", str(Path(sys.executable).with_name("uv"))]
    programs += [f"/usr/bin/{name}" for name in ("env", "mkdir", "rm", "cat", "date", "id")]
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for folder in ("bin", "etc", "lib", "lib64", "tmp", "root", "index"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(entry)
        entry = tarfile.TarInfo("etc/passwd")
        entry.size = len(users := b"root:x:0:0::/root:/bin/sh\nworker:x:77:77::/tmp:/bin/sh\n")
        archive.addfile(entry, io.BytesIO(users))
        for path in sorted({needed for one in [*programs, python] for needed in libraries(one)}):
            archive.add(Path(path).resolve(), path.lstrip("/"))
        for path in programs:
            archive.add(Path(path).resolve(), f"bin/{Path(path).name}")
        archive.add(Path(python).resolve(), python.lstrip("/"))
        library = (
            Path(sys.base_prefix) / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}"
        )
        archive.add(library, str(library).lstrip("/"), filter=needed_of_library)
        wheel = tmp_path_factory.mktemp("wheel") / WHEEL
        make_wheel(wheel)
        archive.add(wheel, f"index/{WHEEL}")
    path = f"ENV PATH={Path(python).parent}:/bin"
    engine.docker(
        "import", "-c", path, "-c", "USER worker", "-", "runbus/py:1", given=data.getvalue()
    )
    return "runbus/py:1"


def needed_of_library(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    skipped = {"site-packages", "test", "idlelib", "tkinter", "lib2to3", "__pycache__"}
    return None if skipped & set(entry.name.split("/")) else entry


def libraries(program: str) -> list[str]:
    told = subprocess.run(
        ["ldd", str(Path(program).resolve())], capture_output=True, text=True, check=False
    ).stdout
    return [word for line in told.splitlines() for word in line.split() if word.startswith("/")]


def make_wheel(path: Path) -> None:
    info = "own_lib-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("own_lib.py", "version = '1.0'\n")
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: own-lib\nVersion: 1.0\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")


def built(engine: Dockerd) -> list[str]:
    return engine.docker("images", "-q", "--no-trunc", "runbus/image").split()


async def test_an_image_with_packages_is_built_once_and_named_by_what_is_in_it(
    engine: Dockerd, python_image: str, tmp_path: Path
) -> None:
    image = Image(base=python_image, pip=(f"own-lib @ file:///index/{WHEEL}",))
    for other in set(built(engine)):
        engine.docker("rmi", "-f", other)
    harness = Harness(
        lambda: DockerExecutor(socket=engine.socket, network="none", user="77"),
        str(tmp_path / "here"),
    )
    async with harness:
        ask = ("python", "-c", "import os, own_lib; print(own_lib.version, os.getuid())")
        first = await harness.run(harness.job(*ask, image=image))
        assert (first.stderr, first.stdout) == (b"", b"1.0 77\n")
        (only,) = built(engine)
        await harness.restart()
        again = await harness.run(harness.job(*ask, image=image))

        assert again.stdout == b"1.0 77\n"
        assert built(engine) == [only]

        engine.docker("rmi", "-f", only)
        assert (await harness.run(harness.job(*ask, image=image))).stdout == b"1.0 77\n"


async def test_an_image_that_cannot_be_built_says_why(
    engine: Dockerd, python_image: str, tmp_path: Path
) -> None:
    image = Image(base=python_image, pip=("gone @ file:///index/gone-1.0-py3-none-any.whl",))
    harness = Harness(
        lambda: DockerExecutor(socket=engine.socket, network="none"), str(tmp_path / "here")
    )
    async with harness:
        with pytest.raises(JobNotStarted, match="gone") as caught:
            await harness.submit(harness.job("/bin/true", image=image))

    assert python_image in str(caught.value)


async def test_a_user_of_an_image_who_cannot_write_the_folders_is_told_so(
    engine: Dockerd, python_image: str, tmp_path: Path
) -> None:
    harness = Harness(
        lambda: DockerExecutor(python_image, socket=engine.socket, network="none"),
        str(tmp_path / "here"),
    )
    async with harness:
        ended = await harness.run(harness.job("/bin/true"))

    assert ended.seen.exit_code in {75, 111}
    assert "give the executor their owner as user" in ended.seen.reason


def test_packages_that_a_plugin_asks_for_are_in_the_image_of_its_jobs(
    engine: Dockerd, python_image: str, tmp_path: Path
) -> None:
    """As plugins of frameworks do: their `transform` adds what they need."""
    plugin = Plugin.create("own").with_image_transform(
        lambda image, cluster: replace(image, pip=(*image.pip, f"own-lib @ file:///index/{WHEEL}"))
    )
    script = "import os, own_lib; print(own_lib.version, os.environ['RUNBUS_IMAGE'])"
    executor = {
        "type": "docker",
        "container_image": python_image,
        "socket": engine.socket,
        "network": "none",
        "user": "77",
        "workdir": "/tmp",
    }

    run = api.run(Command(("python", "-c", script)), executor=executor, plugins=[plugin])

    version, image = Path(run.attempt_folder(1) or "", "stdout.log").read_text().split()
    assert version == "1.0"
    assert image.startswith("runbus/image:")
    assert image.partition("@")[2] in engine.docker("images", "-q", "--no-trunc", "runbus/image")
    with pytest.raises(ExperimentFailed, match="asks for Python packages, which executor 'local'"):
        api.run(Command(("true",)), plugins=[plugin])
