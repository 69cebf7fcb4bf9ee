"""A cluster that soon forgets jobs and gives their numbers again, with accounts and without."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from runbus.abc import UNMET, JobRef
from runbus.events import Condition
from runbus.executors import SlurmExecutor
from runbus.testing._waiting import wait_until
from runbus.testing.conformance.executor import Harness
from runbus.testing.slurmd import Slurm, slurm_cluster
from runbus.testing.slurmrestd import slurmrestd

pytestmark = [pytest.mark.services, pytest.mark.usefixtures("slurm")]

LATER = {"begin": "now+1hour"}


@pytest.fixture(scope="module", params=[True, False], ids=["accounts", "no accounts"])
def cluster(request: pytest.FixtureRequest) -> Iterator[Slurm]:
    """A cluster of its own that forgets a job a few seconds after its end."""
    with slurm_cluster(keeps_accounts=request.param, MinJobAge="2") as slurm:
        yield slurm


class Jobs:
    """What a test does to jobs behind the back of who follows them.

    Args:
        slurm: The cluster.
        folder: That of the test.
    """

    def __init__(self, slurm: Slurm, folder: Path) -> None:
        self.slurm = slurm
        self._folder = folder

    def folder(self, ref: JobRef) -> Path:
        """Return an attempt's folder on the cluster."""
        (found,) = self._folder.glob(f"far/*/jobs/{Path(ref.folder).parent.name}/1")
        return found

    def number(self, ref: JobRef) -> str:
        """Return what Slurm calls a job."""
        return (self.folder(ref) / "slurm.id").read_text().strip()

    def kill(self, ref: JobRef) -> None:
        """Kill all processes of a job: it leaves no record of its end."""
        self.slurm.kill_job(self.number(ref))

    def cancel(self, ref: JobRef) -> None:
        """Cancel a job as an administrator does."""
        self.slurm.ask("scancel", self.number(ref))

    def has_failed(self, ref: JobRef) -> bool:
        """Whether a job has failed for the accounts; where none are kept, for the controller."""
        number = self.number(ref)
        queue = ("squeue", "-h", "-t", "all", "-j", number, "-o", "%T")
        accounts = ("sacct", "-n", "-X", "-j", number, "-o", "State")
        return "FAILED" in self.slurm.ask(*(accounts if self.slurm.keeps_accounts else queue))

    async def over(self, *refs: JobRef) -> None:
        """Wait until jobs have ended for Slurm, too.

        If it loses its state before, a machine takes the next job of that number for one of them,
        which still runs, and takes no more jobs.
        """
        numbers = {self.number(ref) for ref in refs}
        alive = ("squeue", "-h", "-t", "R,CG", "-o", "%A")
        await anyio.to_thread.run_sync(
            wait_until, lambda: numbers.isdisjoint(self.slurm.ask(*alive).split())
        )

    def is_purged(self, *refs: JobRef) -> bool:
        """Whether the controller knows none of the jobs any more."""
        asked = [self.slurm.ask("scontrol", "show", "job", self.number(ref)) for ref in refs]
        return all("Invalid job id" in one or "not found" in one for one in asked)

    async def purged(self, *refs: JobRef) -> None:
        """Wait until the controller knows none of the jobs any more."""
        await anyio.to_thread.run_sync(wait_until, lambda: self.is_purged(*refs))


@pytest.fixture
def jobs(slurm: Slurm, tmp_path: Path) -> Jobs:
    return Jobs(slurm, tmp_path)


async def test_what_slurm_has_forgotten_ended_as_its_record_or_the_accounts_say(
    harness: Harness, jobs: Jobs, slurm: Slurm
) -> None:
    recorded = await harness.submit(harness.shell("echo up; sleep 0.5; exit 6"))
    killed = await harness.submit(harness.shell("echo up; exec sleep 600"))
    await harness.output(recorded, b"up")
    await harness.output(killed, b"up")
    harness.executor.__dict__.update(additional_parameters=LATER)
    waits = await harness.submit(harness.shell("echo ran"))
    await harness.phase(waits, "queued")
    async with harness.away():
        jobs.kill(killed)
        jobs.cancel(waits)
        await jobs.purged(recorded, killed, waits)

    ended = await harness.end(recorded)
    others = [await harness.phase(ref, "ended", "gone") for ref in (killed, waits)]

    assert (ended.stdout, ended.seen.exit_code) == (b"up\n", 6)
    told = [(one.phase, one.signal, one.reason) for one in others]
    if slurm.keeps_accounts:
        assert told == [
            ("ended", 9, "FAILED for Slurm"),
            ("ended", None, "cancelled in Slurm by 0"),
        ]
    else:
        # The queue alone has nothing to say of them.
        assert told == [("gone", None, ""), ("gone", None, "")]


async def test_what_begins_and_is_forgotten_between_two_looks_ended_as_its_record_says(
    jobs: Jobs, slurm: Slurm, tmp_path: Path
) -> None:
    """Slurm is asked when there is another job, and otherwise once an hour."""

    def make() -> SlurmExecutor:
        folder = str(tmp_path / "far")
        return SlurmExecutor(job_dir=folder, poll_s=3600, additional_parameters=LATER)

    async with Harness(make, str(tmp_path / "here")) as harness:
        ref = await harness.submit(harness.shell("echo ran; exit 6"))
        with anyio.fail_after(120):
            while (await harness.phase(ref, "queued")).reason != "BeginTime":
                await harness.executor.wait_for_change(0.05)
        slurm.ask("scontrol", "update", f"JobId={jobs.number(ref)}", "StartTime=now")
        await jobs.purged(ref)
        (before,) = (await harness.executor.observe([ref])).values()
        await harness.submit(harness.shell("echo ran"))

        ended = await harness.end(ref)

    assert before.phase == "queued"
    assert (ended.stdout, ended.seen.exit_code) == (b"ran\n", 6)


async def test_a_number_that_is_given_again_tells_each_job_of_itself(
    harness: Harness, jobs: Jobs, slurm: Slurm, tmp_path: Path
) -> None:
    await anyio.to_thread.run_sync(slurm.lose_state)
    old = await harness.submit(harness.shell("echo up; exec sleep 600"))
    await harness.output(old, b"up")
    async with harness.away():
        jobs.kill(old)
        await anyio.to_thread.run_sync(wait_until, lambda: jobs.has_failed(old))
        await jobs.over(old)
        await anyio.to_thread.run_sync(slurm.lose_state)
    go = tmp_path / "go"
    wait = f"echo up; until [ -e {go} ]; do sleep 0.1; done; exit 6"
    new = await harness.submit(harness.shell(wait))
    assert jobs.number(new) == jobs.number(old)
    await harness.output(new, b"up")

    told = await harness.phase(old, "ended", "gone")
    await harness.executor.cancel([old], 0)
    third = await harness.submit(harness.shell("exit 7"))
    ends = [(await harness.end(third)).seen.exit_code]
    (seen,) = (await harness.executor.observe([new])).values()
    go.touch()
    ends.append((await harness.end(new)).seen.exit_code)
    await jobs.over(new, third)

    if slurm.keeps_accounts:
        assert (told.phase, told.signal, told.reason) == ("ended", 9, "FAILED for Slurm")
    else:
        assert told.phase == "gone"
    assert seen.phase == "running"
    assert ends == [7, 6]


async def test_what_a_controller_knew_that_has_lost_its_state_is_told_as_far_as_others_know_it(
    harness: Harness, slurm: Slurm
) -> None:
    """The jobs that ran are killed by Slurm, and the accounts call them cancelled."""
    await anyio.to_thread.run_sync(slurm.lose_state)
    ref = await harness.submit(harness.shell("echo up; exec sleep 600"))
    await harness.output(ref, b"up")
    harness.executor.__dict__.update(additional_parameters=LATER)
    waits = await harness.submit(harness.shell("echo ran"))
    await harness.phase(waits, "queued")
    await anyio.to_thread.run_sync(slurm.lose_state)
    harness.executor.__dict__.update(additional_parameters={})

    new = await harness.run(harness.shell("exit 7"))
    ran, waited = [await harness.phase(one, "ended", "gone") for one in (ref, waits)]

    assert new.seen.exit_code == 7
    if slurm.keeps_accounts:
        assert (ran.phase, ran.reason) == ("ended", "cancelled in Slurm")
    else:
        # Slurm kills one process after the other: the wrapper may have seen how the job ended.
        assert (ran.phase, ran.signal, ran.reason) in [("gone", None, ""), ("ended", 9, "")]
    assert (waited.phase, waited.reason) == ("gone", "")


@pytest.mark.parametrize("by", ["programs", "slurmrestd"])
@pytest.mark.parametrize("how", ["alone", "array"])
async def test_one_that_is_cancelled_before_its_start_is_told_as_that_while_slurm_knows(
    jobs: Jobs, slurm: Slurm, tmp_path: Path, how: str, by: str
) -> None:
    count = 1 if how == "alone" else 3
    with slurmrestd(slurm, "socket") as server:
        rest = server.address if by == "slurmrestd" else None

        def make() -> SlurmExecutor:
            folder = str(tmp_path / "far")
            return SlurmExecutor(job_dir=folder, rest=rest, poll_s=0.5, additional_parameters=LATER)

        async with Harness(make, str(tmp_path / "here")) as harness:
            refs = await harness.submit_all([harness.shell("echo ran") for _ in range(count)])
            for ref in refs:
                await harness.phase(ref, "queued")
            jobs.cancel(refs[-1])

            seen = (await harness.end(refs[-1])).seen
            others = await harness.executor.observe(refs[:-1])

    assert seen.reason.startswith("cancelled in Slurm")
    assert {one.phase for one in others.values()} <= {"queued"}


@pytest.mark.parametrize(
    ("when", "runs"), [("afterok", False), ("afternotok", True), ("afterany", True)]
)
async def test_a_parent_that_has_failed_and_is_forgotten_is_known_by_its_record(
    harness: Harness, jobs: Jobs, when: Condition, runs: bool
) -> None:
    parent = harness.shell("exit 3")
    ref = await harness.submit(parent)
    await harness.end(ref)
    await jobs.purged(ref)

    child = harness.shell("echo ran", after=(harness.end_of(parent, when),))
    ended = await harness.run(child)

    assert ended.stdout == (b"ran\n" if runs else b"")
    assert ended.seen.reason == ("" if runs else UNMET)
