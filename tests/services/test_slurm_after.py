"""Jobs that wait for others in Slurm's own queue, whether or not anybody leads them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from runbus.abc import UNMET
from runbus.events import Condition, JobEnded, JobStarted, JobSubmitted
from runbus.jobs import FactReader
from runbus.testing._waiting import wait_until
from runbus.testing.conformance.executor import Harness
from runbus.testing.slurmd import Slurm

pytestmark = [pytest.mark.services, pytest.mark.usefixtures("slurm")]

RUNBUS = [sys.executable, "-m", "runbus.cli"]


class Batch:
    """A batch whose first job ends once it is told to.

    Args:
        slurm: Where it runs.
        folder: Where everything of it lies.
    """

    def __init__(self, slurm: Slurm, folder: Path) -> None:
        self.slurm = slurm
        self.folder = folder
        self.ran, self.go = folder / "ran", folder / "go"
        self.home = {
            **slurm.environment, "RUNBUS_HOME": str(folder / "home"), "RUNBUS_SYSTEM": "0"
        }  # fmt: skip
        self.jobs: list[dict[str, Any]] = []

    def job(self, name: str, then: str = "true", **fields: Any) -> None:
        """Add a job that says that it ran."""
        command = ["sh", "-c", f"echo {name} >>{self.ran}; {then}"]
        self.jobs.append({"name": name, "command": command, "executor": "slurm", **fields})

    def parent(self, then: str = "true", **fields: Any) -> None:
        """Add the first job, "p"."""
        wait = f"until [ -e {self.go} ]; do sleep 0.1; done; {then}"
        self.job("p", wait, **fields)

    def submit(self, count: int = 0) -> subprocess.Popen[str]:
        """Begin to lead it; return the leader once Slurm has all of its jobs, or so many."""
        far = {"type": "slurm", "job_dir": str(self.folder / "far"), "poll_s": 0.5}
        later = {**far, "additional_parameters": {"begin": "now+1hour"}}
        asked = {
            "project": "after", "jobs": self.jobs, "max_parallel": 8,
            "executors": {"slurm": far, "later": later},
        }  # fmt: skip
        (self.folder / "batch.json").write_text(json.dumps(asked))
        leader = subprocess.Popen(
            [*RUNBUS, "submit", "batch.json"], env=self.home, cwd=self.folder,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        try:
            wait_until(lambda: self.handed_over() == (count or len(self.jobs)))
        except BaseException:
            leader.kill()
            print(leader.communicate()[0])
            raise
        return leader

    def handed_over(self) -> int:
        """Return how many jobs are on record as handed over."""
        return sum(state not in ("INTENT", "PENDING") for state in self.states().values())

    def command(self, *words: str) -> str:
        done = subprocess.run(
            [*RUNBUS, *words], env=self.home, cwd=self.folder, capture_output=True, text=True,
            timeout=150, check=False,
        )  # fmt: skip
        return done.stdout

    def status(self) -> list[dict[str, Any]]:
        return json.loads(self.command("status", "--json") or "[]")  # type: ignore[no-any-return]

    def states(self) -> dict[str, str]:
        return {job["name"]: job["state"] for job in self.status()}

    def reasons(self) -> dict[str, str]:
        return {job["name"]: job["reason"] for job in self.status() if job["reason"]}

    def order(self) -> list[str]:
        """Return which jobs have run, in the order in which they began."""
        return self.ran.read_text().split() if self.ran.exists() else []

    def numbers(self) -> list[str]:
        found = self.folder.glob("far/*/jobs/*/*/slurm.id")
        return [number for path in found if (number := path.read_text().strip())]

    def said(self, number: str) -> str:
        """Return how one of its jobs stands for Slurm, and why."""
        return self.slurm.ask("squeue", "-h", "-j", number, "-o", "%T (%r)")

    def is_gone(self) -> bool:
        """Whether Slurm, which answers, has none of its jobs left."""
        listed = self.slurm.ask("squeue", "-h", "-r", "-o", "%i")
        return "error" not in listed and not set(listed.split()) & {*self.numbers()}


@pytest.fixture
def batch(slurm: Slurm, tmp_path: Path) -> Batch:
    return Batch(slurm, tmp_path)


def test_a_chain_runs_to_its_end_while_nobody_leads_it(batch: Batch) -> None:
    batch.parent()
    batch.job("q", depends_on=["p"])
    batch.job("r", depends_on=["q", "p"])
    leader = batch.submit()
    why = batch.command("why", "q")
    wait_until(lambda: batch.states()["p"] == "RUNNING")
    leader.kill()
    leader.communicate()
    batch.slurm.stop_controller()
    batch.slurm.start_controller()
    batch.go.touch()
    wait_until(batch.is_gone)

    assert batch.order() == ["p", "q", "r"]
    assert batch.states() == {"p": "RUNNING", "q": "QUEUED", "r": "QUEUED"}
    assert "it waits for the end of job 'p', on which it depends" in why
    batch.command("attach")
    assert batch.states() == dict.fromkeys("pqr", "SUCCEEDED")
    assert batch.order() == ["p", "q", "r"]


def test_a_start_is_told_after_the_ends_of_what_it_waits_for_and_a_submission_before(
    batch: Batch,
) -> None:
    batch.parent()
    batch.job("q", depends_on=["p"])
    batch.job("r", depends_on=["q"])
    leader = batch.submit()
    batch.go.touch()
    leader.communicate(timeout=120)

    (experiment,) = (batch.folder / "home" / "experiments" / "after").iterdir()
    facts = FactReader(str(experiment)).poll()
    told = [
        (type(fact), fact.job)
        for fact in facts
        if isinstance(fact, JobSubmitted | JobStarted | JobEnded)
    ]
    before = told[: told.index((JobEnded, "p"))]
    assert [name for kind, name in before if kind is JobSubmitted] == ["p", "q", "r"]
    assert [one for one in told if one[0] is not JobSubmitted] == [
        (kind, name) for name in "pqr" for kind in (JobStarted, JobEnded)
    ]


def test_what_needs_the_success_of_a_job_waits_in_the_queue_though_that_may_be_tried_again(
    batch: Batch,
) -> None:
    batch.parent(f"mkdir {batch.folder}/tried 2>/dev/null && exit 3; true", retries=1, backoff=0)
    batch.job("q", depends_on=["p"])
    batch.job("r", depends_on=["q"])
    leader = batch.submit()
    batch.go.touch()
    leader.communicate(timeout=150)

    assert batch.states() == dict.fromkeys("pqr", "SUCCEEDED")
    assert batch.order() == ["p", "p", "q", "r"]


def test_arrays_wait_for_arrays(batch: Batch) -> None:
    grid: dict[str, Any] = {"sweep": {"grid": {"n": [1, 2, 3]}}}
    batch.parent(**grid)
    batch.job("q", depends_on=["p"], **grid)
    batch.job("r", depends_on=["p", "q"])
    leader = batch.submit(7)
    batch.go.touch()
    leader.communicate(timeout=120)

    assert set(batch.states().values()) == {"SUCCEEDED"}
    assert batch.order() == ["p"] * 3 + ["q"] * 3 + ["r"]
    assert len({number.partition("_")[0] for number in batch.numbers()}) == 3


@pytest.mark.parametrize("is_led", [True, False], ids=["led", "left alone"])
def test_after_a_failure_runs_what_may_and_the_rest_is_skipped(batch: Batch, is_led: bool) -> None:
    batch.parent("exit 3")
    batch.job("ok", depends_on=["p"])
    batch.job("and-so-on", depends_on=["ok"])
    for when in ("afternotok", "afterany"):
        batch.job(when, depends_on=[{"job": "p", "when": when}])
    leader = batch.submit()
    if not is_led:
        leader.kill()
        leader.communicate()
    batch.go.touch()
    wait_until(batch.is_gone)
    if is_led:
        leader.communicate(timeout=120)
    else:
        assert sorted(batch.order()) == ["afterany", "afternotok", "p"]
        batch.command("attach")

    assert sorted(batch.order()) == ["afterany", "afternotok", "p"]
    assert batch.states() == {
        "p": "FAILED", "ok": "SKIPPED", "and-so-on": "SKIPPED", "afternotok": "SUCCEEDED",
        "afterany": "SUCCEEDED",
    }  # fmt: skip
    assert batch.reasons() == {
        "p": "exit code 3",
        "ok": "it needs job 'p' to succeed, and that ended as FAILED",
        "and-so-on": "it needs job 'ok' to succeed, and that ended as SKIPPED",
    }


def test_a_parent_that_is_cancelled_skips_what_needs_it_and_starts_what_does_not(
    batch: Batch,
) -> None:
    batch.parent()
    batch.job("ok", depends_on=["p"])
    batch.job("any", depends_on=[{"job": "p", "when": "afterany"}])
    leader = batch.submit()
    wait_until(lambda: batch.order() == ["p"])
    batch.command("cancel", "p")
    leader.communicate(timeout=120)

    assert batch.states() == {"p": "CANCELLED", "ok": "SKIPPED", "any": "SUCCEEDED"}
    assert batch.order() == ["p", "any"]


def test_a_parent_that_leaves_no_record_leaves_the_decision_to_who_leads(batch: Batch) -> None:
    batch.job("p", executor="later")
    batch.job("rescue", depends_on=[{"job": "p", "when": "afternotok"}])
    leader = batch.submit()
    (number,) = wait_until(
        lambda: [one for one in batch.numbers() if "(BeginTime)" in batch.said(one)]
    )
    batch.slurm.ask("scancel", number)
    leader.communicate(timeout=120)

    states = batch.states()
    assert (states["p"], states["rescue"]) == ("FAILED", "SUCCEEDED")
    assert batch.order() == ["rescue"]


@pytest.mark.parametrize(
    ("script", "when", "runs"),
    [
        ("exit 0", "afterok", True), ("exit 3", "afterok", False),
        ("exit 3", "afternotok", True), ("exit 0", "afternotok", False),
        ("kill -9 $$", "afterany", True),
    ],
)  # fmt: skip
async def test_what_slurm_has_forgotten_is_known_by_its_record(
    harness: Harness, tmp_path: Path, script: str, when: Condition, runs: bool
) -> None:
    parent = harness.shell(script)
    await harness.end(await harness.submit(parent))
    forget(tmp_path)

    child = harness.shell("echo ran", after=(harness.end_of(parent, when),))
    ended = await harness.end(await harness.submit(child))

    assert ended.stdout == (b"ran\n" if runs else b"")
    assert ended.seen.reason == ("" if runs else UNMET)
    assert bool(ended.seen.started_ns) == runs


async def test_what_slurm_forgets_while_it_runs_is_not_taken_for_ended(
    harness: Harness, tmp_path: Path
) -> None:
    parent = harness.shell("echo up; exec sleep 600")
    ref = await harness.submit(parent)
    await harness.output(ref, b"up")
    forget(tmp_path)
    child = harness.shell("echo ran", after=(harness.end_of(parent, "afterany"),))
    ended = await harness.end(await harness.submit(child))

    assert (ended.stdout, ended.seen.reason) == (b"", UNMET)


def forget(folder: Path) -> None:
    """Let the one job have a number that Slurm does not know, as if Slurm had purged it."""
    (number,) = folder.glob("far/*/jobs/*/*/slurm.id")
    number.write_text("4000000\n")
