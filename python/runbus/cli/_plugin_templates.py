"""What `runbus plugins new` writes; `$name`, `$package` and the like are filled in."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["KINDS", "PYPROJECT", "README", "Kind"]


class Kind(NamedTuple):
    """What the distribution of a kind of plugin is made of.

    Attributes:
        summary: What it does, as the description of the distribution.
        group: The group of its entry point.
        target: What the entry point refers to in the package.
        code: The package's module.
        test: Its tests.
        use: How it is used, for the README.
    """

    summary: str
    group: str
    target: str
    code: str
    test: str
    use: str


PYPROJECT = """\
[build-system]
requires = ["hatchling>=1.27"]
build-backend = "hatchling.build"

[project]
name = "$folder"
version = "0.1.0"
description = "$summary"
readme = "README.md"
requires-python = ">=3.11"
dependencies = ["runbus"]

[project.entry-points."$group"]
$name = "$package:$target"

[dependency-groups]
test = ["pytest>=9", "pytest-asyncio>=1.5"]

# An editable install is then a plain path, which needs no further package to build.
[tool.hatch.build]
dev-mode-dirs = ["src"]

[tool.hatch.build.targets.wheel]
packages = ["src/$package"]

[tool.pytest.ini_options]
asyncio_mode = "auto"
asyncio_default_fixture_loop_scope = "function"
testpaths = ["tests"]
"""

README = """\
# $folder

$summary

```sh
pip install .
runbus plugins show $name
```

$use

Its tests are those of the conformance kit of runbus, and some of its own:

```sh
pip install pytest pytest-asyncio
pytest
```
"""

HOOK = Kind(
    "Hooks of runbus: what the machines of tasks hold, and what wraps each call.",
    "runbus.plugins",
    "plugin",
    '''\
"""Hooks of runbus."""

from __future__ import annotations

from dataclasses import replace
from functools import wraps
from typing import TYPE_CHECKING, Any

from runbus import Plugin

if TYPE_CHECKING:
    from collections.abc import Callable

    from runbus import Image
    from runbus.events import Cluster

__all__ = ["plugin"]


def transform(image: Image, cluster: Cluster) -> Image:
    """Return the image of a task with what this plugin needs."""
    return replace(image, env={**image.env, "$variable": "1"})


def decorate(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of a task with what this plugin does around each call."""

    @wraps(fn)
    def call(*args: Any, **values: Any) -> Any:
        return fn(*args, **values)

    return call


plugin = Plugin.create("$name").with_image_transform(transform).with_decorator(decorate)
''',
    """\
from __future__ import annotations

from runbus import Image, Kernel
from runbus.events import ImageTransform

from $package import decorate, plugin


async def test_the_image_of_a_task_gets_the_variable() -> None:
    async with Kernel(plugins=[plugin]) as kernel:
        image = await kernel.bus.apply(ImageTransform(value=Image()))
    assert dict(image.env) == {"$variable": "1"}


def test_a_function_does_what_it_did() -> None:
    def double(number: int) -> int:
        return 2 * number

    assert decorate(double)(4) == 8
    assert decorate(double).__name__ == "double"
""",
    "`runbus run train.py --plugin $name` runs jobs with it.",
)

EXTENSION = Kind(
    "Gives runbus an executor and a command.",
    "runbus.plugins",
    "$class_name",
    '''\
"""An extension of runbus: what it registers can be used by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runbus.executors import FunctionExecutor
from runbus.plugins import Extension

if TYPE_CHECKING:
    from runbus.config import Task
    from runbus.plugins import PluginRegistry

__all__ = ["$class_name", "${class_name}Executor", "greet"]


class ${class_name}Executor(FunctionExecutor):
    """Says where a job runs, and runs it on this machine.

    Args:
        place: What it says.
        more: As for a FunctionExecutor.
    """

    def __init__(self, place: str = "here", **more: Any) -> None:
        super().__init__(**more)
        self.place = place

    def execute(self, task: Task, config: dict[str, Any]) -> Any:
        """Run a task; called in the job's process."""
        print(f"running {self.place}", flush=True)
        return super().execute(task, config)


def greet(name: str = "you") -> None:
    """Greet somebody."""
    print(f"hello {name}")


class $class_name(Extension):
    """Registers the executor `$name` and the command `$name-greet`.

    Args:
        level: A setting: `plugins: {$name: {level: 2}}` in runbus.yaml.
    """

    name = "$name"

    def __init__(self, level: int = 1) -> None:
        self.level = level

    def register(self, registry: PluginRegistry) -> None:
        """Register what this brings."""
        registry.register_executor("$name", ${class_name}Executor)
        registry.register_command("$name-greet", greet)

    def cleanup(self) -> None:
        """Let go of what `initialize` has opened."""
        super().cleanup()
''',
    """\
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from runbus import Command, api
from runbus.plugins import Extension
from runbus.testing.conformance.extension import ExtensionContract

from $package import $class_name, ${class_name}Executor


class TestContract(ExtensionContract):
    @pytest.fixture
    def make(self) -> Callable[[], Extension]:
        return $class_name

    @pytest.fixture
    def settings(self) -> dict[str, Any]:
        return {"level": 2}


def test_a_job_runs_on_the_executor() -> None:
    run = api.run(Command(("echo", "hello")), executor=${class_name}Executor("there"))
    folder = run.attempt_folder(1)
    assert folder is not None
    assert Path(folder, "stdout.log").read_text() == "running there\\nhello\\n"
""",
    "`runbus run train.py --executor $name` runs jobs there; `runbus $name-greet` is a command.",
)

EXECUTOR = Kind(
    "Runs jobs of runbus.",
    "runbus.executors",
    "$class_name",
    '''\
"""An executor of runbus."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from msgspec import Meta
from msgspec.structs import replace
from runbus import LocalExecutor

if TYPE_CHECKING:
    from runbus.abc import JobSpec, Request

__all__ = ["$class_name"]


class $class_name(LocalExecutor):
    """Runs jobs on this machine, and has them yield to others.

    Args:
        name: What jobs call it.
        nice: How much they yield at least, from 0 to 19.
    """

    def __init__(
        self, name: str = "$name", *, nice: Annotated[int, Meta(ge=0, le=19)] = 0
    ) -> None:
        super().__init__(name)
        self.nice = nice

    def plan(self, job: JobSpec) -> Request:
        """Return what would be sent."""
        nice = max(self.nice, job.resources.nice)
        return super().plan(replace(job, resources=replace(job.resources, nice=nice)))
''',
    """\
from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from runbus import Command, api
from runbus.abc import Executor
from runbus.testing.conformance.executor import ExecutorContract, ExecutorFactory

from $package import $class_name


class TestContract(ExecutorContract):
    @pytest.fixture
    def executors(self) -> ExecutorFactory:
        @asynccontextmanager
        async def make() -> AsyncIterator[Executor]:
            executor = $class_name()
            yield executor
            executor.close()

        return make


def test_jobs_yield_to_others() -> None:
    # What starts the tests may be nice already.
    expected = min(19, os.nice(0) + 5)
    task = Command(("sh", "-c", f"test $$(nice) = {expected}"))
    run = api.run(task, executor=$class_name(nice=5))
    assert run.state == "SUCCEEDED"
""",
    "`runbus run train.py --executor $name` runs jobs there.",
)

BACKEND = Kind(
    "Takes what runs of runbus measure.",
    "runbus.plugins",
    "$class_name",
    '''\
"""A backend of runbus: takes what runs measure."""

from __future__ import annotations

import json
from typing import Any

from runbus.plugins import BackendPlugin, PluginMetadata, PluginType

__all__ = ["$class_name"]


class $class_name(BackendPlugin):
    """Appends points to a file, a line of JSON each. The configuration's `path` says which."""

    def get_metadata(self) -> PluginMetadata:
        """Return what it says of itself."""
        return PluginMetadata(
            name="$name",
            version="0.1.0",
            type=PluginType.BACKEND,
            description="Takes what runs measure.",
            config_schema={"path": {"type": "string", "default": "$name.jsonl"}},
        )

    def start(self) -> None:
        """Open the file."""
        self.file = open(self.config["path"], "a", encoding="utf-8")

    def stop(self) -> None:
        """Close the file."""
        if hasattr(self, "file"):
            self.file.close()

    def log_metric(self, name: str, value: float, iteration: int | None = None) -> None:
        """Take a point."""
        self._append([name, iteration, value])

    def log_params(self, params: dict[str, Any]) -> None:
        """Take params."""
        self._append(params)

    def log_artifact(self, local_path: str, artifact_path: str | None = None) -> None:
        """Take a file."""
        self._append({"artifact": artifact_path or local_path})

    def _append(self, entry: Any) -> None:
        self.file.write(json.dumps(entry) + "\\n")
        self.file.flush()
''',
    """\
from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import pytest
from runbus.plugins import managed
from runbus.testing.conformance.sink import SinkContract, SinkFactory, Taken

from $package import $class_name


class TestContract(SinkContract):
    @pytest.fixture
    def make(self, tmp_path: Path) -> SinkFactory:
        return lambda: managed($class_name(), {"path": str(tmp_path / "points.jsonl")})

    @pytest.fixture
    def taken(self, tmp_path: Path) -> Taken:
        def points() -> Iterable[tuple[str, int, float]]:
            for line in (tmp_path / "points.jsonl").read_text().splitlines():
                entry = json.loads(line)
                if isinstance(entry, list):
                    name, step, value = entry
                    yield name, step, value

        return points
""",
    "`runbus run train.py --plugin $name` hands on what the run measures.",
)

COLLECTOR = Kind(
    "Measures something while runs of runbus go on.",
    "runbus.plugins",
    "$class_name",
    '''\
"""A collector of runbus: measures something on an interval."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from runbus.plugins import CollectorPlugin, PluginMetadata, PluginType

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["$class_name"]


class $class_name(CollectorPlugin):
    """Measures the load of this machine."""

    def get_metadata(self) -> PluginMetadata:
        """Return what it says of itself."""
        return PluginMetadata(
            name="$name",
            version="0.1.0",
            type=PluginType.COLLECTOR,
            description="Measures the load of this machine.",
        )

    def collect(self) -> Mapping[str, Any]:
        """Measure."""
        minute, *_ = os.getloadavg()
        return {"load": minute}
''',
    """\
from __future__ import annotations

import pytest
from runbus.plugins import managed
from runbus.testing.conformance.collector import CollectorContract, CollectorFactory

from $package import $class_name


class TestContract(CollectorContract):
    @pytest.fixture
    def make(self) -> CollectorFactory:
        return lambda interval_s: managed($class_name(), {"interval_s": interval_s})


def test_it_measures_the_load() -> None:
    assert $class_name().collect()["load"] >= 0
""",
    "`runbus run train.py --plugin $name` measures while the run goes on.",
)

SERVICE = Kind(
    "A service for the hub of runbus.",
    "runbus.datastream",
    "$class_name",
    '''\
"""A service for the hub of runbus: a data stream."""

from __future__ import annotations

from collections import deque
from itertools import count
from typing import Any

from runbus.abc import DataStreamPlugin, Delivery

__all__ = ["$class_name"]


class $class_name(DataStreamPlugin):
    """Keeps queues in the memory of this process.

    Args:
        limit: How much data a queue holds.
    """

    plugin_type = "datastream"

    def __init__(self, limit: int = 10_000) -> None:
        self.limit = limit
        self.queues: dict[str, deque[tuple[str, Any, int]]] = {}
        self.taken: dict[str, Delivery] = {}
        self.ids = count(1)

    def initialize(self) -> None:
        """Connect."""

    def shutdown(self) -> None:
        """Let go of everything."""
        self.disconnect()

    def health_check(self) -> tuple[bool, dict[str, Any]]:
        """Tell how much waits."""
        return True, {"waiting": sum(map(len, self.queues.values()))}

    def connect(self, **kwargs: Any) -> None:
        """Connect."""

    def disconnect(self) -> None:
        """Hand out again what was taken and not acknowledged."""
        for delivery in reversed(list(self.taken.values())):
            self.give_back(delivery)

    def create_queue(self, queue_name: str) -> None:
        """Make a queue; one that is there is left as it is."""
        self.queues.setdefault(queue_name, deque())

    def push_data(self, queue: str, data: Any) -> None:
        """Put data at the end of a queue."""
        waiting = self.queues[queue]
        if len(waiting) >= self.limit:
            raise OverflowError(f"the queue {queue!r} is full")
        waiting.append((str(next(self.ids)), data, 0))

    def pull_data(self, queue: str) -> Any:
        """Return the first data of a queue and forget it."""
        delivery = self.take(queue)
        if delivery is None:
            return None
        self.acknowledge(delivery)
        return delivery.data

    def take(self, queue: str) -> Delivery | None:
        """Return the first data of a queue, to be acknowledged."""
        waiting = self.queues[queue]
        if not waiting:
            return None
        key, data, attempts = waiting.popleft()
        self.taken[key] = Delivery(queue, key, data, attempts + 1)
        return self.taken[key]

    def acknowledge(self, delivery: Delivery) -> None:
        """Forget what was taken."""
        del self.taken[delivery.id]

    def give_back(self, delivery: Delivery) -> None:
        """Put what was taken back to where it was."""
        del self.taken[delivery.id]
        self.queues[delivery.queue].appendleft((delivery.id, delivery.data, delivery.attempt))

    def flush_queue(self, queue: str) -> None:
        """Remove everything from a queue that waits in it."""
        self.queues[queue].clear()
''',
    """\
from __future__ import annotations

from collections.abc import Callable

import pytest
from runbus.abc import DataStreamPlugin
from runbus.testing.conformance.service import DataStreamContract

from $package import $class_name


class TestContract(DataStreamContract):
    @pytest.fixture
    def make(self) -> Callable[[], DataStreamPlugin]:
        return $class_name


def test_a_full_queue_refuses_more() -> None:
    stream = $class_name(limit=1)
    stream.create_queue("q")
    stream.push_data("q", 1)
    with pytest.raises(OverflowError):
        stream.push_data("q", 2)
""",
    "In `hub_config.yaml`: `datastream: {type: $name, limit: 100}`.",
)

KINDS = {
    "hook": HOOK,
    "extension": EXTENSION,
    "backend": BACKEND,
    "collector": COLLECTOR,
    "service": SERVICE,
    "executor": EXECUTOR,
}
