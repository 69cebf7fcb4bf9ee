"""The blocks of Tracelet's page about plugins, with one import changed.

Where the page contradicts itself, what holds here:

- `type=` in its signature and `plugin_type=` in its examples are the same (SD1), `entry_point` is a
  field (SD2), and `get_metadata` may be a class method or not (SD3).
- Its `dependencies` are names of plugins in the signature and of distributions in the examples: the
  form tells them apart (SD4). A missing one of these is shown, and is no reason not to start a
  plugin that does without, as its collector does without GPUtil.
- Its `config_schema` is given to `jsonschema`, which finds every configuration right by it (SD6);
  the manager checks it as what it is.
- `self.config` is read by its backend and never set: it is what `initialize` was given.
- `experiment_name` is read and stands in no schema: any plugin may be given it.
- Its manager returns a list of plugins in one block and a mapping in another: it is a mapping of
  values that are read as a mapping, too.
- Its last block reads a plugin's `name` from a status that has none, so it says "unknown" (SD11);
  the manager's own status goes by the plugins' names.

Blocks that are not here: "Plugin Discovery" with `pkg_resources`, which setuptools has removed;
`discover_plugins` of the manager does what it shows, with the entry points of its "setuptools Entry
Points" block.
"""

from __future__ import annotations

import importlib
import sys
import textwrap
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

import runbus
from runbus import Kernel
from runbus.compat.tracelet.core.plugins import PluginState
from runbus.plugins import managed
from runbus.plugins._batches import batch_of

METADATA = """
from runbus.compat.tracelet.core.plugins import PluginMetadata

# Define plugin metadata
metadata = PluginMetadata(
    name="custom_backend",
    version="1.0.0",
    description="Custom experiment tracking backend",
    author="ML Team",
    plugin_type="backend",
    entry_point="my_package.backends.CustomBackend",
    dependencies=["requests>=2.25.0", "pandas>=1.3.0"],
    config_schema={
        "api_endpoint": {"type": "string", "required": True},
        "api_key": {"type": "string", "required": True},
        "timeout": {"type": "number", "default": 30}
    }
)
"""

DISCOVERY = """
from runbus.compat.tracelet.core.plugins import PluginManager

# Initialize plugin manager
plugin_manager = PluginManager()

# Discover installed plugins
plugin_manager.discover_plugins()

# List available plugins
backend_plugins = plugin_manager.list_plugins("backend")
collector_plugins = plugin_manager.list_plugins("collector")

print(f"Available backend plugins: {[p.name for p in backend_plugins]}")
print(f"Available collector plugins: {[p.name for p in collector_plugins]}")
"""

REGISTRATION = """
from my_package.plugins import CustomBackendPlugin

# Register plugin manually
plugin_manager.register_plugin(CustomBackendPlugin)

# Get specific plugin
plugin_class = plugin_manager.get_plugin("backend", "custom_backend")
if plugin_class:
    plugin_instance = plugin_class()
"""

BACKEND = '''
from runbus.compat.tracelet.core.plugins import BackendPlugin, PluginMetadata
from typing import Dict, Any, Optional

class CustomBackendPlugin(BackendPlugin):
    """Custom backend for proprietary experiment tracking system."""

    def get_metadata(self) -> PluginMetadata:
        return PluginMetadata(
            name="custom_backend",
            version="1.0.0",
            description="Integration with Custom Tracking System",
            author="Your Team",
            plugin_type="backend",
            entry_point="custom_package.CustomBackendPlugin",
            dependencies=["custom-sdk>=2.0.0"],
            config_schema={
                "server_url": {"type": "string", "required": True},
                "project_id": {"type": "string", "required": True},
                "api_token": {"type": "string", "required": True}
            }
        )

    def initialize(self, config: Dict[str, Any]) -> None:
        """Initialize the backend with configuration."""
        self.server_url = config["server_url"]
        self.project_id = config["project_id"]
        self.api_token = config["api_token"]

        # Initialize SDK
        import custom_sdk
        self.client = custom_sdk.Client(
            url=self.server_url,
            token=self.api_token
        )

        # Create or get project
        self.project = self.client.get_project(self.project_id)
        self.experiment = None

    def start(self) -> None:
        """Start experiment tracking."""
        self.experiment = self.project.create_experiment(
            name=self.config.get("experiment_name", "Default Experiment")
        )
        self.experiment.start()

    def stop(self) -> None:
        """Stop experiment tracking."""
        if self.experiment:
            self.experiment.finish()
            self.experiment = None

    def log_metric(self, name: str, value: float, iteration: Optional[int] = None) -> None:
        """Log a metric value."""
        if self.experiment:
            self.experiment.log_metric(
                name=name,
                value=value,
                step=iteration
            )

    def log_params(self, params: Dict[str, Any]) -> None:
        """Log parameters."""
        if self.experiment:
            self.experiment.log_params(params)

    def log_artifact(self, local_path: str, artifact_path: str) -> None:
        """Log an artifact."""
        if self.experiment:
            self.experiment.upload_artifact(local_path, artifact_path)

    def get_status(self) -> Dict[str, Any]:
        """Get backend status."""
        return {
            "backend_name": "custom_backend",
            "connected": self.experiment is not None,
            "experiment_id": getattr(self.experiment, "id", None),
            "project_id": self.project_id
        }
'''

COLLECTOR = '''
from runbus.compat.tracelet.core.plugins import CollectorPlugin, PluginMetadata
import psutil
import time
from typing import Dict, Any

class AdvancedSystemCollectorPlugin(CollectorPlugin):
    """Advanced system metrics collector with custom metrics."""

    def get_metadata(self) -> PluginMetadata:
        return PluginMetadata(
            name="advanced_system_collector",
            version="1.2.0",
            description="Advanced system metrics with process-level details",
            author="System Team",
            plugin_type="collector",
            entry_point="system_package.AdvancedSystemCollectorPlugin",
            dependencies=["psutil>=5.8.0", "GPUtil>=1.4.0"],
            config_schema={
                "include_processes": {"type": "boolean", "default": False},
                "process_limit": {"type": "number", "default": 10},
                "include_network": {"type": "boolean", "default": True}
            }
        )

    def initialize(self, config: Dict[str, Any]) -> None:
        """Initialize collector with configuration."""
        self.include_processes = config.get("include_processes", False)
        self.process_limit = config.get("process_limit", 10)
        self.include_network = config.get("include_network", True)
        self.last_network = None

    def start(self) -> None:
        """Start collection (if background collection needed)."""
        self.start_time = time.time()
        if self.include_network:
            self.last_network = psutil.net_io_counters()

    def stop(self) -> None:
        """Stop collection."""
        pass

    def collect(self) -> Dict[str, Any]:
        """Collect system metrics."""
        metrics = {
            "timestamp": time.time(),
            "uptime": time.time() - self.start_time
        }

        # CPU metrics
        cpu_percent = psutil.cpu_percent(interval=1)
        cpu_count = psutil.cpu_count()
        metrics.update({
            "cpu_percent": cpu_percent,
            "cpu_count_logical": cpu_count,
            "cpu_count_physical": psutil.cpu_count(logical=False),
            "cpu_freq": psutil.cpu_freq()._asdict() if psutil.cpu_freq() else {}
        })

        # Memory metrics
        memory = psutil.virtual_memory()
        swap = psutil.swap_memory()
        metrics.update({
            "memory_total": memory.total,
            "memory_available": memory.available,
            "memory_percent": memory.percent,
            "swap_total": swap.total,
            "swap_used": swap.used,
            "swap_percent": swap.percent
        })

        # Disk metrics
        disk_usage = psutil.disk_usage('/')
        disk_io = psutil.disk_io_counters()
        metrics.update({
            "disk_total": disk_usage.total,
            "disk_used": disk_usage.used,
            "disk_percent": disk_usage.percent,
            "disk_read_bytes": disk_io.read_bytes if disk_io else 0,
            "disk_write_bytes": disk_io.write_bytes if disk_io else 0
        })

        # Network metrics (with rate calculation)
        if self.include_network:
            current_network = psutil.net_io_counters()
            if self.last_network:
                time_delta = 1.0  # Approximate
                metrics.update({
                    "network_bytes_sent": current_network.bytes_sent,
                    "network_bytes_recv": current_network.bytes_recv,
                    "network_bytes_sent_rate": (
                        current_network.bytes_sent - self.last_network.bytes_sent
                    ) / time_delta,
                    "network_bytes_recv_rate": (
                        current_network.bytes_recv - self.last_network.bytes_recv
                    ) / time_delta
                })
            self.last_network = current_network

        # Process-level metrics
        if self.include_processes:
            processes = []
            for proc in psutil.process_iter(['pid', 'name', 'cpu_percent', 'memory_percent']):
                try:
                    processes.append(proc.info)
                except (psutil.NoSuchProcess, psutil.AccessDenied):
                    pass

            # Sort by CPU usage and take top N
            processes.sort(key=lambda x: x['cpu_percent'] or 0, reverse=True)
            metrics["top_processes"] = processes[:self.process_limit]

        # GPU metrics (if available)
        try:
            import GPUtil
            gpus = GPUtil.getGPUs()
            gpu_metrics = []
            for gpu in gpus:
                gpu_metrics.append({
                    "id": gpu.id,
                    "name": gpu.name,
                    "load": gpu.load * 100,
                    "memory_util": gpu.memoryUtil * 100,
                    "temperature": gpu.temperature
                })
            metrics["gpu"] = gpu_metrics
        except ImportError:
            pass

        return metrics

    def get_status(self) -> Dict[str, Any]:
        """Get collector status."""
        return {
            "collector_name": "advanced_system_collector",
            "active": True,
            "config": {
                "include_processes": self.include_processes,
                "include_network": self.include_network
            }
        }
'''

DEPENDENCIES = '''
from runbus.compat.tracelet.core.plugins import PluginManager
import importlib

def check_plugin_dependencies(plugin_metadata):
    """Check if plugin dependencies are satisfied."""
    missing_deps = []

    for dep in plugin_metadata.dependencies:
        try:
            # Parse dependency specification (name>=version)
            if ">=" in dep:
                package_name = dep.split(">=")[0]
            else:
                package_name = dep

            importlib.import_module(package_name)
        except ImportError:
            missing_deps.append(dep)

    return missing_deps

# Usage
plugin_manager = PluginManager()
plugins = plugin_manager.discover_plugins()

for plugin_name, plugin_info in plugins.items():
    missing = check_plugin_dependencies(plugin_info["metadata"])
    if missing:
        print(f"Plugin {plugin_name} missing dependencies: {missing}")
'''

VALIDATION = '''
import jsonschema
from typing import Dict, Any

def validate_plugin_config(config: Dict[str, Any], schema: Dict[str, Any]) -> bool:
    """Validate plugin configuration against schema."""
    try:
        jsonschema.validate(config, schema)
        return True
    except jsonschema.ValidationError as e:
        print(f"Configuration validation failed: {e}")
        return False

# Example usage in plugin
class ValidatedBackendPlugin(BackendPlugin):
    def initialize(self, config: Dict[str, Any]) -> None:
        metadata = self.get_metadata()
        if not validate_plugin_config(config, metadata.config_schema):
            raise ValueError("Invalid plugin configuration")

        # Proceed with initialization
        super().initialize(config)
'''

LIFECYCLE = '''
from runbus.compat.tracelet.core.plugins import PluginManager
from typing import List

class PluginLifecycleManager:
    """Manages plugin lifecycle across experiment sessions."""

    def __init__(self):
        self.plugin_manager = PluginManager()
        self.active_plugins: List[PluginBase] = []

    def start_plugins(self, plugin_configs: Dict[str, Dict[str, Any]]):
        """Start configured plugins."""
        for plugin_name, config in plugin_configs.items():
            try:
                plugin_class = self.plugin_manager.get_plugin_by_name(plugin_name)
                if plugin_class:
                    plugin_instance = plugin_class()
                    plugin_instance.initialize(config)
                    plugin_instance.start()
                    self.active_plugins.append(plugin_instance)

            except Exception as e:
                print(f"Failed to start plugin {plugin_name}: {e}")

    def stop_all_plugins(self):
        """Stop all active plugins."""
        for plugin in self.active_plugins:
            try:
                plugin.stop()
            except Exception as e:
                print(f"Error stopping plugin: {e}")

        self.active_plugins.clear()

    def get_plugin_status(self) -> Dict[str, Any]:
        """Get status of all active plugins."""
        status = {}
        for plugin in self.active_plugins:
            try:
                plugin_status = plugin.get_status()
                status[plugin_status.get("name", "unknown")] = plugin_status
            except Exception as e:
                status["error"] = str(e)

        return status
'''

SDK = """
# Stands for the client of a tracking system.
class Experiment:
    id = "e1"

    def __init__(self, name):
        self.name, self.calls = name, []

    def __getattr__(self, verb):
        return lambda *args, **named: self.calls.append((verb, args, named))

class Project:
    def __init__(self):
        self.experiments = []

    def create_experiment(self, name):
        self.experiments.append(Experiment(name))
        return self.experiments[-1]

PROJECT = Project()

class Client:
    def __init__(self, url, token):
        pass

    def get_project(self, project_id):
        return PROJECT
"""

CONFIG = {"server_url": "https://tracker", "project_id": "p", "api_token": "t0ken"}


def run(code: str, **names: Any) -> dict[str, Any]:
    """Run a block, and return its names."""
    exec(compile(code, "<block>", "exec"), names)
    return names


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Install the packages of the page, with their entry points; give the stand-in of its SDK."""
    site = tmp_path / "site"
    (site / "my_package").mkdir(parents=True)
    (site / "my_package" / "__init__.py").touch()
    (site / "my_package" / "plugins.py").write_text(BACKEND)
    (site / "my_package" / "collectors.py").write_text(COLLECTOR)
    (site / "custom_sdk.py").write_text(SDK)
    points = """
        [tracelet.plugins]
        custom_backend = my_package.plugins:CustomBackendPlugin
        advanced_system = my_package.collectors:AdvancedSystemCollectorPlugin
    """
    for name, version, text in (
        ("tracelet-custom-plugins", "1.0.0", textwrap.dedent(points)),
        ("custom-sdk", "2.1", ""),
    ):
        info = site / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(text)
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("RUNBUS_PLUGINS", "custom_backend,advanced_system")
    yield importlib.import_module("custom_sdk")
    for name in [one for one in sys.modules if one.split(".")[0] in ("my_package", "custom_sdk")]:
        del sys.modules[name]


def test_metadata_is_made_with_the_fields_of_the_example() -> None:
    metadata = run(METADATA)["metadata"]

    assert metadata.type == metadata.plugin_type == "backend"
    assert metadata.dependencies == ("requests>=2.25.0", "pandas>=1.3.0")
    assert (metadata.plugins, metadata.distributions) == ((), metadata.dependencies)
    assert metadata.entry_point == "my_package.backends.CustomBackend"


def test_installed_plugins_are_found_by_their_entry_points(
    packages: types.ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    run(DISCOVERY)

    assert capsys.readouterr().out == (
        "Available backend plugins: ['custom_backend']\n"
        "Available collector plugins: ['advanced_system_collector']\n"
    )


def test_a_class_is_registered_by_hand_and_found_by_type_and_name(
    packages: types.ModuleType,
) -> None:
    from runbus.compat.tracelet.core.plugins import PluginManager

    names = run(REGISTRATION, plugin_manager=PluginManager())

    assert isinstance(names["plugin_instance"], names["CustomBackendPlugin"])


def test_the_backend_gets_what_is_measured_and_is_started_and_stopped(packages: Any) -> None:
    from runbus.compat.tracelet.core.plugins import PluginManager

    with PluginManager() as manager:
        manager.initialize_plugin("custom_backend", {**CONFIG, "experiment_name": "mine"})
        manager.start_plugin("custom_backend")
        (experiment,) = packages.PROJECT.experiments
        status = manager.get_status()["plugins"]["custom_backend"]
        (info,) = manager.list_plugins("backend")
        assert info.state == PluginState.ACTIVE
        assert info.state != PluginState.ERROR

    assert experiment.name == "mine"
    assert experiment.calls == [("start", (), {}), ("finish", (), {})]
    assert status["status"] == {
        "backend_name": "custom_backend",
        "connected": True,
        "experiment_id": "e1",
        "project_id": "p",
    }


async def test_the_backend_is_a_plugin_of_a_kernel(packages: Any) -> None:
    backend = run(BACKEND)["CustomBackendPlugin"]()
    async with Kernel(plugins=[managed(backend, CONFIG)]) as kernel:
        await kernel.bus.emit(batch_of([("loss", 0.5, 3, 0)], "run", "w"))
    (experiment,) = packages.PROJECT.experiments

    assert experiment.name == "Default Experiment"
    metric = {"name": "loss", "value": 0.5, "step": 3}
    assert experiment.calls == [("start", (), {}), ("log_metric", (), metric), ("finish", (), {})]


def test_the_collector_measures_the_machine_and_its_samples_are_logged_into_a_run(
    packages: types.ModuleType,
) -> None:
    from runbus.compat.tracelet.core.plugins import PluginManager

    with runbus.init(project="tracelet") as run_, PluginManager() as manager:
        config = {"include_processes": True, "process_limit": 2, "interval_s": 0.1}
        manager.initialize_plugin("advanced_system_collector", config)
        manager.start_plugin("advanced_system_collector", run=run_)
        told = manager.get_status()["plugins"]["advanced_system_collector"]
        assert told["status"]["config"] == {"include_processes": True, "include_network": True}

        async def wait_for_a_sample() -> None:
            # The first may come before the kernel has counted what processors did, each 10 ms.
            stored = runbus.open_run(run_.id)
            with anyio.fail_after(120):
                async for _ in stored.follow():
                    if "advanced_system_collector/cpu_percent" in stored.metric_names():
                        return

        anyio.run(wait_for_a_sample)
    table = runbus.open_run(run_.id).metrics(["*"])

    prefix = "advanced_system_collector/"
    assert {f"{prefix}{name}" for name in ("cpu_percent", "memory_total", "disk_used")} <= {*table}
    assert f"{prefix}top_processes/0/pid" in table
    texts = runbus.open_run(run_.id).text(f"{prefix}top_processes/0/name")
    assert texts[0].text


def test_missing_dependencies_are_told_by_the_loop_of_the_page(
    packages: types.ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    run(DEPENDENCIES)

    assert capsys.readouterr().out == (
        "Plugin advanced_system_collector missing dependencies: ['GPUtil>=1.4.0']\n"
        # The name of a distribution is not what is imported (SD5).
        "Plugin custom_backend missing dependencies: ['custom-sdk>=2.0.0']\n"
    )


def test_a_backend_that_checks_its_configuration_itself_may_call_the_base(
    packages: types.ModuleType,
) -> None:
    names = run(BACKEND)
    run(VALIDATION, **names)
    validated = run(VALIDATION, **names)["ValidatedBackendPlugin"]
    schema = {"type": "object", "required": ["url"]}

    class Mine(validated):  # type: ignore[misc, valid-type]
        def get_metadata(self) -> Any:
            return names["PluginMetadata"]("mine", "1", "backend", config_schema=schema)

        log_metric = log_params = log_artifact = lambda *args: None

    plugin = Mine()
    with pytest.raises(ValueError, match="Invalid plugin configuration"):
        plugin.initialize({})
    plugin.initialize({"url": "u"})
    assert plugin.config == {"url": "u"}


def test_the_life_of_plugins_by_hand(packages: Any, capsys: pytest.CaptureFixture[str]) -> None:
    from runbus.compat.tracelet.core.plugins import PluginBase

    names = run(LIFECYCLE, PluginBase=PluginBase, Dict=dict, Any=Any)
    manager = names["PluginLifecycleManager"]()
    manager.start_plugins({"custom_backend": {**CONFIG, "experiment_name": "mine"}, "ghost": {}})

    assert manager.get_plugin_status()["unknown"]["connected"] is True
    manager.stop_all_plugins()
    assert packages.PROJECT.experiments[0].name == "mine"
    assert manager.get_plugin_status() == {}
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("state", runbus.abc.PluginState)
def test_every_state_has_one_name_of_tracelets(state: runbus.abc.PluginState) -> None:
    view = PluginState.of(state)

    assert view == state
    assert [one for one in PluginState if one == state] == [view]
