"""What machines keep of batches that are over goes when somebody asks for it, and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from runbus.testing._waiting import wait_until
from runbus.testing.sshd import Sshd

pytestmark = pytest.mark.services

RUNBUS = [sys.executable, "-m", "runbus.cli"]


@pytest.fixture
def runbus(host: Sshd, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a command in a home of its own, from which the host is reached as "box"."""
    ssh = tmp_path / ".ssh"
    ssh.mkdir()
    (ssh / "config").write_text(
        f"Host box\n HostName {host.address}\n Port {host.port}\n User root\n"
        f" IdentityFile {host.identity}\n UserKnownHostsFile {host.known_hosts}\n"
    )

    def runbus(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*RUNBUS, *words], env=os.environ | {"HOME": str(tmp_path), "RUNBUS_SYSTEM": "0"},
            cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    return runbus


def ran(
    runbus: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path, command: str = "true"
) -> Path:
    """Run a batch of one job on the host; return what that keeps of it."""
    far = tmp_path / "it's far"
    before = set(far.glob("2*")) if far.is_dir() else set()
    batch = {
        "project": "p",
        "executors": {
            "box": {"type": "ssh", "hosts": ["box"], "job_dir": str(far), "workdir": "/"}
        },
        "jobs": [{"name": "a", "command": ["sh", "-c", command], "executor": "box"}],
    }
    (tmp_path / "batch.json").write_text(json.dumps(batch))
    done = runbus("submit", "batch.json")
    assert done.returncode == 0, done.stderr
    (kept,) = set(far.glob("2*")) - before
    return kept


def age(folder: Path) -> None:
    """Let nothing have been written below a folder for two days."""
    at = time.time() - 2 * 86400
    for path in [*folder.rglob("*"), folder]:
        os.utime(path, (at, at), follow_symlinks=False)


def collected(
    runbus: Callable[..., subprocess.CompletedProcess[str]], *words: str
) -> tuple[int, list[str], str]:
    """Return what is collected of other machines, and what is said beside it."""
    done = runbus("gc", "--older-than", "0s", "--tagged", "--hosts", "--yes", "--json", *words)
    listed = json.loads(done.stdout)
    return done.returncode, [one["id"] for one in listed if ":/" in one["id"]], done.stderr


def test_a_folder_of_a_batch_that_is_over_goes_from_its_machine_and_no_other(
    runbus: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    old, new = ran(runbus, tmp_path), ran(runbus, tmp_path)
    other = old.parent / "20200101-000000-zzzzzz"  # of another home
    (other / "jobs" / "1-a" / "1").mkdir(parents=True)
    (old / "checkpoint").write_text("of the job")
    age(old)
    age(other)

    assert collected(runbus, "--dry-run")[1] == [f"box:{old}"]
    assert old.is_dir()
    status, gone, said = collected(runbus)

    assert (status, gone) == (0, [f"box:{old}"]), said
    assert not old.exists()
    assert new.is_dir()
    assert other.is_dir()
    # It is removed in the background.
    wait_until(lambda: not list(old.parent.glob("*.removed-part")))
    assert list(old.parent.glob("wrapper-*"))


def test_what_may_be_in_use_or_has_not_all_come_here_is_kept(
    runbus: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    logs = "import runbus; open('f', 'w').close(); runbus.init().log_artifact('f')"
    new = ran(runbus, tmp_path)
    lacks = ran(runbus, tmp_path, f'cd {tmp_path} && {sys.executable} -c "{logs}"')
    age(new)
    age(lacks)
    (artifact,) = (tmp_path / "home").glob("experiments/p/*/runs/*/artifacts/*")
    artifact.rename(tmp_path / "aside")
    (new / "written").touch()

    assert collected(runbus, "--dry-run")[1] == []
    (tmp_path / "aside").rename(artifact)
    age(new)
    assert collected(runbus, "--dry-run")[1] == sorted(f"box:{one}" for one in (new, lacks))


def test_a_machine_that_does_not_answer_is_named_and_left(
    runbus: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path, host: Sshd
) -> None:
    old = ran(runbus, tmp_path)
    age(old)
    host.stop()

    _, gone, said = collected(runbus, "--dry-run")

    assert gone == []
    assert "box is left as it is: no connection to box" in said
    assert old.is_dir()
