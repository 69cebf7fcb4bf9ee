"""What a batch survives beside the death of runbus: reboots, reused pids, names made to hurt."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from runbus.testing._waiting import wait_until
from runbus.testing.sshd import sshds

RUNBUS = os.path.join(os.path.dirname(sys.executable), "runbus")

NAMES = [
    "x; rm -rf ~",
    "../../",
    "..",
    "-rf",
    "--help",
    "$(touch pwned)",
    "`touch pwned`",
    "a'b\"c\\d",
    "*",
    "/etc/passwd",
    "two\nlines",
    "ünï çødé ✓",
    " ",
    "n" * 200,
]


def command(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [RUNBUS, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip


def jobs() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(command("status", "--json").stdout)
    return found


def write_batch(tmp_path: Path, *asked: dict[str, Any], **settings: Any) -> str:
    path = tmp_path / "batch.json"
    path.write_text(json.dumps({"project": "faults", "jobs": asked, **settings}))
    return str(path)


def process(pid: int) -> list[str]:
    """Return the fields of a process's stat after its name."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


@contextmanager
def interrupted(tmp_path: Path, home: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Have a job running when the power fails: all of it is dead and has recorded nothing."""
    path = write_batch(tmp_path, {"name": "a", "command": ["sleep", "600"]})
    with subprocess.Popen([RUNBUS, "submit", path], stdout=subprocess.DEVNULL) as leader:
        wait_until(lambda: command("status", "--json").stdout.count("RUNNING") == 1)
        leader.kill()
    (record,) = home.glob("experiments/*/*/jobs/*/1/pid.json")
    began: dict[str, Any] = json.loads(record.read_text())
    os.kill(int(process(began["pid"])[1]), signal.SIGKILL)
    os.killpg(began["pid"], signal.SIGKILL)
    yield record, began


def check_bystander_survives(record: Path, began: dict[str, Any], told: dict[str, Any]) -> None:
    """Write a record that fits another process, and see what attach and cancel make of it."""
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as bystander:
        fields = {"pid": bystander.pid, "start": int(process(bystander.pid)[19])}
        record.write_text(json.dumps(began | fields | told, separators=(",", ":")) + "\n")

        cancelled = command("cancel", "faults", "--grace", "1")
        attached = command("attach")

        assert bystander.poll() is None
        bystander.kill()
    assert cancelled.returncode == 0, cancelled.stderr
    assert attached.returncode == 1
    (job,) = jobs()
    assert (job["state"], job["exit_code"]) == ("LOST", None)
    assert job["reason"] == "its process is gone and left no exit record"


def test_a_job_does_not_outlive_a_reboot_and_what_has_its_pid_now_is_left_alone(
    tmp_path: Path, home: Path
) -> None:
    with interrupted(tmp_path, home) as (record, began):
        # Even one that started as many ticks after boot as the job had.
        check_bystander_survives(record, began, {"boot": "0" * 8 + began["boot"][8:]})


def test_a_pid_that_was_given_to_another_process_is_not_the_job(tmp_path: Path, home: Path) -> None:
    with interrupted(tmp_path, home) as (record, began):
        check_bystander_survives(record, began, {"start": began["start"]})


def check_names(tmp_path: Path, **settings: Any) -> None:
    asked = [
        {"name": name, "command": ["sh", "-c", f"echo {index}; exit {index}"]}
        for index, name in enumerate(NAMES)
    ]
    before = {path for path in tmp_path.rglob("*") if path.is_file()}

    done = command("submit", write_batch(tmp_path, *asked, **settings))

    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert [(job["name"], job["exit_code"]) for job in jobs()] == [
        (name, index) for index, name in enumerate(NAMES)
    ]
    for index, job in enumerate(jobs()):
        assert Path(job["log"]).read_text() == f"{index}\n"
    for name in ("../../", "--help"):
        assert command("logs", "--", name).stdout == f"{NAMES.index(name)}\n"
    assert before <= {path for path in tmp_path.rglob("*") if path.is_file()}
    assert not list(tmp_path.rglob("pwned"))
    assert {path.name for path in tmp_path.iterdir()} <= {"home", "user", "far", "batch.json"}


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A person's own folder, with something to lose."""
    folder = tmp_path / "user"
    (folder / ".ssh").mkdir(parents=True)
    (folder / "thesis").write_text("all of it")
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.chdir(folder)
    return folder


def test_names_that_are_made_to_hurt_name_jobs(tmp_path: Path, user: Path) -> None:
    check_names(tmp_path)


@pytest.mark.services
def test_names_that_are_made_to_hurt_name_jobs_over_ssh(
    tmp_path: Path, user: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with sshds(tmp_path_factory.mktemp("sshd"), 1) as (host,):
        (user / ".ssh/config").write_text(host.settings())
        far = {
            "type": "ssh", "hosts": [host.name], "slots": 4, "workdir": str(user),
            "job_dir": str(tmp_path / "far"),
        }  # fmt: skip
        check_names(tmp_path, executor=far)
