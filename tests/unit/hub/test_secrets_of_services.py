"""What a service was given as a secret is told nowhere, by whatever name the service repeats it."""

from __future__ import annotations

import json
import logging
import sys
import traceback
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from runbus._revealed import remember, unrevealed, unrevealed_data
from runbus.cli._app import run_command
from runbus.errors import RunbusError, ServiceUnavailable
from runbus.hub import ExperimentHub
from runbus.kernel import Kernel

PASSWORD = "s3 cr\"3t/of'mine"

MODULE = """\
from urllib.parse import quote
from runbus.hub import DataStreamPlugin

class Talkative(DataStreamPlugin):
    def __init__(self, password: str, where: str) -> None:
        self.password, self.where = password, where
        self.say("init")

    def say(self, where: str) -> None:
        if self.where == where:
            raise ValueError(f"no login as {self.password}, nor at me:{quote(self.password)}@here")

    def initialize(self) -> None: self.say("initialize")
    def shutdown(self) -> None: self.say("shutdown")

    def health_check(self):
        self.say("health")
        return False, {"note": "k=" + self.password, "of": {self.password: [self.password]}}

class Loud:
    name = "loud"
    def __init__(self, password: str = "") -> None:
        self.password = password
    async def setup(self, scope) -> None:
        raise ValueError("no login as " + self.password)
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "talkative", raising=False)
    monkeypatch.setenv("STREAM_PW", PASSWORD)
    (tmp_path / "talkative.py").write_text(MODULE)
    return tmp_path


def write_file(folder: Path, where: str) -> str:
    config = f"{{where: {where}, password: {{secret: env:STREAM_PW}}}}"
    service = f"{{enabled: true, module: talkative, class: Talkative, config: {config}}}"
    (folder / "hub.yaml").write_text(
        f'version: "1.0"\nglobal: {{log_level: debug}}\nplugins: {{datastream: {service}}}\n'
    )
    return "hub.yaml"


def shows(text: str) -> bool:
    return any(one in text for one in ('cr"3t', 'cr\\"3t', "of'mine", quote(PASSWORD)))


@pytest.mark.parametrize("where", ["init", "initialize", "health", "nowhere", "shutdown"])
def test_the_command_line_repeats_no_secret_of_a_service(
    folder: Path, where: str, capfd: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for options in ([], ["--json"]):
        assert run_command(["hub", "health", write_file(folder, where), *options]) == 1
        out, err = capfd.readouterr()
        assert "***" in out
        assert not shows(out + err + caplog.text)
    assert json.loads(out)["services"]["datastream"]["healthy"] is False


@pytest.mark.parametrize("where", ["init", "initialize"])
def test_the_error_of_a_service_shows_no_secret_nor_does_its_traceback(
    folder: Path, where: str
) -> None:
    with pytest.raises(ServiceUnavailable, match=r"no login as \*\*\*") as caught:
        ExperimentHub.from_config(write_file(folder, where))

    assert not shows("".join(traceback.format_exception(caught.value)))


async def test_a_plugin_of_runbus_yaml_repeats_no_secret_either(
    folder: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugins = folder / "plugins"
    plugins.mkdir()
    (plugins / "loud.py").write_text(MODULE)
    monkeypatch.setenv("RUNBUS_PLUGIN_PATH", str(plugins))
    (folder / "runbus.yaml").write_text("plugins: {loud: {password: {secret: env:STREAM_PW}}}\n")
    with pytest.raises((RunbusError, ExceptionGroup)) as caught:
        async with Kernel(plugins=["loud"]):
            pass

    told = "".join(traceback.format_exception(caught.value))
    assert "no login as ***" in told
    assert not shows(told + caplog.text)


def test_what_is_as_short_as_a_word_stays_and_data_stays_data() -> None:
    remember("abc")
    remember("98765432")

    assert unrevealed("abc 98765432") == "abc ***"
    assert unrevealed_data({"n": 98765432, "x": [True, None, 1.5]}) == {
        "n": "***",
        "x": [True, None, 1.5],
    }
