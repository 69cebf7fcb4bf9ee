"""Several experiments led by one kernel: one look for all, and each with executors of its own."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest
from msgspec.structs import replace

from runbus import Command, Config, Job, Kernel, LocalExecutor
from runbus.abc import Observation
from runbus.api import Fleet
from runbus.catalog import job_statuses
from runbus.events import JobEnded, JobSubmitted
from runbus.experiment import ExperimentDraft
from runbus.jobs import FactReader, JobState
from runbus.testing import FakeExecutor
from runbus.testing._waiting import wait_until

LEADER = """
import asyncio, json, sys
import anyio
from runbus import Kernel, LocalExecutor
from runbus.experiment import StoredExperiment

class Counting(LocalExecutor):
    looks, ticks = [], 0

    async def observe(self, refs):
        self.looks.append(len(refs))
        if len(refs) == 6:
            open(sys.argv[1], "w").close()
        return await super().observe(refs)

    async def wait_for_change(self, timeout_s):
        Counting.ticks += 1
        return await super().wait_for_change(timeout_s)

async def main(folders):
    async with Kernel(plugins=[Counting()]) as kernel, anyio.create_task_group() as group:
        for folder in folders:
            group.start_soon(StoredExperiment.open(folder).run, kernel.bus)

asyncio.run(main(sys.argv[2:]))
print(json.dumps([Counting.looks, Counting.ticks]))
"""


def states(folders: Sequence[str]) -> list[JobState]:
    return [status.record.state for folder in folders for status in job_statuses(folder)]


def test_three_experiments_in_one_kernel_are_looked_at_together_and_survive_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNBUS_HOME", str(tmp_path / "home"))
    go = tmp_path / "go"
    script = f"until [ -e {go} ]; do sleep 0.05; done; echo $$ >>{tmp_path}/ran"
    jobs = [Job(name=name, task=Command(("sh", "-c", script))) for name in ("a", "b")]
    folders = [
        ExperimentDraft(f"p{number}", jobs, max_parallel=2).prepare().folder for number in range(3)
    ]
    looked = tmp_path / "looked"
    command = [sys.executable, "-c", LEADER, str(looked), *folders]

    with subprocess.Popen(command) as first:
        wait_until(lambda: states(folders) == [JobState.RUNNING] * 6 and looked.exists())
        first.kill()
    looked.unlink()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as second:
        wait_until(looked.exists)
        go.touch()
        said, _ = second.communicate(timeout=120)

    assert second.returncode == 0
    assert states(folders) == [JobState.SUCCEEDED] * 6
    for folder in folders:
        facts = list(FactReader(folder).poll())
        for kind in (JobSubmitted, JobEnded):
            assert sorted(fact.job for fact in facts if isinstance(fact, kind)) == ["a", "b"]
    assert len((tmp_path / "ran").read_text().splitlines()) == 6
    looks, ticks = json.loads(said)
    # However many lead, each tick has one look at the most, and it is at all jobs there are.
    assert len(looks) <= ticks
    together = looks[looks.index(6) :]
    assert together == sorted(together, reverse=True)


async def test_two_experiments_mean_two_executors_by_one_name(tmp_path: Path) -> None:
    one, other = FakeExecutor("box"), FakeExecutor("box")
    jobs = [Job(name="j", task=Command(("true",)), executor="box")]
    stored = [ExperimentDraft("p", jobs, home=tmp_path).prepare() for _ in range(2)]

    with anyio.fail_after(120):
        async with Kernel() as kernel:
            records = await asyncio.gather(
                stored[0].run(kernel.bus, executors={"box": one}),
                stored[1].run(kernel.bus, executors={"box": other}),
            )

    assert (one.submits, other.submits) == (["j"], ["j"])
    assert [record.state for (record,) in records] == [JobState.SUCCEEDED] * 2


async def test_jobs_of_one_name_in_two_experiments_are_told_apart(tmp_path: Path) -> None:
    executor = LocalExecutor()
    stored = [
        ExperimentDraft(
            "p", [Job(name="j", task=Command(("sh", "-c", f"exit {code}")))], home=tmp_path
        ).prepare()
        for code in (3, 4)
    ]

    with anyio.fail_after(120):
        async with Kernel(plugins=[executor]) as kernel:
            records = await asyncio.gather(*(one.run(kernel.bus) for one in stored))

    assert [record.exit_code for (record,) in records] == [3, 4]


async def test_those_who_look_go_on_when_the_one_that_looked_for_all_is_gone(
    tmp_path: Path,
) -> None:
    executor = FakeExecutor()
    executor.first = Observation(phase="running", started_ns=1)
    stored = [
        ExperimentDraft(
            "p", [Job(name=name, task=Command(("true",)), executor="fake")], home=tmp_path
        ).prepare()
        for name in ("first", "second")
    ]
    done = replace(executor.first, phase="ended", exit_code=0)
    with anyio.fail_after(120):
        async with Kernel(plugins=[executor]) as kernel, anyio.create_task_group() as group:
            ended = kernel.bus.wait_for(JobEnded, lambda end: end.job == "first")
            submitted = kernel.bus.wait_for(JobSubmitted, lambda one: one.job == "second")
            group.start_soon(stored[0].run, kernel.bus)
            await kernel.bus.wait_for(JobSubmitted, lambda one: one.job == "first")
            group.start_soon(stored[1].run, kernel.bus)
            await submitted
            executor.show("first", done)
            await ended
            executor.show("second", done)

    assert states([one.folder for one in stored]) == [JobState.SUCCEEDED] * 2


async def test_a_fleet_makes_one_executor_of_those_that_are_described_alike(
    tmp_path: Path,
) -> None:
    described: list[Any] = [
        Config(LocalExecutor, gpus=["1"]),
        {"type": "local", "gpus": ["1"]},
        Config(LocalExecutor, gpus=["2"]),
    ]
    go = tmp_path / "go"
    script = f"until test -e {go}; do sleep 0.02; done"
    stored = [
        ExperimentDraft(
            "p",
            [Job(name="j", task=Command(("sh", "-c", script)), executor="box")],
            executors={"box": fields},
            home=tmp_path,
        ).prepare()
        for fields in described
    ]
    seen: list[tuple[str, ...]] = []

    async with Kernel(plugins=[LocalExecutor()]) as kernel:

        async def look(_started: JobSubmitted) -> None:
            seen.append(tuple(sorted(host.name for host in kernel.hosts)))
            if len(seen) == len(stored):
                go.touch()

        kernel.bus.on(JobSubmitted, look)
        fleet = Fleet(kernel)
        records = await asyncio.gather(*map(fleet.lead, stored))
        left = [host.name for host in kernel.hosts]

    assert [record.state for (record,) in records] == [JobState.SUCCEEDED] * 3
    assert max(seen, key=len) == ("box#1", "box#2", "local")
    assert left == ["local"]
