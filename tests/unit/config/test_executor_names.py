"""Executors with names of the user's own: where they are found, and what is told of mistakes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import runbus
from runbus import Command, Secret, api
from runbus.api import executor_of
from runbus.cli._app import run_command
from runbus.config import (
    ExecutorNames,
    executor_config,
    executor_entry,
    find_executor,
    load_batch,
)
from runbus.errors import BatchInvalid, ConfigInvalid
from runbus.events import Timeouts
from runbus.experiment import StoredExperiment
from runbus.plugins import PluginRegistry


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("RUNBUS_HOME", str(home))
    return home


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "repository" / "project" / "deep"
    folder.mkdir(parents=True)
    (tmp_path / "repository" / ".git").mkdir()
    monkeypatch.chdir(folder)
    return folder


class Service(runbus.LocalExecutor):
    """Stands for one that speaks to a service.

    Args:
        token: What it is let in with.
        cache: Where it keeps things.
    """

    def __init__(self, token: Secret, cache: Path = Path("cache"), note: str = "") -> None:
        super().__init__("service")
        self.token, self.cache, self.note = token, cache, note


@pytest.fixture
def service() -> Iterator[None]:
    registry = PluginRegistry.shared()
    registry.register_executor("service", Service)
    yield
    registry.executors.unregister("service")


def ssh(host: str, more: str = "") -> str:
    return f"{{type: ssh, hosts: [{host}]{more}}}"


def batch(folder: Path, text: str = "") -> str:
    path = folder / "batch.yaml"
    path.write_text(f"project: p\n{text}jobs:\n- {{name: a, command: ['true']}}\n")
    return str(path)


def hosts(name: str, folder: str | Path = "") -> list[str]:
    found: list[str] = find_executor(name, str(folder)).data["hosts"]
    return found


def test_the_nearest_file_counts_before_that_of_the_home_and_the_registry(
    home: Path, here: Path
) -> None:
    (home / "executors.yaml").write_text(f"gpu: {ssh('home')}\nssh: {ssh('mine')}\n")
    assert hosts("gpu") == ["home"]
    assert hosts("ssh") == ["mine"]
    (here.parents[1] / "runbus.yaml").write_text(f"executors:\n  gpu: {ssh('top')}\n")
    assert hosts("gpu") == ["top"]
    (here.parent / "runbus.yaml").write_text(f"executors:\n  gpu: {ssh('near')}\n")
    assert hosts("gpu") == ["near"]
    assert hosts("gpu", here.parents[1]) == ["top"]
    assert hosts("ssh") == ["mine"]
    path = batch(here, f"executor: gpu\nexecutors:\n  gpu: {ssh('own')}\n")
    assert load_batch(path).executors["gpu"].data["hosts"] == ["own"]


def test_what_lies_above_the_repository_is_not_looked_at(home: Path, here: Path) -> None:
    (here.parents[2] / "runbus.yaml").write_text(f"executors:\n  gpu: {ssh('above')}\n")
    with pytest.raises(ConfigInvalid, match="there is no executor 'gpu'"):
        find_executor("gpu")
    os.rmdir(here.parents[1] / ".git")  # now it is in no repository: only the folder itself counts
    (here.parent / "runbus.yaml").write_text(f"executors:\n  gpu: {ssh('above')}\n")
    with pytest.raises(ConfigInvalid, match="there is no executor 'gpu'"):
        find_executor("gpu")


def test_a_batch_and_a_run_find_executors_by_name(home: Path, here: Path) -> None:
    (home / "executors.yaml").write_text("box: {type: local, env_inherit: [PATH], timeout: 2h}\n")
    loaded = load_batch(batch(here, "executor: box\n"))
    assert loaded.executors["box"].data == {"type": "local", "env_inherit": ["PATH"]}
    assert loaded.executors["box"].timeouts == Timeouts(run_s=7200)
    assert load_batch(batch(here), executor="box").executor == "box"

    run = api.run(Command(("sh", "-c", 'test -z "$HOME"')), executor="box")

    assert run.state == "SUCCEEDED"
    assert run.job is not None
    assert run.job.executor == "box"


def test_a_file_builds_on_another_and_variables_count_more(
    home: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "base.yaml").write_text(f"gpu-box: {ssh('a', ', slots: 2')}\n")
    (home / "executors.yaml").write_text("extends: base.yaml\ngpu-box: {slots: 3, python: py}\n")
    monkeypatch.setenv("RUNBUS_EXECUTORS__GPU_BOX__SLOTS", "7")
    monkeypatch.setenv("RUNBUS_EXECUTORS__GPU_BOX__HOSTS__0", "me@b")

    entry = find_executor("gpu-box")

    assert entry.data == {"type": "ssh", "hosts": ["me@b"], "slots": 7, "python": "py"}
    said = ExecutorNames().said("gpu-box", str(home / "executors.yaml"))
    assert said is not None
    origins = {name: str(said.said.origin((name,))) for name in ("type", "python", "slots")}
    assert origins == {
        "type": f"{home}/base.yaml:1",
        "python": f"{home}/executors.yaml:2",
        "slots": "RUNBUS_EXECUTORS__GPU_BOX__SLOTS",
    }
    monkeypatch.setenv("RUNBUS_EXECUTORS__GPU_BOX__SLOTS", "many")
    with pytest.raises(ConfigInvalid, match=r"GPU_BOX__SLOTS: gpu-box.slots: expected an int"):
        find_executor("gpu-box")
    monkeypatch.setenv("RUNBUS_EXECUTORS__GPU_BOX__HOSTS__9", "c")
    with pytest.raises(ConfigInvalid, match="there is no item 9 in a list of 1"):
        find_executor("gpu-box")


def test_a_file_can_be_named_with_its_section(home: Path, here: Path) -> None:
    (here / "clusters.yaml").write_text(f"big:\n  slow: {ssh('a')}\n")
    (here / "one.toml").write_text('type = "ssh"\nhosts = ["b"]\n')
    assert hosts("@clusters.yaml:big.slow") == ["a"]
    assert hosts("@one.toml") == ["b"]
    (here / "runbus.yaml").write_text(
        "executors:\n  far: '@clusters.yaml:big.slow'\n  bad: '@x.yaml'\n"
    )
    assert hosts("far") == ["a"]
    path = batch(here, "executor: '@clusters.yaml:big.slow'\nexecutors: {own: '@one.toml'}\n")
    loaded = load_batch(path)
    assert loaded.executors[loaded.executor].data["hosts"] == ["a"]
    assert loaded.executors["own"].data["hosts"] == ["b"]
    with pytest.raises(ConfigInvalid) as caught:
        find_executor("bad")
    assert str(caught.value).startswith(f"{here}/runbus.yaml:3: executors.bad: @x.yaml: ")


BROKEN = [
    ("a: [1", "1: "),
    ("a: {type: shs}\n", "1: a.type: there is no executor 'shs'; did you mean 'ssh'"),
    ("a: {type: ssh}\n", "1: a: the key 'hosts' is missing"),
    ("a:\n  type: local\n  gpsu: []\n", "3: a.gpsu: unknown key 'gpsu'; did"),
    ("a:\n  type: local\n  timeot: 1\n", "3: a.timeot: unknown key 'timeot'; did"),
    ("a:\n  type: local\n  name: b\n", "3: a.name: unknown key 'name'"),
    ("a:\n  type: ssh\n  hosts: [x, x:y:z]\n", "3: a.hosts[1]: 'x:y:z' is not a host"),
    ("a:\n  type: ssh\n  hosts: []\n", "3: a.hosts: expected a length of at least 1"),
    ("a:\n  type: local\n  timeout: soon\n", "3: a.timeout: 'soon' is not a dura"),
    ("b: 1\na: 3\n", "2: a: an executor is a mapping with a type, or a name"),
    ("a: {type: local}\na: {type: local}\n", "2: a: the same key stands in line 1"),
    ("local: {type: ssh}\n", "1: local: 'local' is this machine, without fields"),
    ("extends: executors.yaml\n", "1: extends: 'executors.yaml' builds on this file"),
    ("a: !!python/name:os.system {}\n", "1: the tag "),
    ("a: &x [*x]\n", "1: it holds itself"),
    ("a:\n  _target_: os.system\n  command: x\n", "1: a: the key 'type' is missing"),
    ("a: {type: os.system}\n", "1: a.type: there is no executor 'os.system'"),
]


@pytest.mark.parametrize(("text", "told"), BROKEN)
def test_a_broken_file_is_told_with_the_place_to_those_who_need_it(
    text: str, told: str, home: Path, here: Path
) -> None:
    (home / "executors.yaml").write_text(text)
    with pytest.raises(ConfigInvalid) as caught:
        find_executor("a")
    assert str(caught.value).startswith(f"{home}/executors.yaml:{told}")
    with pytest.raises(BatchInvalid) as refused:
        load_batch(batch(here, "executor: a\nmax_paralel: 1\n"))
    assert any(one.startswith(f"{home}/executors.yaml:{told}") for one in refused.value.problems)
    assert "max_paralel" in refused.value.problems[0]

    assert find_executor("local").data == {"type": "local"}
    assert load_batch(batch(here, "executor: local\n")).executors == {}


def test_an_unknown_name_is_told_with_what_is_near_in_all_places(home: Path, here: Path) -> None:
    (home / "executors.yaml").write_text(f"gpu-a: {ssh('a')}\n")
    (here / "runbus.yaml").write_text(f"executors:\n  gpu-b: {ssh('b')}\n")
    path = batch(here, f"executor: gpu-x\nexecutors:\n  gpu-c: {ssh('c')}\n")
    with pytest.raises(BatchInvalid) as caught:
        load_batch(path)
    (problem,) = caught.value.problems
    assert problem.startswith(f"{path}:2: executor: there is no executor 'gpu-x'; did you mean ")
    assert all(name in problem for name in ("gpu-a", "gpu-b", "gpu-c"))
    with pytest.raises(
        BatchInvalid, match=r"\n--executor lcoal: there is no executor 'lcoal'; did"
    ):
        load_batch(batch(here), executor="lcoal")
    with pytest.raises(BatchInvalid, match=r"\n--executor : there is no executor ''"):
        load_batch(batch(here), executor="")
    with pytest.raises(BatchInvalid) as missing:
        load_batch(batch(here, "executor: ssh\n"))
    assert missing.value.problems == (f"{path}:2: executor: the key 'hosts' is missing",)
    (here / "runbus.yaml").write_text("executers: {}\n")
    with pytest.raises(
        ConfigInvalid, match=r"runbus.yaml:1: executers: .*did you mean 'executors'"
    ):
        find_executor("gpu-a")


@pytest.mark.parametrize("value", ["os.system", "../x", "${HOME}", "__class__", "x" * 100_000])
def test_a_hostile_value_stays_a_text(value: str, home: Path, here: Path) -> None:
    (home / "executors.yaml").write_text(f"a:\n  type: ssh\n  hosts: [b]\n  python: '{value}'\n")
    assert find_executor("a").data["python"] == value


def test_an_experiment_keeps_what_another_process_can_make_it_from(home: Path, here: Path) -> None:
    draft = runbus.experiment.ExperimentDraft(
        "p",
        [runbus.Job(name="a", task=Command(("true",)))],
        executors={"x": runbus.LocalExecutor("mine", gpus=["0"])},  # type: ignore[dict-item]
    )
    assert draft.executors == {"x": {"type": "local", "gpus": ["0"]}}
    with pytest.raises(ConfigInvalid, match="executor 'x': gpsu: unknown key 'gpsu'"):
        runbus.experiment.ExperimentDraft(
            "p",
            [runbus.Job(name="a", task=Command(("true",)))],
            executors={"x": {"type": "local", "gpsu": []}},
        )


def test_a_secret_is_named_by_its_place_and_paths_are_those_of_the_file(
    home: Path, here: Path, service: None
) -> None:
    (here.parent / "runbus.yaml").write_text(
        "executors:\n  a: {type: service, token: {secret: 'file:key'}, cache: mine}\n"
        "  b: {type: service, token: hf_abcdefghijklmnopqrstuv}\n"
    )
    entry = find_executor("a")
    assert entry.data["token"] == {"secret": f"file:{here.parent}/key"}
    made = executor_of("a", entry.data)
    assert isinstance(made, Service)
    assert made.name == "a"
    assert made.cache == here.parent / "mine"
    with pytest.raises(ConfigInvalid) as caught:
        find_executor("b")
    assert "hf_abc" not in str(caught.value)
    (home / "executors.yaml").write_text(f"far: {ssh('b', ', identity: keys/id')}\n")
    assert find_executor("far").data["identity"] == f"{home}/keys/id"
    text = "executor: {type: service, token: {secret: 'file:key'}, timeout: 5m}\n"
    path = os.path.relpath(batch(here.parent, text))
    loaded = load_batch(path)
    assert loaded.executors["default"].data["token"] == {"secret": f"file:{here.parent}/key"}
    assert loaded.executors["default"].timeouts == Timeouts(run_s=300)


def listed(capfd: pytest.CaptureFixture[str], *words: str) -> tuple[int, Any, str]:
    capfd.readouterr()
    status = run_command(["executors", *words, "--json"])
    out, err = capfd.readouterr()
    return status, json.loads(out or "null"), err


def test_the_command_lists_and_checks_all_and_says_where_each_value_comes_from(
    home: Path,
    here: Path,
    service: None,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    (home / "executors.yaml").write_text(
        "gpu:\n  type: ssh\n  hosts: [a]\n  timeout: 2h\n"
        "svc: {type: service, token: {secret: 'env:TOKEN'}, note: 'Bearer abcdef0123456789'}\n"
    )
    monkeypatch.setenv("RUNBUS_EXECUTORS__GPU__SLOTS", "4")
    (here / "runbus.yaml").write_text("executors:\n  svc: {type: service, token: 'env:NEAR'}\n")
    _, (near,), _ = listed(capfd, "svc")
    assert (near["origin"], near["values"]["token.secret"]["value"]) == (
        f"{here}/runbus.yaml:2",
        "env:NEAR",
    )
    (here / "runbus.yaml").write_text("plugins: []\n")

    status, found, err = listed(capfd)

    assert (status, err) == (0, "")
    assert [one["name"] for one in found] == [
        "docker",
        "gpu",
        "local",
        "service",
        "slurm",
        "ssh",
        "svc",
    ]
    by_name = {one["name"]: one for one in found}
    assert by_name["gpu"]["origin"] == f"{home}/executors.yaml:1"
    assert by_name["local"]["origin"] == "runbus"
    assert by_name["service"]["origin"] == "registered in Python"
    assert by_name["ssh"]["needs"] == ["hosts"]
    values = {name: (one["value"], one["origin"]) for name, one in by_name["gpu"]["values"].items()}
    assert values["hosts[0]"] == ("a", f"{home}/executors.yaml:3")
    assert values["slots"] == (4, "RUNBUS_EXECUTORS__GPU__SLOTS")
    assert values["timeout"] == (7200, f"{home}/executors.yaml:4")
    assert values["job_dir"] == ("~/.runbus/remote", "default")
    assert by_name["svc"]["values"]["token.secret"]["value"] == "env:TOKEN"
    assert "abcdef0123456789" not in json.dumps(found)
    run_command(["executors", "gpu"])
    assert re.search(r"slots +4 +RUNBUS_EXECUTORS__GPU__SLOTS\n", capfd.readouterr().out)


def test_the_command_tells_what_is_wrong_and_lists_the_rest(
    home: Path, here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (home / "executors.yaml").write_text(f"good: {ssh('a')}\nbad: {ssh('b', ', slots: 0')}\n")
    (here / "runbus.yaml").write_text("executors: [\n")

    status, found, err = listed(capfd)

    assert status == 1
    assert [one["name"] for one in found if not one["problems"]] == [
        "docker",
        "good",
        "local",
        "slurm",
        "ssh",
    ]
    assert f"{here}/runbus.yaml:" in err
    (bad,) = [one for one in found if one["name"] == "bad"]
    assert bad["problems"] == [f"{home}/executors.yaml:2: bad.slots: expected at least 1, found 0"]
    status, _, err = listed(capfd, "god")
    assert status == 2
    assert "there is no executor 'god'; did you mean 'good'" in err


def test_a_fresh_process_reads_them(home: Path, here: Path) -> None:
    (home / "executors.yaml").write_text(f"a: {ssh('b')}\n")
    code = "from runbus.config import find_executor\nprint(find_executor('a').data['hosts'])"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "['b']\n"


def test_an_entrypoint_finds_them_too(
    home: Path, here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (home / "executors.yaml").write_text("box: {type: local, gpus: [], timeout: 1h}\n")
    (here / "train.py").write_text(
        "from runbus import cli\ndef train(lr: float = 0.1) -> float: return lr\n"
        "if __name__ == '__main__': cli.main(train)\n"
    )
    for words in (["executor=box", "executor.env_inherit=[PATH]"], ["executor=@one.yaml"]):
        (here / "one.yaml").write_text("type: local\ntimeout: 2h\n")
        subprocess.run([sys.executable, "train.py", *words, "--yes"], check=True)
    found = sorted(runbus.runs(), key=lambda run: run.id)
    assert [run.state for run in found] == ["SUCCEEDED"] * 2
    specs = [StoredExperiment.open(run.experiment_folder).specs[0] for run in found]
    assert [spec.timeouts.run_s for spec in specs] == [3600, 7200]


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)


@settings(max_examples=40)
@given(
    st.fixed_dictionaries(
        {"hosts": st.lists(st.from_regex(r"\A[a-z]{1,8}\Z"), min_size=1, unique=True)},
        optional={
            "slots": st.integers(1, 99),
            "gpus": st.none() | st.lists(TEXTS, max_size=2),
            "python": st.none() | TEXTS,
            "copy_patience_s": st.floats(0, 1e6),
            "packager": st.sampled_from(["git", {"type": "git", "ref": "v1"}])
            | st.lists(
                st.fixed_dictionaries(
                    {"type": st.just("pattern"), "include": st.lists(TEXTS, min_size=1)}
                ),
                min_size=1,
                max_size=2,
            ),
            "timeout": st.integers(1, 10**6),
        },
    )
)
def test_what_is_recorded_of_an_executor_is_read_back_as_it_was(fields: dict[str, Any]) -> None:
    entry = executor_entry({"type": "ssh", **fields}, "a")

    again = executor_entry(json.loads(json.dumps(entry.data)), "a")

    assert again.data == entry.data
    assert executor_config(again.data, "a") == executor_config(entry.data, "a")
    assert entry.timeouts.run_s == fields.get("timeout")
