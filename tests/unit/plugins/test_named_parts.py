"""Parts by name: executors and packagers from data, in Python, and registered by others."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import runbus
from runbus import Config, LocalExecutor, PatternPackager, SSHExecutor, api
from runbus.abc import Executor, Packager
from runbus.config import make
from runbus.errors import ConfigInvalid, TargetUnusable
from runbus.plugins import PluginRegistry


def take(executor: Executor, packager: Packager | None = None) -> Executor:
    return executor


def test_the_built_in_parts_are_entries_like_any_other_and_not_imported() -> None:
    code = (
        "import sys\nfrom runbus.plugins import PluginRegistry\nfound = PluginRegistry()\n"
        "print(*found.executors, *found.packagers, len(found.executors))\n"
        "print('runbus.executors.local' in sys.modules, 'runbus.packaging' in sys.modules)\n"
        "print(found.executors.import_path('ssh'), found.executors['local'].__name__)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "local ssh git hybrid pattern 2",
        "False False",
        "runbus.executors.ssh:SSHExecutor LocalExecutor",
    ]


def test_data_names_a_part_and_its_constructor_is_the_schema() -> None:
    data = {"type": "local", "gpus": ["0"], "packager": {"type": "pattern", "include": ["*.py"]}}
    made = make(take, {"executor": data, "packager": "git"})
    assert isinstance(made, LocalExecutor)
    assert isinstance(made.packager, PatternPackager)
    assert isinstance(make(take, {"executor": {"type": "ssh", "hosts": ["box"]}}), SSHExecutor)


BAD: list[tuple[Any, str]] = [
    ({"type": "lcoal"}, "executor.type: there is no executor 'lcoal'; did you mean 'local'"),
    ({"gpus": []}, "executor: the key 'type' is missing; there are local, ssh"),
    ({"type": 3}, "executor: type is 3; there are local, ssh"),
    ({"type": "local", "gpsu": []}, "executor.gpsu: unknown key 'gpsu'; did you mean 'gpus'"),
    ({"type": "ssh", "slots": "x"}, "executor.slots: expected an integer, found 'x'"),
    ({"type": "local", "packager": {"type": "got"}}, "executor.packager.type: .*mean 'git'"),
    (3, "executor: expected an Executor, found 3"),
]


@pytest.mark.parametrize(("data", "told"), BAD)
def test_what_is_wrong_with_a_part_is_told_with_its_path(data: Any, told: str) -> None:
    with pytest.raises(ConfigInvalid, match=told):
        make(take, {"executor": data})


def test_parts_of_others_are_found_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    class Own(LocalExecutor):
        def __init__(self, size: int = 1) -> None:
            super().__init__("own")
            self.size = size

    registry = PluginRegistry()
    monkeypatch.setattr(registry.executors, "_targets", {**registry.executors._targets})
    registry.register_executor("own", Own)
    assert "own" in PluginRegistry().executors
    made: Any = make(take, {"executor": {"type": "own", "size": 3}})
    assert made.size == 3
    with pytest.raises(TargetUnusable, match="is the executor of that name"):
        registry.register_executor("local", "other:Thing")
    registry.register_executor("broken", "not_there_at_all:Thing")
    with pytest.raises(ConfigInvalid, match="there is no module 'not_there_at_all'"):
        make(take, {"executor": "broken"})
    with pytest.raises(KeyError):
        registry.executors["nothing"]


def test_run_takes_an_executor_by_name_as_data_or_as_a_config(tmp_path: Path) -> None:
    task = runbus.Command(("true",))
    for executor in ("local", {"type": "local"}, Config(LocalExecutor, name="mine")):
        (run,) = api.run(task, executor=executor)
        assert run.state == "SUCCEEDED"
    with pytest.raises(ConfigInvalid, match="did you mean 'local'"):
        api.run(task, executor="lcoal")
    assert os.path.isdir(tmp_path)
