"""A function runs as a job: what travels is data, what comes back is in the run's record."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import runbus
from runbus import Job, Kernel, LocalExecutor, Partial
from runbus.abc import RetryPolicy
from runbus.cli._app import run_command
from runbus.config import Function, decode_task, function_named, function_task, load
from runbus.errors import ConfigInvalid, ResultNotKept, TargetUnusable, TaskInvalid
from runbus.experiment import ExperimentDraft
from runbus.packaging import PatternPackager

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


@runbus.cli.factory
def wide() -> Model:
    return Model(99)


def silent() -> object:
    return object()


def length(text: str) -> int:
    return len(text)


def second_time(folder: Path) -> str:
    if not (folder / "first").exists():
        (folder / "first").touch()
        raise OSError("the first time")
    return "the second time"
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
            return await ExperimentDraft("functions", jobs).run(kernel.bus)

    good, bad, silent = (runbus.open_run(one.run_id) for one in asyncio.run(run()))
    assert (good.state, good.result) == ("SUCCEEDED", {"width": 3, "path": "Path", "lr": 1.0})
    assert good.error is None
    assert good.metrics("loss").to_numpy()[1].tolist() == [1.0]
    assert (bad.state, bad.result) == ("FAILED", None)
    assert bad.error is not None
    assert (bad.error["type"], bad.error["text"]) == ("OSError", "as asked")
    assert "in train" in bad.error["traceback"]
    assert (silent.state, silent.error) == ("SUCCEEDED", None)
    with pytest.raises(ResultNotKept, match="object is neither text, number, list nor mapping"):
        _ = silent.result
    model = {"_target_": "trainer_of_tests.Model", "width": 3, "path": "x"}
    assert good.config == {"model": model, "lr": 1.0}


def test_the_command_line_runs_a_function_of_a_file(folder: Path, capsys: Any) -> None:
    words = ["run", "trainer_of_tests.py:train", "model.width=5", "--sweep", "lr=0.5,0.25"]
    assert run_command([*words, "--project", "cli"]) == 0
    found = sorted(one.result["lr"] for one in runbus.runs(project="cli"))
    assert found == [0.25, 0.5]
    assert {one.result["width"] for one in runbus.runs(project="cli")} == {5}
    assert run_command(["run", "trainer_of_tests.py:train", "model=wide"]) == 0
    assert runbus.runs()[-1].result["width"] == 99
    capsys.readouterr()
    assert run_command(["run", "trainer_of_tests.py:train", "model.widht=5"]) == 2
    told = "error: model.widht=5: unknown key 'widht'\nhint: did you mean 'width'\n"
    assert capsys.readouterr().err == told
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
        [sys.executable, script], capture_output=True, text=True, check=False, timeout=120
    )
    assert "use runbus run main.py:train" in done.stderr


def test_what_is_wrong_is_told_before_anything_is_submitted(folder: Path) -> None:
    function, where = function_named("trainer_of_tests.py:train")
    assert where == str(folder)
    with pytest.raises(ConfigInvalid, match="the key 'model' is missing"):
        Job(name="a", task=function)
    with pytest.raises(TaskInvalid, match="more than 4,194,304 bytes"):
        Job(name="a", task=Function("a.b", {"text": "x" * (4 << 20)}))
    with pytest.raises(TaskInvalid, match="its values are no data"):
        Job(name="a", task=Function("a.b", {"text": object()}))


def test_a_batch_names_a_function_as_data() -> None:
    data = {"type": "function", "target": "trainer.train", "values": {"lr": 0.5}, "folder": "src"}
    task = decode_task(data, "/code")
    assert task == Function("trainer.train", {"lr": 0.5}, "/code/src")
    assert task.title == "train"
    assert task.command_line()[1:3] == ("-m", "runbus.metrics.call")
    assert task.command_line()[-1] == "/code/src"


def test_values_of_any_size_and_every_character_travel_in_a_file(folder: Path) -> None:
    text = "it's $HOME `id` %s \\ \n\0 \N{SNOWMAN} \ud800 \U0001f600" * 10_000
    function, where = function_named("trainer_of_tests.py:length")
    function.text = text
    job = Job(name="long", task=function_task(function, where))
    (run,) = _run([job])
    assert (run.state, run.result) == ("SUCCEEDED", len(text))
    assert text[:20] not in " ".join(run.origin.argv)


def test_another_attempt_tells_its_own_result_and_a_retry_is_given_the_same(folder: Path) -> None:
    function, where = function_named("trainer_of_tests.py:second_time")
    function.folder = folder
    task = function_task(function, where)
    (run,) = _run([Job(name="twice", task=task, retry=RetryPolicy(retries=1, backoff_s=0.0))])
    assert (run.state, run.result, run.error) == ("SUCCEEDED", "the second time", None)
    (folder / "first").unlink()
    (run,) = _run([Job(name="once", task=task)])
    assert run.error is not None
    assert run.error["text"] == "the first time"
    assert run_command(["retry", os.path.basename(run.experiment_folder)]) == 0
    assert runbus.runs()[-1].result == "the second time"


def test_a_function_of_packaged_code_runs_in_the_copy(folder: Path) -> None:
    function, where = function_named("trainer_of_tests.py:train")
    function.model = {}
    executor = LocalExecutor(packager=PatternPackager(include=["*.py"]))
    (run,) = _run([Job(name="packed", task=function_task(function, where))], executor)
    assert run.state == "SUCCEEDED"
    assert run.job_folder is not None
    assert os.path.join(run.job_folder, "code") in Path(run.job_folder, "request.sh").read_text()


def test_why_and_show_tell_what_a_function_raised_and_returned(folder: Path, capsys: Any) -> None:
    words = ["run", "trainer_of_tests.py:train", "model={}", "--project", "told", "--name"]
    assert run_command([*words, "good"]) == 0
    assert run_command([*words, "bad", "fail=true"]) == 1
    capsys.readouterr()
    assert run_command(["why", "bad"]) == 0
    told = capsys.readouterr().out
    assert "its function raised OSError: as asked" in told
    assert '    raise OSError("as asked")' in told
    assert run_command(["show", "bad"]) == 0
    assert "error OSError: as asked" in " ".join(capsys.readouterr().out.split())
    assert run_command(["show", "good"]) == 0
    assert 'result {"width": 8, "path": "Path", "lr": 0.1}' in " ".join(
        capsys.readouterr().out.split()
    )
    assert run_command(["show", "--json", "good"]) == 0
    assert json.loads(capsys.readouterr().out)["result"]["width"] == 8


def test_the_config_of_a_past_run_is_shown_exported_and_loaded_again(
    folder: Path, capsys: Any
) -> None:
    words = ["run", "trainer_of_tests.py:train", "model.width=3", "lr=0.5", "--name", "past"]
    assert run_command(words) == 0
    capsys.readouterr()
    assert run_command(["show", "past"]) == 0
    assert " trainer_of_tests.py:train model.width=3 lr=0.5" in capsys.readouterr().out
    assert run_command(["config", "show", "past"]) == 0
    assert "_target_: trainer_of_tests.train" in capsys.readouterr().out
    for form in ("yaml", "toml", "json"):
        assert run_command(["config", "export", "past", f"past.{form}"]) == 0
        assert load(f"past.{form}").build()()["width"] == 3
    assert run_command(["run", *words[1:3], "lr=0.25", "--name", "next"]) == 0
    capsys.readouterr()
    assert run_command(["config", "diff", "past", "next"]) == 1
    assert capsys.readouterr().out == "~ lr: 0.5 → 0.25\n"
    assert run_command(["config", "show", "--origin", "past"]) == 0
    assert "width = 3" in capsys.readouterr().out
    Path(runbus.open_run("past").experiment_folder, "experiment.json").write_text("harmed")
    assert run_command(["config", "show", "past"]) == 0
    assert (
        "experiment.json: it has no checksum: this is what the run has" in capsys.readouterr().err
    )


def test_a_module_that_is_not_there_is_told_as_an_error_of_the_run(folder: Path) -> None:
    (run,) = _run([Job(name="gone", task=Function("gone.train", folder="/not/there"))])
    assert (run.state, run.error and run.error["type"]) == ("FAILED", "ConfigInvalid")
    assert run.job_folder is not None
    told = Path(run.job_folder, "stderr.log").read_text()
    assert "there is no module 'gone'\nhint: there is no /not/there here: give the exec" in told
    assert "Traceback" not in told


def _run(jobs: list[Job], executor: LocalExecutor | None = None) -> list[runbus.RunRecord]:
    async def run() -> Any:
        async with Kernel(plugins=[executor or LocalExecutor()]) as kernel:
            return await ExperimentDraft("functions", jobs).run(kernel.bus)

    return [runbus.open_run(one.run_id) for one in asyncio.run(run())]
