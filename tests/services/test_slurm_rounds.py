"""A cluster that fails in all its ways, under experiments: no job runs twice, no end is wrong.

`RUNBUS_ROUNDS=30 RUNBUS_SEED=7 pytest tests/services/test_slurm_rounds.py` for more of the same.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runbus.testing._waiting import wait_until
from runbus.testing.slurmd import NODES, Slurm, slurm_cluster

from .rounds import ROUNDS, Round, chance_of

pytestmark = pytest.mark.services


@pytest.fixture(scope="module")
def own() -> Iterator[Slurm]:
    """A cluster of its own: what happens to it is nobody else's."""
    with slurm_cluster() as slurm:
        yield slurm


class SlurmRound(Round):
    """A round on a cluster.

    Args:
        slurm: The cluster.
        folder: An empty folder.
        chance: Decides what happens, and when.
    """

    def __init__(self, slurm: Slurm, folder: Path, chance: random.Random) -> None:
        super().__init__(folder, chance)
        self.slurm = slurm
        self.environment |= slurm.environment
        self.put_back: set[str] = set()

    def start(self) -> None:
        """Submit the jobs."""
        executor = {"type": "slurm", "job_dir": str(self.folder / "far"), "poll_s": 0.5}
        self.begin("submit", str(self.write(executor, tenths=40, retries=1)))

    def disturb(self) -> str:
        """Let something happen; return what."""
        what = self.chance.choice(
            ["controller stopped", "accounts stopped", "leader killed", "machine killed",
             "job cancelled", "job killed", "job suspended", "job put back"],
        )  # fmt: skip
        away_s = self.chance.uniform(0, 3)
        if what == "controller stopped":
            self.slurm.stop_controller()
            time.sleep(away_s)
            self.slurm.start_controller()
        elif what == "accounts stopped":
            self.slurm.stop_accounts()
            time.sleep(away_s)
            self.slurm.start_accounts()
        elif what == "machine killed":
            # What it has started continues: the next slurmd takes it over.
            node = self.chance.randint(1, NODES)
            self.slurm.kill_node(node)
            time.sleep(away_s)
            self.slurm.start_node(node)
        elif what == "leader killed":
            self.kill_leader()
            self.begin("attach")
        else:
            self._to_a_job(what.partition(" ")[2])
        return what

    def _to_a_job(self, verb: str) -> None:
        # Of an array that waits, scancel with a signal ends more than the element that it is told.
        states = "R" if verb == "killed" else "R,PD"
        rows = self.slurm.ask("squeue", "-h", "-r", "-t", states, "-o", "%i %K %j").split("\n")
        numbers = [row.split()[0] for row in rows if len(row.split()) == 3]
        if not numbers:
            return
        number = self.chance.choice(numbers)
        name = self._job_of(number)
        if not name:
            return
        if verb == "suspended":
            self.slurm.ask("scontrol", "suspend", number)
            time.sleep(0.5)
            self.slurm.ask("scontrol", "resume", number)
        elif verb == "put back":
            self.put_back.add(name)
            self.slurm.ask("scontrol", "update", f"JobId={number}", "Requeue=1")
            self.slurm.ask("scontrol", "requeue", number)
        else:
            self.harmed.add(name)
            more = ["--signal=KILL", "--full"] if verb == "killed" else []
            self.slurm.ask("scancel", *more, number)

    def _job_of(self, number: str) -> str:
        for kept in self.folder.glob("far/*/jobs/*/*/slurm.id"):
            if kept.read_text().strip() == number:
                return self.job_of(f"{kept.parent.parent.name}-")
        return ""

    def check(self, jobs: list[dict[str, Any]]) -> None:
        """See that each job ran once in each attempt, and ended as its record says."""
        for job in jobs:
            name, state, marks = job["name"], job["state"], self.marks_of(job["name"])
            attempts = marks.count("began")
            # One that its own exit code has failed is tried again, as is one that was put back.
            assert attempts <= 2, (job, marks)
            assert "done began began" not in " ".join(marks), (job, marks)
            if name in self.harmed | self.put_back:
                ends = {"SUCCEEDED", "FAILED", "CANCELLED", "LOST", "PREEMPTED"}
                assert state in ends, job
            else:
                assert state == ("FAILED" if self.codes[name] else "SUCCEEDED"), job
                tries = 2 if self.codes[name] else 1
                assert marks == ["began", "done"] * tries, (job, marks)
            if state == "SUCCEEDED" or (state == "FAILED" and job["exit_code"] == 3):
                assert marks[-2:] == ["began", "done"], job
                assert job["exit_code"] == self.codes[name], job

    def heal(self) -> None:
        """End what is left, and wait until the next round finds idle machines."""
        left = self.slurm.ask("squeue", "-h", "-o", "%A").split()
        self.slurm.ask("scancel", *left)
        idle = ("sinfo", "-h", "-N", "-t", "idle", "-p", "debug", "-o", "%N")
        wait_until(lambda: self.slurm.ask(*idle).count("node") == NODES)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("number", range(ROUNDS))
def test_whatever_happens_no_job_runs_twice_and_no_end_is_wrong(
    own: Slurm, tmp_path: Path, number: int
) -> None:
    chance = chance_of(number)
    one = SlurmRound(own, tmp_path, chance)
    one.start()
    happened = []
    for _ in range(chance.randint(1, 3)):
        time.sleep(chance.uniform(0.2, 3))
        happened.append(one.disturb())
    try:
        one.check(one.finish(100))
    except AssertionError as error:
        raise AssertionError(f"after {happened}: {error}\n{one.told()}") from error
    finally:
        one.heal()
