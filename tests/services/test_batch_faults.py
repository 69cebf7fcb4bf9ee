"""A full disk and a clock that is set back, under a whole batch."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from runbus.testing._waiting import wait_until

pytestmark = pytest.mark.services

RUNBUS = os.path.join(os.path.dirname(sys.executable), "runbus")
FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"
FULL = "no space left on device"
MEETS_IT_S = 5
"""How long a leader that has met a full disk meets it again and again."""


def command(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [RUNBUS, *words], env={**os.environ, **environment}, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def jobs() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(command("status", "--json").stdout)
    return found


def write_batch(tmp_path: Path, *asked: dict[str, Any], **settings: Any) -> str:
    path = tmp_path / "batch.json"
    path.write_text(json.dumps({"project": "faults", "jobs": asked, **settings}))
    return str(path)


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A disk of 4 MiB, with the home folder on it: the wrapper's program takes one of them."""
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder], check=True)
    monkeypatch.setenv("RUNBUS_HOME", str(folder / "home"))
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.parametrize("free_kib", [0, 180, 700, 1500, 1800])
def test_a_full_disk_under_the_store_is_told_and_nothing_runs_twice(
    tmp_path: Path, small: Path, free_kib: int
) -> None:
    runs = tmp_path / "runs"
    asked = [
        {"name": f"j{number}", "command": ["sh", "-c", f"echo j{number} >>{runs}"]}
        for number in range(40)
    ]
    path = write_batch(tmp_path, *asked, max_parallel=4)
    ballast = small / "ballast"
    ballast.write_bytes(bytes((4096 - free_kib) << 10))

    said = tmp_path / "said"
    with (
        said.open("w") as file,
        subprocess.Popen([RUNBUS, "submit", path], stderr=file) as full,
    ):
        wait_until(lambda: full.poll() is not None or FULL in said.read_text().lower())
        # All that is to be recorded finds no room; how a job ended is kept until there is some.
        with suppress(subprocess.TimeoutExpired):
            full.wait(MEETS_IT_S)
        ballast.unlink()
        full.wait(120)
    told = said.read_text()
    assert FULL in told.lower()
    assert "Traceback" not in told
    done = command("attach")
    if "no experiment" in done.stderr:
        # Nothing had been accepted: the person submits again.
        assert not runs.exists()
        done = command("submit", path)
        assert done.returncode == 0
    assert "Traceback" not in done.stderr
    ran = Counter(runs.read_text().split())
    for job in jobs():
        # Of one whose record found no room it is known that it is gone, but not how it ended.
        assert (job["state"], ran[job["name"]]) in {("SUCCEEDED", 1), ("FAILED", 0), ("LOST", 1)}
        assert job["reason"] or job["state"] == "SUCCEEDED"
    assert len(jobs()) == 40


def test_what_is_submitted_after_the_clock_was_set_back_is_the_newest(tmp_path: Path) -> None:
    assert command("submit", write_batch(tmp_path, {"name": "a", "command": ["true"]})).stdout
    later = write_batch(tmp_path, {"name": "b", "command": ["false"]})
    set_back = {"LD_PRELOAD": FAKETIME, "FAKETIME": "-3600", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    assert command("submit", later, **set_back).returncode == 1

    assert [job["name"] for job in jobs()] == ["b"]
    assert command("retry", "latest").returncode == 1
    assert [job["name"] for job in jobs()] == ["b"]
    assert command("ls").stdout.split().count("b") == 2


def test_a_clock_that_is_set_back_an_hour_changes_no_verdict(tmp_path: Path) -> None:
    offset = tmp_path / "offset"
    offset.write_text("+0\n")
    # A new file in its place: a reader must not find it empty.
    back = f"echo -3600 >'{offset}.new'; mv '{offset}.new' '{offset}'"
    path = write_batch(
        tmp_path,
        {"name": "before", "command": ["true"]},
        {"name": "over it", "command": ["sh", "-c", f"{back}; sleep 1; exit 5"]},
        {"name": "too long", "command": ["sleep", "600"], "timeout": 2},
        {"name": "again", "command": ["false"], "retries": 2, "backoff": 0.1},
        {"name": "after", "command": ["true"]},
        max_parallel=2,
    )
    done = command(
        "submit", path, LD_PRELOAD=FAKETIME, FAKETIME_TIMESTAMP_FILE=str(offset),
        FAKETIME_NO_CACHE="1", FAKETIME_DONT_FAKE_MONOTONIC="1",
    )  # fmt: skip

    assert done.returncode == 1
    found = {job["name"]: job for job in jobs()}
    assert [(job["state"], job["attempt"]) for job in found.values()] == [
        ("SUCCEEDED", 1), ("FAILED", 1), ("TIMEOUT", 1), ("FAILED", 3), ("SUCCEEDED", 1),
    ]  # fmt: skip
    assert found["over it"]["exit_code"] == 5
    assert found["after"]["submitted"] < found["before"]["submitted"]
    durations = re.findall(r"(\d+(?:\.\d+)?) s\b", done.stdout)
    assert len(durations) == 5
    assert all(float(seconds) < 60 for seconds in durations)
