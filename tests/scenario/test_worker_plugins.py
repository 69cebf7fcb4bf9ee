"""Plugins of an experiment in the processes of its jobs: around their lives and their functions."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import runbus
from runbus import Command, Config, Job, Kernel, LocalExecutor, Partial, Plugin
from runbus.api import lead
from runbus.errors import PluginNotFound, PluginNotPortable
from runbus.events import JobStarted
from runbus.experiment import ExperimentDraft
from runbus.testing._waiting import until

CODE = """
import asyncio, dataclasses, functools, os, time
from contextlib import contextmanager
from runbus import Plugin
from runbus.plugins import plugin_factory


@plugin_factory
def noting(word: str, fails: bool = False) -> Plugin:
    @contextmanager
    def life(info):
        print("enter", word, info.place, flush=True)
        if fails:
            raise OSError("no peer")
        yield
        print("exit", word, flush=True)

    def decorate(fn):
        @functools.wraps(fn)
        def wrapper(*args, **named):
            print("call", word, fn.__name__, named, flush=True)
            return fn(*args, **named)
        return wrapper

    def variables(image, cluster):
        said = image.env.get("SAID", "") + word
        return dataclasses.replace(image, env={**image.env, "SAID": said})

    return (
        Plugin.create(word)
        .with_around_app(life)
        .with_decorator(decorate)
        .with_image_transform(variables)
        .with_bootstrap(lambda cluster: (f"echo boot {word} {cluster.name}",))
    )


def train(lr: float = 0.1) -> list:
    print("body", flush=True)
    return [lr, os.environ["SAID"]]


async def train_async(lr: float = 0.1) -> float:
    await asyncio.sleep(0)
    return lr


def fail() -> None:
    raise KeyError("mine")


def wait() -> None:
    print("waits", flush=True)
    while True:  # a signal that comes just as a sleep begins is taken in at its end
        time.sleep(0.05)
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    (tmp_path / "plugins_of_tests.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "plugins_of_tests", raising=False)
    import plugins_of_tests  # type: ignore[import-not-found]

    yield plugins_of_tests
    sys.modules.pop("plugins_of_tests", None)


def output(run: Any) -> list[str]:
    text: str = (
        Path(run.folder)
        .parent.parent.joinpath("jobs")
        .glob("*/*/stdout.log")
        .__next__()
        .read_text()
    )
    return text.splitlines()


def test_the_plugins_of_a_run_wrap_its_function_in_its_process(module: Any) -> None:
    plugins = [module.noting("a"), Config(module.noting, word="b")]

    run = runbus.api.run(Partial(module.train, lr=3.0), plugins=plugins)

    assert run.result == [3.0, "ab"]
    assert output(run) == [
        "boot a train", "boot b train",
        "enter a node 0, worker 0", "enter b node 0, worker 0",
        "call a train {'lr': 3.0}", "call b train {'lr': 3.0}",
        "body", "exit b", "exit a",
    ]  # fmt: skip


def test_a_coroutine_is_wrapped_as_any_function(module: Any) -> None:
    run = runbus.api.run(Partial(module.train_async, lr=2.0), plugins=[module.noting("a")])

    assert run.result == 2.0
    assert output(run)[-2:] == ["call a train_async {'lr': 2.0}", "exit a"]


def test_hooks_are_left_when_the_function_fails(module: Any) -> None:
    run = runbus.api.run(Partial(module.fail), plugins=[module.noting("a")], check=False)

    assert run.error is not None
    assert run.error["type"] == "KeyError"
    assert output(run)[-1] == "exit a"


def test_a_plugin_that_fails_in_the_process_ends_the_job_with_its_name(module: Any) -> None:
    plugins = [module.noting("a"), module.noting("b", fails=True)]

    run = runbus.api.run(Partial(module.train), plugins=plugins, check=False)

    assert run.error is not None
    assert run.error["type"] == "HookError"
    assert run.error["text"] == (
        "plugin 'b': around_app on node 0, worker 0 raised OSError: no peer"
    )
    assert output(run)[2:] == [
        "enter a node 0, worker 0", "enter b node 0, worker 0", "exit a",
    ]  # fmt: skip


async def test_hooks_are_left_when_the_job_is_cancelled(module: Any) -> None:
    experiment = ExperimentDraft(
        "p", [Job(name="j", task=Partial(module.wait))], plugins=[module.noting("a")]
    )

    async def cancel(event: JobStarted) -> None:
        await until(lambda: log.exists() and "waits" in log.read_text().splitlines())
        await experiment.cancel("a test", 120)

    stored = experiment.prepare()
    log = Path(stored.specs[0].folder) / "stdout.log"
    watch = Plugin("watch").on(
        JobStarted, lambda event: tasks.append(asyncio.ensure_future(cancel(event)))
    )
    tasks: list[Any] = []
    async with Kernel(plugins=[LocalExecutor(), watch]) as kernel:
        (record,) = await experiment.run(kernel.bus)

    assert record.state.name == "CANCELLED"
    assert log.read_text().splitlines()[-1] == "exit a"


async def test_another_process_that_leads_makes_the_plugins_from_the_record(module: Any) -> None:
    experiment = ExperimentDraft(
        "p", [Job(name="j", task=Partial(module.train))], plugins=[module.noting("a")]
    )
    stored = experiment.prepare()
    asked = json.loads((Path(stored.folder) / "experiment.json").read_text())
    assert asked["plugins"] == [{"_target_": "plugins_of_tests.noting", "word": "a"}]

    (record,) = await lead(stored)

    assert record.state.name == "SUCCEEDED"
    assert (Path(stored.specs[0].folder) / "stdout.log").read_text().splitlines()[0] == "boot a j"


def test_a_function_that_comes_later_is_wrapped_as_well(module: Any) -> None:
    first = Job(name="first", task=Command(("true",)))
    experiment = ExperimentDraft("p", [first], plugins=[module.noting("a")])
    experiment.prepare()

    later = Job(name="later", task=Partial(module.train))
    (spec,) = experiment.extend([later], {"local": LocalExecutor()}, {})

    assert "plugins_of_tests.noting" in spec.given


def test_what_cannot_go_to_the_process_is_refused_before_anything_is_made(
    module: Any, home: Path
) -> None:
    for plugins, error in (
        ([Plugin.create("l").with_decorator(lambda fn: fn)], PluginNotPortable),
        (["no-such-plugin"], PluginNotFound),
    ):
        with pytest.raises(error):
            runbus.api.run(Partial(module.train), plugins=plugins)

    assert not (home / "experiments").exists()


def test_the_command_line_brings_plugins_to_the_process_by_name_and_by_value(
    module: Any, tmp_path: Path, home: Path
) -> None:
    folder = home / "plugins"
    folder.mkdir(parents=True, mode=0o700)
    (folder / "found.py").write_text(
        "from runbus import Plugin\nfrom plugins_of_tests import noting\n"
        "plugin = Plugin('found', around_app=noting('found').around_app)\n"
    )
    (tmp_path / "entry.py").write_text(
        "import runbus, plugins_of_tests as own\n"
        "@runbus.cli.entrypoint(plugins=[own.noting('given')], executor='local')\n"
        "def go() -> None: print('body')\n"
        "if __name__ == '__main__': runbus.cli.main(go)\n"
    )
    for words in (
        ["-m", "runbus.cli", "run", "--plugin", "found", "plugins_of_tests.py:train_async"],
        ["entry.py"],
    ):
        done = subprocess.run(
            [sys.executable, *words], check=False, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr

    found, given = runbus.runs("plugins_of_tests")[0], runbus.runs("entry")[0]

    assert output(found) == ["enter found node 0, worker 0", "exit found"]
    assert output(given)[1:] == [
        "enter given node 0, worker 0",
        "call given go {}",
        "body",
        "exit given",
    ]
