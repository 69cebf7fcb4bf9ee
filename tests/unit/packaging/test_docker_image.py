"""Packagers whose code becomes an image: what is to be built, and who can build it."""

from __future__ import annotations

from pathlib import Path

import pytest

from runbus import Config, LocalExecutor
from runbus.errors import FieldInvalid, NothingToPackage, PackageUnreadable, Unsupported, UsageError
from runbus.executors import DockerExecutor, build_image
from runbus.packaging import (
    DockerImagePackager,
    HybridPackager,
    PatternPackager,
    build_package_blocking,
)
from runbus.plugins import PluginRegistry
from runbus.testing.conformance.executor import Harness


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    (folder / ".venv").mkdir(parents=True)
    (folder / ".venv" / "big").write_text("x")
    (folder / "train.sh").write_text("echo trained")
    return folder


def test_the_package_is_that_of_the_packager_within_and_says_what_image_to_build(
    source: Path, tmp_path: Path
) -> None:
    packager = DockerImagePackager("python:3.12", push="registry:5000/team/train", login="env:L")

    package = build_package_blocking(packager, source, home=tmp_path / "home")

    assert [file.path for file in package.manifest.files] == ["train.sh"]
    assert package.image is not None
    assert package.image.dockerfile == 'ARG BASE_IMAGE\nFROM $BASE_IMAGE\nCOPY [".","/code"]\n'
    assert (package.image.base, package.image.folder) == ("python:3.12", "/code")
    assert (package.image.repository, package.image.login) == ("registry:5000/team/train", "env:L")
    plain = build_package_blocking(PatternPackager("*.sh"), source, home=tmp_path / "home")
    assert (plain.sha256, plain.image) == (package.sha256, None)


def test_a_dockerfile_is_a_file_of_the_code_or_a_text(source: Path, tmp_path: Path) -> None:
    (source / "custom.Dockerfile").write_text("FROM scratch\n")
    home = tmp_path / "home"
    of_file = Config(
        DockerImagePackager, base_image="base", dockerfile_template="custom.Dockerfile"
    ).build()
    of_text = DockerImagePackager(dockerfile_template="FROM scratch\n")
    for packager in (of_file, of_text):
        recipe = build_package_blocking(packager, source, home=home).image
        assert recipe is not None
        assert recipe.dockerfile == "FROM scratch\n"
    with pytest.raises(PackageUnreadable, match=r"gone\.Dockerfile"):
        build_package_blocking(DockerImagePackager("b", "gone.Dockerfile"), source, home=home)
    (source / "binary").write_bytes(b"\xff\n")
    with pytest.raises(PackageUnreadable, match="binary"):
        build_package_blocking(DockerImagePackager("b", "binary"), source, home=home)


def test_what_cannot_be_is_refused_where_it_is_written(source: Path, tmp_path: Path) -> None:
    for folder in ("code", "/", "/code/", "/a/../b", "/a\nRUN x"):
        with pytest.raises(FieldInvalid, match="folder"):
            DockerImagePackager("base", folder=folder)
    for push in ("train", "registry:5000/Team", "registry/train:1", "registry/a b"):
        with pytest.raises(FieldInvalid, match="push"):
            DockerImagePackager("base", push=push)
    home = tmp_path / "home"
    with pytest.raises(NothingToPackage):
        build_package_blocking(
            DockerImagePackager(packager=PatternPackager("*.rs")), source, home=home
        )
    with pytest.raises(UsageError, match="as a whole"):
        build_package_blocking(HybridPackager([DockerImagePackager("b")]), source, home=home)


async def test_an_executor_that_builds_no_images_says_so(source: Path, tmp_path: Path) -> None:
    package = build_package_blocking(DockerImagePackager("b"), source, home=tmp_path / "home")
    async with Harness(DockerExecutor, str(tmp_path / "here")) as harness:
        job = harness.job("/bin/true", package=package)
    with pytest.raises(Unsupported, match="an image of its code"):
        LocalExecutor(gpus=[]).plan(job)


async def test_paths_of_a_job_lead_to_the_code_in_its_image(source: Path, tmp_path: Path) -> None:
    package = build_package_blocking(
        DockerImagePackager("base", folder="/srv/app"), source, home=tmp_path / "home"
    )
    async with Harness(DockerExecutor, str(tmp_path / "here")) as harness:
        job = harness.job("sh", f"{source}/train.sh", package=package, cwd=str(source))
        shown = harness.executor.plan(job).render()

    assert "exec sh /srv/app/train.sh" in shown.replace(
        '${rb_alone:+"$rb_alone"} ${rb_alone:+--} ', ""
    )
    assert "cd /srv/app" in shown
    assert "tar -x" not in shown
    assert package.path not in shown


async def test_an_image_that_nobody_asked_for_is_not_built(source: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    with pytest.raises(UsageError, match="no image"):
        await build_image(build_package_blocking(PatternPackager("*"), source, home=home))
    with pytest.raises(UsageError, match="base_image"):
        await build_image(build_package_blocking(DockerImagePackager(), source, home=home))


def test_it_has_a_name_in_files() -> None:
    assert PluginRegistry().packagers["image"] is DockerImagePackager
