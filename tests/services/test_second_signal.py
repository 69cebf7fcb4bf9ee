"""The second Ctrl-C ends everything within two seconds, whatever stands in the way."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from runbus._home import Home
from runbus.jobs import JobRecord, read_jobs
from runbus.testing._waiting import wait_until
from runbus.testing.sshd import Sshd, sshds

pytestmark = pytest.mark.services

RUNBUS = os.path.join(os.path.dirname(sys.executable), "runbus")

Trouble = Callable[[Path, dict[str, Any]], AbstractContextManager[Callable[[], None]]]
"""Makes ready for a trouble, may change the batch, and yields what brings the trouble about."""


def jobs() -> dict[str, JobRecord]:
    return {
        name: job for one in Home().experiment_folders() for name, job in read_jobs(one).items()
    }


def has_ended_within(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Whether a process ends in so many turns of 10 ms: where the machine stalls, so do we."""
    for _ in range(round(seconds * 100)):
        if process.poll() is not None:
            return True
        time.sleep(0.01)
    return process.poll() is not None


def runs(name: str) -> bool:
    job = jobs().get(name)
    return job is not None and job.started_ns > 0


@contextmanager
def full_disk(folder: Path, batch: dict[str, Any]) -> Iterator[Callable[[], object]]:
    home = folder / "small"
    home.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "none", home], check=True)
    os.environ["RUNBUS_HOME"] = str(home / "home")

    def fill() -> None:
        wait_until(lambda: runs("a"))
        try:
            with (home / "ballast").open("wb", buffering=0) as file:
                while file.write(bytes(4096)):
                    pass
        except OSError:
            pass

    try:
        yield fill
    finally:
        subprocess.run(["umount", "--lazy", home], check=True)


@contextmanager
def almost_full_disk(folder: Path, batch: dict[str, Any]) -> Iterator[Callable[[], object]]:
    """There is room for what the wrapper reads, and none for what it writes."""
    go = folder / "go"
    batch["jobs"][0]["command"] = ["sh", "-c", f"until test -e {go}; do sleep 0.02; done"]
    with full_disk(folder, batch) as fill:

        def leave_two_pages() -> None:
            fill()
            ballast = folder / "small" / "ballast"
            os.truncate(ballast, ballast.stat().st_size - (2 << 12))
            go.touch()
            wait_until(lambda: jobs()["a"].state.is_terminal)

        yield leave_two_pages


def is_deleted(folder: str) -> bool:
    # What is written there meanwhile keeps the folder it lies in.
    shutil.rmtree(folder, ignore_errors=True)
    return not os.path.exists(folder)


@contextmanager
def deleted_home(folder: Path, batch: dict[str, Any]) -> Iterator[Callable[[], object]]:
    def delete() -> None:
        wait_until(lambda: runs("a"))
        wait_until(lambda: is_deleted(Home().path))

    yield delete


@contextmanager
def ssh(folder: Path, batch: dict[str, Any], **options: str) -> Iterator[Sshd]:
    (folder / "sshd").mkdir()
    with sshds(folder / "sshd", count=1) as (host,):
        if options:
            host.stop()
            host.start(**options)
        config = folder / ".ssh" / "config"
        config.parent.mkdir()
        config.write_text(host.settings())
        batch["executor"] = {
            "type": "ssh", "hosts": [host.name], "workdir": "/", "job_dir": str(folder / "far"),
        }  # fmt: skip
        yield host


@contextmanager
def dead_host(folder: Path, batch: dict[str, Any]) -> Iterator[Callable[[], object]]:
    with ssh(folder, batch) as host:

        def die() -> None:
            wait_until(lambda: runs("a"))
            for pid in host.sessions():
                os.kill(pid, signal.SIGSTOP)

        yield die


@contextmanager
def silent_host(folder: Path, batch: dict[str, Any]) -> Iterator[Callable[[], object]]:
    """It takes connections and never says anything."""
    with ssh(folder, batch) as host:
        assert host._listener is not None
        host._listener.send_signal(signal.SIGSTOP)
        yield lambda: wait_until(lambda: "a" in jobs())


@contextmanager
def hung_sftp(folder: Path, batch: dict[str, Any]) -> Iterator[Callable[[], object]]:
    with ssh(folder, batch, Subsystem="sftp /bin/sleep 1000"):
        yield lambda: wait_until(lambda: "a" in jobs())


@contextmanager
def stopped_job(folder: Path, batch: dict[str, Any]) -> Iterator[Callable[[], object]]:
    def stop() -> None:
        wait_until(lambda: runs("a"))
        (folder_of_a,) = Path(Home().path).glob("experiments/*/*/jobs/*a/1")
        pid = json.loads((folder_of_a / "pid.json").read_text())["pid"]
        os.killpg(pid, signal.SIGSTOP)

    yield stop


@contextmanager
def unread(folder: Path, batch: dict[str, Any]) -> Iterator[Callable[[], object]]:
    batch["jobs"][0]["command"] = ["sh", "-c", "seq 100000; exec sleep 600"]
    yield lambda: wait_until(lambda: runs("a"))


TROUBLES = (
    full_disk, almost_full_disk, deleted_home, dead_host, silent_host, hung_sftp, stopped_job,
    unread,
)  # fmt: skip


@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda one: one.__name__)
def test_the_second_signal_ends_everything_within_two_seconds(
    trouble: Trouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNBUS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HOME", str(tmp_path))
    batch: dict[str, Any] = {
        "project": "p", "max_parallel": 1,
        "jobs": [{"name": name, "command": ["sleep", "61.5"]} for name in "ab"],
    }  # fmt: skip
    read, write = os.pipe()
    path = tmp_path / "batch.json"
    with trouble(tmp_path, batch) as bring_about:
        path.write_text(json.dumps(batch))
        with subprocess.Popen(
            [RUNBUS, "submit", str(path)], stdout=subprocess.DEVNULL, stderr=write
        ) as leader:
            try:
                bring_about()
                leader.send_signal(signal.SIGINT)
                time.sleep(0.5)
                leader.send_signal(signal.SIGTERM)
                assert has_ended_within(leader, 2)
            finally:
                leader.kill()
        os.close(write)
        told = os.read(read, 1 << 16).decode()
        os.close(read)
        # Killed by the second one, it was about to end anyway.
        assert leader.returncode in (130, 143, 1, -signal.SIGTERM)
        words = ("error: ", "left before the end of", "CANCELLED", "FAILED")
        assert trouble is unread or any(word in told for word in words)


@pytest.mark.parametrize("is_led", [True, False])
def test_on_a_full_disk_cancel_does_what_it_can(
    is_led: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNBUS_HOME", str(tmp_path / "home"))
    seconds = "62.5" if is_led else "63.5"
    batch: dict[str, Any] = {"project": "p", "jobs": [{"name": "a", "command": ["sleep", seconds]}]}
    path = tmp_path / "batch.json"
    path.write_text(json.dumps(batch))
    with full_disk(tmp_path, batch) as fill:
        with subprocess.Popen([RUNBUS, "submit", str(path)], stderr=subprocess.DEVNULL) as leader:
            try:
                fill()
                pid = json.loads(next(Path(Home().path).rglob("pid.json")).read_text())["pid"]
                if not is_led:
                    leader.kill()
                    leader.wait()
                done = subprocess.run(
                    [RUNBUS, "cancel", "--grace", "0", "latest"],
                    capture_output=True, text=True, timeout=120, check=False,
                )  # fmt: skip
            finally:
                leader.kill()
        assert done.returncode == 0 or "no space left on device" in done.stderr.lower()
        status = subprocess.run([RUNBUS, "status"], capture_output=True, text=True, check=True)
        assert "CANCELLED" in status.stdout or not is_led
        # Its wrapper ends it, or has yet to see that it has ended.
        wait_until(lambda: not os.path.exists(f"/proc/{pid}"))
