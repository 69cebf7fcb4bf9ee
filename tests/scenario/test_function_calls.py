"""What a job's function returns or raises, and what is refused before it is called."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import runbus
from runbus import Config, Job, Partial
from runbus.cli._app import run_command
from runbus.config import load_batch
from runbus.errors import BatchInvalid, ConfigInvalid, TaskInvalid

CODE = """
import asyncio, sys
from dataclasses import dataclass

@dataclass
class Model:
    width: int = 8

    def __post_init__(self) -> None:
        self.width = str(self.width)

def odd(): return 0
def made(): return Model()
def text() -> str: raise AssertionError("it is never called")
def maybe() -> Model | None: return Model()
def touched(path): open(path, "w").close(); return 0
def train(model: Model, models: list[Model] = [], steps: int = 1): return 0

async def coroutine():
    await asyncio.sleep(0)
    return 3

async def failing():
    await asyncio.sleep(0)
    raise OSError("async")

def generator(): yield 1
async def async_generator(): yield 1
def hidden_generator(): return generator()
def text_exit(): sys.exit("bye")
def code_exit(): sys.exit(3)
def zero_exit(): sys.exit(0)
def interrupted(): raise KeyboardInterrupt
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "calls_of_tests.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "calls_of_tests", raising=False)
    import calls_of_tests  # type: ignore[import-not-found]

    return calls_of_tests


def ran(name: str) -> Any:
    run_command(["run", f"calls_of_tests.py:{name}"])
    return runbus.runs()[-1]


def test_a_coroutine_function_runs_to_its_end(module: Any) -> None:
    assert ran("coroutine").result == 3
    assert ran("failing").error["text"] == "async"


@pytest.mark.parametrize("name", ["generator", "async_generator"])
def test_a_generator_is_refused_before_anything_is_started(name: str, module: Any) -> None:
    with pytest.raises(TaskInvalid, match="it is a generator: a call runs nothing of it"):
        Job(name="a", task=Partial(getattr(module, name)))


@pytest.mark.parametrize(
    ("name", "kind", "text"),
    [
        ("text_exit", "SystemExit", "bye"),
        ("code_exit", "SystemExit", "3"),
        ("interrupted", "KeyboardInterrupt", ""),
        ("hidden_generator", "TypeError", "it returned a generator, and nothing of that ran"),
    ],
)
def test_whatever_ends_a_function_is_in_the_record_of_its_run(
    name: str, kind: str, text: str, module: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    run = ran(name)
    assert run.state == "FAILED"
    assert run.error["type"] == kind
    assert run.error["text"].startswith(text)
    for trace in (run.error["traceback"], capfd.readouterr().err):
        assert "runpy" not in trace
        assert "metrics/call.py" not in trace


def test_an_exit_with_zero_is_a_success(module: Any) -> None:
    assert (ran("zero_exit").state, ran("zero_exit").error) == ("SUCCEEDED", None)


def test_what_a_function_returns_is_checked_against_the_type_of_its_field(module: Any) -> None:
    bad = Config(module.train, model=Config(module.odd), models=[Config(module.made)])
    with pytest.raises(ConfigInvalid, match=r"model: expected a Model, found 0"):
        bad.build()
    inner = Config(module.train, model={}, models=[Config(module.odd)])
    with pytest.raises(ConfigInvalid, match=r"models\[0\]: expected a Model, found 0"):
        inner.build()
    made = Config(module.made)
    assert Config(module.train, model=made, models=[made], steps=Config(module.odd)).build() == 0
    assert Config(module.train, model=Config(module.maybe)).build() == 0


def test_a_target_whose_class_cannot_fit_is_refused_before_anything_is_called(module: Any) -> None:
    for target in (module.text, dict, int):
        with pytest.raises(ConfigInvalid, match="model: expected a Model, found"):
            Config(module.train, model=Config(target))


SCRIPT = """
import dataclasses
from runbus import Config, Job, Partial
from calls_of_tests import train, Model
@dataclasses.dataclass
class Mine(Model): ...
def outer():
    def inner(): ...
    return inner
for task in (Partial(train, model=Config(Mine)), Partial(lambda: 0), Partial(outer())):
    try: Job(name="a", task=task)
    except Exception as error: print(f"{error}; {error.hint}")
"""


def test_what_only_the_script_itself_has_is_refused_with_an_advice_that_works(
    module: Any, tmp_path: Path
) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    words = [sys.executable, "script.py"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
    told = done.stdout.splitlines()
    assert len(told) == 3, done.stderr
    assert told[0].startswith("cannot run Mine of __main__: no other process can import it; put it")
    for line in told[1:]:
        assert "<" in line.partition("; ")[0]
        assert line.endswith("; define it at the top of a module")


@pytest.mark.parametrize(
    ("task", "problem"),
    [
        ("target: calls.train, folder: ., values: {model: {widht: 3}}", "values.model.widht: unk"),
        ("target: calls.train, folder: .", "values: the key 'model' is missing"),
        ("target: calls.nope, folder: .", "target: cannot configure calls.nope: calls has no"),
        ("target: calls.train, folder: gone", "folder: '{tmp}/gone' is not a folder"),
        ("target: 'calls.py:train'", "target: 'calls.py:train' is a file: write calls.train with"),
        ("target: calls.generator, folder: .", "target: it is a generator"),
    ],
)
def test_a_batch_with_a_function_that_cannot_run_is_refused_whole(
    task: str, problem: str, tmp_path: Path
) -> None:
    (tmp_path / "calls.py").write_text(CODE)
    batch = tmp_path / "b.yaml"
    batch.write_text(f"project: p\njobs:\n  - {{name: a, task: {{type: function, {task}}}}}\n")
    with pytest.raises(BatchInvalid) as caught:
        load_batch(str(batch))
    assert f"jobs[0].task.{problem.replace('{tmp}', str(tmp_path))}" in caught.value.problems[0]
    assert "calls" not in sys.modules
    assert str(tmp_path) not in sys.path


def test_a_batch_says_which_functions_it_could_not_check(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    batch = tmp_path / "b.yaml"
    batch.write_text("project: p\njobs: [{name: a, task: {type: function, target: elsewhere.f}}]\n")
    load_batch(str(batch))
    assert "elsewhere.f cannot be imported here (there is no module 'elsewhere')" in caplog.text


def test_jobs_of_a_batch_take_modules_of_one_name_from_their_own_folders(tmp_path: Path) -> None:
    jobs = ""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "calls.py").write_text(f"def {name}(): ...\n")
        task = f"{{type: function, target: calls.{name}, folder: {name}}}"
        jobs += f"  - {{name: {name}, task: {task}}}\n"
    (tmp_path / "b.yaml").write_text(f"project: p\njobs:\n{jobs}")
    assert len(load_batch(str(tmp_path / "b.yaml")).jobs) == 2
