"""What the machines of jobs do, on its way to the bus."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

import runbus
from runbus import Kernel, Plugin
from runbus._clock import SYSTEM_CLOCK
from runbus._core import MetricWriter
from runbus.abc import JobSpec
from runbus.events import GpuLost, MachineAlert, ResourceSample
from runbus.metrics import System
from runbus.metrics._folder import new_journal
from runbus.supervisor._catch_up import Stragglers
from runbus.supervisor._feed import MetricFeed
from runbus.testing._waiting import until

from .backend import leads

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def job_of(run: runbus.Run, tmp_path: Path) -> JobSpec:
    return JobSpec(
        experiment_id="e", name="j", run_id=run.id, executor="local", argv=("true",), env={},
        cwd="/", folder=str(tmp_path), run_folder=run.folder,
    )  # fmt: skip


async def fed(kernel: Kernel, job: JobSpec) -> None:
    """Put everything that the run of a job has logged on the bus."""
    stragglers = Stragglers(kernel.bus)
    feed = MetricFeed(kernel.bus, SYSTEM_CLOCK, stragglers, leads)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stragglers.run)
        tasks.start_soon(feed.run)
        await anyio.lowlevel.checkpoint()
        feed.follow(job)
        with anyio.fail_after(120):
            await feed.drain(job)
        tasks.cancel_scope.cancel()


async def test_rows_of_a_sampler_are_samples_and_what_a_loop_logs_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNBUS_HOME", str(tmp_path))
    with runbus.init(system=System(every_s=0.01, slow_every_s=0.01)) as run:
        run.log("loss", 0.5)
        await until(lambda: "sys/cpu/util" in runbus.open_run(run.id).metric_names())
    async with Kernel() as kernel, kernel.bus.stream(ResourceSample, maxsize=1_000_000) as reader:
        await fed(kernel, job_of(run, tmp_path))
        samples = [one for one in await reader.batch() if isinstance(one, ResourceSample)]
    series = runbus.open_run(run.id).metrics("sys/cpu/util")
    # A row has what was due at its time.
    told = {
        sample.time_ns: sample.values["sys/cpu/util"]
        for sample in samples
        if "sys/cpu/util" in sample.values
    }
    assert told == dict(zip(series.times.tolist(), series.values.tolist(), strict=True))
    assert not any("loss" in sample.values for sample in samples)


async def test_what_samples_mean_is_told_as_an_alert(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNBUS_HOME", str(tmp_path))
    with runbus.init() as run:
        run.log("loss", 0.5)
        writer = MetricWriter(new_journal(run.folder, is_sampler=True))
        writer.log({"sys/gpu3/lost": 1.0})
        writer.close(0)
    told: list[MachineAlert] = []
    async with Kernel(plugins=[Plugin("alerts").on(MachineAlert, told.append)]) as kernel:
        await fed(kernel, job_of(run, tmp_path))
    (alert,) = told
    assert isinstance(alert, GpuLost)
    assert (alert.gpu, alert.run_id, alert.job) == ("gpu3", run.id, "j")
