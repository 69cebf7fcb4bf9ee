"""What a hub's file says, and every mistake in it with its line."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from runbus.abc import DataStreamPlugin
from runbus.config import Config
from runbus.errors import ConfigInvalid
from runbus.hub import ExperimentHub, HubConfig, MemoryStream, read_hub_config

PAGE = """\
version: "1.0"

global:
  log_level: "info"
  environment: "development"

plugins:
  mlops:
    enabled: true
    type: "runbus"
    config: {}
  datastream:
    enabled: true
    type: "memory"
    config:
      capacity: 5
  taskqueue:
    enabled: false
    type: "celery"
    config:
      broker_url: "amqp://guest:guest@localhost:5672//"

experiments:
  - name: "time_series"
    module: "runbus.hub.experiments"
    class: "TimeSeriesExperiment"
    enabled: true
  - name: "fault_detection"
    module: "runbus.hub.experiments"
    class: "FaultDetectionExperiment"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "hub_config.yaml"


def read(file: Path, text: str, environment: dict[str, str] | None = None) -> HubConfig:
    file.write_text(text)
    return read_hub_config(file, environment=environment or {})


def told(file: Path, text: str, environment: dict[str, str] | None = None) -> list[str]:
    """Return the mistakes of a file, each as `line: path: reason`."""
    with pytest.raises(ConfigInvalid) as error:
        read(file, text, environment)
    assert all(one.origin == str(file) for one in error.value.problems)
    return [str(one).removeprefix(f"{file}:") for one in error.value.problems]


def test_a_file_of_the_form_of_the_page_is_read(file: Path) -> None:
    found = read(file, PAGE)

    assert found.globals == ("info", "development")
    assert [(one.kind, one.type, one.enabled) for one in found.services] == [
        ("mlops", "runbus", True),
        ("datastream", "memory", True),
        ("taskqueue", "celery", False),
    ]
    assert [one.name for one in found.types] == ["time_series", "fault_detection"]
    assert found.types[1].enabled
    assert found.services[1].place.line == 12
    assert found.hints == ()


def test_a_service_that_is_not_enabled_need_not_be_installed_nor_its_variables_be_set(
    file: Path,
) -> None:
    text = PAGE.replace('"amqp://guest:guest@localhost:5672//"', "{env: NOT_SET}")

    assert read(file, text).services[2].config is None


def test_a_service_is_off_unless_it_is_said_to_be_on(file: Path) -> None:
    found = read(file, 'version: "1.0"\nplugins: {datastream: {type: memory}}\n')

    assert not found.services[0].enabled


@pytest.mark.parametrize("version", ['"1.0"', "1.0"])
def test_the_version_may_be_a_number(version: str, file: Path) -> None:
    read(file, f"version: {version}\n")


def test_every_mistake_is_told_at_once_with_its_line(file: Path) -> None:
    text = """\
version: "7"
globel: {}
global:
  log_level: loud
  enviroment: production
plugins:
  mlops:
    enabled: true
    type: mlflow
  datastrean:
    enabled: true
    type: memory
  datastream:
    enabled: 3
    type: memory
  taskqueue:
    enabled: true
    type: local
    config:
      max_parallel: none at all
      capasity: 3
experiments:
  - name: a
    module: runbus.hub.experiments
    class: TimeSerie
  - name: b
    module: json
    class: JSONDecoder
  - name: b
    modul: json
  - name: a
    module: no.such.module
    class: Thing
"""
    found = told(file, text)

    for place, words in (
        ("1: version", "version 7 is not read here"),
        ("2: globel", "did you mean 'global'"),
        ("4: global.log_level", "there is no level 'loud'"),
        ("5: global.enviroment", "did you mean 'environment'"),
        ("9: plugins.mlops.type", "no mlops service is named 'mlflow'"),
        ("10: plugins.datastrean", "did you mean 'datastream'"),
        ("14: plugins.datastream.enabled", "expected true or false"),
        ("20: plugins.taskqueue.config.max_parallel", "expected an integer"),
        ("21: plugins.taskqueue.config.capasity", "did you mean 'capacity'"),
        ("25: experiments[0].class", "did you mean 'TimeSeriesExperiment'"),
        ("28: experiments[1].class", "it has no format_data, create_model, run"),
        ("30: experiments[2].modul", "did you mean 'module'"),
        ("31: experiments[3].name", "line 23 names a type 'a', too"),
        ("33: experiments[3].class", "there is no module 'no'"),
    ):
        assert any(one.startswith(f"{place}: ") and words in one for one in found), place
    assert len(found) == 14


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("plugins: {}\n", "the key 'version' is missing"),
        ('version: "1.0"\nplugins: [mlops]\n', "expected a mapping"),
        ('version: "1.0"\nplugins: {mlops: true}\n', "a service is a mapping"),
        ('version: "1.0"\nexperiments: {a: 1}\n', "expected a list"),
        ('version: "1.0"\nexperiments: [a]\n', "a type of experiments is a mapping"),
        ('version: "1.0"\nplugins: {mlops: {enabled: true}}\n', "the key 'type' is missing"),
        (
            'version: "1.0"\nplugins: {mlops: {enabled: true, type: runbus, config: [1]}}\n',
            "expected a mapping of what its constructor takes",
        ),
        ('version: "1.0"\nglobal: {environment: 3}\n', "expected a text"),
        ("a\n", "a configuration is a mapping"),
        ("version: [\n", "did not find expected node content"),
    ],
    ids=range(10),
)
def test_what_is_of_another_form_is_told(text: str, reason: str, file: Path) -> None:
    (one,) = told(file, text)
    assert reason in one


def test_a_bomb_of_aliases_is_refused_with_its_line(file: Path) -> None:
    text = 'version: "1.0"\nglobal:\n  a: &a [x, x, x, x, x, x, x, x, x, x]\n'
    for number, (name, before) in enumerate(zip("bcdefg", "abcdef", strict=True)):
        text += f"  {name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n"
        del number
    (one,) = told(file, text)

    assert "200,000" in one


def test_a_value_may_come_from_a_variable_as_the_type_that_is_wanted(file: Path) -> None:
    text = PAGE.replace("capacity: 5", "capacity: {env: CAPACITY, default: 7}")

    for environment, value in (({"CAPACITY": "9"}, 9), ({}, 7)):
        config = read(file, text, environment).services[1].config
        assert config is not None
        assert config["capacity"] == value
    (one,) = told(file, text, {"CAPACITY": "nine"})
    assert one.startswith("16: plugins.datastream.config.capacity: expected an integer")


def test_a_variable_that_is_not_set_and_has_no_default_is_told(file: Path) -> None:
    (one,) = told(file, PAGE.replace("capacity: 5", "capacity: {env: CAPACITY}"))

    assert one == (
        "16: plugins.datastream.config.capacity: the variable CAPACITY is not set, "
        "and there is no default"
    )


def test_whether_a_service_is_enabled_may_come_from_a_variable(file: Path) -> None:
    text = PAGE.replace(
        'enabled: true\n    type: "memory"',
        "enabled: {env: IS_ON, default: false}\n    type: memory",
    )

    assert [read(file, text, {"IS_ON": one}).services[1].enabled for one in ("true", "FALSE")] == [
        True,
        False,
    ]
    assert not read(file, text).services[1].enabled


def test_variables_of_the_environment_set_values_of_the_file(file: Path) -> None:
    names = {"RUNBUS_HUB__PLUGINS__DATASTREAM__CONFIG__CAPACITY": "6"}

    config = read(file, PAGE, names).services[1].config
    assert config is not None
    assert config["capacity"] == 6


SERVICE = """\
from runbus.hub import DataStreamPlugin, MemoryStream

class Broker(DataStreamPlugin):
    def __init__(self, host: str, password: str, port: int = 5672, **kwargs) -> None:
        self.given = (host, password, port, kwargs)

    def initialize(self) -> None: pass
    def shutdown(self) -> None: pass
    def health_check(self): return True, {"password": self.given[1]}

class Schemed(Broker):
    config_schema = {
        "host": {"type": "string"},
        "password": {"type": "string", "min": 12, "secret": True},
        "port": {"type": "integer", "max": 65535},
    }

class Mislabeled(MemoryStream):
    plugin_type = "mlops"
"""

OWN = """\
version: "1.0"
plugins:
  datastream:
    enabled: true
    module: broker_of_a_user
    class: Broker
    config:
      host: ${RABBIT_HOST}
      password: {secret: "file:password.txt"}
"""


@pytest.fixture
def _module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broker_of_a_user.py").write_text(SERVICE)
    (tmp_path / "password.txt").write_text("hunter2\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "broker_of_a_user", raising=False)


@pytest.mark.usefixtures("_module")
def test_a_service_of_ones_own_is_named_by_module_and_class_and_gets_its_secret(
    file: Path,
) -> None:
    (entry,) = read(file, OWN).services

    assert isinstance(entry.config, Config)
    service = entry.config.build()
    assert isinstance(service, DataStreamPlugin)
    assert vars(service)["given"] == ("${RABBIT_HOST}", "hunter2", 5672, {})


@pytest.mark.usefixtures("_module")
def test_a_text_that_looks_like_a_variable_stays_a_text_and_is_hinted_at(file: Path) -> None:
    (hint,) = read(file, OWN).hints

    assert (hint.line, hint.path) == (8, "plugins.datastream.config.host")
    assert "write {env: RABBIT_HOST}" in hint.reason


@pytest.mark.usefixtures("_module")
def test_a_secret_that_does_not_fit_is_not_repeated(file: Path, tmp_path: Path) -> None:
    text = OWN + '      port: {secret: "file:password.txt"}\n'
    (one,) = told(file, text)

    assert one == (
        "10: plugins.datastream.config.port: the secret does not fit: expected an integer"
    )
    with pytest.raises(ConfigInvalid) as error:
        read(file, text)
    assert "hunter2" not in repr(error.value)


@pytest.mark.usefixtures("_module")
def test_a_secret_that_is_missing_is_told_with_its_place(file: Path) -> None:
    (one,) = told(file, OWN.replace("file:password.txt", "env:NO_SUCH_SECRET"))

    assert "9: plugins.datastream.config.password: no secret at env:NO_SUCH_SECRET" in one


@pytest.mark.usefixtures("_module")
def test_a_value_that_the_constructor_needs_is_missed_where_the_others_are(file: Path) -> None:
    (one,) = told(file, OWN.replace("      host: ${RABBIT_HOST}\n", ""))

    assert one == "7: plugins.datastream.config: the key 'host' is missing"


@pytest.mark.usefixtures("_module")
def test_what_a_class_says_of_its_configuration_is_checked_besides_its_constructor(
    file: Path,
) -> None:
    found = told(file, OWN.replace("class: Broker", "class: Schemed") + "      port: 70000\n")

    places = [one.partition(": ")[0] for one in found]
    assert places == ["9", "10"]
    assert "plugins.datastream.config.port" in found[1]
    assert not any("hunter2" in one for one in found)


@pytest.mark.usefixtures("_module")
def test_a_service_of_another_kind_than_its_section_is_told(file: Path) -> None:
    (one,) = told(
        file, OWN.replace("class: Broker", "class: Mislabeled").partition("    config")[0]
    )

    assert one == "6: plugins.datastream.class: its plugin_type is 'mlops', not 'datastream'"


def test_nothing_that_a_value_looks_like_is_imported(file: Path) -> None:
    text = PAGE.replace("capacity: 5", "capacity: {_target_: os.getcwd}")
    (one,) = told(file, text)

    assert "not in the modules that are allowed" in one


def test_a_hub_is_made_of_its_file(file: Path) -> None:
    file.write_text(PAGE)
    with ExperimentHub.from_config(file) as hub:
        assert hub.globals == ("info", "development")
        assert hub.available_experiments() == ["time_series", "fault_detection"]
        assert isinstance(hub.get_plugin("datastream"), MemoryStream)
        assert hub.get_plugin("taskqueue") is None
