"""Real git repositories."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest


class Repository:
    """A git repository in a folder of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True)
        self.git("init", "-q", "-b", "main")

    def git(self, *arguments: str) -> str:
        done = subprocess.run(
            [
                "git", "-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false",
                # Else a process of its own goes on in the folder, with files that come and go.
                "-c", "maintenance.auto=false", "-c", "protocol.file.allow=always", *arguments,
            ],
            cwd=self.path, check=True, capture_output=True, timeout=120,
        )  # fmt: skip
        return os.fsdecode(done.stdout)

    def write(self, name: str | bytes, text: str | bytes = "text\n") -> Path:
        path = self.path / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    def commit(self) -> str:
        self.git("add", "-A")
        self.git("commit", "-q", "-m", "a step")
        return self.git("rev-parse", "HEAD").strip()


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """A repository with a few files, committed."""
    repository = Repository(tmp_path / "a tree")
    repository.write("train.py", "print('hi')\n")
    repository.write("src/model.py", "x = 1\n")
    repository.write("run.sh", "#!/bin/sh\n").chmod(0o755)
    repository.commit()
    return repository


def unpacked(archive: str, folder: Path) -> dict[bytes, bytes]:
    """Unpack with the system's tar; return what lies there by path, links as `-> target`."""
    folder.mkdir(parents=True)
    subprocess.run(["tar", "-xzf", archive, "-C", str(folder)], check=True, timeout=120)
    found: dict[bytes, bytes] = {}
    top = os.fsencode(folder)
    for parent, folders, files in os.walk(top):
        for name in [*folders, *files]:
            path = os.path.join(parent, name)
            inside = os.path.relpath(path, top)
            if os.path.islink(path):
                found[inside] = b"-> " + os.readlink(path)
            elif os.path.isfile(path):
                with open(path, "rb") as file:
                    found[inside] = file.read()
    return found
