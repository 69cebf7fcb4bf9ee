"""Links that break for a minute while jobs end: nothing is lost, repeated or made up."""

from __future__ import annotations

import glob
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runbus.testing._waiting import wait_until

from .links import Link, network

pytestmark = pytest.mark.services

RUNBUS = os.path.join(os.path.dirname(sys.executable), "runbus")
CUT_S = float(os.environ.get("RUNBUS_CUT_S", "60"))


def forget(link: Link) -> None:
    """The host loses its connections and cannot say so: what a reboot of a firewall does."""
    link.cut()
    link.sshd.kill_sessions()


FAULTS: dict[str, Callable[[Link], None]] = {
    "cut": Link.cut,
    "deaf": Link.drop_requests,
    "dumb": Link.drop_answers,
    "forgetful": forget,
}


def jobs_of(fault: str, tmp_path: Path) -> list[dict[str, Any]]:
    """Return jobs: one ends in the dark, one after it, one is submitted in the dark."""

    def waits_for(name: str) -> str:
        return f"until [ -e '{tmp_path / name}' ]; do sleep 0.1; done"

    def far(name: str, script: str) -> dict[str, Any]:
        once = f"echo {fault}-{name} >>'{tmp_path / 'runs'}'"
        words = ["sh", "-c", f"{once}; echo up; {script}"]
        return {"name": f"{fault}-{name}", "executor": fault, "command": words}

    gate = ["sh", "-c", waits_for("dark")]
    return [
        far("ends", f"{waits_for('dark')}; echo last; exit 9"),
        far("stays", f"{waits_for('light')}; echo last; exit 4"),
        {"name": f"{fault}-gate", "executor": "local", "command": gate},
        far("begins", "echo last; exit 7"),
    ]


def write_batch(tmp_path: Path, links: dict[str, Link]) -> Path:
    in_turn = zip(*(jobs_of(fault, tmp_path) for fault in links), strict=True)
    executors = {
        fault: {
            "type": "ssh", "hosts": [link.sshd.name], "slots": 3, "workdir": "/",
            "job_dir": str(tmp_path / fault),
        }
        for fault, link in links.items()
    }  # fmt: skip
    asked = {
        "project": "links",
        # What is to be submitted in the dark waits until a gate ends.
        "max_parallel": 3 * len(links),
        "executors": executors,
        "jobs": [job for turn in in_turn for job in turn],
    }
    path = tmp_path / "batch.json"
    path.write_text(json.dumps(asked))
    return path


def ended_there(tmp_path: Path, fault: str) -> bool:
    # pathlib's glob raises where a folder goes away meanwhile.
    pattern = f"{fault}/*/jobs/*-{fault}-ends/1/exit.json"
    return len(glob.glob(pattern, root_dir=tmp_path)) == 1


def test_links_that_break_for_a_minute_while_jobs_end(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    with network(tmp_path_factory.mktemp("net"), len(FAULTS)) as net:
        links = dict(zip(FAULTS, net.links, strict=True))
        (tmp_path / "user" / ".ssh").mkdir(parents=True)
        (tmp_path / "user" / ".ssh" / "config").write_text(
            "".join(link.sshd.settings() for link in net.links)
        )
        batch = write_batch(tmp_path, links)
        environment = {**os.environ, "HOME": str(tmp_path / "user")}
        with subprocess.Popen(
            net.command(RUNBUS, "submit", str(batch)),
            env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        ) as runbus:  # fmt: skip
            runs = tmp_path / "runs"
            wait_until(lambda: runs.exists() and len(runs.read_text().split()) == 8)
            for fault, link in links.items():
                FAULTS[fault](link)
            (tmp_path / "dark").touch()
            began = time.monotonic()
            wait_until(lambda: all(ended_there(tmp_path, fault) for fault in FAULTS))
            # The promise is about a time, and nothing is to happen in it.
            time.sleep(max(0.0, began + CUT_S - time.monotonic()))
            for link in links.values():
                link.mend()
            (tmp_path / "light").touch()
            assert runbus.wait(120) == 1

    done = subprocess.run(
        [RUNBUS, "status", "--json"], capture_output=True, check=True, timeout=120
    )
    found = {job["name"]: job for job in json.loads(done.stdout)}
    for fault in FAULTS:
        for name, code in (("ends", 9), ("stays", 4), ("begins", 7)):
            job = found[f"{fault}-{name}"]
            assert (job["state"], job["exit_code"], job["attempt"]) == ("FAILED", code, 1), job
            assert Path(job["log"]).read_text() == "up\nlast\n"
    assert sorted(runs.read_text().split()) == sorted(
        f"{fault}-{name}" for fault in FAULTS for name in ("ends", "stays", "begins")
    )
