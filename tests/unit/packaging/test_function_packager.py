"""Packagers whose `package` makes the files, as NeMo Run's page writes them."""

from __future__ import annotations

import os
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from runbus import Command, LocalExecutor, api
from runbus.errors import NothingToPackage, PackageUnreadable
from runbus.packaging import FunctionPackager, build_package_blocking


def names(packager: FunctionPackager, source: Path, home: Path) -> list[str]:
    package = build_package_blocking(packager, str(source), home=home)
    with tarfile.open(package.path) as tar:
        return sorted(tar.getnames())


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "train.py").write_text("print(open('built.txt').read())")
    return folder


class Builds(FunctionPackager):
    """Adds a file."""

    def __init__(self, text: str = "built", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.text = text

    def package(self, source_dir: str, target_dir: str) -> str:
        with open(os.path.join(target_dir, "built.txt"), "w") as file:
            file.write(self.text)
        with open(os.path.join(target_dir, "train.py"), "w") as file:
            file.write(Path(source_dir, "train.py").read_text())
        return target_dir


def test_a_job_runs_in_what_the_function_made(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(source)
    executor = LocalExecutor(packager=Builds("by hand"))
    run = api.run(Command(("python3", str(source / "train.py"))), executor=executor)
    assert run.state == "SUCCEEDED"
    assert Path(run.attempt_folder(1) or "", "stdout.log").read_text() == "by hand\n"


def test_without_a_function_it_is_the_folder_itself(source: Path, tmp_path: Path) -> None:
    (source / "notes.txt").write_text("x")
    assert names(FunctionPackager(), source, tmp_path / "h") == ["notes.txt", "train.py"]
    assert names(FunctionPackager(exclude=["*.txt"]), source, tmp_path / "h") == ["train.py"]


@pytest.mark.parametrize("kind", ["zip", "tar", "tgz"])
def test_an_archive_is_unpacked(kind: str, source: Path, tmp_path: Path) -> None:
    class Archives(FunctionPackager):
        def package(self, source_dir: str, target_dir: str) -> str:
            path = os.path.join(target_dir, f"made.{kind}")
            if kind == "zip":
                with zipfile.ZipFile(path, "w") as packed:
                    packed.write(os.path.join(source_dir, "train.py"), "pkg/train.py")
            else:
                with tarfile.open(path, "w:gz" if kind == "tgz" else "w") as tar:
                    tar.add(os.path.join(source_dir, "train.py"), "pkg/train.py")
            return path

    assert [one for one in names(Archives(), source, tmp_path / "h") if one.endswith(".py")] == [
        "pkg/train.py"
    ]


class Bad(FunctionPackager):
    """Does it wrong."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def package(self, source_dir: str, target_dir: str) -> Any:
        path = os.path.join(target_dir, "made")
        match self.kind:
            case "raises":
                raise ValueError("no docker")
            case "number":
                return 3
            case "missing":
                return path
            case "text":
                Path(path).write_text("no archive")
            case "outside":
                with tarfile.open(path, "w") as tar:
                    tar.add(os.path.join(source_dir, "train.py"), "../evil.py")
            case "empty":
                return target_dir
        return path


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("raises", "Bad.package raised ValueError: no docker"),
        ("number", "Bad.package returned 3, which is neither a folder nor an archive"),
        ("missing", "which is neither a folder nor an archive"),
        ("text", "it is no archive"),
        ("outside", "it is no archive"),
    ],
)
def test_what_goes_wrong_is_told(kind: str, told: str, source: Path, tmp_path: Path) -> None:
    with pytest.raises(PackageUnreadable, match=told):
        names(Bad(kind), source, tmp_path / "h")
    assert not [*tmp_path.rglob("evil.py")]


def test_a_function_that_makes_nothing_is_refused(source: Path, tmp_path: Path) -> None:
    with pytest.raises(NothingToPackage):
        names(Bad("empty"), source, tmp_path / "h")
