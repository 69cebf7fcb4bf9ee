"""Extensions of other distributions: found by the names that they register, in any process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

RUNBUS = os.path.join(os.path.dirname(sys.executable), "runbus")

MODULE = """
import atexit, os, sys
from runbus import LocalExecutor
from runbus.plugins import Extension

class Own(LocalExecutor):
    def __init__(self, size: int = 1) -> None:
        super().__init__("own")
        self.size = size

def greet(name: str = "you", times: int = 1) -> None:
    for _ in range(times):
        print("hello", name)

class CustomPlugin(Extension):
    def register(self, registry):
        registry.register_executor("own", Own)
        registry.register_command("greet", greet)

    def cleanup(self):
        print("cleaned up", file=sys.stderr)
"""

Said = Callable[..., tuple[int, str, str]]
"""Runs a command line where the distributions are installed: status, output, errors."""


@pytest.fixture
def installed(tmp_path: Path) -> Said:
    """Install distributions into a folder, and run programs that find them."""
    folder = tmp_path / "installed"

    def run(*words: str) -> tuple[int, str, str]:
        folder.mkdir(exist_ok=True)
        environment = {**os.environ, "PYTHONPATH": str(folder)}
        done = subprocess.run(
            words, capture_output=True, text=True, env=environment, timeout=120, check=False
        )
        return done.returncode, done.stdout, done.stderr

    return run


def install(tmp_path: Path, name: str, module: str, group: str = "nemo_run_plugins") -> None:
    folder = tmp_path / "installed"
    info = folder / f"{name}-1.2.dist-info"
    info.mkdir(parents=True)
    (folder / f"{name}.py").write_text(module)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {name}:CustomPlugin\n")


def test_what_an_installed_extension_brings_is_used_by_name(
    tmp_path: Path, installed: Said
) -> None:
    install(tmp_path, "custom", MODULE, "runbus.plugins")
    other = MODULE.replace('"greet"', '"salute"').replace('"own", Own', '"other", Own')
    install(tmp_path, "other", other, "nemo_run_plugins")
    status, told, errors = installed(RUNBUS, "greet", "name=Ada", "times=2")
    assert (status, told, errors) == (0, "hello Ada\nhello Ada\n", "cleaned up\n" * 2)
    status, _, errors = installed(RUNBUS, "salute", "tmes=2")
    assert (status, "did you mean 'times'" in errors) == (2, True)
    listed = installed(RUNBUS, "--help")[1]
    assert "greet   Of custom 1.2." in listed
    assert "salute  Of other 1.2." in listed
    assert {"own", "other"} <= {*installed(RUNBUS, "executors")[1].split()}


PLAIN = """
class CustomPlugin:
    name = "plain"

    async def setup(self, scope):
        pass
"""


def test_to_look_for_commands_among_plugins_that_bring_none_loads_neither_bus_nor_asyncio(
    tmp_path: Path, installed: Said
) -> None:
    install(tmp_path, "plain", PLAIN, "runbus.plugins")
    code = (
        "import sys; from runbus.cli._app import run_command; run_command(['--help'])\n"
        "print(*sorted({'plain', 'asyncio', 'runbus.bus', 'runbus.kernel'} & sys.modules.keys()))"
    )
    status, told, errors = installed(sys.executable, "-c", code)
    assert (status, told.splitlines()[-1]) == (0, "plain"), errors


def test_a_job_runs_on_the_executor_of_an_installed_extension_also_without_its_starter(
    tmp_path: Path, installed: Said
) -> None:
    install(tmp_path, "custom", MODULE)
    (tmp_path / "hi.py").write_text("print('hi')")
    (tmp_path / "batch.yaml").write_text(
        "project: p\nexecutor: {type: own, size: 3}\njobs:\n- {name: a, script: hi.py}\n"
    )
    status, told, errors = installed(
        RUNBUS, "run", "--executor", "own", "--json", str(tmp_path / "hi.py")
    )
    assert status == 0, errors
    assert json.loads(told)[0]["state"] == "SUCCEEDED"
    status, told, errors = installed(RUNBUS, "submit", "--detach", str(tmp_path / "batch.yaml"))
    assert status == 0, errors
    status, told, errors = installed(RUNBUS, "attach", told.strip())
    assert status == 0, errors


@pytest.mark.parametrize(
    "raised",
    ["ZeroDivisionError('by none')", "OSError('by none')", "click.ClickException('by none')"],
)
def test_a_command_of_others_that_raises_is_told_as_theirs(
    raised: str, tmp_path: Path, installed: Said
) -> None:
    raises = MODULE.replace('print("hello", name)', f"import click; raise {raised}")
    install(tmp_path, "custom", raises)
    status, _, errors = installed(RUNBUS, "greet")
    assert status == 1
    assert "error: the command 'greet' of custom 1.2 " in errors
    assert "by none" in errors
    assert "hint: that is code of custom 1.2, not of runbus" in errors
    assert "Traceback" not in errors
    status, _, errors = installed(RUNBUS, "--debug", "greet")
    assert (status, "Traceback" in errors) == (1, True)


def test_the_name_of_what_cannot_be_imported_is_not_said_to_be_meant(
    tmp_path: Path, installed: Said
) -> None:
    install(tmp_path, "custom", MODULE.replace('"own", Own', '"ghost", "nothere:X"'))
    (tmp_path / "hi.py").write_text("print('hi')")
    status, _, errors = installed(RUNBUS, "run", "--executor", "ghost", str(tmp_path / "hi.py"))
    assert status == 2, errors
    assert "there is no module 'nothere'" in errors
    assert "did you mean 'ghost'" not in errors


REASONS = {
    "raises": "ValueError: at import",
    "exits": "SystemExit: 4",
    "registers": "register raised ZeroDivisionError",
    "shadows": "runbus.cli.commands.run:command is the command of that name",
}
BROKEN = {
    "raises": "raise ValueError('at import')",
    "exits": "import sys; sys.exit(4)",
    "registers": MODULE.replace('"own", Own', '"own3", Own').replace(
        "        registry.register_command", "        1 / 0\n        registry.register_command"
    ),
    "shadows": MODULE.replace('"greet"', '"run"').replace('"own", Own', '"own2", Own'),
}


def test_broken_extensions_are_left_out_with_their_reasons_and_the_others_work(
    tmp_path: Path, installed: Said
) -> None:
    for kind, module in BROKEN.items():
        install(tmp_path, kind, module)
    install(tmp_path, "custom", MODULE)
    status, told, errors = installed(RUNBUS, "greet")
    assert (status, told) == (0, "hello you\n")
    for kind, reason in REASONS.items():
        told = f"plugin '{kind}' ({kind}:CustomPlugin of {kind} 1.2): "
        (line,) = [one for one in errors.splitlines() if one.startswith(told)]
        assert reason in line
        assert line.endswith("it is left out")
    assert "Traceback" not in errors


def test_the_list_of_plugins_says_which_extensions_cannot_be_registered(
    tmp_path: Path, installed: Said
) -> None:
    install(tmp_path, "custom", MODULE)
    install(tmp_path, "clashes", MODULE.replace('"own", Own', '"own4", Own'))
    for kind in ("registers", "shadows"):
        install(tmp_path, kind, BROKEN[kind])
    status, told, errors = installed(RUNBUS, "plugins", "--json")
    found = {one["name"]: one for one in json.loads(told)}
    assert status == 1
    assert errors.count("cleaned up") == 4
    assert found["clashes"]["state"] == "loaded"
    for kind in ("registers", "shadows"):
        assert (found[kind]["state"], found[kind]["health"]) == ("failed", "failed")
        assert REASONS[kind] in found[kind]["why_not"]
    wrong = {name for name, one in found.items() if one["state"] == "failed"}
    assert wrong == {"registers", "shadows", "custom"}
    assert "is the command of that name" in found["custom"]["why_not"]
    status, _, errors = installed(RUNBUS, "plugins", "show", "registers")
    assert (status, REASONS["registers"] in errors) == (1, True)


def test_no_extension_is_imported_where_plugins_are_off_or_no_name_is_missing(
    tmp_path: Path, installed: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, "custom", "print('imported')\n" + MODULE)
    code = "from runbus.config import find_executor; print(find_executor('local').data)"
    assert installed(sys.executable, "-c", code)[1] == "{'type': 'local'}\n"
    monkeypatch.setenv("RUNBUS_PLUGINS", "none")
    status, told, errors = installed(RUNBUS, "greet")
    assert (status, "imported" in told + errors) == (2, False)


FOLDER = """
from runbus.executors import FunctionExecutor
from runbus.plugins import Extension, TaskPlugin

class SiteExecutor(FunctionExecutor):
    def __init__(self, queue: str = "short", **more):
        super().__init__(**more)
        self.queue = queue

    def execute(self, task, config):
        print("queue", self.queue, flush=True)
        return super().execute(task, config)

class Site(Extension):
    def register(self, registry):
        registry.register_executor("site", SiteExecutor)

class Debugs(TaskPlugin):
    def setup(self, task, executor):
        executor.env_vars["DEBUG"] = "yes"
"""


def test_a_file_of_a_plugin_folder_brings_executors_and_changes_of_jobs(
    tmp_path: Path, installed: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "plugins"
    folder.mkdir(mode=0o755)
    (folder / "site.py").write_text(FOLDER)
    monkeypatch.setenv("RUNBUS_PLUGIN_PATH", str(folder))
    (tmp_path / "hi.py").write_text("import os; print(os.environ['DEBUG'])")
    (tmp_path / "b.yaml").write_text(
        "project: p\nexecutor: {type: site, queue: long}\njobs:\n- {name: a, script: hi.py}\n"
    )
    words = ("submit", "--plugin", "debugs", str(tmp_path / "b.yaml"))
    status, told, errors = installed(RUNBUS, *words, "--dry-run")
    assert (status, "DEBUG=yes" in told) == (0, True), errors
    status, told, errors = installed(RUNBUS, *words, "--json")
    assert status == 0, errors
    (job,) = json.loads(told)
    log = Path(job["folder"], "..", "..", "jobs", "1-a", "1", "stdout.log")
    assert log.read_text() == "queue long\nyes\n"


HANGS = """
import asyncio, time
from runbus import Kernel
from runbus.plugins import Extension

class Hangs(Extension):
    begin_s = 0.1
    def initialize(self, config):
        time.sleep(600)

async def main():
    try:
        async with Kernel(plugins=[Hangs()]):
            pass
    except Exception as error:
        print(type(error).__name__)

asyncio.run(main())
"""


def test_a_process_does_not_wait_for_a_plugin_that_hangs(installed: Said) -> None:
    assert installed(sys.executable, "-c", HANGS)[:2] == (0, "HookError\n")
