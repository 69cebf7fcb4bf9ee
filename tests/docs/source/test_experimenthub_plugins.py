"""ExperimentHub's page on plugins, block by block, with one import changed.

Every Python block runs. Where the page contradicts itself, or what it came from:

- The life cycle lists initialization twice, and registration between the two: `register_plugin`
  initializes, once, and what cannot be initialized is not registered.
- `plugin_type` is a bare annotation in the base and a value in the example: a subclass has its
  port's, or gives its own.
- The interface block is what a class must offer, and is defined here as on the page; a class
  that names none of our ports among its bases is registered as well, for it is given by name.
- The file names `framework.TimeSeriesAnalysis` and `framework.FaultDetection`, which a user of
  ours does not have: `runbus.compat.experimenthub` takes those of `runbus.hub.experiments`, unless
  such a package is there.
- The file enables `mlflow` and `rabbitmq`, whose plugins are not part of this package: the error
  says, with the lines, what is missing, and `enabled: false` does without. They come with the sets
  of services, later.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from runbus.compat.experimenthub import ExperimentHub
from runbus.errors import ConfigInvalid, UsageError
from runbus.hub import MemoryStream

PLUGIN_INTERFACE = """
from typing import Any, Dict, Protocol, Tuple

class Plugin(Protocol):
    \"\"\"Base interface for all plugins\"\"\"
    plugin_type: str

    def __init__(self, **kwargs) -> None:
        \"\"\"Initialize the plugin with configuration\"\"\"
        ...

    def initialize(self) -> None:
        \"\"\"Initialize the plugin\"\"\"
        ...

    def shutdown(self) -> None:
        \"\"\"Clean up resources when shutting down\"\"\"
        ...

    def health_check(self) -> Tuple[bool, Dict[str, Any]]:
        \"\"\"Check if the plugin is working correctly

        Returns:
            Tuple containing:
            - Boolean indicating if the plugin is healthy
            - Dictionary with additional health information and metrics
        \"\"\"
        ...
"""

CONFIG = """\
# hub_config.yaml
version: "1.0"

# Global settings
global:
  log_level: "info"
  environment: "development"

# Plugin configurations
plugins:
  # MLOps plugin configuration
  mlops:
    enabled: true
    type: "mlflow"  # Which implementation to use
    config:
      mlflow_uri: "http://localhost:5000"

  # Data stream plugin configuration
  datastream:
    enabled: true
    type: "rabbitmq"
    config:
      host: "localhost"
      port: 5672
      username: "guest"
      password: "guest"

  # Task queue plugin configuration
  taskqueue:
    enabled: false  # Disabled by default, enable when needed
    type: "celery"
    config:
      broker_url: "amqp://guest:guest@localhost:5672//"
      backend_url: "redis://localhost:6379/0"
      app_name: "experiment_hub"

# Available experiment types
experiments:
  - name: "time_series"
    module: "framework.TimeSeriesAnalysis"
    class: "TimeSeriesExperiment"
    enabled: true

  - name: "fault_detection"
    module: "framework.FaultDetection"
    class: "FaultDetectionExperiment"
    enabled: true
"""

FROM_CONFIG = """
from runbus.compat.experimenthub import ExperimentHub

# Initialize from configuration file
hub = ExperimentHub.from_config("hub_config.yaml")
"""

USING = """
# Get a plugin by type
mlops_plugin = hub.get_plugin("mlops")
datastream_plugin = hub.get_plugin("datastream")
taskqueue_plugin = hub.get_plugin("taskqueue")

# Check plugin health
health_info = hub.check_plugin_health()
"""

CUSTOM = """
from runbus.compat.experimenthub.plugins.mlops import MLOpsPlugin
from typing import Any, Dict, Tuple

class CustomMLOpsPlugin(MLOpsPlugin):
    \"\"\"Custom implementation of MLOpsPlugin\"\"\"
    plugin_type = "mlops"

    def __init__(self, custom_param: str, **kwargs):
        self.custom_param = custom_param

    def initialize(self) -> None:
        \"\"\"Initialize the plugin\"\"\"
        # Custom initialization logic
        pass

    def shutdown(self) -> None:
        \"\"\"Clean up resources\"\"\"
        # Custom cleanup logic
        pass

    def health_check(self) -> Tuple[bool, Dict[str, Any]]:
        \"\"\"Check if plugin is working correctly\"\"\"
        try:
            # Custom health check logic
            return True, {"status": "connected", "custom_param": self.custom_param}
        except Exception as e:
            return False, {"status": "error", "message": str(e)}

    # Implement other MLOpsPlugin methods
    # ...
"""

REGISTER = """
from runbus.compat.experimenthub import ExperimentHub

# Create ExperimentHub
hub = ExperimentHub()

# Create and register custom plugin
custom_plugin = CustomMLOpsPlugin(custom_param="value")
hub.register_plugin(custom_plugin)
"""

HEALTH = """
health_info = hub.check_plugin_health()
for plugin_type, info in health_info.items():
    status = "HEALTHY" if info["healthy"] else "UNHEALTHY"
    print(f"{plugin_type}: {status}")
    print(f"  Details: {info['details']}")
"""


def run(*blocks: str, cwd: Path) -> tuple[str, str]:
    """Run blocks of the page as one script, as a user would; it ends without a `shutdown`."""
    done = subprocess.run(
        [sys.executable, "-c", "".join(blocks)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def file_of(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "hub_config.yaml"
    file.write_text(text)
    return file


def test_the_blocks_of_the_page_run_one_after_the_other(tmp_path: Path) -> None:
    out, err = run(CUSTOM, REGISTER, USING, HEALTH, cwd=tmp_path)

    assert out.splitlines() == [
        "mlops: HEALTHY",
        "  Details: {'status': 'connected', 'custom_param': 'value'}",
    ]
    assert err == ""


def test_a_class_of_the_interface_of_the_page_is_registered(tmp_path: Path) -> None:
    its_import = "from runbus.compat.experimenthub.plugins.mlops import MLOpsPlugin"
    custom = CUSTOM.replace(its_import, "").replace("(MLOpsPlugin)", "(Plugin)")
    out, _ = run(PLUGIN_INTERFACE, custom, REGISTER, HEALTH, cwd=tmp_path)

    assert out.splitlines()[0] == "mlops: HEALTHY"


def test_the_file_of_the_page_says_which_plugins_are_missing_and_where(tmp_path: Path) -> None:
    file = file_of(tmp_path, CONFIG)
    with pytest.raises(ConfigInvalid) as told:
        ExperimentHub.from_config(file)

    places = [(one.line, one.path) for one in told.value.problems]
    assert places == [(14, "plugins.mlops.type"), (21, "plugins.datastream.type")]
    for name, one in zip(("mlflow", "rabbitmq"), told.value.problems, strict=True):
        assert f"named '{name}': none that is installed brings one" in one.reason
        assert "or set enabled: false" in one.reason


def test_the_file_of_the_page_works_with_what_is_not_installed_disabled(tmp_path: Path) -> None:
    file_of(tmp_path, CONFIG.replace("enabled: true\n    type", "enabled: false\n    type"))
    used = "\nprint(mlops_plugin, datastream_plugin, taskqueue_plugin, health_info)"
    types = "\nprint(hub.available_experiments())"
    out, _ = run(FROM_CONFIG, USING, used, types, cwd=tmp_path)

    assert out == "None None None {}\n['time_series', 'fault_detection']\n"


def test_the_types_of_the_file_are_those_of_the_users_own_package_if_there_is_one(
    tmp_path: Path,
) -> None:
    (tmp_path / "framework").mkdir()
    (tmp_path / "framework" / "__init__.py").touch()
    for name, kind in (
        ("TimeSeriesAnalysis", "TimeSeriesExperiment"),
        ("FaultDetection", "FaultDetectionExperiment"),
    ):
        text = f"from runbus.hub.experiments import {kind} as Base\nclass {kind}(Base): pass\n"
        (tmp_path / "framework" / f"{name}.py").write_text(text)
    file_of(tmp_path, CONFIG.replace("enabled: true\n    type", "enabled: false\n    type"))
    out, _ = run(FROM_CONFIG, "\nprint(hub._types.target('time_series'))", cwd=tmp_path)

    assert out == "framework.TimeSeriesAnalysis:TimeSeriesExperiment\n"


def test_the_hub_takes_its_services_by_the_names_of_their_kinds() -> None:
    stream = MemoryStream()
    with ExperimentHub(datastream_plugin=stream) as hub:
        assert hub.get_plugin("datastream") is stream
    with pytest.raises(UsageError, match="rabbit_host is a setting of a service"):
        ExperimentHub(rabbit_host="localhost")


def test_the_modules_of_the_page_have_the_ports() -> None:
    code = """
from runbus.compat.experimenthub.plugins.base import Plugin
from runbus.compat.experimenthub.plugins.mlops import MLOpsPlugin
from runbus.compat.experimenthub.plugins.datastream import DataStreamPlugin
from runbus.compat.experimenthub.plugins.taskqueue import TaskQueuePlugin
assert all(Plugin in one.__mro__ for one in (MLOpsPlugin, DataStreamPlugin, TaskQueuePlugin))
"""
    run(code, cwd=Path.cwd())
