"""A batch runs again as it was: its code to the last bit, its words, and what is to differ."""

from __future__ import annotations

import gzip
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

import runbus
from runbus import Command, Job, Partial, Script, api
from runbus.cli._app import run_command
from runbus.config import Function
from runbus.errors import PackageChanged, UsageError
from runbus.experiment import ExperimentDraft, jobs_asked
from runbus.jobs import Asked, read_again


def said_by(job: str = "latest") -> str:
    folder = runbus.open_run(job).job_folder
    assert folder is not None
    return Path(folder, "stdout.log").read_text()


@pytest.fixture
def packaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run a batch of two jobs whose code is packaged, and change that code; return its folder."""
    monkeypatch.chdir(tmp_path)
    Path("train.py").write_text("import sys\nprint('then', *sys.argv[1:])\n")
    here = {"type": "local", "packager": {"type": "pattern", "include": ["train.py"]}}
    jobs: list[dict[str, Any]] = [
        {"name": "first", "script": "train.py", "args": ["--lr=1", "--size", "2", "in"]},
        {"name": "second", "script": "train.py", "depends_on": ["first"]},
    ]
    batch = {"project": "p", "executor": "here", "executors": {"here": here}, "jobs": jobs}
    Path("batch.json").write_text(json.dumps(batch))
    assert run_command(["submit", "batch.json"]) == 0
    Path("train.py").write_text("this is no Python any more")
    return runbus.open_run("first").experiment_folder


def test_a_rerun_has_the_same_code_to_the_last_bit_and_both_know_of_each_other(
    packaged: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["rerun", "p"]) == 0

    again = runbus.open_run("first").experiment_folder
    assert again != packaged
    assert said_by("first") == "then --lr=1 --size 2 in\n"
    first, second = Asked.read(packaged), Asked.read(again)
    assert [(one.name, one.argv, one.depends_on) for one in first.jobs] == [
        (one.name, one.argv, one.depends_on) for one in second.jobs
    ]
    assert first.tasks == second.tasks
    packages = [asked.jobs[0].package for asked in (first, second)]
    assert packages[0] is not None
    assert packages[0] == packages[1]
    assert second.again_of == first.id
    assert read_again(packaged) == [second.id]
    capsys.readouterr()
    run_command(["show", "latest"])
    assert f"again of   {first.id}" in capsys.readouterr().out
    run_command(["show", f"{first.id}-1"])
    assert f"run again  {second.id}" in capsys.readouterr().out


def test_values_that_are_given_replace_those_of_then(packaged: str) -> None:
    assert run_command(["rerun", f"{Path(packaged).name}-1", "lr=3", "size=4", "more=x"]) == 0

    assert said_by() == "then --lr=3 --size 4 in --more=x\n"
    run = runbus.open_run("latest")
    assert run.config == {"lr": 3, "size": 4, "more": "x"}
    (only,) = Asked.read(run.experiment_folder).jobs
    assert only.name == "first"


def test_one_job_is_run_again_without_those_that_it_waited_for(packaged: str) -> None:
    assert run_command(["rerun", "second"]) == 0

    assert runbus.open_run("latest").experiment_folder != packaged
    assert said_by() == "then\n"


@pytest.mark.parametrize("harm", ["cut", "other bytes", "gone", "its list is gone"])
def test_code_that_is_not_what_it_was_is_refused_and_nothing_is_made(
    harm: str, packaged: str
) -> None:
    (archive,) = Path(packaged, "code").glob("*.tar.gz")
    content = archive.read_bytes()
    archive.unlink()
    if harm == "cut":
        archive.write_bytes(content[: len(content) // 2])
    elif harm == "other bytes":
        archive.write_bytes(gzip.compress(gzip.decompress(content).replace(b"then", b"evil")))
    elif harm == "its list is gone":
        archive.write_bytes(content)
        next(archive.parent.glob("*.json")).unlink()
    before = sorted(Path(packaged).parent.iterdir())

    with pytest.raises(PackageChanged):
        api.rerun(packaged)

    assert sorted(Path(packaged).parent.iterdir()) == before


def test_what_took_no_code_along_runs_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("now.py").write_text("print('then')")
    assert run_command(["run", "now.py"]) == 0
    Path("now.py").write_text("print('now')")

    assert run_command(["rerun", "latest"]) == 0

    assert said_by() == "now\n"
    told = f"job 'now' took no code along, and runs what is in {tmp_path} now"
    assert told in caplog.text


def test_words_that_are_no_values_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["rerun", "latest", "lr"]) == 2
    assert "'lr' is not of the form NAME=VALUE" in capsys.readouterr().err


def test_what_was_asked_is_rebuilt_and_nothing_of_the_users_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("steps.py").write_text("def train(lr: float = 1.0, size: int = 2):\n    return lr\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "steps", raising=False)
    import steps  # type: ignore[import-not-found]

    train = Partial(steps.train, lr=0.5)
    script = Script("steps.py", ("--a", "b"), env={"TOKEN": runbus.Secret("env:HOME"), "A": "1"})
    given = [
        Job(name="fn", task=train),
        Job(name="script", task=script, depends_on=["fn"], config={"a": 1}),
        Job(name="words", task=Command(("echo", "hi"))),
    ]
    stored = ExperimentDraft("p", given, plugins=["jsonl"], max_parallel=3).prepare()
    Path("steps.py").write_text("open('loaded', 'w')")

    asked, jobs = jobs_asked(stored.folder)

    function, read, words = (job.task for job in jobs)
    assert isinstance(function, Function)
    assert (function.target, function.values) == ("steps.train", {"lr": 0.5})
    assert isinstance(read, Script)
    assert (os.path.abspath(read.path), read.args, read.env) == (
        str(tmp_path / "steps.py"), ("--a", "b"), script.env,
    )  # fmt: skip
    assert words == Command(("echo", "hi"))
    assert [job.dependencies for job in jobs] == [job.dependencies for job in given]
    assert jobs[1].config == {"a": 1}
    assert (asked.plugins, asked.max_parallel) == (["jsonl"], 3)
    assert not Path("loaded").exists()


def test_a_function_runs_again_with_another_value_of_its_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("typed.py").write_text("def double(x: float, y: int = 1):\n    return x * 2 + y\n")
    assert run_command(["run", "typed.py:double", "x=1"]) == 0

    assert run_command(["rerun", "double", "x=4"]) == 0

    run = runbus.open_run("latest")
    assert (run.result, run.config["x"]) == (9.0, 4.0)
    with pytest.raises(UsageError, match="z"):
        api.rerun("double", {"z": "1"})
