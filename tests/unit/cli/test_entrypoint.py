"""Any typed function as a command: the grammar, errors, help, factories, files, sweeps."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import pytest

import runbus
from runbus import Config
from runbus.cli import entrypoint, factory, run_entrypoint
from runbus.cli._app import run_command
from runbus.config import load

ran: list[dict[str, Any]] = []


@dataclasses.dataclass
class Model:
    """A model.

    Attributes:
        width: Units in a layer.
    """

    width: int = 512
    dropout: float = 0.1


@dataclasses.dataclass
class Wide(Model):
    extra: int = 1


@factory
def small(width: int = 8) -> Config[Model]:
    """A small model."""
    return Config(Model, width=width)


@factory
def wide() -> Wide:
    return Wide(extra=7)


@dataclasses.dataclass
class Own:
    width: int = 0
    deep: int = 0


@factory(is_target_default=True)
def own_default(deep: int = 1) -> Config[Own]:
    return Config(Own, width=4, deep=deep)


@dataclasses.dataclass
class Outer:
    model: Model


@entrypoint(name="train")
def train(
    model: Model | None = None,
    name: str = "x",
    layers: list[Model] | None = None,
    opts: dict[str, Any] | None = None,
    betas: tuple[float, float] = (0.9, 0.95),
    steps: int = 10,
    runtime: int = 3,
    tags: set[str] | None = None,
    kind: Literal["adam", "sgd"] = "adam",
    flag: bool = False,
    any: Any = None,
    zoo: dict[str, Model] | None = None,
    **others: int,
) -> None:
    """Train a model, or several of them.

    Args:
        name: What it is called.
        steps: How long.
    """
    ran.append(dict(locals()))


def run(*words: str) -> dict[str, Any]:
    ran.clear()
    assert run_entrypoint(train, words) == 0
    return ran[-1]


GRAMMAR: list[tuple[list[str], str, Any]] = [
    (["steps=5"], "steps", 5),
    (["steps = 5"], "steps", 5),
    (["--steps=5"], "steps", 5),
    (["steps+=5", "steps+=5"], "steps", 20),
    (["steps-=1", "steps*=3", "steps/=9"], "steps", 3),
    (["steps*=2", "steps=7"], "steps", 7),
    (["name=5"], "name", "5"),
    (["name=os.getcwd"], "name", "os.getcwd"),
    (["name=small"], "name", "small"),
    (["name=@there.yaml"], "name", "@there.yaml"),
    (["name=${X}"], "name", "${X}"),
    (["name=a=b"], "name", "a=b"),
    (["name==5"], "name", "=5"),
    (["name="], "name", ""),
    (["name='a b'"], "name", "a b"),
    (["name+=y"], "name", "xy"),
    (["model.width=3"], "model", Model(3)),
    (["model=small"], "model", Model(8)),
    (["model=small(width=3)", "model.width+=1", "model.width+=1"], "model", Model(5)),
    (["model=small", "model.width=5", "model=small"], "model", Model(8)),
    (["model=wide", "model.extra*=2"], "model", Wide(extra=14)),
    (["model=small", "model=none"], "model", None),
    (["model.width*=2", "model.width+=1"], "model", Model(1025)),
    (["model={width: 3}"], "model", Model(3)),
    (["layers=[small,small(width=1)]", "layers[0].width=9"], "layers", [Model(9), Model(1)]),
    (["layers=[{width: 2}]"], "layers", [Model(2)]),
    (["betas[0]=0.5"], "betas", (0.5, 0.95)),
    (["betas=[1,2]"], "betas", (1.0, 2.0)),
    (["opts={}", "opts.a.b=1", "opts.a.b+=2"], "opts", {"a": {"b": 3}}),
    (["opts={a: [1, {b: 2}]}", "opts.a[1].b+=1"], "opts", {"a": [1, {"b": 3}]}),
    (["opts={a: 1}", "opts|={b: 2}"], "opts", {"a": 1, "b": 2}),
    (["tags=[a,b]", "tags|=[c]", "tags&=[a,c]"], "tags", {"a", "c"}),
    (["tags=[a,b]", "tags-=[a]"], "tags", {"b"}),
    (["tags={a, b}", "tags|={'c d'}", "tags-={a,}"], "tags", {"b", "c d"}),
    (["layers=[{}]", "layers+=[{width: 1}]"], "layers", [Model(), Model(1)]),
    (["layers=[small]", "layers+=small(width=3)"], "layers", [Model(8), Model(3)]),
    (
        ["layers=[small]", "layers+=[wide,{}]"],
        "layers",
        [Model(8), Wide(extra=7), Model()],
    ),
    (["layers=[small,small]", "layers[-1]=small(width=2)"], "layers", [Model(8), Model(2)]),
    (
        ["zoo={a: small, b: small(width=1)}", "zoo.c=wide"],
        "zoo",
        {"a": Model(8), "b": Model(1), "c": Wide(extra=7)},
    ),
    (["zoo={a: {width: 3}}", "zoo|={b: small}"], "zoo", {"a": Model(3), "b": Model(8)}),
    (["runtime=9"], "runtime", 9),
    (["kind=sgd"], "kind", "sgd"),
    (["flag=yes"], "flag", True),
    (["flag=true", "flag&=false"], "flag", False),
    (["opts={a: 1, b: 2}", "opts&={a: 3}"], "opts", {"a": 1}),
    (["any=[1,x,true]"], "any", [1, "x", True]),
    (["any=none"], "any", None),
    (["more=5"], "others", {"more": 5}),
    (["none", "first"], "name", "first"),
    (["none", "--", "-odd"], "name", "-odd"),
]


@pytest.mark.parametrize(("words", "name", "value"), GRAMMAR)
def test_words_are_applied_from_left_to_right(words: list[str], name: str, value: Any) -> None:
    found = run(*words)[name]
    assert found == value
    assert type(found) is type(value)


ERRORS = [
    (["model.widht=3"], "error: model.widht=3: unknown key 'widht'", "did you mean 'width'"),
    (["steps=five"], "error: steps=five: expected an integer, found 'five'", "train --help"),
    (["steps=5.5"], "error: steps=5.5: expected an integer, found '5.5'", None),
    (["steps/=4"], "error: steps/=4: expected an integer, found 2.5", None),
    (["steps/=0"], "error: steps/=0: /= by zero", None),
    (["name*=3"], "error: name*=3: *= does not go with a text and '3'", None),
    (["flag+=1"], "error: flag+=1: += does not go with true or false and '1'", None),
    (["kind=adma"], "error: kind=adma: expected one of 'adam', 'sgd', found 'adma'", "'adam'"),
    (["model=smal"], "error: model=smal: there is no factory 'smal'", "did you mean 'small'"),
    (
        ["model=small(widht=1)"],
        "error: model=small(widht=1): small: widht: unknown key 'widht'",
        "did you mean 'width'",
    ),
    (["model=small(width=1"], "error: model=small(width=1: there is no ')'", None),
    (["layers=[small]", "layers[0]=smal"], "layers[0]=smal: there is no factory 'smal'", "'small'"),
    (["betas[7]=1"], "error: betas[7]=1: there is no item 7 in a list of 2", None),
    (["layers[0].width=1"], "error: layers[0].width=1: there is no list yet", None),
    (["--stepps"], "error: there is no option '--stepps'", "did you mean '--steps'"),
    (["-m", "steps=1"], "error: there is no option '-m'", None),
    (["steps=1", "+new=1"], "error: '+new=1' begins with a plus: write new=1", None),
    (["steps=1,2"], "error: steps=1,2: expected an integer", "with --sweep it runs 2 times"),
    (["--steps"], "error: --steps has no value: write steps=…", None),
    (["--factory"], "error: --factory needs a value: --factory NAME", None),
    (["steps=1", "late"], "error: 'late' has no name, and is behind 'steps=1'", None),
    (["1"] * 13, "is one too many: train takes 12 values", None),
    (["--yaml", "gone.yaml"], "error: gone.yaml: no such file", None),
    (["opts=@gone.yaml"], "error: gone.yaml: no such file", None),
    (["steps=\x1b[31m"], "error: steps=?[31m: expected an integer", None),
    (["steps=" + "9" * 1_000_000], "it is too long for a number", None),
    (["__class__=x"], "error: __class__=x: expected an integer, found 'x'", None),
    (["model.__class__=1"], "unknown key '__class__'", None),
    (["opts.a[=1"], "is not a path", None),
]


@pytest.mark.parametrize(("words", "text", "hint"), ERRORS)
def test_a_wrong_word_is_told_and_nothing_runs(
    words: list[str], text: str, hint: str | None, capsys: Any
) -> None:
    ran.clear()
    assert run_entrypoint(train, words) == 2
    told = capsys.readouterr().err
    assert text in told
    assert hint is None or hint in told.partition("hint: ")[2]
    assert "Traceback" not in told
    assert len(told) < 2_000
    assert ran == []


def test_all_mistakes_are_told_at_once(capsys: Any) -> None:
    assert run_entrypoint(train, ["steps=x", "model.width=y", "kind=z"]) == 2
    assert capsys.readouterr().err.count("error: ") == 3


def test_the_nearest_name_is_the_right_one(capsys: Any) -> None:
    def many(p3: int = 0, p34: int = 0, p13: int = 0) -> None: ...

    assert run_entrypoint(many, ["--pp3"]) == 2
    assert capsys.readouterr().err.splitlines()[1] == "hint: did you mean '--p3'"


def test_files_are_below_the_words_and_sections_can_be_chosen(tmp_path: Path) -> None:
    base = tmp_path / "base.yaml"
    base.write_text("steps: 5\nmodel: {width: 4}\nsmall: {width: 1}\nmany: [{width: 2}]\n")
    part = tmp_path / "part.yaml"
    part.write_text("steps: 5\nmodel: {width: 4}\n")
    assert run("--yaml", str(part), "steps+=1")["steps"] == 6
    assert run("--factory", f"@{part}", "steps+=1")["model"] == Model(4)
    assert run(f"model=@{base}:small", "model.width+=1")["model"] == Model(2)
    assert run(f"opts=@{part}")["opts"]["steps"] == 5
    assert run("--factory", "model=small(width=2)")["model"] == Model(2)


def test_variables_are_between_files_and_words(tmp_path: Path, monkeypatch: Any) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("steps: 5\nname: file\n")
    monkeypatch.setenv("RUNBUS__STEPS", "6")
    monkeypatch.setenv("RUNBUS__MODEL__WIDTH", "7")
    found = run("--yaml", str(path), "steps+=1")
    assert (found["steps"], found["name"], found["model"]) == (7, "file", Model(7))


@pytest.mark.parametrize("form", ["yaml", "toml", "json"])
def test_what_is_written_is_read_again(form: str, tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / f"a.{form}"
    ran.clear()
    words = ["model=wide", "steps=3", "any=[1,none]"]
    assert run_entrypoint(train, [*words, f"--to-{form}", str(path)]) == 0
    assert ran == []
    assert capsys.readouterr().out == ""
    assert run("--load", str(path)) == run(*words)
    assert load(path).steps == 3
    assert run_entrypoint(train, [*words, f"--to-{form}", f"{path}:model"]) == 0
    assert load(path).build() == Wide(extra=7)


def test_commas_are_a_sweep_only_where_it_is_asked_for(tmp_path: Path, capsys: Any) -> None:
    assert run("name=a,b")["name"] == "a,b"
    assert run_entrypoint(train, ["steps=1,2"]) == 2
    ran.clear()
    assert run_entrypoint(train, ["--sweep", "steps=1,2", "name=a,b", "betas=[1,2]"]) == 0
    assert [(one["steps"], one["name"]) for one in ran] == [(1, "a"), (1, "b"), (2, "a"), (2, "b")]
    path = tmp_path / "a.yaml"
    path.write_text("_sweep_: {model.width: [1, 2]}\n")
    ran.clear()
    assert run_entrypoint(train, ["--sweep", "--yaml", str(path)]) == 0
    assert [one["model"].width for one in ran] == [1, 2]
    ran.clear()
    assert run_entrypoint(train, ["--sweep", "steps=1,x"]) == 2
    assert ran == []


def test_a_dry_run_shows_and_runs_nothing(capsys: Any) -> None:
    ran.clear()
    assert run_entrypoint(train, ["--dryrun", "model=small"]) == 0
    assert ran == []
    assert "├─ model: Config(Model)\n│  ├─ width: 8" in capsys.readouterr().out


def test_a_factory_is_found_where_what_it_is_a_part_of_is_made_on_the_way() -> None:
    seen: list[Model] = []

    def needs(outer: Outer) -> None:
        seen.append(outer.model)

    assert run_entrypoint(needs, ["outer.model=small(width=3)"]) == 0
    assert seen == [Model(3)]


def test_what_is_missing_is_told(capsys: Any) -> None:
    def needs(model: Model, lr: float) -> None: ...

    assert run_entrypoint(needs, ["model={}"]) == 2
    assert "error: the key 'lr' is missing" in capsys.readouterr().err


def test_a_default_factory_fills_what_nothing_else_does() -> None:
    seen: list[Own] = []

    def needs(own: Own) -> None:
        seen.append(own)

    assert run_entrypoint(needs, []) == 0
    assert run_entrypoint(needs, ["own.width=5"]) == 0
    assert run_entrypoint(needs, ["own=own_default(deep=9)", "own.width+=1"]) == 0
    assert [(one.width, one.deep) for one in seen] == [(4, 1), (5, 1), (5, 9)]


HELP = """Usage: train [OPTIONS] [NAME=VALUE]...

  Train a model, or several of them.

Parameters:
  model Model | None        Factories: small, wide. [default: None]
  name str                  What it is called. [default: 'x']
"""


def test_the_help_says_what_there_is(capsys: Any) -> None:
    ran.clear()
    assert run_entrypoint(train, ["--help"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(HELP)
    assert "  steps int                 How long. [default: 10]\n" in text
    assert max(map(len, text.splitlines())) <= 80
    assert ran == []


def test_a_script_ends_with_the_status_of_its_words(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(
        "import runbus.cli\n"
        "def train(steps: int = 1) -> None:\n"
        "    if steps == 3: raise OSError('three')\n"
        "    print('trained', steps)\n"
        "if __name__ == '__main__':\n    runbus.cli.main(train)\n"
    )

    def call(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, script, *words],
            capture_output=True, text=True, check=False, env=os.environ, timeout=120,
        )  # fmt: skip

    assert call("steps=2").stdout == "trained 2\n"
    assert call("steps=x").returncode == 2
    failed = call("steps=3")
    assert (failed.returncode, "OSError: three" in failed.stderr) == (1, True)


JOB = """
from dataclasses import dataclass
import runbus.cli
from runbus.events import JobEnded
from runbus.plugins import TaskPlugin

@dataclass
class Model:
    width: int = 8

@dataclass
class Wide(Model):
    extra: int = 1

@runbus.cli.factory
def wide() -> Wide:
    return Wide(3)

@dataclass
class Bell:
    sound: str = "ding"
    times: int = 1
    name: str = "bell"

    async def setup(self, scope):
        scope.on(JobEnded, lambda event: print(self.sound * self.times, event.job))

@runbus.cli.factory
def bell() -> Bell:
    return Bell()

@dataclass
class Loud(TaskPlugin):
    level: str = "1"

    def setup(self, task, executor):
        executor.env_vars["LOUD"] = self.level

@runbus.cli.factory
def loud() -> Loud:
    return Loud()

def train(model: Model = Model(), lr: float = 0.1, runtime: int = 1) -> dict:
    if lr == 9: raise OSError("nine")
    return {"width": model.width, "lr": lr, "runs_as": __name__}

if __name__ == "__main__":
    runbus.cli.main(train)
"""


def test_an_entrypoint_runs_on_an_executor_where_its_words_say_so(tmp_path: Path) -> None:
    (tmp_path / "here.yaml").write_text("type: local\ngpus: []\n")
    done = call(tmp_path, "--factory", "executor=@here.yaml", "model=wide", "--sweep", "lr=1,9")
    assert done.returncode == 1, done.stderr
    assert "OSError: nine" in done.stderr
    found = runbus.runs(project="train_job")
    assert [one.result for one in found if one.result] == [
        {"width": 3, "lr": 1.0, "runs_as": "train_job"}
    ]


def test_plugins_names_and_projects_of_runs_are_said_as_the_source_says_them(
    tmp_path: Path,
) -> None:
    words = ["run.plugins=bell", "run.plugins[0].times+=1", "run.name=mine", "run.project=p"]
    done = call(tmp_path, *words, "runtime=9")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("dingding mine\n")
    (run,) = runbus.runs(project="p")
    assert run_command(["config", "export", run.id, str(tmp_path / "past.yaml")]) == 0
    again = call(tmp_path, "--load", "past.yaml", "--dryrun", "model.width+=1")
    assert (again.returncode, "runtime: 9" in again.stdout) == (0, True), again.stderr
    assert (run.name, run.config["runtime"]) == ("mine", 9)


def test_a_task_plugin_changes_the_job_that_is_recorded_as_in_python(tmp_path: Path) -> None:
    done = call(tmp_path, "run.plugins=loud", "lr=2")
    assert done.returncode == 0, done.stderr
    (run,) = runbus.runs(project="train_job")
    asked = json.loads(Path(run.experiment_folder, "experiment.json").read_text())
    assert asked["jobs"][0]["env"]["LOUD"] == "1"


def test_a_detached_run_is_left_to_the_supervisor(tmp_path: Path) -> None:
    done = call(tmp_path, "--detach", "lr=2")
    assert done.returncode == 0, done.stderr
    (run,) = runbus.runs(project="train_job")
    assert os.path.basename(run.experiment_folder) == done.stdout.strip()
    attached = subprocess.run(
        [sys.executable, "-m", "runbus.cli", "attach", done.stdout.strip()],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert attached.returncode == 0, attached.stderr
    assert runbus.open_run(run.id).result["lr"] == 2.0


LAUNCH_ERRORS = [
    (["run.executor=lcoal"], "there is no executor 'lcoal'", "'local'"),
    (["run.executr=local"], "run.executr=local: unknown key 'executr'", "'executor'"),
    (["executor=local", "executor.gups=1"], "executor.gups=1: unknown key 'gups'", "'gpus'"),
    (["executor=@gone.yaml"], "gone.yaml: no such file", None),
    (["run.plugins=jsonnl"], "there is no plugin named 'jsonnl'", "'jsonl'"),
    (["run.plugins=jsonl", "--detach"], "run.plugins go without --detach", None),
    (["run.plugins=[3]"], "run.plugins: 3 is no plugin", None),
]


@pytest.mark.parametrize(("words", "text", "hint"), LAUNCH_ERRORS)
def test_a_wrong_word_about_the_run_is_told_and_nothing_is_recorded(
    words: list[str], text: str, hint: str | None, capsys: Any
) -> None:
    assert run_entrypoint(train, words) == 2
    told = capsys.readouterr().err
    assert text in told
    assert hint is None or hint in told.partition("hint: ")[2]
    assert runbus.runs() == []


def call(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    (folder / "train_job.py").write_text(JOB)
    return subprocess.run(
        [sys.executable, "train_job.py", *words],
        cwd=folder, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def test_a_parameter_called_executor_is_one_like_any_other() -> None:
    seen: list[str] = []

    def own(executor: str = "", run: dict[str, int] | None = None) -> None:
        seen.append(f"{executor} {run}")

    assert run_entrypoint(own, ["executor=local", "run={}", "run.executor=3"]) == 0
    assert seen == ["local {'executor': 3}"]
