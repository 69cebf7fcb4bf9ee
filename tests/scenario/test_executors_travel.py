"""Executors that are given as values: the record has what they were made from."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from runbus import (
    Command,
    Config,
    DockerExecutor,
    Experiment,
    FunctionExecutor,
    GitArchivePackager,
    LocalExecutor,
    LocalTunnel,
    PatternPackager,
    SlurmExecutor,
    SSHExecutor,
    SSHTunnel,
)
from runbus.abc import Executor
from runbus.config import executor_config, executor_data
from runbus.errors import ExecutorNotPortable
from runbus.jobs import Asked, read_jobs
from runbus.packaging import FunctionPackager

from .test_batch import command

HOSTS = ["box", "me@box:22"]
MADE: dict[str, Any] = {
    "ssh": SSHExecutor(HOSTS, slots=3, packager=PatternPackager(include=["src/*.py"])),
    "tunnels": SSHExecutor([LocalTunnel(), SSHTunnel("b", "me", jump=SSHTunnel("a"))]),
    "named": SSHExecutor(HOSTS, packager=GitArchivePackager(), name="gpus"),
    "slurm": SlurmExecutor(
        nodes=2, gpus_per_node=8, time="04:00:00", account="gpu-dept", partition="a100",
        host=SSHTunnel("login", "me", job_dir="/scratch"),
    ),
    "docker": DockerExecutor(
        "pytorch/pytorch:2.0.0", num_gpus=4, volumes=["/data:/data"], ports=["8080:8080"],
        registry_logins={"ghcr.io": "env:GHCR_LOGIN"},
    ),
    "local": LocalExecutor("mine", gpus=["0"], env_inherit=False),
}  # fmt: skip


@pytest.mark.parametrize("name", MADE)
def test_what_an_executor_was_made_from_makes_the_same_again(name: str) -> None:
    executor: Executor = MADE[name]
    data = executor_data(executor, executor.name)
    assert "name" not in data
    again: Executor = executor_config(data, executor.name).build()
    assert type(again) is type(executor)
    assert executor_data(again, "x") == data
    # Where the passwords of registries are, and no password.
    if name == "docker":
        assert data["registry_logins"] == {"ghcr.io": "env:GHCR_LOGIN"}


def test_paths_in_an_executor_do_not_depend_on_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made = SSHExecutor(["box"], identity="key")
    assert executor_data(made, "x")["identity"] == str(tmp_path / "key")
    assert executor_data(Config(SSHExecutor, ["box"], identity="key"), "x")["identity"] == str(
        tmp_path / "key"
    )
    tunnel = SSHTunnel("box", identity="key", known_hosts="~/hosts", config="")
    (host,) = executor_data(SSHExecutor([tunnel]), "x")["hosts"]
    assert host["identity"] == str(tmp_path / "key")
    assert host["known_hosts"] == str(Path.home() / "hosts")
    assert host["config"] == ""  # says that there is none


def test_another_process_uses_the_executors_of_an_experiment(tmp_path: Path) -> None:
    far = SSHExecutor([LocalTunnel(str(tmp_path / "far"))], name="far")
    experiment = Experiment("travels")
    task = Command(("sh", "-c", f"echo $RUNBUS_ATTEMPT; test -e {tmp_path}/go"))
    experiment.add(task, name="a", executor=far)
    experiment.run(check=False)
    assert Asked.read(experiment.folder).executors["far"] == {
        "type": "ssh", "hosts": [{"type": "local", "job_dir": str(tmp_path / "far")}]
    }  # fmt: skip
    assert str(read_jobs(experiment.folder)["a"].state) == "FAILED"
    (tmp_path / "go").touch()
    done = command("retry", experiment.id)
    assert done.returncode == 0, done.stderr
    again = Experiment.from_title("travels")
    assert again.id != experiment.id
    assert again.logs("a").startswith(str(tmp_path / "far"))


def test_an_executor_of_ones_own_travels_if_its_class_can_be_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"own_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(
        "from runbus import FunctionExecutor\n\nclass Own(FunctionExecutor):\n    pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    own = importlib.import_module(name).Own
    assert executor_data(own(env_vars={"A": "1"}), "own") == {
        "_target_": f"{name}.Own", "env_vars": {"A": "1"}
    }  # fmt: skip
    packaged = LocalExecutor(packager=Builds("by hand"))
    assert executor_data(packaged, "x")["packager"] == {
        "_target_": f"{__name__}.Builds", "text": "by hand"
    }  # fmt: skip
    experiment = Experiment("own")
    experiment.add(Command(("sh", "-c", "echo $A")), name="a", executor=own(env_vars={"A": "1"}))
    experiment.run()
    assert experiment.logs("a") == "1\n"


class Builds(FunctionPackager):
    """Is made from a text."""

    def __init__(self, text: str) -> None:
        super().__init__()


class Takes(LocalExecutor):
    """Is made from what is no data."""

    def __init__(self, thing: object) -> None:
        super().__init__()


def test_what_cannot_travel_is_refused_when_it_is_added_and_says_why() -> None:
    class Inner(FunctionExecutor):
        pass

    experiment = Experiment("refused")
    for executor, told in (
        (Takes(object()), "thing: a object cannot be written"),
        (Inner(), "Inner"),
        (Config(Inner), "Inner"),
        (SSHExecutor([LocalTunnel("/a", name=Path("b"))]), "name: expected a text"),  # type: ignore[arg-type]
    ):
        with pytest.raises(ExecutorNotPortable) as refused:
            experiment.add(Command(("true",)), executor=executor)
        assert told in str(refused.value)
        assert "give it to `plugins`" in refused.value.hint
    assert experiment.jobs == {}


def test_who_takes_over_after_a_kill_uses_the_executors_of_the_record(tmp_path: Path) -> None:
    script = tmp_path / "leads.py"
    script.write_text(f"""
import sys
from runbus import Command, Experiment, LocalTunnel, SSHExecutor

far = SSHExecutor([LocalTunnel({str(tmp_path / "far")!r})], name="far")
experiment = Experiment("killed")
line = 'echo begun; until test -e {tmp_path}/go; do sleep 0.05; done; echo 8 >"$RUNBUS_RESULT"'
job = experiment.add(Command(("sh", "-c", line)), name="a", executor=far)
experiment.add(Command(("echo", job.output())), name="b", executor=far)
experiment.run(tail_logs=True)
""")
    with subprocess.Popen([sys.executable, script], stderr=subprocess.PIPE, text=True) as leader:
        assert leader.stderr is not None
        assert "a | begun\n" in leader.stderr
        leader.kill()
    (tmp_path / "go").touch()
    done = command("attach", "killed")
    assert done.returncode == 0, done.stderr
    found = Experiment.from_title("killed")
    assert found.results["a"] == 8
    assert found.logs("b") == "8\n"
    # The same executor, given once more, is the same to it.
    again = SSHExecutor([LocalTunnel(str(tmp_path / "far"))], name="far")
    found.add(Command(("true",)), name="c", executor=again)
    assert [one.executor for one in found.run()] == ["far", "far", "far"]
