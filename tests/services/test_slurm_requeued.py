"""Jobs that a real Slurm begins anew by itself: each start is an attempt of the same job."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest
from msgspec.structs import replace

from runbus.abc import JobRef
from runbus.catalog import find_experiment, job_statuses
from runbus.errors import ExperimentNotFound
from runbus.executors import SlurmExecutor
from runbus.testing._waiting import until, wait_until
from runbus.testing.conformance.executor import Harness
from runbus.testing.slurmd import Slurm
from runbus.testing.slurmrestd import slurmrestd

from .test_slurm_faults import is_up
from .test_slurm_preempted import take_machine

pytestmark = [pytest.mark.services, pytest.mark.usefixtures("slurm")]

_BATCH = """\
project: anew
jobs:
  - name: train
    command: [sh, -c, 'echo start "$TOKEN" $RUNBUS_ATTEMPT; echo {{}} > "$RUNBUS_RESULT";
      [ ! -e {go} ] || exec echo done; exec sleep 300']
    env: {{TOKEN: {{secret: TOKEN}}}}
    executor: cluster
executors:
  cluster: {{type: slurm, partition: {partition}, requeue: true, job_dir: {folder},
    poll_s: 0.5{more}}}
"""


class Batch:
    """A batch of one job that runs until a file is there."""

    def __init__(self, slurm: Slurm, folder: Path, rest: str | None = None) -> None:
        self.slurm = slurm
        self.folder = folder
        self.go = folder / "go"
        self.node = ""
        self._rest = f", rest: '{rest}'" if rest else ""
        self._home = {
            **slurm.environment, "RUNBUS_HOME": str(folder / "home"), "RUNBUS_SYSTEM": "0",
            "TOKEN": "s3cret",
        }  # fmt: skip

    def write(self, partition: str = "debug", more: str = "") -> None:
        far = self.folder / "far"
        text = _BATCH.format(go=self.go, folder=far, partition=partition, more=more + self._rest)
        (self.folder / "batch.yaml").write_text(text)

    @contextmanager
    def leads(self, *words: str) -> Iterator[subprocess.Popen[str]]:
        """Run a command that leads the batch; it is killed after the block."""
        with subprocess.Popen(
            [sys.executable, "-m", "runbus.cli", *words], env=self._home, cwd=self.folder,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        ) as process:  # fmt: skip
            try:
                yield process
            finally:
                process.kill()

    def ask(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "runbus.cli", *words], env=self._home, cwd=self.folder,
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    def state(self) -> tuple[str, int]:
        """Return where the job stands, and with which attempt."""
        try:
            (job,) = job_statuses(find_experiment("anew", home=self.folder / "home"))
        except (ExperimentNotFound, ValueError):
            return "", 0
        return str(job.record.state), job.record.attempt

    def until(self, state: str, attempt: int) -> None:
        wait_until(lambda: self.state() == (state, attempt))

    def start_of(self, attempt: int) -> str:
        """Return what an attempt has written on the cluster; empty before it has."""
        (log,) = [*self.folder.glob(f"far/*/jobs/*/{attempt}/stdout.log"), None][:1]
        return log.read_text() if log else ""

    def until_it_runs(self) -> None:
        """Wait until the job is seen to run, and has written that it does."""
        self.until("RUNNING", 1)
        wait_until(lambda: self.start_of(1))

    def number(self) -> str:
        """Return what Slurm calls the job: of another test's one may still be on its way out."""
        (path,) = self.folder.glob("far/*/jobs/*/1/slurm.id")
        return path.read_text().strip()

    def put_back(self) -> None:
        """Do what an administrator does, once the job runs."""
        self.until_it_runs()
        self.node = self.slurm.ask("squeue", "-h", "-j", self.number(), "-o", "%N").strip()
        self.slurm.ask("scontrol", "requeue", self.number())

    def is_among(self, states: str) -> bool:
        """Whether Slurm has the job in one of some states."""
        return self.number() in self.slurm.ask("squeue", "-h", "-t", states, "-o", "%A").split()

    def begins_again(self) -> None:
        """Have it begun now, instead of in two minutes, and wait until it has."""

        def has_begun() -> bool:
            begin_elsewhere(self.slurm, self.node)
            return self.start_of(2) != ""

        wait_until(has_begun)


def begin_elsewhere(slurm: Slurm, node: str) -> None:
    """Have jobs that wait for their time begin, on another machine than the one that they had.

    There Slurm still ends what has the number of the job, for a second or so.
    """
    for number in slurm.ask("squeue", "-h", "-t", "PD", "-o", "%i").split():
        other = (f"ExcNodeList={node}",) if node else ()
        slurm.ask("scontrol", "update", f"JobId={number}", "StartTime=now", *other)


@pytest.fixture(params=["programs", "slurmrestd"])
def batch(slurm: Slurm, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Batch]:
    over = slurmrestd(slurm, "socket") if request.param == "slurmrestd" else nullcontext()
    with over as server:
        yield Batch(slurm, tmp_path, None if server is None else server.address)


def test_one_that_is_put_back_goes_on_as_its_next_attempt(batch: Batch) -> None:
    batch.write()
    with batch.leads("submit", "batch.yaml") as leader:
        batch.put_back()
        batch.until("QUEUED", 2)
        batch.go.touch()
        batch.begins_again()
        out, _ = leader.communicate(timeout=120)
    logs = batch.ask("logs", "anew", "train")

    assert (leader.returncode, batch.state()) == (0, ("SUCCEEDED", 2)), out
    assert "queued again: Slurm begins it anew" in out
    first, second, done = logs.stdout.splitlines()
    assert [line.rpartition("/")[0] for line in (first, second)] == [
        "start s3cret " + above(batch)
    ] * 2
    assert [line.rpartition("/")[2] for line in (first, second, done)] == ["1", "2", "done"]
    assert logs.stderr == "==> attempt 1 <==\n==> attempt 2 <==\n"
    assert not kept(batch)


def test_one_that_is_preempted_goes_on_while_nobody_leads_it(batch: Batch) -> None:
    batch.write("low", ", exclusive: true")
    with batch.leads("submit", "batch.yaml"):
        batch.until_it_runs()
    take_machine(batch.slurm)
    batch.go.touch()
    batch.begins_again()
    done = batch.ask("attach")
    logs = batch.ask("logs", "anew", "train")

    assert (done.returncode, batch.state()) == (0, ("SUCCEEDED", 2)), done.stdout
    assert [line.rpartition("/")[2] for line in logs.stdout.splitlines()] == ["1", "2", "done"]
    assert not kept(batch)


def test_one_whose_machine_is_gone_waits_for_another(batch: Batch) -> None:
    batch.write()
    with batch.leads("submit", "batch.yaml") as leader:
        batch.until_it_runs()
        number = batch.number()
        name = batch.slurm.ask("squeue", "-h", "-j", number, "-o", "%N").strip()
        node = int(name.removeprefix("node"))
        batch.slurm.kill_node(node)
        batch.slurm.kill_job(number, with_steps=True)
        batch.slurm.ask("scontrol", "update", f"NodeName={name}", "State=DOWN", "Reason=burnt")
        try:
            batch.until("QUEUED", 2)
            batch.ask("cancel", "anew")
            out, _ = leader.communicate(timeout=120)
        finally:
            batch.slurm.start_node(node)
            wait_until(lambda: is_up(batch.slurm, node))

    # When Slurm has another one for it is not ours to say.
    assert batch.state() == ("CANCELLED", 2), out
    assert "queued again: Slurm begins it anew" in out


def test_one_that_waits_to_begin_anew_is_cancelled_for_good(batch: Batch) -> None:
    batch.write()
    with batch.leads("submit", "batch.yaml") as leader:
        batch.put_back()
        batch.until("QUEUED", 2)
        batch.ask("cancel", "anew")
        out, _ = leader.communicate(timeout=120)

    assert batch.state() == ("CANCELLED", 2), out
    assert not batch.is_among("PD,R")
    assert not batch.start_of(2)
    assert not kept(batch)


def test_one_that_has_ended_by_itself_is_not_begun_anew(batch: Batch) -> None:
    batch.write()
    batch.go.touch()
    with batch.leads("submit", "batch.yaml") as leader:
        out, _ = leader.communicate(timeout=120)
    assert batch.state() == ("SUCCEEDED", 1), out
    # It has ended for us before it has for Slurm, which puts back none that is on its way out.
    wait_until(lambda: not batch.is_among("R,CG"))
    ran = ("squeue", "-h", "-t", "all", "-j", batch.number(), "-o", "%N")
    node = batch.slurm.ask(*ran).strip()
    batch.slurm.ask("scontrol", "requeue", batch.number())

    def has_refused() -> bool:
        begin_elsewhere(batch.slurm, node)
        codes = ("sacct", "-n", "-X", "-j", batch.number(), "-o", "exitcode")
        return "75:0" in batch.slurm.ask(*codes)

    wait_until(has_refused)

    assert not batch.start_of(2)


async def test_an_element_of_an_array_goes_on_by_itself(slurm: Slurm, tmp_path: Path) -> None:
    def make() -> SlurmExecutor:
        return SlurmExecutor(job_dir=str(tmp_path / "far"), poll_s=0.5, requeue=True)

    async with Harness(make, str(tmp_path / "here")) as harness:
        refs = await harness.submit_all([harness.shell("echo up; exec sleep 600") for _ in "ab"])
        for ref in refs:
            await harness.output(ref, b"up")
            await harness.phase(ref, "running")
        far = folder_of(refs[1], tmp_path)
        number = (far / "slurm.id").read_text().strip()
        node = slurm.ask("squeue", "-h", "-j", number, "-o", "%N").strip()
        slurm.ask("scontrol", "requeue", number)
        over = await harness.phase(refs[1], "queued")
        again = replace(refs[1], folder=str(Path(refs[1].folder).parent / "2"))
        waits = await harness.phase(again, "queued")

        def has_begun() -> bool:
            begin_elsewhere(slurm, node)
            return (far.parent / "2" / "pid.json").exists()

        await until(has_begun)
        runs = await harness.phase(again, "running")
        await harness.executor.cancel([refs[0], again], 1)
        ends = [await harness.phase(ref, "ended") for ref in (refs[0], again)]

    assert [one.requeues for one in (over, waits, runs, *ends)] == [1, 1, 1, 0, 1]
    assert {one.reason for one in ends} == {"cancelled"}


def folder_of(ref: JobRef, tmp_path: Path) -> Path:
    """Return the folder of an attempt on the cluster."""
    job, attempt = Path(ref.folder).parts[-2:]
    (found,) = tmp_path.glob(f"far/*/jobs/{job}/{attempt}")
    return found


def above(batch: Batch) -> str:
    """Return the folder of all attempts on the cluster."""
    (folder,) = batch.folder.glob("far/*/jobs/*")
    return str(folder)


def kept(batch: Batch) -> list[Path]:
    """Return the files on the cluster that hold secrets."""
    return [path for path in batch.folder.glob("far/**/*") if is_secret(path)]


def is_secret(path: Path) -> bool:
    return path.is_file() and b"s3cret" in path.read_bytes() and path.suffix != ".log"
