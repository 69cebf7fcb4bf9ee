"""A function runs as a job: what travels is data, what comes back is in the run's record."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import runbus
from runbus import AsyncExperiment, Job, Kernel, LocalExecutor, Partial
from runbus.cli._app import run_command
from runbus.config import Function, decode_task, function_named
from runbus.errors import ConfigInvalid, TargetUnusable, TaskInvalid

TRAIN = """
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import runbus


@dataclass
class Model:
    width: int = 8
    path: Path = Path("a")


def train(model: Model, lr: float = 0.1, fail: bool = False) -> dict[str, object]:
    run = runbus.init()
    run.log("loss", lr)
    run.finish()
    if fail:
        raise OSError("as asked")
    return {"width": model.width, "path": type(model.path).__mro__[1].__name__, "lr": lr}


def silent() -> object:
    return object()
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "trainer_of_tests.py").write_text(TRAIN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "trainer_of_tests", raising=False)
    return tmp_path


def test_partials_run_as_jobs_and_their_results_come_back(folder: Path) -> None:
    import trainer_of_tests as trainer  # type: ignore[import-not-found]

    jobs = [
        Job(name="good", task=Partial(trainer.train, model={"width": 3, "path": "x"}, lr=1)),
        Job(name="bad", task=Partial(trainer.train, model=trainer.Model(), fail=True)),
        Job(name="silent", task=Partial(trainer.silent)),
    ]

    async def run() -> Any:
        async with Kernel(plugins=[LocalExecutor()]) as kernel:
            return await AsyncExperiment("functions", jobs).run(kernel.bus)

    good, bad, silent = (runbus.open_run(one.run_id) for one in asyncio.run(run()))
    assert (good.state, good.result) == ("SUCCEEDED", {"width": 3, "path": "Path", "lr": 1.0})
    assert good.error is None
    assert good.metrics("loss").to_numpy()[1].tolist() == [1.0]
    assert (bad.state, bad.result) == ("FAILED", None)
    assert bad.error is not None
    assert (bad.error["type"], bad.error["text"]) == ("OSError", "as asked")
    assert "in train" in bad.error["traceback"]
    assert (silent.state, silent.result) == ("SUCCEEDED", None)


def test_the_command_line_runs_a_function_of_a_file(folder: Path, capsys: Any) -> None:
    words = ["run", "trainer_of_tests.py:train", "model.width=5", "--sweep", "lr=0.5,0.25"]
    assert run_command([*words, "--project", "cli"]) == 0
    found = sorted(one.result["lr"] for one in runbus.runs(project="cli"))
    assert found == [0.25, 0.5]
    assert {one.result["width"] for one in runbus.runs(project="cli")} == {5}
    capsys.readouterr()
    assert run_command(["run", "trainer_of_tests.py:train", "model.widht=5"]) == 2
    assert "model.widht: unknown key 'widht'; did you mean 'width'" in capsys.readouterr().err
    assert run_command(["run", "trainer_of_tests.py:trian"]) == 2
    assert "hint: did you mean 'train'" in capsys.readouterr().err
    assert run_command(["run", "gone.py:train"]) == 2
    assert "there is no file 'gone.py'" in capsys.readouterr().err


def test_a_function_that_no_other_process_can_import_is_refused_with_the_way_out(
    folder: Path,
) -> None:
    def local() -> None: ...

    with pytest.raises(TargetUnusable, match="it stands within a function") as caught:
        Job(name="a", task=Partial(local))
    assert caught.value.hint == "define it at the top of a module"
    script = folder / "main.py"
    script.write_text(
        "from runbus import Job, Partial\ndef train(): ...\nJob(name='a', task=Partial(train))\n"
    )
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, check=False, timeout=50
    )
    assert "use runbus run main.py:train" in done.stderr


def test_what_is_wrong_is_told_before_anything_is_submitted(folder: Path) -> None:
    function, where = function_named("trainer_of_tests.py:train")
    assert where == str(folder)
    with pytest.raises(ConfigInvalid, match="the key 'model' is missing"):
        Job(name="a", task=function)
    with pytest.raises(TaskInvalid, match="more than 120,000 bytes"):
        Function("a.b", {"text": "x" * 200_000}).command_line()
    with pytest.raises(TaskInvalid, match="its values are no data"):
        Function("a.b", {"text": object()}).command_line()


def test_a_batch_names_a_function_as_data() -> None:
    data = {"type": "function", "target": "trainer.train", "values": {"lr": 0.5}, "folder": "src"}
    task = decode_task(data, "/code")
    assert task == Function("trainer.train", {"lr": 0.5}, "/code/src")
    assert task.title == "train"
    assert task.command_line()[1:3] == ("-m", "runbus.metrics.call")
    assert task.command_line()[-1] == "/code/src"
