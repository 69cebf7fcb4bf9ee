"""One graph of jobs on this machine and on others, which hand values from one to the next."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from runbus import Command, Dependency, Job, Kernel, LocalExecutor, Output, Partial, SSHExecutor
from runbus.attempt import read_log
from runbus.experiment import ExperimentDraft, StoredExperiment
from runbus.jobs import JobRecord
from runbus.packaging import PatternPackager
from runbus.testing.sshd import Sshd

from .conftest import tunnel_to

pytestmark = pytest.mark.services

MODULE = """
import os

def search(rates: list[float]) -> dict:
    return {"best": {"lr": min(rates)}}

def train(lr: float, seed: int) -> dict:
    if seed == 2:
        raise OSError("as asked")
    return {"loss": lr * seed, "where": os.path.realpath(__file__)}
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "graph_steps.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path / "src"))
    monkeypatch.delitem(sys.modules, "graph_steps", raising=False)
    import graph_steps  # type: ignore[import-not-found]

    return graph_steps


async def test_jobs_here_and_elsewhere_wait_for_each_other_and_take_results(
    module: Any, hosts: list[Sshd], tmp_path: Path
) -> None:
    lr = Output("search", "best.lr")
    trains = [
        Job(name=f"train-{seed}", task=Partial(module.train, lr, seed), executor="ssh")
        for seed in (1, 2, 3)
    ]
    loss: dict[str, Any] = {"LOSS": Output("train-1", "loss"), "WHERE": Output("train-3", "where")}
    jobs = [
        Job(name="report", task=Command(("sh", "-c", 'echo "$LOSS $WHERE"')), env=loss),
        *trains,
        Job(name="search", task=Partial(module.search, [0.5, 0.25])),
        Job(name="never", task=Command(("true",)), depends_on=trains, executor="ssh"),
        Job(
            name="rescue", task=Command(("true",)), executor="ssh", cwd="/",
            depends_on=[Dependency(job="train-2", when="afternotok")],
        ),
    ]  # fmt: skip
    far = SSHExecutor(
        [tunnel_to(host, tmp_path / "remote") for host in hosts],
        python=sys.executable,
        packager=PatternPackager(include=["src/*.py"]),
    )
    async with Kernel(plugins=[LocalExecutor(), far]) as kernel:
        stored = ExperimentDraft("mixed", jobs, max_parallel=4).prepare(
            {"local": LocalExecutor(), "ssh": far}
        )
        found = {one.name: one for one in await stored.run(kernel.bus)}

    assert {name: str(one.state) for name, one in found.items()} == {
        "report": "SUCCEEDED", "train-1": "SUCCEEDED", "train-2": "FAILED",
        "train-3": "SUCCEEDED", "search": "SUCCEEDED", "never": "SKIPPED", "rescue": "SUCCEEDED",
    }  # fmt: skip
    assert "needs job 'train-2' to succeed" in found["never"].reason
    loss_told, where = said(stored, found["report"]).split()
    assert float(loss_told) == 0.25
    assert where.startswith(f"{tmp_path}/remote/")
    for name in ("train-1", "train-2", "train-3"):
        assert found["search"].ended_ns <= found[name].started_ns
    assert max(found["train-1"].ended_ns, found["train-3"].ended_ns) <= found["report"].started_ns


def said(stored: StoredExperiment, record: JobRecord) -> str:
    return read_log(f"{stored.folder}/{record.folder}", "stdout", 0).decode()
