"""`runbus doctor` asks the machines that batch files name."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from runbus.testing.sshd import Sshd

pytestmark = pytest.mark.services

RUNBUS = os.path.join(os.path.dirname(sys.executable), "runbus")


def doctor(*words: str, home: Path) -> tuple[int, dict[str, dict[str, Any]]]:
    done = subprocess.run(
        [RUNBUS, "doctor", "--json", *words],
        env=os.environ | {"HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout, done.stderr
    return done.returncode, {check["title"]: check for check in json.loads(done.stdout)}


def batch(tmp_path: Path, *hosts: Sshd, **fields: Any) -> str:
    """Write a batch file for hosts, and the SSH configuration by which they are reached."""
    ssh = tmp_path / ".ssh"
    ssh.mkdir(exist_ok=True)
    (ssh / "config").write_text(
        "".join(
            f"Host box{number}\n HostName {host.address}\n Port {host.port}\n User root\n"
            f" UserKnownHostsFile {host.known_hosts}\n"
            for number, host in enumerate(hosts)
        )
    )
    executor = {
        "type": "ssh",
        "hosts": [f"box{number}" for number in range(len(hosts))],
        "identity": str(hosts[0].identity),
        "job_dir": str(tmp_path / "it's remote"),
        **fields,
    }
    path = tmp_path / "batch.json"
    job = {"name": "a", "command": ["true"]}
    path.write_text(json.dumps({"project": "p", "executor": executor, "jobs": [job]}))
    return str(path)


def test_machines_that_are_well_are_told_to_be(hosts: list[Sshd], tmp_path: Path) -> None:
    status, checks = doctor(batch(tmp_path, *hosts), home=tmp_path)

    assert status == 0, checks
    for number in range(len(hosts)):
        assert checks[f"host box{number}"]["is_well"]
        assert "s from ours" in checks[f"host box{number}: clock"]["found"]
        assert "GB free" in checks[f"host box{number}: disk"]["found"]
        assert checks[f"host box{number}: files"]["is_well"]
    assert list((tmp_path / "it's remote").iterdir()) == []
    assert not any("setsid" in title or "job_dir" in title for title in checks)


def test_what_ails_a_machine_is_told_with_what_to_do(host: Sshd, tmp_path: Path) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.touch()
    path = batch(tmp_path, host, hosts=["box0", "127.0.0.1:9"], job_dir=str(in_the_way / "below"))

    status, checks = doctor(path, home=tmp_path)

    assert status == 1
    assert not checks["host box0: job_dir"]["is_well"]
    assert "another job_dir" in checks["host box0: job_dir"]["advice"]
    assert "no connection to 127.0.0.1:9" in checks["host 127.0.0.1:9"]["found"]
    assert checks["host 127.0.0.1:9"]["advice"]


def test_an_sftp_that_does_not_work_is_told_although_the_shell_does(
    host: Sshd, tmp_path: Path
) -> None:
    host.stop()
    host.start(Subsystem="sftp /bin/false")

    status, checks = doctor(batch(tmp_path, host), home=tmp_path)

    assert status == 1
    assert checks["host box0"]["is_well"]
    assert checks["host box0: files"]["found"] == "its sftp ends at once"
    assert "sftp" in checks["host box0: files"]["advice"]
