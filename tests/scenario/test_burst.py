"""SIGKILL of runbus at any point of a burst of submits: every job runs exactly once."""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from runbus._core import JournalReader
from runbus.testing._waiting import PATIENCE_S, wait_until
from runbus.testing.sshd import sshds

RUNBUS = os.path.join(os.path.dirname(sys.executable), "runbus")
ROUNDS = int(os.environ.get("RUNBUS_BURST_ROUNDS", "8"))
JOBS = int(os.environ.get("RUNBUS_BURST_JOBS", "60"))
FAR_JOBS = 40
FILES = {
    "question": "experiment.json",
    "folder": "",
    "placement": "placement.json",
    "request": "request",
    "start": "pid.json",
    "end": "exit.json",
}
"""What an attempt's folder gets in the course of time, some of it only here or only over SSH."""


class Point(NamedTuple):
    """A moment at which to kill: the `number`th of something is there."""

    what: str
    number: int

    def __str__(self) -> str:
        return f"{self.what} {self.number}"

    def look(self, experiment: Path) -> Callable[[], bool]:
        """Return what asks whether it has come."""
        if self.what == "fact":
            return facts_in(experiment / "events.journal", self.number)
        folder = f"jobs/{self.number}-j{self.number}/1"
        path = experiment / ("" if self.what == "question" else folder) / FILES[self.what]
        return path.exists


def facts_in(journal: Path, number: int) -> Callable[[], bool]:
    """Return what asks whether a journal has so many facts."""
    counted = 0
    readers: list[JournalReader] = []

    def look() -> bool:
        nonlocal counted
        if not readers and journal.exists():
            readers.append(JournalReader(journal))
        counted += sum(len(reader.poll()) for reader in readers)
        return counted >= number

    return look


def points(files: Sequence[str], jobs: int, count: int) -> list[Point]:
    """Return moments spread over everything that happens, the same in each run."""
    dice = random.Random(5)
    kinds = itertools.cycle([*files, "fact", "question", "fact"])
    return [
        # Of each job its intent, that it was submitted, its start and its end are recorded.
        Point(kind, dice.randrange(1, 4 * jobs - 4 if kind == "fact" else jobs))
        for kind in itertools.islice(kinds, count)
    ]


def kill_at(point: Point, command: Sequence[str], project: Path) -> None:
    """Run a command and kill it at a moment of the only experiment of a project."""
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as leader:
        wait_until(project.exists)
        look = point.look(project / wait_until(lambda: os.listdir(project))[0])
        ends = time.monotonic() + PATIENCE_S
        # Without a pause: a moment is soon over.
        while not look():
            assert leader.poll() is None, f"it ended before {point}"
            assert time.monotonic() < ends
        leader.send_signal(signal.SIGKILL)
    assert leader.returncode == -signal.SIGKILL


def command(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [RUNBUS, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=150,
        check=False,
    )  # fmt: skip


def check_burst(tmp_path: Path, home: Path, jobs: int, point: Point, **settings: Any) -> None:
    """Submit jobs, kill runbus at a point, attach, and see that each job ran exactly once."""
    runs, killed = tmp_path / "runs", tmp_path / "killed"
    scripts = {number: f"echo {number} >>{runs}" for number in range(1, jobs + 1)}
    # However late it is noticed that the moment has come, runbus has something left to wait for.
    scripts[jobs] = f"until test -e {killed}; do sleep 0.05; done; {scripts[jobs]}"
    asked = [
        {"name": f"j{number}", "command": ["sh", "-c", script]}
        for number, script in scripts.items()
    ]
    batch = tmp_path / "batch.json"
    batch.write_text(json.dumps({"project": "burst", "max_parallel": 8, "jobs": asked, **settings}))

    kill_at(point, [RUNBUS, "submit", str(batch)], home / "experiments/burst")
    killed.touch()

    done = command("attach")
    if done.returncode != 0 and point.what == "folder":
        # Nothing had been accepted, and nothing has run: the person submits again.
        assert "no experiment" in done.stderr
        assert not runs.exists()
        done = command("submit", str(batch))
    assert done.returncode == 0, done.stderr
    states = [job["state"] for job in json.loads(command("status", "--json").stdout)]
    assert states == ["SUCCEEDED"] * jobs
    assert sorted(map(int, runs.read_text().split())) == list(range(1, jobs + 1))


@pytest.mark.parametrize(
    "point", points(["folder", "request", "start", "end"], JOBS, ROUNDS), ids=str
)
def test_kill_9_at_any_point_of_a_submit_burst_runs_every_job_exactly_once(
    tmp_path: Path, home: Path, point: Point
) -> None:
    check_burst(tmp_path, home, JOBS, point)


@pytest.mark.services
@pytest.mark.parametrize("point", points(["placement", "start", "end"], FAR_JOBS, 12), ids=str)
def test_kill_9_at_any_point_of_a_burst_over_ssh_runs_every_job_exactly_once(
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    home: Path,
    point: Point,
) -> None:
    user = tmp_path / "user"
    (user / ".ssh").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(user))
    with sshds(tmp_path_factory.mktemp("sshd")) as hosts:
        (user / ".ssh/config").write_text("".join(host.settings() for host in hosts))
        check_burst(
            tmp_path, home, FAR_JOBS, point,
            executor={
                "type": "ssh", "hosts": [host.name for host in hosts], "slots": 3, "workdir": "/",
                "job_dir": str(tmp_path / "far"),
            },
        )  # fmt: skip
