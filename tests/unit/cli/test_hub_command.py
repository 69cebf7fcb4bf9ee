"""`runbus hub`: what is wrong with a file, and how its services are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from runbus.cli._app import run_command

from .terminal import check_golden, watch

RUNBUS = os.path.join(os.path.dirname(sys.executable), "runbus")

MODULE = """\
import time
from runbus.hub import MLOpsPlugin, TaskQueuePlugin

class Broken(MLOpsPlugin):
    def __init__(self, uri: str) -> None:
        self.uri = uri

    def initialize(self) -> None:
        raise ConnectionRefusedError(f"nobody answers at {self.uri}")

    def shutdown(self) -> None: pass
    def health_check(self): return True, {}

class Unwell(TaskQueuePlugin):
    def initialize(self) -> None: pass
    def shutdown(self) -> None: pass

    def health_check(self):
        return False, {"status": "error", "broker_url": "amqp://guest:hunter2@localhost:5672//"}
"""

LEAVING = """\

class Clinging(TaskQueuePlugin):
    def initialize(self) -> None: pass
    def shutdown(self) -> None: raise RuntimeError("redis://:hunter2@localhost holds on")
    def health_check(self): return True, {"status": "connected"}
"""

NOISY = """\
import os
from runbus.hub import DataStreamPlugin

print("noise: import")

class Noisy(DataStreamPlugin):
    def initialize(self) -> None: print("noise: initialize")
    def shutdown(self) -> None: os.system("echo noise: shutdown")
    def health_check(self):
        print("noise: health")
        return True, {}
"""

FILE = """\
version: "1.0"
global: {log_level: error, environment: production}
plugins:
  mlops:
    enabled: {env: HAS_MLOPS, default: true}
    module: services_of_a_user
    class: Broken
    config: {uri: "http://user:hunter2@${TRACKER}:5000"}
  datastream: {enabled: true, type: memory}
  taskqueue: {enabled: true, module: services_of_a_user, class: Unwell}
experiments:
  - {name: time_series, module: runbus.hub.experiments, class: TimeSeriesExperiment}
  - {name: faults, module: runbus.hub.experiments, class: FaultDetectionExperiment, enabled: false}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.delitem(sys.modules, "services_of_a_user", raising=False)
    Path("services_of_a_user.py").write_text(MODULE + LEAVING)
    Path("hub_config.yaml").write_text(FILE)
    return tmp_path


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (160, 50)])
@pytest.mark.parametrize("command", ["check", "health"])
def test_a_screen_is_the_one_that_was_looked_at(command: str, columns: int, rows: int) -> None:
    status, screen, _ = watch([RUNBUS, "hub", command], columns, rows)

    assert status == (1 if command == "health" else 0)
    assert all(len(line) <= columns for line in screen.splitlines())
    assert "hunter2" not in screen
    check_golden(f"hub-{command}-{columns}x{rows}", screen)


def test_the_mistakes_of_a_file_are_a_screen_as_well(folder: Path) -> None:
    text = FILE.replace("type: memory", "type: memmory").replace("log_level", "loglevel")
    (folder / "hub_config.yaml").write_text(text)
    status, screen, _ = watch([RUNBUS, "hub", "check"], 100, 24)

    assert status == 2
    check_golden("hub-mistakes-100x24", screen)


def test_check_tells_programs_what_is_in_a_file(capfd: Any) -> None:
    assert run_command(["hub", "check", "--json"]) == 0
    found = json.loads(capfd.readouterr().out)

    assert (found["ok"], found["log_level"], found["environment"]) == (True, "error", "production")
    assert [(one["kind"], one["type"], one["line"]) for one in found["services"]] == [
        ("mlops", "services_of_a_user:Broken", 4),
        ("datastream", "memory", 9),
        ("taskqueue", "services_of_a_user:Unwell", 10),
    ]
    assert [one["enabled"] for one in found["experiments"]] == [True, False]
    (hint,) = found["hints"]
    assert (hint["line"], hint["path"]) == (8, "plugins.mlops.config.uri")


def test_check_tells_programs_what_is_wrong(folder: Path, capfd: Any) -> None:
    (folder / "other.yaml").write_text("version: 3\nplugin: {}\n")
    assert run_command(["hub", "check", "other.yaml", "--json"]) == 2
    found = json.loads(capfd.readouterr().out)

    assert found["ok"] is False
    assert [(one["file"], one["line"], one["path"], one["near"]) for one in found["problems"]] == [
        ("other.yaml", 1, "version", []),
        ("other.yaml", 2, "plugin", ["plugins"]),
    ]


def test_health_tells_programs_how_the_services_are(capfd: Any) -> None:
    assert run_command(["hub", "health", "--json"]) == 1
    found = json.loads(capfd.readouterr().out)

    assert found["healthy"] is False
    assert {kind: one["healthy"] for kind, one in found["services"].items()} == {
        "mlops": False,
        "datastream": True,
        "taskqueue": False,
    }
    assert "ConnectionRefusedError: nobody answers at http://***@" in str(found)
    assert "hunter2" not in str(found)


def test_health_exits_with_0_if_all_are_healthy(folder: Path, capfd: Any) -> None:
    (folder / "well.yaml").write_text(
        FILE.partition("  taskqueue")[0].replace("true}", "false}", 1)
    )
    assert run_command(["hub", "health", "well.yaml"]) == 0
    assert capfd.readouterr().out.split()[:5] == [
        "service", "state", "details", "datastream", "HEALTHY",
    ]  # fmt: skip
    (folder / "none.yaml").write_text('version: "1.0"\n')
    assert run_command(["hub", "health", "none.yaml"]) == 0
    assert capfd.readouterr().out == "no service is enabled\n"


def test_a_file_that_is_not_there_is_an_error(capfd: Any) -> None:
    for command in ("check", "health"):
        assert run_command(["hub", command, "nowhere.yaml"]) == 2
        assert capfd.readouterr().err == "error: nowhere.yaml: no such file or directory\n"
        assert run_command(["hub", command, "nowhere.yaml", "--json"]) == 2
        found = json.loads(capfd.readouterr().out)
        assert (found["ok"], found["problems"][0]["file"]) == (False, "nowhere.yaml")


def test_what_a_service_prints_is_no_part_of_the_answer_for_programs(folder: Path) -> None:
    (folder / "noisy_services.py").write_text(NOISY)
    service = "datastream: {enabled: true, module: noisy_services, class: Noisy}"
    (folder / "other.yaml").write_text(f'version: "1.0"\nplugins: {{{service}}}\n')
    for command in ("check", "health"):
        words = [RUNBUS, "hub", command, "other.yaml", "--json"]
        done = subprocess.run(words, check=False, timeout=120, capture_output=True, text=True)
        assert isinstance(json.loads(done.stdout), dict)
        assert (done.returncode, "noise: import" in done.stderr) == (0, True)


def test_modules_are_found_beside_the_file_that_names_them(folder: Path, capfd: Any) -> None:
    (folder / "inner").mkdir()
    (folder / "inner" / "beside_the_file.py").write_text(NOISY)
    service = "datastream: {enabled: true, module: beside_the_file, class: Noisy}"
    file = folder / "inner" / "other.yaml"
    file.write_text(f'version: "1.0"\nplugins: {{{service}}}\n')
    done = subprocess.run([RUNBUS, "hub", "check", "inner/other.yaml"], check=False, timeout=120)

    assert done.returncode == 0, capfd.readouterr().err


def test_a_service_of_another_distribution_is_found_by_its_name(folder: Path) -> None:
    info = folder / "somebodys-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: somebodys\nVersion: 1.2\n")
    point = "[runbus.taskqueue]\nunwell = services_of_a_user:Unwell\n"
    (info / "entry_points.txt").write_text(point)
    text = 'version: "1.0"\nplugins: {taskqueue: {enabled: true, type: unwell}}\n'
    (folder / "other.yaml").write_text(text)
    status, screen, _ = watch([RUNBUS, "hub", "health", "other.yaml"], 80, 24)

    assert (status, screen.splitlines()[1].split()[:2]) == (1, ["taskqueue", "UNHEALTHY"])


def test_a_service_that_cannot_be_shut_down_is_an_error_after_the_answer(
    folder: Path, capfd: Any
) -> None:
    service = "taskqueue: {enabled: true, module: services_of_a_user, class: Clinging}"
    (folder / "other.yaml").write_text(f'version: "1.0"\nplugins: {{{service}}}\n')
    assert run_command(["hub", "health", "other.yaml"]) == 1
    out, err = capfd.readouterr()

    assert out.splitlines()[1] == "taskqueue  HEALTHY  status: connected"
    whose = "taskqueue: RuntimeError: redis://***@localhost holds on"
    assert err == f"error: not all services were shut down: {whose}\n"
