"""A function runs on another machine: its module travels as packaged code, its values as a file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import runbus
from runbus import Job, Kernel, Partial, SSHExecutor
from runbus.abc import Packager
from runbus.attempt import read_log
from runbus.experiment import ExperimentDraft
from runbus.packaging import PatternPackager
from runbus.testing.sshd import Sshd

from .conftest import tunnel_to

pytestmark = pytest.mark.services

MODULE = """
from dataclasses import dataclass

@dataclass
class Model:
    width: int = 8

def train(model: Model, text: str = "", fail: bool = False) -> dict:
    if fail:
        raise OSError("as asked")
    return {"width": model.width, "length": len(text), "file": __file__}
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "far_trainer.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path / "src"))
    monkeypatch.delitem(sys.modules, "far_trainer", raising=False)
    import far_trainer  # type: ignore[import-not-found]

    return far_trainer


def far(host: Sshd, folder: Path, packager: Packager | None = None) -> SSHExecutor:
    tunnels = [tunnel_to(host, folder / "remote")]
    return SSHExecutor(tunnels, python=sys.executable, packager=packager)


async def test_results_and_exceptions_come_back_from_there(
    module: Any, host: Sshd, tmp_path: Path
) -> None:
    jobs = [
        Job(name="good", task=Partial(module.train, {"width": 3}, text="it's " * 60_000)),
        Job(name="bad", task=Partial(module.train, module.Model(), fail=True)),
    ]
    executor = far(host, tmp_path, PatternPackager(include=["src/*.py"]))
    async with Kernel(plugins=[executor]) as kernel:
        done = await ExperimentDraft("far", jobs, executor="ssh").run(kernel.bus)
    good, bad = (runbus.open_run(one.run_id) for one in done)
    assert (good.state, good.result["width"], good.result["length"]) == ("SUCCEEDED", 3, 300_000)
    assert good.result["file"].startswith(f"{tmp_path}/remote/")
    assert bad.error is not None
    assert (bad.state, bad.error["type"], bad.error["text"]) == ("FAILED", "OSError", "as asked")
    assert "in train" in bad.error["traceback"]


async def test_a_module_that_did_not_travel_is_told_with_the_way_out(
    module: Any, host: Sshd, tmp_path: Path
) -> None:
    executor = far(host, tmp_path)
    jobs = [Job(name="bare", task=Partial(module.train, {}), cwd="/")]
    async with Kernel(plugins=[executor]) as kernel:
        experiment = ExperimentDraft("far", jobs, executor="ssh")
        experiment.prepare()
        (tmp_path / "src").rename(tmp_path / "moved")  # as on a machine that has no such folder
        (done,) = await experiment.run(kernel.bus)
    run = runbus.open_run(done.run_id)
    assert run.error is not None
    assert "no module 'far_trainer'" in run.error["text"]
    assert run.job_folder is not None
    assert b"hint: there is no" in read_log(run.job_folder, "stderr", 0)


def test_a_script_sends_its_own_function_there(host: Sshd, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(
        f"{MODULE}\nif __name__ == '__main__':\n    import runbus.cli\n    runbus.cli.main(train)\n"
    )
    (tmp_path / "box.yaml").write_text(
        f"type: ssh\nhosts: [root@{host.address}:{host.port}]\nidentity: {host.identity}\n"
        f"job_dir: {tmp_path}/remote\npython: {sys.executable}\n"
        "packager: {type: pattern, include: [train.py]}\n"
    )
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "known_hosts").write_bytes(host.known_hosts.read_bytes())
    done = subprocess.run(
        [sys.executable, "train.py", "executor=@box.yaml", "model.width=4"],
        env=os.environ | {"HOME": str(tmp_path)}, cwd=tmp_path,
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (run,) = runbus.runs(project="train")
    assert run.result["width"] == 4
    assert "/remote/" in run.result["file"]
