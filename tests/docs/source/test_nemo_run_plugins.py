"""The blocks of NeMo Run's page about plugins, as a user would write them, with changed imports.

All 17 blocks run; none waits for later work. What the page leaves out (a `CustomExecutor`,
`my_cli_function`, `setup_resources`) a user would write, and stands in `PRELUDE` or in the test.

Where the page contradicts itself or the real NeMo Run, this was chosen:

- `CustomPlugin` is configured as `custom_plugin`, and its entry point is called `custom`: the name
  comes from the class, and settings are found under both.
- `validate_config` has no argument in one block and the settings in two others: both are called.
- `dependencies` are "other plugins or packages": a name of either will do.
- A lifecycle plugin wants `initialize` before `register`; the test of the page registers without.
  A kernel initializes first, and neither order is required by `Extension` itself.
- `mlflow_plugin` is configured with what the page's own `MLflowPlugin` does not take: refused.
- `initialize` of a plugin that overrides nothing sets what its constructor takes: the test of the
  page expects `plugin.api_key` to be there.
- `DockerImagePackager.package` returns a folder into which it has written nothing. To package that
  is an error which says so.
- `nemo_run.__version__` is that of the page's interface, which none of NeMo Run's releases has.
- `from nemo_run.plugins import Plugin` registers things; `run.Plugin` of the real NeMo Run changes
  tasks. They are `Extension` and `TaskPlugin` here.
"""

from __future__ import annotations

import importlib
import io
import os
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import runbus
import runbus.compat.nemo_run as run
from runbus import Kernel, LocalExecutor, api
from runbus.errors import HookError, NothingToPackage
from runbus.packaging import build_package_blocking
from runbus.plugins import Extension, PluginRegistry, TaskPlugin, unregister_plugin

PRELUDE = """
from typing import Any, Dict
import runbus.compat.nemo_run as run
from runbus.compat.nemo_run.executors import Executor
from runbus.compat.nemo_run.packagers import Packager
from runbus.compat.nemo_run.plugins import Plugin, PluginRegistry

class CustomExecutor(Executor):
    def __init__(self, custom_param="", **kwargs):
        super().__init__(**kwargs)
        self.custom_param = custom_param

    def execute(self, task, config):
        print("custom", self.custom_param, flush=True)
        return super().execute(task, config)

class CustomPackager(Packager):
    pass

MyCustomExecutor = ConfigurableExecutor = LifecycleExecutor = CustomExecutor
WellStructuredExecutor = RobustExecutor = VersionedExecutor = CustomExecutor
MyCustomPackager = WellStructuredPackager = CustomPackager

class MyCustomIntegration:
    def log_experiment(self, experiment, results):
        print("logged", experiment.name, results.metrics)

MLflowTensorboardIntegration = MyCustomIntegration

def my_cli_function(word: str = "hi"):
    print("said", word)

"""

CUSTOM = """
class CustomPlugin(Plugin):
    def __init__(self, api_key="", endpoint="", timeout=10):
        super().__init__()
        self.api_key, self.endpoint, self.timeout = api_key, endpoint, timeout

    def register(self, registry):
        registry.register_executor("custom_executor", CustomExecutor)
        registry.register_packager("custom_packager", CustomPackager)
"""

ARCHITECTURE = '''
import runbus.compat.nemo_run as run
from runbus.compat.nemo_run.plugins import Plugin, PluginRegistry

class CustomExecutorPlugin(Plugin):
    """Custom executor plugin for NeMo Run."""

    def register(self, registry: PluginRegistry):
        """Register the plugin with NeMo Run."""
        registry.register_executor("custom", CustomExecutor)
        registry.register_packager("custom", CustomPackager)
'''

EXECUTOR = '''
from runbus.compat.nemo_run.executors import Executor
from runbus.compat.nemo_run.plugins import Plugin, PluginRegistry

class KubernetesExecutor(Executor):
    """Custom executor for Kubernetes clusters."""

    def __init__(self, namespace="default", replicas=1, **kwargs):
        super().__init__(**kwargs)
        self.namespace = namespace
        self.replicas = replicas

    def execute(self, task, config):
        """Execute task on Kubernetes cluster."""
        # Implement Kubernetes-specific execution logic
        print(f"Executing on Kubernetes namespace: {self.namespace}")
        return super().execute(task, config)

class KubernetesPlugin(Plugin):
    """Plugin for Kubernetes integration."""

    def register(self, registry: PluginRegistry):
        registry.register_executor("kubernetes", KubernetesExecutor)

# Usage
executor = run.Config(KubernetesExecutor, namespace="ml-jobs", replicas=3)
'''

PACKAGER = '''
from runbus.compat.nemo_run.packagers import Packager
from runbus.compat.nemo_run.plugins import Plugin, PluginRegistry

class DockerImagePackager(Packager):
    """Custom packager that creates Docker images."""

    def __init__(self, base_image="python:3.9", dockerfile_template=None, **kwargs):
        super().__init__(**kwargs)
        self.base_image = base_image
        self.dockerfile_template = dockerfile_template

    def package(self, source_dir, target_dir):
        """Create Docker image from source code."""
        # Implement Docker image creation logic
        print(f"Creating Docker image from {source_dir}")
        # Build Docker image, push to registry, etc.
        return target_dir

class DockerPlugin(Plugin):
    """Plugin for Docker integration."""

    def register(self, registry: PluginRegistry):
        registry.register_packager("docker", DockerImagePackager)

# Usage
packager = run.Config(
    DockerImagePackager,
    base_image="nvidia/cuda:11.8-devel-ubuntu20.04",
    dockerfile_template="custom.Dockerfile"
)
'''

INTEGRATION = '''
from runbus.compat.nemo_run.plugins import Plugin, PluginRegistry

class MLflowIntegration:
    """Integration with MLflow for experiment tracking."""

    def __init__(self, tracking_uri="http://localhost:5000"):
        self.tracking_uri = tracking_uri

    def log_experiment(self, experiment, results):
        """Log experiment results to MLflow."""
        import mlflow
        mlflow.set_tracking_uri(self.tracking_uri)

        with mlflow.start_run():
            mlflow.log_params(experiment.config)
            mlflow.log_metrics(results.metrics)
            mlflow.log_artifacts(results.artifacts)

class MLflowPlugin(Plugin):
    """Plugin for MLflow integration."""

    def register(self, registry: PluginRegistry):
        registry.register_integration("mlflow", MLflowIntegration)

# Usage
integration = run.Config(MLflowIntegration, tracking_uri="http://mlflow:5000")
'''

STRUCTURE = '''
from runbus.compat.nemo_run.plugins import Plugin, PluginRegistry
from typing import Dict, Any

class MyCustomPlugin(Plugin):
    """My custom NeMo Run plugin."""

    def __init__(self, plugin_config: Dict[str, Any] = None):
        super().__init__()
        self.config = plugin_config or {}

    def register(self, registry: PluginRegistry):
        """Register plugin components with NeMo Run."""
        # Register executors
        registry.register_executor("my_executor", MyCustomExecutor)

        # Register packagers
        registry.register_packager("my_packager", MyCustomPackager)

        # Register integrations
        registry.register_integration("my_integration", MyCustomIntegration)

        # Register CLI commands
        registry.register_command("my-command", my_cli_function)

    def initialize(self, config: Dict[str, Any]):
        """Initialize plugin with configuration."""
        print(f"Initializing MyCustomPlugin with config: {config}")

    def cleanup(self):
        """Clean up plugin resources."""
        print("Cleaning up MyCustomPlugin")
'''

CONFIGURATION = '''
class ConfigurablePlugin(Plugin):
    """Plugin with rich configuration options."""

    def __init__(self,
                 api_key: str = None,
                 endpoint: str = "https://api.example.com",
                 timeout: int = 30,
                 retries: int = 3):
        super().__init__()
        self.api_key = api_key
        self.endpoint = endpoint
        self.timeout = timeout
        self.retries = retries

    def register(self, registry: PluginRegistry):
        registry.register_executor("configurable", ConfigurableExecutor)

    def validate_config(self) -> bool:
        """Validate plugin configuration."""
        if not self.api_key:
            raise ValueError("API key is required")
        if self.timeout <= 0:
            raise ValueError("Timeout must be positive")
        return True

# Usage with configuration
plugin_config = run.Config(
    ConfigurablePlugin,
    api_key="your-api-key",
    endpoint="https://custom-api.example.com",
    timeout=60,
    retries=5
)
'''

DEPENDENCIES = '''
class PluginWithDependencies(Plugin):
    """Plugin that depends on other plugins or packages."""

    def __init__(self):
        super().__init__()
        self.dependencies = ["mlflow", "tensorboard"]

    def check_dependencies(self) -> bool:
        """Check if required dependencies are available."""
        try:
            import mlflow
            import tensorboard
            return True
        except ImportError:
            print("Missing dependencies: mlflow, tensorboard")
            return False

    def register(self, registry: PluginRegistry):
        if not self.check_dependencies():
            raise RuntimeError("Required dependencies not available")

        registry.register_integration("mlflow_tensorboard", MLflowTensorboardIntegration)
'''

DISCOVERY = """
# NeMo Run automatically discovers plugins in the nemo_run_plugins namespace
# Create a setup.py for your plugin
from setuptools import setup, find_packages

setup(
    name="nemo-run-custom-plugin",
    version="1.0.0",
    packages=find_packages(),
    entry_points={
        "nemo_run_plugins": [
            "custom = my_plugin:CustomPlugin",
        ],
    },
    install_requires=[
        "nemo-run>=1.0.0",
    ],
)
"""

REGISTRATION = """
import runbus.compat.nemo_run as run
from my_plugin import CustomPlugin

# Manually register plugin
plugin = CustomPlugin()
run.register_plugin(plugin)

# Use the plugin
executor = run.Config(CustomExecutor, custom_param="value")
"""

CONFIGURE = """
# Configure plugins through NeMo Run
run.configure_plugins({
    "custom_plugin": {
        "api_key": "your-api-key",
        "endpoint": "https://api.example.com",
        "timeout": 30
    },
    "mlflow_plugin": {
        "tracking_uri": "http://mlflow:5000",
        "experiment_name": "my_experiments"
    }
})
"""

COMPOSITION = '''
class CompositePlugin(Plugin):
    """Plugin that composes multiple other plugins."""

    def __init__(self):
        super().__init__()
        self.sub_plugins = []

    def add_plugin(self, plugin: Plugin):
        """Add a sub-plugin."""
        self.sub_plugins.append(plugin)

    def register(self, registry: PluginRegistry):
        """Register all sub-plugins."""
        for plugin in self.sub_plugins:
            plugin.register(registry)

# Usage
composite = CompositePlugin()
composite.add_plugin(MLflowPlugin())
composite.add_plugin(TensorboardPlugin())
composite.add_plugin(CustomExecutorPlugin())
'''

LIFECYCLE = '''
class LifecyclePlugin(Plugin):
    """Plugin with full lifecycle management."""

    def __init__(self):
        super().__init__()
        self.initialized = False
        self.resources = []

    def initialize(self, config: Dict[str, Any]):
        """Initialize plugin resources."""
        if self.initialized:
            return

        # Initialize resources
        self.resources.append(self.create_connection_pool())
        self.resources.append(self.setup_logging())

        self.initialized = True
        print("Plugin initialized successfully")

    def register(self, registry: PluginRegistry):
        """Register plugin components."""
        if not self.initialized:
            raise RuntimeError("Plugin must be initialized before registration")

        registry.register_executor("lifecycle", LifecycleExecutor)

    def cleanup(self):
        """Clean up plugin resources."""
        for resource in self.resources:
            resource.close()
        self.resources.clear()
        self.initialized = False
        print("Plugin cleaned up successfully")
'''

TESTING = '''
import pytest
from runbus.compat.nemo_run.plugins import PluginRegistry
from my_plugin import CustomPlugin

class TestCustomPlugin:
    """Test suite for custom plugin."""

    def setup_method(self):
        """Set up test environment."""
        self.registry = PluginRegistry()
        self.plugin = CustomPlugin()

    def test_plugin_registration(self):
        """Test that plugin registers correctly."""
        self.plugin.register(self.registry)

        # Check that components are registered
        assert "custom_executor" in self.registry.executors
        assert "custom_packager" in self.registry.packagers

    def test_plugin_configuration(self):
        """Test plugin configuration."""
        config = {"api_key": "test-key", "timeout": 30}
        self.plugin.initialize(config)

        assert self.plugin.api_key == "test-key"
        assert self.plugin.timeout == 30

    def test_plugin_cleanup(self):
        """Test plugin cleanup."""
        self.plugin.initialize({})
        self.plugin.cleanup()

        # Verify cleanup occurred
        assert not self.plugin.initialized
'''

CONVENTIONS = '''
class WellStructuredPlugin(Plugin):
    """Well-structured plugin following conventions."""

    def __init__(self, **kwargs):
        super().__init__()
        # Store configuration
        self.config = kwargs

    def register(self, registry: PluginRegistry):
        """Register plugin components."""
        # Use descriptive names
        registry.register_executor("well_structured", WellStructuredExecutor)
        registry.register_packager("well_structured", WellStructuredPackager)

    def initialize(self, config: Dict[str, Any]):
        """Initialize with validation."""
        # Validate configuration
        self.validate_config(config)
        # Initialize resources
        self.setup_resources()

    def cleanup(self):
        """Clean up resources."""
        self.cleanup_resources()
'''

DOCUMENTATION = '''
class DocumentedPlugin(Plugin):
    """Plugin with comprehensive documentation.

    This plugin provides integration with external system X.

    Features:
        - Feature 1: Description
        - Feature 2: Description

    Configuration:
        - api_key: API key for authentication
        - endpoint: API endpoint URL
        - timeout: Request timeout in seconds

    Usage:
        plugin = DocumentedPlugin(api_key="your-key")
        run.register_plugin(plugin)
    """

    def __init__(self, api_key: str, endpoint: str = "https://api.example.com"):
        super().__init__()
        self.api_key = api_key
        self.endpoint = endpoint
'''

ERRORS = '''
class RobustPlugin(Plugin):
    """Plugin with robust error handling."""

    def register(self, registry: PluginRegistry):
        try:
            registry.register_executor("robust", RobustExecutor)
        except Exception as e:
            print(f"Warning: Failed to register executor: {e}")
            # Continue with other registrations

    def initialize(self, config: Dict[str, Any]):
        try:
            self.validate_config(config)
            self.setup_resources()
        except Exception as e:
            print(f"Error initializing plugin: {e}")
            raise
'''

VERSION = '''
class VersionedPlugin(Plugin):
    """Plugin with version compatibility checking."""

    def __init__(self):
        super().__init__()
        self.required_nemo_version = ">=1.0.0"
        self.plugin_version = "1.0.0"

    def check_compatibility(self) -> bool:
        """Check compatibility with NeMo Run version."""
        import runbus.compat.nemo_run as nemo_run
        from packaging import version

        nemo_version = version.parse(nemo_run.__version__)
        required_version = version.parse(self.required_nemo_version.replace(">=", ""))

        return nemo_version >= required_version

    def register(self, registry: PluginRegistry):
        if not self.check_compatibility():
            raise RuntimeError(f"Plugin requires NeMo Run {self.required_nemo_version}")

        registry.register_executor("versioned", VersionedExecutor)
'''


Write = Callable[..., types.ModuleType]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Write blocks to `my_plugin.py`, as a user would, and import it."""

    def to_module(*blocks: str) -> types.ModuleType:
        (tmp_path / "my_plugin.py").write_text("\n".join((PRELUDE, *blocks)))
        monkeypatch.syspath_prepend(tmp_path)
        return importlib.import_module("my_plugin")

    yield to_module
    sys.modules.pop("my_plugin", None)


@pytest.fixture
def registered() -> Iterator[Callable[[Extension], None]]:
    """Register extensions for the length of a test."""
    plugins: list[Extension] = []

    def register(plugin: Extension) -> None:
        plugins.append(plugin)
        run.register_plugin(plugin)

    yield register
    for plugin in plugins:
        unregister_plugin(plugin)


def log_of(record: Any) -> str:
    return Path(record.attempt_folder(1), "stdout.log").read_text()


def test_a_plugin_registers_an_executor_and_a_packager(write: Write) -> None:
    module = write(ARCHITECTURE)
    registry = PluginRegistry()
    module.CustomExecutorPlugin().register(registry)
    assert registry.executors["custom"] is module.CustomExecutor
    assert registry.packagers["custom"] is module.CustomPackager


def test_an_executor_runs_its_body_and_the_task_by_name_and_by_config(
    write: Write, registered: Callable[[Extension], None]
) -> None:
    module = write(EXECUTOR)
    registered(module.KubernetesPlugin())
    task = runbus.Command(("echo", "hello"))
    one = api.run(task, executor=module.executor)
    assert log_of(one) == "Executing on Kubernetes namespace: ml-jobs\nhello\n"
    one = api.run(task, executor={"type": "kubernetes", "namespace": "team", "replicas": 2})
    assert log_of(one) == "Executing on Kubernetes namespace: team\nhello\n"


def test_a_packager_says_when_it_has_made_nothing(
    write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module = write(PACKAGER)
    made = module.packager.build()
    assert made.base_image == "nvidia/cuda:11.8-devel-ubuntu20.04"
    with pytest.raises(NothingToPackage):
        build_package_blocking(made, str(tmp_path), home=tmp_path / "home")
    assert capsys.readouterr().out == f"Creating Docker image from {tmp_path}\n"
    registry = PluginRegistry()
    module.DockerPlugin().register(registry)
    assert registry.packagers["docker"] is module.DockerImagePackager


def test_the_packager_of_the_page_is_one_that_is_there(write: Write, tmp_path: Path) -> None:
    """Its use, as it is: the class of that name is not written there but imported."""
    (tmp_path / "custom.Dockerfile").write_text("ARG BASE_IMAGE\nFROM $BASE_IMAGE\nCOPY . /code\n")
    usage = PACKAGER[PACKAGER.index("packager = run.Config(") :]
    module = write(f"from runbus.packaging import DockerImagePackager\n\n{usage}")
    package = build_package_blocking(module.packager.build(), tmp_path, home=tmp_path / "home")
    assert package.image is not None
    assert package.image.base == "nvidia/cuda:11.8-devel-ubuntu20.04"
    assert package.image.dockerfile.endswith("COPY . /code\n")


MLFLOW = """
import json

def set_tracking_uri(uri): print("uri", uri)
def log_params(params): print("params", params)
def log_metrics(metrics): print("metrics", metrics)
def log_artifacts(folder): print("artifacts", folder.split("/")[-1])

class start_run:
    def __enter__(self): pass
    def __exit__(self, *error): pass
"""


def test_an_integration_logs_each_run_that_has_ended(
    write: Write,
    registered: Callable[[Extension], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # A job that takes more than a second would have metrics of its machine, too.
    monkeypatch.setenv("RUNBUS_SYSTEM", "0")
    (tmp_path / "mlflow.py").write_text(MLFLOW)
    (tmp_path / "train.py").write_text("import runbus\nrunbus.init().log({'loss': 0.5})\n")
    module = write(INTEGRATION)
    registered(module.MLflowPlugin())
    try:
        tracker = module.integration.build()
        api.run(runbus.Script(str(tmp_path / "train.py")), plugins=[tracker])
    finally:
        sys.modules.pop("mlflow", None)
    assert capsys.readouterr().out.splitlines() == [
        "uri http://mlflow:5000",
        "params {}",
        "metrics {'loss': 0.5}",
        "artifacts artifacts",
    ]


async def test_a_plugin_brings_all_four_kinds_for_as_long_as_the_kernel_runs(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    module = write(STRUCTURE)
    run.configure_plugins({"my_custom_plugin": {}})  # so that no other test has said anything
    shared = PluginRegistry.shared()
    async with Kernel(plugins=[module.MyCustomPlugin()]):
        assert "my_executor" in shared.executors
        assert "my_packager" in shared.packagers
        assert "my_integration" in shared.integrations
        assert "my-command" in shared.commands
    assert "my_executor" not in shared.executors
    assert capsys.readouterr().out == (
        "Initializing MyCustomPlugin with config: {}\nCleaning up MyCustomPlugin\n"
    )


async def test_settings_are_validated_before_anything_is_registered(write: Write) -> None:
    module = write(CONFIGURATION)
    good = module.plugin_config.build()
    assert (good.timeout, good.retries) == (60, 5)
    async with Kernel(plugins=[good]):
        assert "configurable" in PluginRegistry.shared().executors
    with pytest.raises(HookError, match="API key is required"):
        async with Kernel(plugins=[module.ConfigurablePlugin()]):
            pass
    assert "configurable" not in PluginRegistry.shared().executors


async def test_missing_dependencies_are_told_by_the_plugin_itself(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    module = write(DEPENDENCIES)
    with pytest.raises(HookError, match="Required dependencies not available"):
        async with Kernel(plugins=[module.PluginWithDependencies()]):
            pass
    assert capsys.readouterr().out == "Missing dependencies: mlflow, tensorboard\n"


def test_an_installed_plugin_is_found_by_the_names_that_it_registers(
    write: Write, tmp_path: Path
) -> None:
    write(CUSTOM)
    (tmp_path / "setup.py").write_text(DISCOVERY.replace('"nemo-run>=1.0.0"', '"runbus"'))

    def said(*words: str) -> str:
        environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
        done = subprocess.run(
            words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        return done.stdout + done.stderr

    said(sys.executable, "setup.py", "-q", "egg_info")
    told = said(os.path.join(os.path.dirname(sys.executable), "runbus"), "executors")
    (line,) = [line for line in told.splitlines() if line.startswith("custom_executor")]
    assert "nemo-run-custom-plugin 1.0.0" in line


def test_a_plugin_is_registered_by_hand_and_its_executor_used(write: Write) -> None:
    write(CUSTOM)
    names: dict[str, Any] = {"CustomExecutor": sys.modules["my_plugin"].CustomExecutor}
    exec(REGISTRATION, names)
    try:
        one = api.run(runbus.Command(("true",)), executor=names["executor"])
        assert log_of(one) == "custom value\n"
        one = api.run(runbus.Command(("true",)), executor="custom_executor")
        assert log_of(one) == "custom \n"
    finally:
        unregister_plugin(names["plugin"])


async def test_plugins_are_configured_by_their_names(write: Write) -> None:
    module = write(CUSTOM, INTEGRATION.partition("# Usage")[0])
    plugin = module.CustomPlugin()
    exec(CONFIGURE, {"run": run})
    try:
        async with Kernel(plugins=[plugin]):
            assert (plugin.api_key, plugin.timeout) == ("your-api-key", 30)
            assert plugin.endpoint == "https://api.example.com"
        with pytest.raises(HookError, match="MLflowPlugin has no field 'tracking_uri'"):
            async with Kernel(plugins=[module.MLflowPlugin()]):
                pass
    finally:
        run.configure_plugins({"custom_plugin": {}, "mlflow_plugin": {}})


async def test_a_composite_registers_its_parts(write: Write) -> None:
    parts = "class TensorboardPlugin(Plugin):\n    def register(self, registry):\n        pass\n"
    module = write(ARCHITECTURE, INTEGRATION.partition("# Usage")[0], parts, COMPOSITION)
    async with Kernel(plugins=[module.composite]):
        assert "custom" in PluginRegistry.shared().executors
        assert "mlflow" in PluginRegistry.shared().integrations


async def test_a_lifecycle_plugin_is_initialized_before_it_registers_and_cleaned_up(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    module = write(LIFECYCLE)

    class Living(module.LifecyclePlugin):  # type: ignore[misc, name-defined]
        def create_connection_pool(self) -> Any:
            return io.StringIO()

        setup_logging = create_connection_pool

    plugin = Living()
    with pytest.raises(RuntimeError, match="must be initialized before"):
        plugin.register(PluginRegistry())
    async with Kernel(plugins=[plugin]):
        assert "lifecycle" in PluginRegistry.shared().executors
        (opened, _) = plugin.resources
    assert (opened.closed, plugin.resources, plugin.initialized) == (True, [], False)
    assert capsys.readouterr().out == (
        "Plugin initialized successfully\nPlugin cleaned up successfully\n"
    )


def test_the_test_suite_of_the_page_passes(write: Write, tmp_path: Path) -> None:
    write(CUSTOM)
    suite: dict[str, Any] = {}
    exec(TESTING, suite)
    for name in ("registration", "configuration", "cleanup"):
        tests = suite["TestCustomPlugin"]()
        tests.setup_method()
        getattr(tests, f"test_plugin_{name}")()


async def test_a_plugin_that_follows_the_conventions_works(write: Write) -> None:
    module = write(CONVENTIONS)
    calls: list[Any] = []

    class Whole(module.WellStructuredPlugin):  # type: ignore[misc, name-defined]
        def validate_config(self, config: Any = None) -> bool:
            calls.append(config)
            return True

        def setup_resources(self) -> None:
            calls.append("setup")

        def cleanup_resources(self) -> None:
            calls.append("cleanup")

    plugin = Whole(region="eu")
    assert plugin.config == {"region": "eu"}
    async with Kernel(plugins=[plugin]):
        assert "well_structured" in PluginRegistry.shared().executors
        assert "well_structured" in PluginRegistry.shared().packagers
    assert calls == [{}, "setup", {}, "cleanup"]


def test_a_documented_plugin_is_made_as_its_docstring_says(write: Write) -> None:
    plugin = write(DOCUMENTATION).DocumentedPlugin(api_key="your-key")
    run.register_plugin(plugin)
    unregister_plugin(plugin)
    assert plugin.endpoint == "https://api.example.com"


async def test_a_robust_plugin_goes_on_where_a_name_is_taken(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    module = write(ERRORS)

    class Whole(module.RobustPlugin):  # type: ignore[misc, name-defined]
        def setup_resources(self) -> None:
            pass

    class Other(Extension):
        def register(self, registry: PluginRegistry) -> None:
            registry.register_executor("robust", LocalExecutor)

    async with Kernel(plugins=[Other(), Whole()]):
        assert PluginRegistry.shared().executors["robust"] is LocalExecutor
    assert "Warning: Failed to register executor: " in capsys.readouterr().out
    with pytest.raises(HookError, match="AttributeError"):
        async with Kernel(plugins=[module.RobustPlugin()]):
            pass


async def test_a_plugin_compares_the_version(write: Write) -> None:
    module = write(VERSION)
    async with Kernel(plugins=[module.VersionedPlugin()]):
        assert "versioned" in PluginRegistry.shared().executors
    too_new = module.VersionedPlugin()
    too_new.required_nemo_version = ">=99"
    with pytest.raises(HookError, match="Plugin requires NeMo Run >=99"):
        async with Kernel(plugins=[too_new]):
            pass


def test_the_plugin_of_the_real_nemo_run_changes_tasks(write: Write) -> None:
    module = write(
        "class Debug(run.Plugin):\n"
        "    def setup(self, task, executor):\n"
        "        task.lr = 0.5\n"
        "        executor.env_vars['DEBUG'] = '1'\n"
        "def train(lr: float = 0.1):\n    import os; print(lr, os.environ['DEBUG'])\n"
    )
    assert issubclass(module.Debug, TaskPlugin)
    one = api.run(run.Partial(module.train), plugins=[module.Debug()])
    assert log_of(one) == "0.5 1\n"
