"""What samples a machine beside the tasks that srun starts there: one for all of them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import runbus
from runbus.abc import JobSpec
from runbus.attempt import sampler_program
from runbus.executors import SlurmExecutor
from runbus.executors._slurm.launch import launched
from runbus.testing._waiting import wait_until

SHELLS = [
    pytest.param(["dash"], id="dash"),
    pytest.param(["bash", "--posix"], id="bash"),
    pytest.param(["busybox", "sh"], id="busybox", marks=pytest.mark.services),
]
UNTIL_IT_IS_SAMPLED = """
until [ "$(cat "$RUNBUS_RUN"/metrics/*-s-h.journal 2>/dev/null | wc -c)" -gt 3000 ]
do sleep 0.05
done
"""


def spec(*argv: str, **changed: Any) -> JobSpec:
    """Return a job as of its cluster."""
    return JobSpec(
        experiment_id="20260101-000000-ab", name="a", run_id="r-1", executor="slurm", argv=argv,
        cwd="/", env={}, folder="/far/1", run_folder="/far/r-1", **changed,
    )  # fmt: skip


def task(executor: SlurmExecutor, shell: list[str], command: str) -> list[str]:
    """Return what srun would start for each task."""
    words = list(launched(executor, spec("sh", "-c", command), "/far").argv)
    return [*shell, *words[words.index("sh") + 1 :]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> runbus.Run:
    monkeypatch.setenv("RUNBUS_HOME", str(tmp_path / "home"))
    with runbus.init() as made:
        return made


@pytest.fixture
def variables(run: runbus.Run, tmp_path: Path) -> dict[str, str]:
    """What a task of the second machine has in its environment."""
    sampler = sampler_program()
    assert sampler
    (tmp_path / "1").mkdir()
    return {
        **os.environ, "RUNBUS_RUN": run.folder, "RUNBUS_ATTEMPT": str(tmp_path / "1"),
        "RUNBUS_SYSTEM": "every_s=0.05,slow_every_s=0.05", "RUNBUS_SAMPLER": sampler,
        "SLURM_NODEID": "1", "SLURM_LOCALID": "0", "SLURM_PROCID": "2", "SLURM_NTASKS": "4",
        "SLURMD_NODENAME": "second",
    }  # fmt: skip


@contextmanager
def started(words: list[str], variables: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        words, env=dict(variables), start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            if process.returncode is None:  # what it has started, too: nobody else ends that
                os.killpg(process.pid, signal.SIGKILL)


def samplers(run: runbus.Run) -> list[str]:
    """Return the names of the hosts that are sampled for a run."""
    files = os.listdir(f"{run.folder}/metrics")
    return sorted(name.removeprefix(".sampler-") for name in files if name.startswith(".sampler-"))


@pytest.mark.parametrize("nodes", [1, 2])
@pytest.mark.parametrize("shell", SHELLS)
def test_a_machine_is_sampled_beside_its_first_task_and_no_longer(
    run: runbus.Run, variables: dict[str, str], shell: list[str], nodes: int
) -> None:
    words = task(
        SlurmExecutor(nodes=nodes, launcher="srun"), shell, f"{UNTIL_IT_IS_SAMPLED} exit 7"
    )

    with started(words, variables) as process:
        said = process.communicate(timeout=120)

    assert (process.returncode, said) == (7, (b"", b""))
    assert samplers(run) == []
    files = os.listdir(f"{run.folder}/metrics")
    assert len([name for name in files if name.endswith("-a1-s-h.journal")]) == 1


@pytest.mark.parametrize(
    ("nodes", "processes"), [(1, 2), (2, 4)], ids=["its shell", "and two that copy what it writes"]
)
def test_who_samples_is_no_process_of_a_job_and_ends_with_a_task_that_is_killed(
    run: runbus.Run, variables: dict[str, str], nodes: int, processes: int
) -> None:
    words = task(SlurmExecutor(nodes=nodes, launcher="srun"), ["sh"], "exec sleep 600")

    def counted() -> int:
        stored = runbus.open_run(run.id)
        name = "sys/node1/job/processes"
        return int(stored.metrics(name).values[-1]) if name in stored.metric_names() else 0

    with started(words, variables) as process:
        wait_until(lambda: counted() == processes)
        assert samplers(run) == ["second"]
        process.kill()
        wait_until(lambda: samplers(run) == [])
        # The task itself is srun's to end.
        os.killpg(process.pid, 9)


@pytest.mark.parametrize("shell", SHELLS)
def test_a_task_that_goes_on_after_a_signal_to_all_of_its_step_is_sampled_to_its_end(
    run: runbus.Run, variables: dict[str, str], tmp_path: Path, shell: list[str]
) -> None:
    until_there_is_more = UNTIL_IT_IS_SAMPLED.replace("3000", '"$((size + 3000))"')
    words = task(
        SlurmExecutor(launcher="srun"), shell,
        f"trap 'told=1' TERM; size=0 told=; {UNTIL_IT_IS_SAMPLED} : >{tmp_path}/ready\n"
        'until [ "$told" ]; do sleep 0.05; done\n'
        'size=$(cat "$RUNBUS_RUN"/metrics/*-s-h.journal | wc -c)\n'
        f"{until_there_is_more} exit 7",
    )  # fmt: skip

    with started(words, variables) as process:
        wait_until(lambda: (tmp_path / "ready").exists())
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.communicate(timeout=120)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise

    assert process.returncode == 7
    assert samplers(run) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_samples_that_root_takes_in_a_container_are_the_owner_s_of_the_run(
    run: runbus.Run, variables: dict[str, str]
) -> None:
    shutil.rmtree(f"{run.folder}/metrics")
    os.chown(run.folder, 4242, 4243)
    words = task(SlurmExecutor(launcher="srun"), ["sh"], UNTIL_IT_IS_SAMPLED)

    with started(words, variables) as process:
        process.communicate(timeout=120)

    metrics = Path(run.folder, "metrics")
    made = [metrics, *metrics.glob("*-s-h.journal")]
    assert [(one.stat().st_uid, one.stat().st_gid) for one in made] == [(4242, 4243)] * 2


def test_who_samples_gives_way_to_others_of_its_machine_and_not_of_another(
    run: runbus.Run, variables: dict[str, str]
) -> None:
    first, second = (f"{run.folder}/metrics/.asked-a1-{host}" for host in ("first", "second"))
    words = task(
        SlurmExecutor(launcher="srun"), ["sh"],
        f": >{first}; {UNTIL_IT_IS_SAMPLED} : >{second}; exec sleep 600",
    )  # fmt: skip
    Path(run.folder, "metrics").mkdir(exist_ok=True)

    with started(words, variables):
        wait_until(lambda: os.path.exists(second))
        wait_until(lambda: samplers(run) == [])


@pytest.mark.parametrize(
    "changed",
    [{"SLURM_LOCALID": "1"}, {"RUNBUS_SYSTEM": "0"}, {"RUNBUS_SAMPLER": ""}],
    ids=["another task", "not wanted", "no program"],
)
def test_a_task_beside_which_nothing_samples_has_no_shell_about_it(
    variables: dict[str, str], changed: dict[str, str]
) -> None:
    words = task(SlurmExecutor(launcher="srun"), ["sh"], "echo $$")

    with started(words, variables | changed) as process:
        said, _ = process.communicate(timeout=120)

    assert int(said) == process.pid


@pytest.mark.parametrize("shell", SHELLS)
def test_a_driver_that_hangs_does_not_keep_the_end_of_a_job(
    variables: dict[str, str], tmp_path: Path, shell: list[str]
) -> None:
    hangs = tmp_path / "hangs"
    hangs.write_text(
        f"#!/bin/sh\ntrap '' TERM\ncd {tmp_path}\necho $$ >new\nmv new pid\n"
        "while :; do sleep 0.1; done\n"
    )
    hangs.chmod(0o755)
    words = task(
        SlurmExecutor(launcher="srun"), shell,
        f"until [ -e {tmp_path}/pid ]; do sleep 0.05; done; kill -TERM $$",
    )  # fmt: skip

    with started(words, variables | {"RUNBUS_SAMPLER": str(hangs)}) as process:
        process.communicate(timeout=120)

    assert process.returncode == 128 + 15
    pid = (tmp_path / "pid").read_text().strip()
    wait_until(lambda: not os.path.exists(f"/proc/{pid}"))


@pytest.mark.parametrize("changed", [{}, {"bootstrap": ("true",)}], ids=["fields", "a script"])
def test_the_wrapper_of_tasks_tells_them_who_samples_and_starts_nothing(
    changed: dict[str, Any],
) -> None:
    asked = spec("true", **changed)
    of_tasks = SlurmExecutor(launcher="srun")._rendered(asked, "/far/samples")
    of_one = SlurmExecutor()._rendered(asked, "/far/samples")

    assert b"\nenv 27\nRUNBUS_SAMPLER=/far/samples\n" in of_tasks
    assert b"\nsampler " not in of_tasks
    assert b"\nsampler 12\n/far/samples\n" in of_one
    assert b"RUNBUS_SAMPLER" not in of_one
    assert b"RUNBUS_SAMPLER" not in SlurmExecutor(launcher="srun")._rendered(asked, "")
