"""`runbus attach` after a reboot, and from another machine with the same home: the truth is told.

A reboot is another boot id, and no process of before; another machine has a name and processes of
its own. Both are made with namespaces of this one, which takes root.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

import runbus
from runbus import Command, Dependency, Job
from runbus.experiment import ExperimentDraft
from runbus.jobs import FactReader
from runbus.testing._waiting import wait_until

pytestmark = pytest.mark.services

RUNBUS = str(Path(sys.executable).with_name("runbus"))
SCRIPT = "echo w >m.ckpt; echo up; until [ -e go ]; do sleep 0.05; done; echo x >>m.ckpt"
BOOT_ID = "/proc/sys/kernel/random/boot_id"


@pytest.fixture
def attempt(tmp_path: Path) -> Iterator[Path]:
    """Start a job that waits for a file `go`, and kill its leader; return the attempt's folder."""
    where = str(tmp_path)
    jobs = [
        Job(name="slow", task=Command(("sh", "-c", SCRIPT)), artifacts=["*.ckpt"], cwd=where),
        Job(name="after", task=Command(("true",)), depends_on=["slow"], cwd=where),
        Job(
            name="alarm",
            task=Command(("true",)),
            depends_on=[Dependency(job="slow", when="afternotok")],
            cwd=where,
        ),
    ]
    stored = ExperimentDraft("p", jobs).prepare()
    folder = Path(stored.specs[0].folder)
    with subprocess.Popen([RUNBUS, "attach", "p"], start_new_session=True) as leader:
        wait_until(lambda: "up" in read(folder / "stdout.log"))
        leader.kill()
    yield folder
    (tmp_path / "go").touch()


def read(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""


def states() -> dict[str, str]:
    return {run.name: str(run.state) for run in runbus.runs(project="p")}


def test_after_a_reboot_a_job_is_lost_and_what_it_left_is_kept(
    attempt: Path, tmp_path: Path
) -> None:
    began = json.loads((attempt / "pid.json").read_text())
    os.kill(began["wrapper"], signal.SIGKILL)
    os.killpg(began["pid"], signal.SIGKILL)
    boot = tmp_path / "boot"
    boot.write_text(f"{uuid.uuid4()}\n")

    script = f"mount --bind '{boot}' {BOOT_ID} && exec '{RUNBUS}' attach p"
    done = subprocess.run(["unshare", "-m", "sh", "-c", script], check=False, timeout=120)

    assert done.returncode == 1
    assert states() == {"slow": "LOST", "after": "SKIPPED", "alarm": "SUCCEEDED"}
    slow = runbus.open_run("slow")
    assert [Path(one.path).read_bytes() for one in slow.artifacts()] == [b"w\n"]


def test_another_machine_leads_for_a_while_and_nothing_happens_twice(
    attempt: Path, tmp_path: Path
) -> None:
    script = f"hostname another; exec '{RUNBUS}' attach p"
    other = ["unshare", "-u", "-p", "-f", "--kill-child", "-m", "--mount-proc", "sh", "-c", script]
    leads = Path(runbus.open_run("slow").experiment_folder, "leader")
    with subprocess.Popen(other, start_new_session=True) as elsewhere:
        wait_until(lambda: "another" in read(leads))
        elsewhere.kill()
    (tmp_path / "go").touch()

    assert subprocess.run([RUNBUS, "attach", "p"], check=False, timeout=120).returncode == 0

    assert states() == {"slow": "SUCCEEDED", "after": "SUCCEEDED", "alarm": "SKIPPED"}
    slow = runbus.open_run("slow")
    assert [Path(one.path).read_bytes() for one in slow.artifacts()] == [b"w\nx\n"]
    facts = FactReader(slow.experiment_folder).poll()
    assert sum(type(fact).__name__ == "JobSubmitted" for fact in facts) == 2
