"""The batch script of a group, as a shell runs it: what starts its jobs, and ends them."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from msgspec.structs import replace

from runbus.abc import JobRef, Request
from runbus.executors import SlurmExecutor
from runbus.executors._placement import Placement
from runbus.executors._slurm.asked import ends_script
from runbus.executors._slurm.commands import Commands
from runbus.executors._slurm.machine import Member, SlurmMachine
from runbus.executors._slurm.scheduler import Sent
from runbus.executors._slurm.script import Batch
from runbus.executors._slurm.together import Part, group_script
from runbus.testing._waiting import wait_until
from runbus.transports import LocalTunnel

from .test_slurm_options import job

WRAPPER = """\
#!/bin/sh
cd "$2" || exit
if [ "$1" = cancel ]; then echo "$3" >>asked; exit; fi
(set -C; true >exit.json) 2>/dev/null || exit 75
env >env
reason=
. ./does
echo "{\\"status\\":$status,\\"signal\\":null,\\"reason\\":\\"$reason\\"}" >exit.part
mv exit.part exit.json
"""

UNTIL_ASKED = "until [ -e asked ]; do nap; done; status=143 reason=cancelled"
UNTIL_TOLD = "until [ -e go ]; do nap; done; status=0"


class Cluster:
    """Programs that do here what those of Slurm do elsewhere, and the folders of some attempts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._program("srun", 'while [ "$1" != bash ]; do shift; done\nexec "$@"')
        self._program("scontrol", "echo node1")
        self._program("sleep", f"echo >>'{folder}/slept'; exec nap")
        self._program("nap", "exec /bin/sleep 0.02")
        self._program("wrapper", WRAPPER.removeprefix("#!/bin/sh\n"))

    def _program(self, name: str, text: str) -> None:
        path = self.folder / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def attempt(self, number: int) -> Path:
        return self.folder / f"it's {number}"

    @contextmanager
    def begun(self, *do: str) -> Iterator[subprocess.Popen[bytes]]:
        """Begin a group whose attempts do that; it is over after the block."""
        parts = []
        for number, script in enumerate(do):
            attempt = self.attempt(number)
            attempt.mkdir(exist_ok=True)
            (attempt / "does").write_text(script)
            one = job(name=f"job-{number}", group="g")
            parts.append(Part(SlurmExecutor(), one, f"job-{number}", str(attempt)))
        batch = group_script(parts, os.fsencode(self.folder / "bin" / "wrapper"))
        env = {"PATH": f"{self.folder}/bin:{os.environ['PATH']}", "SLURM_JOB_ID": "7",
               "SLURM_JOB_NODELIST": "of the step", "SLURM_STEP_ID": "3", "SLURM_NTASKS": "1",
               "SLURM_JOB_NODELIST_HET_GROUP_0": "node1", "SLURM_JOB_ID_HET_GROUP_1": "8",
               "SLURM_JOB_NODELIST_HET_GROUP_1": "node2", "SLURM_NTASKS_HET_GROUP_1": "4",
               "SLURM_JOB_NUM_NODES_HET_GROUP_1": "2"}  # fmt: skip
        path = self.folder / "script"
        path.write_bytes(batch.text)
        process = subprocess.Popen(["bash", path], env=env)
        try:
            yield process
        finally:
            for number in range(len(do)):
                for name in ("asked", "go"):
                    (self.attempt(number) / name).touch()
            process.wait(120)

    def run(self, *do: str) -> int:
        with self.begun(*do) as process:
            return process.wait(120)

    def ask(self, number: int, grace_s: float) -> None:
        """Ask for the end of an attempt, as a kernel does."""
        script = ends_script({str(self.attempt(number)): grace_s})
        subprocess.run(["sh", "-s"], input=script, check=True, timeout=120)

    def was_asked(self, number: int, grace: str) -> bool:
        return grace in self.asked(number)

    @property
    def seconds(self) -> int:
        """How often something in the script has slept."""
        path = self.folder / "slept"
        return path.stat().st_size if path.exists() else 0

    def asked(self, number: int) -> list[str]:
        """Return with which graces the wrapper of an attempt was asked to end."""
        path = self.attempt(number) / "asked"
        return path.read_text().split() if path.exists() else []


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster(tmp_path)


def test_it_ends_with_the_first_status_that_is_not_zero(cluster: Cluster) -> None:
    assert cluster.run("status=0", "status=0") == 0


def test_each_finds_its_component_as_if_it_were_a_job_of_its_own(cluster: Cluster) -> None:
    cluster.run("status=0", "status=0")
    found = dict(
        line.partition("=")[::2] for line in (cluster.attempt(1) / "env").read_text().splitlines()
    )

    assert found["RUNBUS_HET_GROUP"] == "1"
    assert (found["SLURM_JOB_NODELIST"], found["SLURM_NTASKS"]) == ("node2", "4")
    assert (found["SLURM_NNODES"], found["RUNBUS_NNODES"]) == ("2", "2")
    assert (found["SLURM_JOB_ID"], found["SLURM_JOB_NODELIST_HET_GROUP_0"]) == ("7", "node1")
    assert "SLURM_STEP_ID" not in found
    assert int(found["MASTER_PORT"]) == 20_008  # no other of them has the same


def test_one_whose_end_is_asked_for_is_ended_with_its_grace_and_no_other(cluster: Cluster) -> None:
    with cluster.begun(UNTIL_TOLD, UNTIL_ASKED) as process:
        wait_until((cluster.attempt(1) / "env").exists)
        cluster.ask(1, 4)
        process.send_signal(signal.SIGUSR2)
        wait_until(lambda: "{" in (cluster.attempt(1) / "exit.json").read_text())
        (cluster.attempt(0) / "go").touch()
        assert process.wait(120) == 143

    assert cluster.asked(1) == ["4.000"]
    assert cluster.asked(0) == []


def test_that_is_seen_without_a_signal_and_a_shorter_grace_is_passed_on(cluster: Cluster) -> None:
    with cluster.begun(UNTIL_TOLD, UNTIL_TOLD):
        wait_until((cluster.attempt(1) / "env").exists)
        for grace_s in (20, 1):
            cluster.ask(1, grace_s)
            wait_until(partial(cluster.was_asked, 1, f"{grace_s}.000"))

        assert cluster.asked(1) == ["20.000", "1.000"]


def test_a_grace_is_there_as_a_whole(cluster: Cluster) -> None:
    """A script may look at any moment: what it looks at is never written to."""
    cluster.attempt(0).mkdir()
    cluster.ask(0, 60)
    for name in ("grace", "cancel"):
        os.link(cluster.attempt(0) / name, cluster.folder / name)

    cluster.ask(0, 0.5)

    for name in ("grace", "cancel"):
        assert (cluster.folder / name).read_text() == "60.000\n"
        assert (cluster.attempt(0) / name).read_text() == "0.500\n"
    assert sorted(os.listdir(cluster.attempt(0))) == ["cancel", "grace"]


def test_one_that_fails_ends_the_others_if_nobody_else_does(cluster: Cluster) -> None:
    assert cluster.run("status=5", UNTIL_ASKED, "status=0") == 5

    assert cluster.asked(1) == ["10"]
    assert (cluster.attempt(1) / "cancel").read_text() == "10\n"
    assert not (cluster.attempt(2) / "cancel").exists()
    assert cluster.attempt(1).joinpath("cancel").stat().st_mode & 0o77 == 0


def test_one_whose_end_was_asked_for_ends_no_other(cluster: Cluster) -> None:
    cancelled = "true >cancel; status=143 reason=cancelled"
    with cluster.begun(cancelled, UNTIL_TOLD) as process:
        wait_until(lambda: cluster.seconds > 100)
        (cluster.attempt(1) / "go").touch()
        assert process.wait(120) == 143

    assert not (cluster.attempt(1) / "cancel").exists()


def test_another_job_of_slurm_for_the_same_attempts_does_nothing(cluster: Cluster) -> None:
    with cluster.begun(UNTIL_TOLD, UNTIL_TOLD) as process:
        for number in range(2):
            wait_until((cluster.attempt(number) / "env").exists)
        again = subprocess.run(["bash", cluster.folder / "script"], env=os.environ | {
            "PATH": f"{cluster.folder}/bin:{os.environ['PATH']}", "SLURM_JOB_ID": "9"},
            timeout=120, check=False)  # fmt: skip
        for number in range(2):
            assert not (cluster.attempt(number) / "cancel").exists()
            (cluster.attempt(number) / "go").touch()
        assert (again.returncode, process.wait(120)) == (75, 0)


class Full(Commands):
    """Has no room for a single one more."""

    def __init__(self, tunnel: LocalTunnel) -> None:
        super().__init__(tunnel)
        self.sent: list[Batch] = []

    async def submit(self, batch: Batch, umask: str, withheld: Sequence[str]) -> Sent:
        self.sent.append(batch)
        return Sent("", "QOSMaxSubmitJobPerUserLimit", "quota")


async def test_a_group_for_which_there_is_no_room_is_given_back_whole(
    tmp_path: Path, plan: Callable[[str], Request]
) -> None:
    tunnel = LocalTunnel(str(tmp_path / "far"))
    slurm = Full(tunnel)
    machine = SlurmMachine(tunnel, slurm)
    base = await machine.prepare()
    members = []
    for name in "abc":
        request = plan(name)
        placement = Placement(
            host=machine.name, folder=f"{base}/{name}/1", run_folder=f"{base}/run-{name}",
            local_run_folder="../run", known_as=name,
        )  # fmt: skip
        ref = JobRef(name=name, folder=request.job.folder, handle=name)
        members.append(Member(ref, placement, request, b"", b"{}"))

    assert await machine.submit_all(members) == [None] * 3
    await tunnel.close()

    assert [len(batch.components) for batch in slurm.sent] == [3]


@pytest.fixture
def plan(tmp_path: Path) -> Callable[[str], Request]:
    executor = SlurmExecutor(job_dir=str(tmp_path / "far"))
    return lambda name: executor.plan(
        replace(job(name=name), folder=str(tmp_path / name), group="g")
    )
