"""A run whose machine is sampled, by one process of all that join it."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

import runbus
from runbus.metrics import System, _system
from runbus.testing._waiting import wait_until

if TYPE_CHECKING:
    pass

# Whatever a reading costs: where it costs much, it would be made more seldom than each second.
QUICK = System(every_s=0.01, slow_every_s=0.02, budget=1.0)
NVML = Path(__file__).parents[2] / "nvml" / "fake_nvml.c"
ROCM = Path(__file__).parents[2] / "rocm" / "fake_rocm.c"


def samplers(run: runbus.Run) -> list[str]:
    return [name for name in os.listdir(f"{run.folder}/metrics") if name.endswith("-s-h.journal")]


def has_samples(run: runbus.Run, rows: int = 1) -> bool:
    stored = runbus.open_run(run.id)
    return "sys/cpu/util" in stored.metric_names() and len(stored.metrics("sys/cpu/util")) >= rows


def samples(run: runbus.Run, name: str) -> list[float]:
    stored = runbus.open_run(run.id)
    values: list[float] = []
    if name in stored.metric_names():
        values = stored.metrics(name).values.tolist()
    return values


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNBUS_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("RUNBUS_SYSTEM", raising=False)


def test_samples_are_metrics_of_the_run_at_ticks_of_the_wall_clock() -> None:
    with runbus.init(system=QUICK) as run:
        run.log("loss", 0.5)
        wait_until(lambda: has_samples(run))
    stored = runbus.open_run(run.id)
    assert stored.state == "SUCCEEDED"
    _, values, times = stored.metrics("sys/cpu/util").to_numpy()
    assert (times % 10_000_000 == 0).all()
    assert ((values >= 0) & (values <= 100)).all()
    assert stored.metrics("loss").values.tolist() == [0.5]


@pytest.mark.parametrize(
    ("variable", "asked", "is_on"),
    [
        (None, None, False),
        ("1", None, True),
        ("0", None, False),
        ("1", False, False),
        ("0", True, True),
    ],
)
def test_the_call_decides_and_without_it_the_variable(
    monkeypatch: pytest.MonkeyPatch, variable: str | None, asked: bool | None, is_on: bool
) -> None:
    if variable is not None:
        monkeypatch.setenv("RUNBUS_SYSTEM", variable)
    with runbus.init(system=asked) as run:
        if is_on:
            wait_until(lambda: len(samplers(run)) == 1)
        assert bool(samplers(run)) is is_on


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("1", System()),
        ("0", None),
        ("every_s=0.1", System(every_s=0.1)),
        ("window_s=5, gpus=0+3", System(window_s=5, gpus=(0, 3))),
        ("gpus=all,after_s=2,slow_every_s=30", System(gpus="all", after_s=2, slow_every_s=30)),
    ],
)
def test_the_variable_says_how(text: str, meant: System | None) -> None:
    assert System.parse(text) == meant


@pytest.mark.parametrize("text", ["yes", "every_s", "every_s=fast", "gpus=one", "rate=3", "1,0"])
def test_a_variable_that_says_nothing_is_refused_before_there_is_a_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str
) -> None:
    monkeypatch.setenv("RUNBUS_SYSTEM", text)
    with pytest.raises(ValueError, match=f"RUNBUS_SYSTEM={text}"):
        runbus.init()
    assert not (tmp_path / "home").exists()


def in_a_job(run: runbus.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNBUS_RUN", run.folder)
    monkeypatch.setenv("RUNBUS_ATTEMPT", str(tmp_path / "1"))


def test_the_run_of_a_job_is_sampled_unless_somebody_says_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with runbus.init() as made:
        pass
    in_a_job(made, tmp_path, monkeypatch)
    with runbus.init() as run:
        wait_until(lambda: has_samples(run))
    assert len(samplers(run)) == 1


def test_a_job_that_is_over_within_a_second_makes_no_journal_of_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with runbus.init() as made:
        pass
    in_a_job(made, tmp_path, monkeypatch)
    # It is over by then, also on a machine that is slow.
    assert _system._IN_A_JOB.after_s == 1
    monkeypatch.setattr(_system, "_IN_A_JOB", _system._IN_A_JOB._replace(after_s=600))
    with runbus.init() as run:
        run.log("loss", 1)
    assert not samplers(run)
    assert not [name for name in os.listdir(f"{run.folder}/metrics") if name.startswith(".")]


def test_who_asks_has_another_sampler_than_the_one_of_the_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with runbus.init() as made:
        pass
    in_a_job(made, tmp_path, monkeypatch)

    def has_rows_within_a_second() -> bool:
        if not has_samples(run, rows=2):
            return False
        _, _, times = runbus.open_run(run.id).metrics("sys/cpu/util").to_numpy()
        return bool((np.diff(times) < 1_000_000_000).any())

    with runbus.init() as run, runbus.init(system=QUICK):
        # The sampler of the job has one each second.
        wait_until(has_rows_within_a_second)
    assert len(samplers(run)) == 1


def test_a_node_samples_though_its_process_logs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with runbus.init() as made:
        pass
    in_a_job(made, tmp_path, monkeypatch)
    monkeypatch.setenv("SLURM_NODEID", "1")
    monkeypatch.setenv("SLURM_PROCID", "8")
    with runbus.init(system=QUICK) as run:
        wait_until(lambda: "sys/node1/cpu/util" in runbus.open_run(run.id).metric_names())


def test_who_samples_otherwise_does_so_on_its_host_and_who_declines_does_so_for_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with runbus.init() as made:
        pass
    in_a_job(made, tmp_path, monkeypatch)
    monkeypatch.setenv("SLURMD_NODENAME", "n/2")

    def asked() -> list[str]:
        names = os.listdir(f"{made.folder}/metrics")
        return sorted(name for name in names if name.startswith(".asked-"))

    with runbus.init():
        assert asked() == []
    with runbus.init(system=QUICK):
        assert asked() == [".asked-a1-n-2"]
    with runbus.init(system=False):
        assert asked() == [".asked-a1", ".asked-a1-n-2"]


def test_rows_of_a_window_are_means_of_what_was_read(tmp_path: Path) -> None:
    with runbus.init(system=QUICK._replace(window_s=0.05)) as run:
        wait_until(lambda: has_samples(run, rows=4))
    _, _, times = runbus.open_run(run.id).metrics("sys/cpu/util").to_numpy()
    assert (times[:-1] % 50_000_000 == 0).all()


def test_an_interval_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match=r"every must be 0\.001 to 86400 seconds"):
        runbus.init(system=System(every_s=0))


@pytest.mark.parametrize("budget", [0.0, -1.0, 1.5, float("nan")])
def test_a_budget_that_is_no_part_is_refused(budget: float) -> None:
    with pytest.raises(ValueError, match="budget must be above 0 and at most 1"):
        runbus.init(system=System(budget=budget))


def test_a_run_that_fails_has_failed_however_its_sampler_ended() -> None:
    run = runbus.init(system=QUICK)
    wait_until(lambda: has_samples(run))
    run.close(runbus.metrics.FAILED)
    assert runbus.open_run(run.id).state == "FAILED"


def test_however_many_processes_join_a_run_one_samples_and_the_next_takes_over() -> None:
    joined = (
        "import runbus, sys; run = runbus.init(id=sys.argv[1], system=True); print(flush=True)\n"
    )
    joined += "sys.stdin.read(); run.finish()"
    with runbus.init(system=QUICK) as run:
        again = runbus.init(id=run.id, system=True)
        wait_until(lambda: has_samples(run))
        with subprocess.Popen(
            [sys.executable, "-c", joined, run.id], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as other:
            assert other.stdout is not None
            other.stdout.readline()
            wait_until(lambda: len(runbus.open_run(run.id).metrics("sys/cpu/util")) > 5)
            assert len(samplers(run)) == 1
            again.finish()
            run.finish()
            wait_until(lambda: len(samplers(run)) == 2)
            other.communicate(timeout=120)
        assert other.returncode == 0


def test_a_forked_child_leaves_the_sampling_to_its_parent() -> None:
    with runbus.init(system=QUICK) as run:
        wait_until(lambda: has_samples(run))
        child = os.fork()
        if not child:
            run.finish()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        seen = len(runbus.open_run(run.id).metrics("sys/cpu/util"))
        wait_until(lambda: len(runbus.open_run(run.id).metrics("sys/cpu/util")) > seen + 3)
        assert len(samplers(run)) == 1


def test_a_spawned_child_is_of_the_job_and_does_not_sample() -> None:
    context = multiprocessing.get_context("spawn")
    over = context.Event()
    with runbus.init(system=QUICK) as run:
        wait_until(lambda: has_samples(run))
        child = context.Process(target=over.wait, args=(100,))
        child.start()
        try:
            wait_until(lambda: max(samples(run, "sys/job/processes"), default=0) >= 2)
            assert len(samplers(run)) == 1
        finally:
            over.set()
            child.join()
    assert child.exitcode == 0


def test_gpus_of_amd_are_sampled_where_the_job_may_see_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = tmp_path / "librocm_smi64.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, ROCM], check=True)
    Path(f"{library}.state").write_text("gpu a1 util=10\ngpu b2 util=20\n")
    monkeypatch.setenv("RUNBUS_ROCM_SMI", str(library))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setenv("ROCR_VISIBLE_DEVICES", "1")
    with runbus.init(system=QUICK) as run:
        wait_until(lambda: "sys/gpu0/util" in runbus.open_run(run.id).metric_names())
    assert set(samples(run, "sys/gpu0/util")) == {20.0}


def test_gpus_of_the_driver_are_sampled_where_the_job_may_see_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = tmp_path / "libnvidia-ml.so.1"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, NVML], check=True)
    gpu = "gpu Fake_H200 GPU-{0} util={0}0 total=1000 used=10 power=300000\n"
    Path(f"{library}.state").write_text(gpu.format(1) + gpu.format(2))
    monkeypatch.setenv("RUNBUS_NVML", str(library))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    with runbus.init(system=QUICK) as run:
        wait_until(lambda: "sys/gpu1/util" in runbus.open_run(run.id).metric_names())
    stored = runbus.open_run(run.id)
    assert set(stored.metrics("sys/gpu1/util").values.tolist()) == {20.0}
    assert not [name for name in stored.metric_names() if name.startswith("sys/gpu0/")]
