"""Experiments on one kernel that go to one machine have one connection to it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import anyio
import pytest

from runbus import Command, Config, Job, Kernel, SSHExecutor
from runbus.api import Fleet
from runbus.events import JobStarted
from runbus.experiment import ExperimentDraft
from runbus.jobs import JobState
from runbus.testing._waiting import until
from runbus.testing.sshd import Sshd

pytestmark = pytest.mark.services


async def test_three_experiments_reach_a_machine_by_one_connection(
    host: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "config").write_text(host.settings())
    monkeypatch.setenv("HOME", str(tmp_path))
    go, connections, started = tmp_path / "go", set[int](), set[str]()
    script = f"until [ -e {go} ]; do sleep 0.05; done"
    job = Job(name="j", task=Command(("sh", "-c", script)), executor="far")
    stored = [
        ExperimentDraft(
            "p",
            [job],
            executors={
                "far": Config(
                    SSHExecutor,
                    hosts=[host.name],
                    slots=slots,
                    job_dir=str(tmp_path / "there"),
                    workdir="/",
                )
            },
            home=tmp_path / "home",
        ).prepare()
        for slots in (1, 2, 3)
    ]

    def look(fact: JobStarted) -> None:
        started.add(fact.run_id)
        connections.update(host.sessions())
        if len(started) == len(stored):
            go.touch()

    with anyio.fail_after(120):
        async with Kernel() as kernel:
            kernel.bus.on(JobStarted, look)
            records = await asyncio.gather(*map(Fleet(kernel).lead, stored))
            assert kernel.hosts == ()

    assert [record.state for (record,) in records] == [JobState.SUCCEEDED] * 3
    assert len(connections) == 1
    # The host's process ends when it has read that the connection is closed.
    await until(lambda: not host.sessions())
