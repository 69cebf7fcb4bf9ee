"""SlurmExecutor against a real cluster: the contract, and what goes wrong with a scheduler."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from runbus import Command, Job, Kernel, Timeouts, runs
from runbus.abc import Resources
from runbus.errors import PartitionMissing
from runbus.executors import SlurmExecutor
from runbus.experiment import ExperimentDraft
from runbus.testing._waiting import until, wait_until
from runbus.testing.conformance.executor import ExecutorContract, ExecutorFactory, Harness
from runbus.testing.slurmd import Slurm
from runbus.testing.sshd import Sshd
from runbus.transports import SSHTunnel

from .conftest import UNTIL_IT_IS_SAMPLED, counting, tunnel_to
from .test_containers import MOUNTS, bare_image

pytestmark = [pytest.mark.services, pytest.mark.usefixtures("slurm")]


class TestSlurmExecutor(ExecutorContract):
    @pytest.fixture
    def executors(self, tmp_path: Path) -> ExecutorFactory:
        return lambda: SlurmExecutor(job_dir=str(tmp_path / "remote höme"), poll_s=0.5)


def attempts(tmp_path: Path) -> list[Path]:
    """Return the files in which the numbers of jobs are kept."""
    return sorted(tmp_path.glob("far/*/jobs/*/*/slurm.id"))


def requests_in(folder: Path) -> list[Path]:
    """Return what was written for jobs on a cluster."""
    return sorted(folder.glob("far/*/jobs/*/*/request*"))


def said_of_only_job(slurm: Slurm, folder: Path, what: str) -> str:
    """Return what squeue says of the one job of a test: those of others may still be leaving."""
    (number,) = folder.glob("*/jobs/*/*/slurm.id")
    asked = ("-t", "all", "-j", number.read_text().strip(), "-o", what)
    return slurm.ask("squeue", "-h", *asked)


async def test_a_job_that_knows_nothing_of_runbus_is_sampled_on_its_node(tmp_path: Path) -> None:
    job = Job(
        name="a",
        task=Command(("sh", "-c", UNTIL_IT_IS_SAMPLED)),
        env={"RUNBUS_SYSTEM": "every_s=0.05,slow_every_s=0.05"},
        timeouts=Timeouts(run_s=60),
    )
    executor = SlurmExecutor(job_dir=str(tmp_path / "remote"), poll_s=0.5)
    async with Kernel(plugins=[executor]) as kernel:
        (record,) = await ExperimentDraft("far", [job], executor="slurm").run(kernel.bus)

    assert record.state == "SUCCEEDED"
    (run,) = runs(project="far")
    assert min(run.metrics("sys/job/processes").values) >= 1


async def test_a_job_that_waits_says_why_and_can_be_cancelled(harness: Harness) -> None:
    options = {"additional_parameters": {"begin": "now+1hour"}}
    harness.executor.__dict__.update(options)
    ref = await harness.submit(harness.shell("echo ran"))
    seen = await harness.phase(ref, "queued")
    async with asyncio.timeout(120):
        while seen.reason != "BeginTime":
            await harness.executor.wait_for_change(0.05)
            seen = (await harness.executor.observe([ref]))[ref]
    await harness.executor.cancel([ref], 60)

    ended = await harness.end(ref)

    assert seen.native_state.startswith("PENDING (BeginTime; starts 20")
    assert seen.evidence == "squeue"
    assert ended.stdout == b""
    assert ended.seen.native_state == "CANCELLED"


async def test_a_job_that_asks_for_more_time_than_its_partition_gives_waits_and_says_so(
    harness: Harness, slurm: Slurm, tmp_path: Path
) -> None:
    """Some clusters refuse it. Here it begins if it is given less."""
    harness.executor.__dict__.update(partition="short", time="90")
    ref = await harness.submit(harness.shell("echo ran"))
    async with asyncio.timeout(120):
        while (seen := await harness.phase(ref, "queued")).reason != "PartitionTimeLimit":
            await harness.executor.wait_for_change(0.05)
    (number,) = attempts(tmp_path)
    slurm.ask("scontrol", "update", f"JobId={number.read_text().strip()}", "TimeLimit=1")

    ended = await harness.end(ref)

    assert seen.native_state == "PENDING (PartitionTimeLimit)"
    assert ended.stdout == b"ran\n"


async def test_a_job_that_an_administrator_ends_is_told_as_that(
    harness: Harness, slurm: Slurm
) -> None:
    ref = await harness.submit(harness.shell("echo up; exec sleep 600"))
    await harness.output(ref, b"up")
    slurm.ask("scancel", *slurm.running())

    ended = await harness.end(ref)

    assert ended.seen.signal == 15
    assert ended.seen.reason.startswith("cancelled in Slurm")


async def test_a_controller_that_is_down_changes_no_state_and_loses_no_end(
    harness: Harness, slurm: Slurm
) -> None:
    ref = await harness.submit(harness.shell("echo up; sleep 2; echo last; exit 9"))
    lives = await harness.submit(harness.shell("echo up; exec sleep 600"))
    await harness.output(lives, b"up")
    await harness.phase(lives, "running")
    slurm.stop_controller()
    try:
        ended = await harness.end(ref)
        seen = await harness.executor.observe([lives])
    finally:
        slurm.start_controller()

    assert (ended.stdout, ended.seen.exit_code) == (b"up\nlast\n", 9)
    assert seen[lives].phase == "running"
    await harness.executor.cancel([lives], 0.0)
    assert (await harness.end(lives)).seen.phase == "ended"


async def test_a_submit_whose_answer_was_lost_is_found_by_its_name(
    harness: Harness, tmp_path: Path, slurm: Slurm
) -> None:
    job = harness.shell("echo ran; exec sleep 600")
    ref = await harness.submit(job)
    await harness.output(ref, b"ran")
    (number,) = attempts(tmp_path)
    number.unlink()
    (number.parent / "pid.json").rename(number.parent / "pid.later")
    (number.parent / "exit.json").rename(number.parent / "exit.later")

    await harness.restart()
    found = await harness.executor.find(job)
    again = await harness.submit(job)

    assert found == again == ref
    assert number.read_text().strip().isdigit()
    name = said_of_only_job(slurm, tmp_path / "far", "%j").strip()
    same = slurm.ask("squeue", "-h", "-t", "R,PD", "-n", name, "-o", "%A")
    assert same.split() == [number.read_text().strip()]
    (number.parent / "pid.later").rename(number.parent / "pid.json")
    (number.parent / "exit.later").rename(number.parent / "exit.json")


@pytest.mark.parametrize("options", [{}, {"nodes": 2, "launcher": "srun"}], ids=["one", "two"])
async def test_the_signal_that_announces_the_end_of_its_time_reaches_a_job(
    tmp_path: Path, slurm: Slurm, options: dict[str, Any]
) -> None:
    def make() -> SlurmExecutor:
        folder = str(tmp_path / "far")
        return SlurmExecutor(job_dir=folder, poll_s=0.5, signal="USR1@60", **options)

    async with Harness(make, str(tmp_path / "here")) as harness:
        script = "trap 'echo warned; exit 0' USR1; echo up; while :; do sleep 0.05; done"
        ref = await harness.submit(harness.shell(script))
        await harness.output(ref, b"up\n" * options.get("nodes", 1))
        # As the controller does, which looks at the time twice a minute.
        slurm.ask("scancel", "--batch", "--signal=USR1", *slurm.running())
        ended = await harness.end(ref)

    each = options.get("nodes", 1)
    assert sorted(ended.stdout.split()) == [b"up"] * each + [b"warned"] * each
    assert ended.seen.exit_code == 0


async def test_sbatch_reads_a_value_as_it_was_given(tmp_path: Path, slurm: Slurm) -> None:
    comment = 'for "me" # it\'s \\ 100% $HOME `x` ünï'

    def make() -> SlurmExecutor:
        return SlurmExecutor(job_dir=str(tmp_path / "far"), poll_s=0.5, comment=comment)

    async with Harness(make, str(tmp_path / "here")) as harness:
        ref = await harness.submit(harness.shell("echo up; exec sleep 600"))
        await harness.output(ref, b"up")

        assert said_of_only_job(slurm, tmp_path / "far", "%k") == f"{comment}\n"


async def test_a_users_own_defaults_for_sbatch_change_nothing(
    harness: Harness, slurm: Slurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SBATCH_PARTITION", "short")
    monkeypatch.setenv("SLURM_JOB_NAME", "mine")
    ref = await harness.submit(harness.shell("echo up; exec sleep 600"))
    await harness.output(ref, b"up")

    assert said_of_only_job(slurm, tmp_path / "far", "%P") == "debug\n"


async def test_one_question_to_each_source_tells_about_all_jobs(
    harness: Harness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = counting(tmp_path, monkeypatch)
    refs = [await harness.submit(harness.shell("echo up; exec sleep 600")) for _ in range(8)]
    for ref in refs:
        await harness.output(ref, b"up")
    before = calls()
    start = time.monotonic()
    # The pause has grown by now, if nothing has changed for a while.
    await until(lambda: calls()["squeue"] > before["squeue"] and time.monotonic() - start > 1.2)
    asked = calls()
    polls = (time.monotonic() - start) / 0.5 + 2

    assert asked["squeue"] - before["squeue"] <= polls
    assert asked["sacct"] - before["sacct"] <= polls


async def test_gpus_are_asked_of_slurm_and_seen_by_the_job(harness: Harness) -> None:
    job = harness.shell("echo $CUDA_VISIBLE_DEVICES $RUNBUS_GPUS_PER_NODE",
                        resources=Resources(gpus=2))  # fmt: skip

    assert (await harness.run(job)).stdout == b"0,1 2\n"


async def test_a_job_that_sees_no_gpu_although_it_asked_for_some_says_so(tmp_path: Path) -> None:
    def make() -> SlurmExecutor:
        lost = "unset CUDA_VISIBLE_DEVICES ROCR_VISIBLE_DEVICES SLURM_JOB_GPUS"
        return SlurmExecutor(job_dir=str(tmp_path / "far"), poll_s=0.5, setup_lines=[lost])

    async with Harness(make, str(tmp_path / "here")) as harness:
        ended = await harness.run(harness.shell("echo ran", resources=Resources(gpus=1)))

    assert ended.seen.reason.startswith("it asked for GPUs, and sees none on node")
    assert ended.stdout == b""


@pytest.fixture
def far(host: Sshd, slurm: Slurm, tmp_path: Path) -> SSHTunnel:
    """A tunnel to a login node."""
    return tunnel_to(host, tmp_path / "far", pre_command=f"export SLURM_CONF={slurm.conf}")


async def test_a_login_node_is_reached_through_a_tunnel(
    host: Sshd, far: SSHTunnel, tmp_path: Path
) -> None:
    async with Harness(
        lambda: SlurmExecutor(host=far, poll_s=0.5), str(tmp_path / "here")
    ) as there:
        ref = await there.submit(there.shell("echo up; sleep 1; echo on; exit 4"))
        lives = await there.submit(there.shell("echo up; exec sleep 600"))
        await there.output(ref, b"up")
        host.kill_sessions()
        ended = await there.end(ref)
        await there.restart()
        found = (await there.executor.observe([lives])).get(lives)
        await there.executor.cancel([lives], 60)

        assert (ended.stdout, ended.seen.exit_code) == (b"up\non\n", 4)
        assert found is None or found.phase == "running"
        assert (await there.end(lives)).seen.signal == signal.SIGTERM


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_link_that_is_cut_amid_a_submit_leaves_one_job(
    host: Sshd, tmp_path: Path, slurm: Slurm, moment: str
) -> None:
    called, real = tmp_path / "called", shutil.which("sbatch")
    submit = f'{real} "$@"; ' if moment == "after" else ""
    program = f'[ -e {called} ] && exec {real} "$@"; {submit}: >{called}; exec sleep 600'
    bin_ = folder_of({"sbatch": program}, tmp_path / "bin")
    finds = f"export SLURM_CONF={slurm.conf} PATH={bin_}:$PATH"
    far = tunnel_to(host, tmp_path / "far", pre_command=finds)

    def make() -> SlurmExecutor:
        return SlurmExecutor(host=far, poll_s=0.5)

    async with Harness(make, str(tmp_path / "here")) as harness, anyio.create_task_group() as both:
        ends: list[tuple[bytes, int | None]] = []

        async def run() -> None:
            ended = await harness.run(harness.shell("echo ran; exit 4"))
            ends.append((ended.stdout, ended.seen.exit_code))

        both.start_soon(run)
        await until(called.exists)
        host.kill_sessions()

    name = said_of_only_job(slurm, tmp_path / "far", "%j").strip()
    assert ends == [(b"ran\n", 4)]
    assert len(slurm.ask("squeue", "-h", "-t", "all", "-n", name, "-o", "%A").split()) == 1


def test_a_killed_runbus_finds_its_job_again(slurm: Slurm, tmp_path: Path) -> None:
    user = tmp_path / "user"
    user.mkdir()
    home = {**slurm.environment, "RUNBUS_HOME": str(tmp_path / "home"), "HOME": str(user)}
    script = tmp_path / "train.py"
    script.write_text("import time\nprint('up', flush=True)\ntime.sleep(3)\nprint('on')\n")
    runbus = [sys.executable, "-m", "runbus.cli"]
    first = subprocess.Popen(
        [*runbus, "run", "--executor", "slurm", str(script)], env=home, cwd=tmp_path,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert first.stdout is not None
    with first.stdout:
        while "up" not in first.stdout.readline():
            assert first.poll() is None
        first.kill()
        first.wait()

    done = subprocess.run(
        [*runbus, "attach"], env=home, cwd=tmp_path, capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr
    (log,) = tmp_path.glob("home/experiments/*/*/jobs/*/1/stdout.log")
    assert log.read_text() == "up\non\n"
    assert "SUCCEEDED" in done.stdout
    name = said_of_only_job(slurm, user / ".runbus" / "remote", "%j").strip()
    assert name.startswith("train-")
    same = slurm.ask("squeue", "-h", "-t", "all", "-n", name, "-o", "%A")
    assert len(same.split()) == 1


async def test_tasks_on_several_machines_know_their_places(tmp_path: Path, slurm: Slurm) -> None:
    def make() -> SlurmExecutor:
        return SlurmExecutor(
            job_dir=str(tmp_path / "far"), poll_s=0.5, nodes=2, ntasks_per_node=2, launcher="srun"
        )

    async with Harness(make, str(tmp_path / "here")) as harness:
        names = "$RUNBUS_NNODES $RUNBUS_NODE_RANK $RANK.$WORLD_SIZE.$LOCAL_RANK $SLURMD_NODENAME"
        ended = await harness.run(harness.shell(f"echo {names}; echo {names} >&2"))
        fails = await harness.run(harness.shell("[ $SLURM_PROCID != 3 ] || exit 9; exec sleep 600"))

    nodes = sorted(line.split() for line in ended.stdout.decode().splitlines())
    assert [line[:3] for line in nodes] == [
        ["2", "0", "0.4.0"], ["2", "0", "1.4.1"], ["2", "1", "2.4.0"], ["2", "1", "3.4.1"]
    ]  # fmt: skip
    assert len({line[3] for line in nodes}) == 2
    assert ended.seen.exit_code == 0
    # srun ends with the highest of its tasks' codes, those of the tasks that it killed among them.
    assert fails.seen.exit_code not in {0, None}
    assert b"exit code 9" in fails.stderr


async def test_a_profiler_and_a_launcher_get_their_words_on_each_machine(tmp_path: Path) -> None:
    """Stand-ins tell what they were given, and start what comes after it, as the real ones do."""
    programs = {
        "nsys": 'echo "nsys $1 $2 in $PWD"; shift 4; exec "$@"',
        "ft_launcher": 'echo "ft $1 $2 $6"; shift 7; exec "$@"',
    }
    bin_ = folder_of(programs, tmp_path / "bin")

    def make() -> SlurmExecutor:
        return SlurmExecutor(
            job_dir=str(tmp_path / "far"), poll_s=0.5, nodes=2, launcher="ft_launcher", nsys=True,
            launcher_args=["--max restarts=$3"], setup_lines=[f"export PATH={bin_}:$PATH"],
        )  # fmt: skip

    work = folder_of({}, tmp_path / "work")
    async with Harness(make, str(tmp_path / "here")) as harness:
        ended = await harness.run(harness.shell("echo ran; ls -d nsys", cwd=str(work)))

    assert sorted(ended.stdout.decode().splitlines()) == sorted(2 * [
        "ft --nnodes=2 --nproc-per-node=1 --max restarts=$3",
        "nsys",
        f"nsys profile --output=nsys/%q{{SLURM_JOB_ID}}-%q{{SLURM_PROCID}} in {work}",
        "ran",
    ])  # fmt: skip


def folder_of(programs: dict[str, str], folder: Path) -> Path:
    """Make a folder with programs of a shell."""
    folder.mkdir()
    for name, text in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    return folder


def test_the_output_of_each_machine_is_told_apart(slurm: Slurm, tmp_path: Path) -> None:
    home = {**slurm.environment, "RUNBUS_HOME": str(tmp_path / "home"), "RUNBUS_SYSTEM": "0"}
    entry = f"type: slurm, nodes: 2, launcher: srun, job_dir: {tmp_path}/far, poll_s: 0.5"
    job = "{name: tells, command: [sh, tell.sh], executor: cluster}"
    batch = f"project: two\njobs: [{job}]\nexecutors: {{cluster: {{{entry}}}}}\n"
    (tmp_path / "batch.yaml").write_text(batch)
    said = "trap 'echo ends; exit' TERM; echo out $RANK; printf 'err %s' $RANK >&2"
    # One that is left behind holds on to what its job wrote to.
    left = f"sleep 600 & echo $! >{tmp_path}/left-$RANK"
    (tmp_path / "tell.sh").write_text(f"{said}; {left}; kill -TERM $$; wait\n")

    def runbus(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "runbus.cli", *words], env=home, cwd=tmp_path, text=True,
            capture_output=True, timeout=120, check=False,
        )  # fmt: skip

    ran = runbus("submit", "batch.yaml")
    both, each = runbus("logs", "tells"), [runbus("logs", "tells", "--node", n) for n in "01"]
    none = runbus("logs", "tells", "--node", "2")
    of_batch = runbus("logs", "two", "tells", "--node", "1")
    for pid in [int(path.read_text()) for path in tmp_path.glob("left-*")]:
        os.kill(pid, signal.SIGKILL)

    assert ran.returncode == 0, ran.stdout + ran.stderr
    lines = [f"out {node}\nends\n" for node in (0, 1)]
    assert [one.stdout for one in each] == lines
    assert [one.stderr for one in each] == ["err 0", "err 1"]
    assert sorted(both.stdout.splitlines()) == sorted("".join(lines).splitlines())
    assert of_batch.stdout == lines[1]
    assert none.returncode == 2
    assert "2 machines, of which 1 is the last" in none.stderr


async def test_a_job_that_leaves_its_partition_open_goes_where_it_fits(
    tmp_path: Path, slurm: Slurm
) -> None:
    idle = ("sinfo", "-h", "-N", "-t", "idle", "-p", "short", "-o", "%N")
    await asyncio.to_thread(wait_until, lambda: "node" in slurm.ask(*idle))

    def asking(**options: Any) -> Callable[[], SlurmExecutor]:
        folder = str(tmp_path / options["time"] / "far")
        return lambda: SlurmExecutor(job_dir=folder, poll_s=0.5, partition="auto", **options)

    went = {}
    for limit in ("1", "5"):
        async with Harness(asking(time=limit), str(tmp_path / limit / "here")) as harness:
            went[limit] = (await harness.run(harness.shell("echo $SLURM_JOB_PARTITION"))).stdout
    async with Harness(asking(time="7", nodes=2, mem="5000M"), str(tmp_path / "none")) as harness:
        with pytest.raises(PartitionMissing) as caught:
            await harness.submit(harness.shell("true"))

    assert went == {"1": b"short\n", "5": b"debug\n"}
    assert dict(caught.value.reasons) == {
        "short": "its jobs run at most 1:00",
        **dict.fromkeys(("debug", "high", "low"), "its machines have 4000 MiB"),
    }
    assert not requests_in(tmp_path / "7")


def test_the_doctor_shows_the_partitions_and_misses_one_that_is_not_there(
    slurm: Slurm, tmp_path: Path
) -> None:
    home = {**slurm.environment, "RUNBUS_HOME": str(tmp_path / "home")}
    doctor = [sys.executable, "-m", "runbus.cli", "doctor", "--json"]
    found = {}
    parts = "resource_group: [{partition: low}, {}], partition: shrt"
    for partition, asked in (
        ("short", "partition: short"), ("shrt", "partition: shrt"), ("low,shrt", parts)
    ):  # fmt: skip
        entry = f"type: slurm, {asked}, job_dir: {tmp_path}/far"
        (tmp_path / "runbus.yaml").write_text(f"executors: {{cluster: {{{entry}}}}}\n")
        done = subprocess.run(
            doctor, env=home, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
        )
        found[partition] = {one["title"]: one for one in json.loads(done.stdout)}

    title = "host localhost: Slurm, partition "
    right, wrong, part = (found[name][title + name] for name in ("short", "shrt", "low,shrt"))
    assert "short: up, at most 1:00, 1 of 4 CPUs, 4000 MiB, gpu:fake:2" in right["found"]
    assert right["is_well"]
    assert (wrong["is_well"], part["is_well"]) == (False, False)
    assert wrong["found"] == part["found"] == "there is no partition 'shrt'"
    assert wrong["advice"] == "there are debug, high, low, short"


async def test_tasks_on_several_machines_run_in_containers_of_no_engine(tmp_path: Path) -> None:
    image = bare_image(tmp_path / "image")
    (image / "only-here").touch()

    def make() -> SlurmExecutor:
        return SlurmExecutor(
            job_dir=str(tmp_path / "remote"), poll_s=0.5, nodes=2, launcher="srun",
            container_runtime="charliecloud", container_image=str(image),
            container_mounts=MOUNTS,
        )  # fmt: skip

    async with Harness(make, str(tmp_path / "here")) as harness:
        ended = await harness.run(harness.shell('echo "$RUNBUS_NODE_RANK" /only-here*'))

    assert ended.stderr == b""
    assert sorted(ended.stdout.splitlines()) == [b"0 /only-here", b"1 /only-here"]
