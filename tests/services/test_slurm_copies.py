"""SlurmExecutor(array=…) on a real cluster: the elements are those that were asked for."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest

from runbus import AsyncExperiment, Command, Kernel, SlurmExecutor
from runbus.catalog import find_experiment, job_statuses
from runbus.errors import ExperimentNotFound
from runbus.testing._waiting import wait_until
from runbus.testing.slurmd import Slurm, slurm_cluster
from runbus.testing.slurmrestd import slurmrestd
from runbus.testing.sshd import Sshd

from .conftest import counting, tunnel_to

pytestmark = [pytest.mark.services, pytest.mark.usefixtures("slurm")]

RUNBUS = [sys.executable, "-m", "runbus.cli"]
TELLS = " ".join(
    ["echo", *(f"${{SLURM_ARRAY_TASK_{one}}}" for one in ("ID", "COUNT", "MIN", "MAX", "STEP"))]
)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Slurm]:
    """A cluster whose arrays have the indices 0 to 19."""
    with slurm_cluster(keeps_accounts=False, MaxArraySize="20") as slurm:
        yield slurm


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Counter[str]]:
    return counting(tmp_path, monkeypatch)


class Array:
    """A batch of one job on an executor with an array, and who leads it.

    Args:
        folder: Where everything of it lies.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.go, self.ran = folder / "go", folder / "ran"
        self.waits = (
            f"echo + >>{self.ran}; until [ -e {self.go} ]; do sleep 0.1; done; "
            f"{TELLS}; echo - >>{self.ran}"
        )

    def write(self, line: str, array: str, **job: Any) -> None:
        """Write the batch."""
        also = job.pop("also", {})
        far = {"type": "slurm", "job_dir": str(self.folder / "far"), "poll_s": 0.5, "array": array}
        asked = {
            "project": "array", "executors": {"far": {**far, **also}},
            "jobs": [
                {"name": "train", "executor": "far", "command": ["sh", "-c", line], **job}
            ],
        }  # fmt: skip
        (self.folder / "batch.json").write_text(json.dumps(asked))

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*RUNBUS, *words], cwd=self.folder, capture_output=True, text=True, timeout=300,
            check=False,
        )  # fmt: skip

    def begin(self, *words: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*RUNBUS, *words], cwd=self.folder,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def states(self) -> dict[str, str]:
        try:
            found = job_statuses(find_experiment("array"))
        except ExperimentNotFound:
            return {}
        return {one.record.name: str(one.record.state) for one in found}

    def handed_over(self) -> int:
        return sum(state not in ("INTENT", "PENDING") for state in self.states().values())

    def said(self) -> dict[str, str]:
        """Return what each job has written, in its last attempt."""
        return {
            one.record.name: (Path(one.folder) / "stdout.log").read_text().strip()
            for one in job_statuses(find_experiment("array"))
        }

    def numbers(self) -> list[str]:
        """Return the numbers that Slurm has given to attempts, by their folders."""
        found = sorted(self.folder.glob("far/*/jobs/*/*/slurm.id"))
        return [path.read_text().strip() for path in found]

    def most(self) -> int:
        """Return how many ran at a time, at the most."""
        steps = [1 if line == "+" else -1 for line in self.ran.read_text().split()]
        return max(accumulate(steps))


@pytest.fixture
def array(tmp_path: Path) -> Array:
    return Array(tmp_path)


def test_an_array_is_one_sbatch_and_each_element_has_its_index_and_its_end(
    array: Array, calls: Callable[[], Counter[str]]
) -> None:
    array.write(f"{TELLS}; exit $SLURM_ARRAY_TASK_ID", "0,6,16-18%2")

    done = array.command("submit", "batch.json")

    assert done.returncode == 1
    assert calls()["sbatch"] == 1
    indices = (0, 6, 16, 17, 18)
    assert array.said() == {f"train[{n}]": f"{n} 5 0 18 1" for n in indices}
    ends = [one.record.exit_code for one in job_statuses(find_experiment("array"))]
    assert ends == [*indices]
    (number,) = {one.partition("_")[0] for one in array.numbers()}
    assert array.numbers() == [f"{number}_{n}" for n in indices]


def test_the_bound_of_an_array_holds_although_its_leader_is_killed(
    array: Array, slurm: Slurm, calls: Callable[[], Counter[str]]
) -> None:
    array.write(array.waits, "1-9:2%2")
    leader = array.begin("submit", "batch.json")
    try:
        wait_until(lambda: array.handed_over() == 5)
        wait_until(lambda: array.ran.exists() and array.ran.read_text().split() == ["+", "+"])
    finally:
        leader.kill()
        leader.wait()
    # Slurm says why only when it has tried to begin one more.
    why = ("squeue", "-h", "-r", "-t", "PD", "-o", "%r")
    wait_until(lambda: slurm.ask(*why).split() == ["JobArrayTaskLimit"] * 3)
    array.go.touch()

    done = array.command("attach")

    assert done.returncode == 0, done.stdout + done.stderr
    assert array.said() == {f"train[{n}]": f"{n} 5 1 9 2" for n in (1, 3, 5, 7, 9)}
    assert array.most() == 2
    assert calls()["sbatch"] == 1


def test_an_element_that_is_tried_again_keeps_its_index_and_waits_for_room(
    array: Array, calls: Callable[[], Counter[str]]
) -> None:
    failed = array.folder / "failed"
    line = (
        f"[ $SLURM_ARRAY_TASK_ID != 4 ] || [ -e {failed} ] || {{ touch {failed}; exit 1; }}; "
        f"{array.waits}"
    )
    array.write(line, "4-6%1", retries=1, backoff=0)
    leader = array.begin("submit", "batch.json")
    try:
        wait_until(lambda: failed.exists() and array.ran.exists())
        array.go.touch()
        leader.wait(300)
    finally:
        leader.kill()
        leader.wait()

    assert leader.returncode == 0
    assert array.said() == {f"train[{n}]": f"{n} 3 4 6 1" for n in (4, 5, 6)}
    assert array.most() == 1
    first, again, *_ = array.numbers()
    assert (first.partition("_")[2], again.partition("_")[2]) == ("4", "4")
    assert first != again
    assert calls()["sbatch"] == 2


@pytest.mark.parametrize("launcher", ["none", "srun"])
def test_indices_that_the_cluster_does_not_have_are_told_all_the_same(
    array: Array, launcher: str
) -> None:
    array.write(TELLS, "18-40:2", also={"launcher": launcher})

    done = array.command("submit", "batch.json")

    assert done.returncode == 0, done.stdout + done.stderr
    indices = range(18, 41, 2)
    assert array.said() == {f"train[{n}]": f"{n} 12 18 40 2" for n in indices}
    assert {one.partition("_")[2] for one in array.numbers()} == {str(n) for n in range(12)}


def test_more_elements_than_the_cluster_takes_at_once_stay_within_the_bound(
    array: Array, calls: Callable[[], Counter[str]]
) -> None:
    array.write(array.waits, "0-24%3")
    array.go.touch()

    done = array.command("submit", "batch.json")

    assert done.returncode == 0, done.stdout + done.stderr
    assert array.said() == {f"train[{n}]": f"{n} 25 0 24 1" for n in range(25)}
    assert array.most() <= 3
    assert calls()["sbatch"] > 1


def test_where_there_is_room_for_a_part_only_the_rest_waits_for_the_end_of_that(
    array: Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, folder = shutil.which("sbatch"), array.folder / "few"
    folder.mkdir()
    program = folder / "sbatch"
    program.write_text(
        "#!/bin/sh\nscript=$(cat)\ncase $script in *'--array=0-5%2'*)\n"
        "echo 'sbatch: error: QOSMaxSubmitJobPerUserLimit' >&2; exit 1 ;;\nesac\n"
        f'printf "%s\\n" "$script" | {real} "$@"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    array.write(array.waits, "0-5%2")
    leader = array.begin("submit", "batch.json")
    try:
        wait_until(lambda: array.handed_over() >= 3)
        taken = array.numbers()
        array.go.touch()
        leader.wait(300)
    finally:
        leader.kill()
        leader.wait()

    assert [one.partition("_")[2] for one in taken] == ["0", "1", "2"]
    assert leader.returncode == 0
    assert array.said() == {f"train[{n}]": f"{n} 6 0 5 1" for n in range(6)}
    assert array.most() <= 2


def test_slurmrestd_gets_an_array_with_its_bound_as_well(array: Array, slurm: Slurm) -> None:
    array.go.touch()
    with slurmrestd(slurm, "socket") as server:
        array.write(array.waits, "0-12:4%1", also={"rest": server.address})
        done = array.command("submit", "batch.json")

    assert done.returncode == 0, done.stdout + done.stderr
    assert array.said() == {f"train[{n}]": f"{n} 4 0 12 4" for n in (0, 4, 8, 12)}
    assert {one.partition("_")[2] for one in array.numbers()} == {"0", "4", "8", "12"}
    assert array.most() == 1


async def test_a_login_node_over_ssh_gets_an_array_with_its_bound_as_well(
    array: Array, slurm: Slurm, host: Sshd
) -> None:
    far = tunnel_to(host, array.folder / "far", pre_command=f"export SLURM_CONF={slurm.conf}")
    executor = SlurmExecutor(host=far, array="2-6:2%1", poll_s=0.5, name="cluster")
    experiment = AsyncExperiment("array", executor="cluster")
    experiment.add(Command(("sh", "-c", array.waits)), name="train")
    array.go.touch()

    async with Kernel(plugins=[executor]) as kernel:
        await experiment.run(kernel=kernel)

    assert array.said() == {f"train[{n}]": f"{n} 3 2 6 2" for n in (2, 4, 6)}
    assert {one.partition("_")[2] for one in array.numbers()} == {"2", "4", "6"}
    assert array.most() == 1


def test_copies_are_ended_together_or_one_by_one(array: Array) -> None:
    array.write(array.waits, "0-3%2")
    leader = array.begin("submit", "batch.json")
    try:
        wait_until(lambda: array.handed_over() == 4)
        one = array.command("cancel", "train[1]")
        rest = array.command("cancel", "train")
        leader.wait(300)
    finally:
        leader.kill()
        leader.wait()

    assert one.returncode == rest.returncode == 0, one.stderr + rest.stderr
    assert "train[1]" in one.stdout
    assert "3 jobs cancelled" in rest.stdout
    assert set(array.states().values()) == {"CANCELLED"}
