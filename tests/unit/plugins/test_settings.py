"""What plugins are made from: the call, variables of the environment, `runbus.yaml`."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from runbus.config import PluginSettings
from runbus.errors import ConfigInvalid, InvalidPlugin, PluginDenied, PluginNotLoadable, UsageError
from runbus.kernel import Kernel
from runbus.plugins import Registry, Selection, configure_plugins, selecting
from runbus.plugins._settings import settings_of

SINK = """
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated
from msgspec import Meta
from runbus import Secret
from runbus.config import LocalFile

@dataclass
class Inner:
    url: str = ""
    retries: int = 3

@dataclass
class Sink:
    path: Path = Path("x")
    size: Annotated[int, Meta(ge=1)] = 8
    maxAge: float = 1.0
    token: Secret | None = None
    password: str = ""
    server: Inner = field(default_factory=Inner)
    free: object = None
    name: str = "sink"
    async def setup(self, scope): ...
"""


@pytest.fixture
def here(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder to work in, which is the root of its repository."""
    (folder / "sink.py").write_text(SINK)
    (folder / "made.py").write_text("from runbus import Plugin\nmade = Plugin('made')\n")
    path = tmp_path / "here"
    (path / ".git").mkdir(parents=True)
    monkeypatch.chdir(path)
    return path


def test_the_call_goes_before_variables_and_those_before_the_file(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "runbus.yaml").write_text(
        "plugins:\n  sink:\n    size: 2\n    maxAge: 2\n    server: {url: a, retries: 2}\n"
    )
    monkeypatch.setenv("RUNBUS_PLUGIN_SINK_SIZE", "3")
    monkeypatch.setenv("RUNBUS_PLUGIN_SINK_MAXAGE", "3.5")
    monkeypatch.setenv("RUNBUS_PLUGIN_SINK_SERVER__RETRIES", "9")
    monkeypatch.setenv("RUNBUS_PLUGIN_SINK_FREE", "[1, two]")

    sink = Registry().load("sink", {"size": 4})

    assert (sink.size, sink.maxAge, sink.free) == (4, 3.5, [1, "two"])
    assert (sink.server.url, sink.server.retries) == ("a", 9)
    said = PluginSettings().of("sink", {"size": 4})
    origins = [said.origin((name,)) for name in ("size", "maxage", "maxAge")]
    assert origins == ["the call", "RUNBUS_PLUGIN_SINK_MAXAGE", f"{here}/runbus.yaml:4"]


async def test_a_kernel_takes_a_name_with_settings_as_data(here: Path) -> None:
    async with Kernel(plugins=[{"type": "sink", "size": 5}]) as kernel:
        assert kernel.hosts[0].plugin.size == 5
    with pytest.raises(InvalidPlugin, match="a mapping without a `type`"):
        Kernel(plugins=[{"size": 5}])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("sink: {siez: 3}", "runbus.yaml:2: siez: unknown key 'siez'; did you mean 'size'"),
        ("sink: {size: 0}", "runbus.yaml:2: size: expected at least 1, found 0"),
        ("sink: {size: many}", "runbus.yaml:2: size: expected an integer, found 'many'"),
        ("sink: 3", "runbus.yaml:2: plugins.sink: the settings of a plugin are a mapping"),
        ("made: {size: 3}", "runbus.yaml:2: size: the plugin is made already"),
        ("3: {size: 3}", "plugins is a list of names of plugins, or a mapping"),
        ("sink: {password: {secret: env:NOBODY_SETS_IT}}", "the variable is not set"),
        ("sink: {password: {secret: it-is-hunter2}}", "a secret is env:NAME or file:PATH"),
    ],
)
def test_what_is_wrong_in_the_file_is_told_with_its_line(here: Path, text: str, told: str) -> None:
    (here / "runbus.yaml").write_text(f"plugins:\n  {text}\n")
    with pytest.raises(ConfigInvalid, match=told) as caught:
        Registry().load("made" if text.startswith("made") else "sink")
    assert "hunter2" not in str(caught.value)


def test_all_mistakes_are_told_at_once_and_the_plugin_is_a_visible_failure(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "runbus.yaml").write_text("plugins:\n  sink:\n    siez: 3\n")
    monkeypatch.setenv("RUNBUS_PLUGIN_SINK_SIZE", "x")
    registry = Registry()
    with pytest.raises(ConfigInvalid) as caught:
        registry.load("sink", {"maxAge": "old"})
    origins = [problem.origin for problem in caught.value.problems]
    assert origins == [f"{here}/runbus.yaml", "RUNBUS_PLUGIN_SINK_SIZE", "the call"]
    assert registry.infos["sink"].state.value == "failed"
    assert "did you mean 'size'" in registry.infos["sink"].error


def test_what_has_to_be_given_and_is_not_is_told(here: Path, folder: Path) -> None:
    (folder / "needy.py").write_text(
        "class Needy:\n    name = 'needy'\n    def __init__(self, url: str, n: int): ...\n"
        "    async def setup(self, scope): ...\n"
        "class Odd:\n    name = 'odd'\n    def __init__(self): len(3)\n"
        "    async def setup(self, scope): ...\n"
    )
    with pytest.raises(ConfigInvalid) as caught:
        Registry().load("needy")
    told = [problem.reason for problem in caught.value.problems]
    assert told == ["the key 'url' is missing", "the key 'n' is missing"]
    with pytest.raises(PluginNotLoadable, match="TypeError: object of type 'int' has no len"):
        Registry().load("odd")


def test_a_secret_is_named_where_it_lies_and_a_text_gets_its_value(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SINK_TOKEN", "hunter2")
    (here / "key").write_text("hunter3\n")
    (here / "sub").mkdir()
    (here / "runbus.yaml").write_text(
        "plugins:\n  sink:\n    token: {secret: env:SINK_TOKEN}\n    password: {secret: file:key}\n"
    )
    monkeypatch.chdir(here / "sub")

    sink = Registry().load("sink")

    assert repr(sink.token) == "Secret('env:SINK_TOKEN')"
    assert sink.password == "hunter3"
    assert settings_of("sink") == {"token": "hunter2", "password": "hunter3"}


def test_a_variable_is_of_the_plugin_with_the_longer_name(
    here: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "more.py").write_text(SINK.replace('"sink"', '"sink-max"'))
    monkeypatch.setenv("RUNBUS_PLUGIN_SINK_MAX_SIZE", "7")
    monkeypatch.setenv("RUNBUS_PLUGIN_NOBODY_SIZE", "7")
    monkeypatch.setenv("RUNBUS_PLUGIN_PATH", "")

    registry = Registry()

    assert registry.load("sink-max").size == 7
    assert registry.load("sink").size == 8
    unused = PluginSettings().unused_variables(registry.infos)
    assert [one.origin for one in unused] == ["RUNBUS_PLUGIN_NOBODY_SIZE"]


def test_two_variables_that_set_one_value_are_refused(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNBUS_PLUGIN_SINK_SIZE", "7")
    monkeypatch.setenv("RUNBUS_PLUGIN_Sink_size", "8")
    with pytest.raises(UsageError, match="set the same value"):
        settings_of("sink")


def test_settings_as_plain_data_are_found_by_the_name_of_an_extension(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "runbus.yaml").write_text("plugins: {my-custom: {a: 1, c: [{d: 1}]}}\n")
    monkeypatch.setenv("RUNBUS_PLUGIN_MY_CUSTOM_PLUGIN_B", "2")
    configure_plugins({"my_custom": {"e": 5}})
    assert settings_of("my_custom_plugin") == {"a": 1, "b": 2, "c": [{"d": 1}], "e": 5}
    configure_plugins({"my_custom": {"a": 3}})
    assert settings_of("my_custom_plugin", {"e": 6})["a"] == 3
    assert settings_of("my_custom_plugin", {"e": 6})["e"] == 6


def test_a_list_in_the_file_says_which_plugins_are_wanted_and_so_does_a_mapping(
    here: Path,
) -> None:
    from runbus.config import default_plugins

    for text in ("[sink, made]", "\n  sink: {size: 3}\n  made:"):
        (here / "runbus.yaml").write_text(f"plugins: {text}\n")
        assert default_plugins("") == ["sink", "made"]


def test_the_command_line_gives_a_plugin_its_settings_or_switches_all_off(here: Path) -> None:
    (here / "runbus.yaml").write_text("plugins: {sink: {size: 2}}\n")
    (here / "tell.py").write_text(
        "import click\nfrom runbus.cli._options import plugin_option, wanted_plugins\n"
        "from runbus.plugins import Registry, Selection\n"
        "@click.command()\n@plugin_option\ndef tell(plugins):\n"
        "    names = wanted_plugins(plugins)\n"
        "    print(names, [Registry().load(name).size for name in names], Selection.current())\n"
        "tell()\n"
    )

    def told(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, "tell.py", *words], capture_output=True, text=True, check=False
        )
        return done.stdout + done.stderr.rpartition("Error: ")[2]

    assert told() == "['sink'] [2] Selection(None, without=[])\n"
    assert told("--plugin", "sink.size=3") == "['sink'] [3] Selection(None, without=[])\n"
    assert told("--no-plugins") == "[] [] Selection([], without=[])\n"
    assert "--plugin sink and --no-plugins contradict" in told("--plugin", "sink", "--no-plugins")


def test_a_selection_counts_within_its_block_and_in_threads_of_it(here: Path) -> None:
    selection = Selection(without=["sink"])
    with selecting(selection):
        assert Selection.current() is selection
        with pytest.raises(PluginDenied, match="the call leaves it out"):
            asyncio.run(asyncio.to_thread(Registry().load, "sink"))
    assert Registry().load("sink").size == 8
