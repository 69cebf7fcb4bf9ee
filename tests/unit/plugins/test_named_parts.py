"""Parts by name: executors and packagers from data, in Python, and registered by others."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from msgspec import Meta

import runbus
from runbus import (
    Config,
    GitArchivePackager,
    LocalExecutor,
    PatternPackager,
    Secret,
    SSHExecutor,
    api,
)
from runbus.abc import Executor, Packager
from runbus.cli._app import COMMANDS
from runbus.config import batch_schema, make
from runbus.errors import ConfigInvalid, TargetUnusable
from runbus.packaging import HybridPackager
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
        "docker local slurm ssh git hybrid image pattern 4",
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
    ({"gpus": []}, "executor: the key 'type' is missing; there are docker, local, slurm, ssh"),
    ({"type": 3}, "executor: type is 3; there are docker, local, slurm, ssh"),
    ({"type": "local", "gpsu": []}, "executor.gpsu: unknown key 'gpsu'; did you mean 'gpus'"),
    ({"type": "ssh", "slots": "x"}, "executor.slots: expected an integer, found 'x'"),
    ({"type": "local", "packager": {"type": "got"}}, "executor.packager.type: .*mean 'git'"),
    (3, "executor: expected an Executor, found 3"),
]


@pytest.mark.parametrize(("data", "told"), BAD)
def test_what_is_wrong_with_a_part_is_told_with_its_path(data: Any, told: str) -> None:
    with pytest.raises(ConfigInvalid, match=told):
        make(take, {"executor": data})


def test_parts_of_others_are_found_by_name(request: pytest.FixtureRequest) -> None:
    class Own(LocalExecutor):
        def __init__(self, size: int = 1) -> None:
            super().__init__("own")
            self.size = size

    registry = PluginRegistry.shared()
    request.addfinalizer(lambda: registry.executors.unregister("own"))
    request.addfinalizer(lambda: registry.executors.unregister("broken"))
    registry.register_executor("own", Own)
    assert "own" not in PluginRegistry().executors
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
        run = api.run(task, executor=executor)
        assert run.state == "SUCCEEDED"
    with pytest.raises(ConfigInvalid, match="did you mean 'local'"):
        api.run(task, executor="lcoal")
    assert os.path.isdir(tmp_path)


def test_our_own_commands_are_entries_like_any_other() -> None:
    parts = PluginRegistry().commands
    assert {*parts.built_in} == {*COMMANDS}
    assert parts.import_path("ls") == "runbus.cli.commands.ls:command"
    assert parts["ls"].name == "ls"


def test_a_distribution_brings_commands_integrations_and_executors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_parts.py").write_text(
        "import click\nfrom runbus import LocalExecutor\n"
        "@click.command('hello')\ndef hello() -> None:\n    click.echo('hello from others')\n"
        "class Own(LocalExecutor):\n"
        "    def __init__(self, size: int = 1) -> None:\n"
        "        super().__init__('own')\n        self.size = size\n"
        "class Sink:\n    name = 'sink'\n"
        "    def __init__(self, path: str = 'x') -> None: self.path = path\n"
        "    async def setup(self, scope) -> None: pass\n"
    )
    info = tmp_path / "own_parts-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: own-parts\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(
        "[runbus.commands]\nhello = own_parts:hello\nbroken = own_parts:Own\n"
        "[runbus.executors]\nown = own_parts:Own\n[runbus.plugins]\nsink = own_parts:Sink\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}

    def said(*words: str) -> tuple[int, str]:
        done = subprocess.run(words, capture_output=True, text=True, env=environment)
        return done.returncode, done.stdout + done.stderr

    runbus_ = os.path.join(os.path.dirname(sys.executable), "runbus")
    assert said(runbus_, "hello") == (0, "hello from others\n")
    assert "hello   Of own-parts 1.2." in said(runbus_, "--help")[1]
    assert "did you mean 'hello'" in said(runbus_, "helo")[1]
    status, told = said(runbus_, "broken")
    assert (status, "is not a command of click" in told) == (2, True)
    code = (
        "from runbus.plugins import PluginRegistry\nfrom runbus.abc import Plugin\n"
        "from runbus.config import make, find_executor\n"
        "assert PluginRegistry().executors.origin_of('own') == 'own-parts 1.2'\n"
        "assert find_executor('own').data == {'type': 'own'}\n"
        "def take(plugin: Plugin) -> Plugin: return plugin\n"
        "print(make(take, {'plugin': {'type': 'sink', 'path': 'y'}}).path)\n"
    )
    assert said(sys.executable, "-c", code) == (0, "y\n")


def test_a_list_of_packagers_is_one_of_them_all() -> None:
    parts = [{"type": "git"}, {"type": "pattern", "include": ["*.py"]}]
    made = make(take, {"executor": {"type": "local", "packager": parts}})
    assert isinstance(made.packager, HybridPackager)
    assert [type(part) for _, part in made.packager.parts] == [GitArchivePackager, PatternPackager]
    with pytest.raises(ConfigInvalid, match=r"executor\.packager: expected a length of at least 1"):
        make(take, {"executor": {"type": "local", "packager": []}})
    wrong = [{"type": "git"}, {"type": "pattern", "inclde": []}]
    with pytest.raises(ConfigInvalid, match=r"executor.packager\[1\].inclde: .*mean 'include'"):
        make(take, {"executor": {"type": "local", "packager": wrong}})
    with pytest.raises(ConfigInvalid, match="executor: expected an Executor, found a list of 1"):
        make(take, {"executor": [{"type": "local"}]})


class Sized(LocalExecutor):
    """Is of some size.

    Args:
        size: How large it is.
        mode: What it is like.
        token: What it is let in with.
        hook: Is no data.
    """

    def __init__(
        self,
        size: Annotated[int, Meta(ge=1)],
        mode: Literal["a", "b"] = "a",
        token: Secret | None = None,
        hook: Callable[[], None] | None = None,
    ) -> None:
        super().__init__("sized")


def test_the_schema_of_batch_files_is_that_of_the_constructors(
    request: pytest.FixtureRequest,
) -> None:
    registry = PluginRegistry.shared()
    request.addfinalizer(lambda: registry.executors.unregister("sized"))
    registry.register_executor("sized", Sized)

    schema = batch_schema()["$defs"]

    sized = schema["Sized"]
    assert sized["required"] == ["type", "size"]
    assert sized["properties"]["size"] == {
        "type": "integer", "minimum": 1, "description": "How large it is.",
    }  # fmt: skip
    assert sized["properties"]["mode"]["enum"] == ["a", "b"]
    assert "timeout" in sized["properties"]
    assert "hook" not in sized["properties"]
    assert "name" not in schema["SSHExecutor"]["properties"]
    assert {"$ref": "#/$defs/Sized"} in schema["Batch"]["properties"]["executor"]["anyOf"]
    assert "Sized" not in batch_schema(built_in=True)["$defs"]
