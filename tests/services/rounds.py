"""Experiments that are disturbed at random moments: what each round of them has in common."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

__all__ = ["ROUNDS", "Round", "chance_of"]

ROUNDS = int(os.environ.get("RUNBUS_ROUNDS", "3"))
SEED = int(os.environ.get("RUNBUS_SEED", "19"))
JOBS = 4
PATIENCE_S = 400
"""How long a command may take. On a machine that is busy with other things it takes more than a
minute to begin, and after that it may have all jobs to lead to their ends."""
RUNBUS = os.path.join(os.path.dirname(sys.executable), "runbus")


def chance_of(number: int) -> random.Random:
    """Return what decides a round: the same for the same seed and number."""
    return random.Random(SEED * 1000 + number)


class Round:
    """One experiment of some jobs, and the process that leads it.

    Args:
        folder: An empty folder.
        chance: Decides what happens, and when.
    """

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self.folder, self.chance = folder, chance
        self.marks = folder / "marks"
        self.marks.mkdir()
        self.environment = {**os.environ, "RUNBUS_HOME": str(folder / "home")}
        self.codes = {f"j{n}": chance.choice([0, 0, 3]) for n in range(JOBS)}
        self.harmed: set[str] = set()
        self.leader: subprocess.Popen[str] | None = None

    def write(self, executor: dict[str, Any], tenths: int = 12, **more: Any) -> Path:
        """Write the batch.

        Args:
            executor: Where its jobs run.
            tenths: How long one takes at the most, in tenths of a second.
            more: Further fields of each job.
        """
        jobs = []
        for name, code in self.codes.items():
            mark = self.marks / name
            naps = self.chance.randint(1, tenths)
            script = f"echo began >>{mark}; sleep {naps / 10}; echo done >>{mark}; exit {code}"
            jobs.append({"name": name, "command": ["sh", "-c", script], **more})
        batch = {"project": "round", "jobs": jobs, "max_parallel": 3, "executor": "box"}
        path = self.folder / "batch.json"
        path.write_text(json.dumps({**batch, "executors": {"box": executor}}))
        return path

    def begin(self, *words: str) -> None:
        """Start a leader."""
        with (self.folder / "told").open("a") as told:
            self.leader = subprocess.Popen(
                [RUNBUS, *words], env=self.environment, stdin=subprocess.DEVNULL,
                stdout=told, stderr=told, text=True,
            )  # fmt: skip

    def kill_leader(self) -> None:
        """Kill it, as nobody can prepare for."""
        assert self.leader is not None
        self.leader.kill()
        self.leader.wait()

    def told(self) -> str:
        """Return what the leaders have printed."""
        return (self.folder / "told").read_text()

    def job_of(self, name: str) -> str:
        """Return the job of which a backend's name is; empty for none of these."""
        return next((job for job in self.codes if f"-{job}-" in f"-{name}"), "")

    def marks_of(self, job: str) -> list[str]:
        """Return what a job has written down of itself."""
        mark = self.marks / job
        return mark.read_text().split() if mark.exists() else []

    def finish(self, seconds: float = 40) -> list[dict[str, Any]]:
        """Lead the experiment to its end, whichever process led it; return how its jobs stand.

        Args:
            seconds: How long the first leader has for it, if it lives.
        """
        assert self.leader is not None
        with suppress(subprocess.TimeoutExpired):
            self.leader.wait(seconds)
        self.leader.kill()
        self.leader.wait()
        done = self._run("attach")
        assert "runbus/" not in done.stderr.partition("Traceback")[2].partition("\nj")[0]
        if "no experiment" in done.stderr:
            # The leader was killed before it had accepted anything.
            assert not [*self.marks.iterdir()]
            return []
        found: list[dict[str, Any]] = json.loads(self._run("status", "--json").stdout)
        if found:
            assert {job["name"] for job in found} == self.codes.keys()
        return found

    def _run(self, *words: str) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(
                [RUNBUS, *words], env=self.environment, capture_output=True, text=True,
                timeout=PATIENCE_S, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            said = (error.stderr or b"").decode("utf-8", "replace")
            raise AssertionError(f"{words} has not ended, and has said: {said}") from error
