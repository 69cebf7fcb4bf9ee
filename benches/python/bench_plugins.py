"""Plugins: what it costs to list, load, start and have them, beside pluggy and stevedore.

Processor time: the wall time of so short a work says more about what else the machine does.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from benches.row import Row
from runbus.plugins import discover, find

if TYPE_CHECKING:
    from collections.abc import Callable

DISTRIBUTIONS = 200
PLUGINS = 100
A_MODULE = 10
ROUNDS = 15
LOGS = 200_000
README = "A line of what people write about what they make.\n" * 100

PLUGIN = """
class Plugin{number}:
    name = "bench-{number}"
    after = {after!r}
    async def setup(self, scope):
        pass
"""

OURS = """
import asyncio, sys, time
import importlib.metadata, runbus.plugins._registry
from runbus.kernel import Kernel
from runbus.plugins import discover, find
sys.path[:] = [path for path in sys.path if "site-packages" not in path]
async def main():
    began = time.process_time()
    names = [name for name in find().plugins if name.startswith("bench-")]
    async with Kernel(plugins=names) as kernel:
        print((time.process_time() - began) * 1e3, len(kernel.hosts))
asyncio.run(main())
"""
PLUGGY = """
import asyncio, sys, time
import importlib.metadata, pluggy
sys.path[:] = [path for path in sys.path if "site-packages" not in path]
async def main():
    began = time.process_time()
    manager = pluggy.PluginManager("bench")
    manager.load_setuptools_entrypoints("runbus.plugins")
    plugins = [plugin() for name, plugin in manager.list_name_plugin() if name.startswith("bench-")]
    for plugin in plugins:
        await plugin.setup(None)
    print((time.process_time() - began) * 1e3, len(plugins))
asyncio.run(main())
"""
STEVEDORE = """
import asyncio, sys, time
import importlib.metadata, stevedore
sys.path[:] = [path for path in sys.path if "site-packages" not in path]
async def main():
    began = time.process_time()
    manager = stevedore.ExtensionManager("runbus.plugins", invoke_on_load=True)
    plugins = [one.obj for one in manager if one.name.startswith("bench-")]
    for plugin in plugins:
        await plugin.setup(None)
    print((time.process_time() - began) * 1e3, len(plugins))
asyncio.run(main())
"""

TRAIN = f"""
import time, runbus
with runbus.init() as run:
    for step in range(1000):
        run.log({{"loss": 1.0}}, step=step)
    began = time.process_time()
    for step in range(1000, 1000 + {LOGS}):
        run.log({{"loss": 1.0}}, step=step)
    spent = (time.process_time() - began) / {LOGS} * 1e9
open("spent", "w").write(str(spent))
"""


def main() -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        return [
            *listing_rows(Path(folder, "site")),
            started_row(Path(folder, "plugins")),
            unused_row(),
            sink_row(Path(folder, "run")),
        ]


def put(site: Path, name: str, points: str) -> None:
    info = site / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    about = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n\n{README}"
    (info / "METADATA").write_text(about)
    (info / "entry_points.txt").write_text(f"[console_scripts]\n{name} = x:y\n{points}")


def median_ms(rounds: int, *works: Callable[[], object]) -> list[float]:
    """Return the medians of the processor times of some works, which take turns."""
    times: list[list[float]] = [[] for _ in works]
    for number in range(rounds + 1):
        for work, spans in zip(works, times, strict=True):
            began = time.process_time()
            work()
            if number:
                spans.append((time.process_time() - began) * 1e3)
    return [statistics.median(spans) for spans in times]


def listing_rows(site: Path) -> list[Row]:
    for number in range(DISTRIBUTIONS):
        put(site, f"bench-{number}", f"[runbus.plugins]\nbench-{number} = m{number}:P\n")
    path = [*sys.path]
    sys.path[:] = [str(site)]
    try:
        listed, bare, versions = median_ms(ROUNDS, find, metadata.entry_points, discover)
        assert len(find().plugins) == DISTRIBUTIONS
    finally:
        sys.path[:] = path
    name = f"listing {DISTRIBUTIONS} distributions with a plugin each"
    beside = {"importlib.metadata.entry_points() alone": bare, "both together": listed}
    beside["all with versions, both together"] = versions
    return [Row(f"{name}, beyond metadata", listed - bare, "ms", 10, beside)]


def started_row(site: Path) -> Row:
    for first in range(0, PLUGINS, A_MODULE):
        numbers = range(first, first + A_MODULE)
        module = f"bench_plugins_{first}"
        points = "".join(f"bench-{one} = {module}:Plugin{one}\n" for one in numbers)
        put(site, f"bench-{first}", f"[runbus.plugins]\n{points}")
        code = "".join(
            # The list is in the order of the names: most are to come elsewhere.
            PLUGIN.format(number=one, after=(f"bench-{one + 1}",) if one + 1 < PLUGINS else ())
            for one in numbers
        )
        (site / f"{module}.py").write_text(code)
    times: dict[str, list[float]] = {"ours": [], "pluggy": [], "stevedore": []}
    codes = {"ours": OURS, "pluggy": PLUGGY, "stevedore": STEVEDORE}
    environment = os.environ | {"PYTHONPATH": str(site), "XDG_CACHE_HOME": str(site / "cache")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    for number in range(ROUNDS + 1):
        for name, code in codes.items():
            done = subprocess.run(
                [sys.executable, "-c", code],
                env=environment, capture_output=True, text=True, check=True,
            )  # fmt: skip
            span, count = done.stdout.split()
            assert int(count) == PLUGINS, (name, count)
            if number:
                times[name].append(float(span))
    beside = {
        "pluggy, which orders none": statistics.median(times["pluggy"] or [0]),
        "stevedore, which orders none": statistics.median(times["stevedore"] or [0]),
    }
    ours = statistics.median(times["ours"] or [0])
    return Row(f"{PLUGINS} plugins found, ordered and set up", ours, "ms", 50, beside)


OF_DISCOVERY = (
    "importlib.metadata",
    "runbus.config",
    "runbus.plugins._discovery",
    "runbus.plugins._loading",
    "runbus.plugins._registry",
    "runbus.plugins._source",
)


def unused_row() -> Row:
    """Return what a kernel without plugins imports of what finds them: nothing."""

    def cost_ms(code: str) -> float:
        done = subprocess.run(
            [sys.executable, "-X", "importtime", "-c", code],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        lines = [line.split("|") for line in done.stderr.splitlines() if line.count("|") == 2]
        own = [line for line in lines if line[2].strip().startswith(OF_DISCOVERY)]
        return sum(float(line[0].rpartition(":")[2]) for line in own) / 1e3

    begin = "import runbus.kernel; runbus.kernel.Kernel("
    named = cost_ms(f"{begin}['jsonl'])")
    return Row(
        "what finds plugins, imported by a kernel of none", cost_ms(f"{begin})"), "ms", 0.0,
        {"imported by a kernel that names one": named},
    )  # fmt: skip


def sink_row(folder: Path) -> Row:
    folder.mkdir()
    (folder / "train.py").write_text(TRAIN)
    runbus = os.path.join(os.path.dirname(sys.executable), "runbus")
    environment = os.environ | {"RUNBUS_HOME": str(folder / "home")}
    times: dict[str, list[float]] = {"--no-plugins": [], "--plugin=jsonl": []}
    for _ in range(5):
        for option, spans in times.items():
            subprocess.run(
                [runbus, "run", "train.py", option],
                cwd=folder, env=environment, capture_output=True, check=True,
            )  # fmt: skip
            spans.append(float((folder / "spent").read_text()))
    lines = (folder / "runbus-metrics.jsonl").read_bytes().count(b"\n")
    without, with_sink = (statistics.median(spans) for spans in times.values())
    return Row(
        "run.log() in a job whose leader has a sink", with_sink, "ns", None,
        {"without a sink": without},
        f"processor time of the training process; the sink wrote {lines} batches",
        {"without a sink": 1.15},
    )  # fmt: skip
