"""What an import costs over a bare interpreter.

Processor time of the process, user and system: the wall time of a start-up says more about what
else the machine does. The commands run in turn, and differences are taken within a round.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time

import runbus
from benches.row import Row
from benches.scratch import scratch

ROUNDS = 15
HEAVY = ("asyncio", "msgspec", "asyncssh", "httpx", "rich", "numpy")
CODE = {
    "bare": "pass",
    "import runbus": "import runbus",
    "init": "import runbus; runbus.init()",
    "json": "import json, typing, contextlib",
    "its libraries": "import anyio, msgspec, asyncio",
    "kernel": "import anyio, msgspec, asyncio; import runbus.kernel",
    "tensorboardX": "import tensorboardX",
}


def main() -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"
        } | {"RUNBUS_HOME": os.path.join(folder, "home")}
        commands = {name: [sys.executable, "-c", code] for name, code in CODE.items()}
        commands["help"] = [os.path.join(os.path.dirname(sys.executable), "runbus"), "--help"]
        times: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(ROUNDS + 1):
            for name, command in commands.items():
                times[name].append(cpu_ms(command, environment))
        loaded = subprocess.run(
            [sys.executable, "-c", f"{CODE['init']}; import sys; print(*sys.modules)"],
            env=environment,
            check=True,
            capture_output=True,
            text=True,
        ).stdout.split()
    rival = {"import tensorboardX": over(times, "tensorboardX", "bare")}
    heavy = [name for name in HEAVY if name in loaded]
    return [
        Row("import runbus", over(times, "import runbus", "bare"), "ms", 15, rival),
        Row(
            "import runbus; runbus.init()",
            over(times, "init", "bare"),
            "ms",
            None,
            {"import json, typing, contextlib": over(times, "json", "bare")} | rival,
            f"loads {', '.join(heavy) or 'none'} of {', '.join(HEAVY)}",
            {"import json, typing, contextlib": 2.2},
        ),
        Row(
            "import runbus.kernel",
            over(times, "kernel", "its libraries"),
            "ms",
            20,
            {"import anyio, msgspec, asyncio": over(times, "its libraries", "bare")},
        ),
        Row(
            "runbus --help",
            statistics.median(times["help"][1:]),
            "ms",
            150,
            {"a bare interpreter": statistics.median(times["bare"][1:])},
        ),
        wall_row(),
    ]


def wall_row() -> Row:
    """How long a script waits for `init()`, which waits for no disk."""
    times: dict[str, list[float]] = {"init": [], "synced": []}
    with scratch() as folder:
        for number in range(ROUNDS * 4):
            began = time.perf_counter()
            run = runbus.init(project="wall", home=folder)
            times["init"].append((time.perf_counter() - began) * 1e3)
            run.finish()
            began = time.perf_counter()
            with open(os.path.join(folder, str(number)), "wb") as file:
                os.fsync(file.fileno())
            times["synced"].append((time.perf_counter() - began) * 1e3)
    beside = {"an empty file, synced": statistics.median(times["synced"])}
    return Row("wall time of init()", statistics.median(times["init"]), "ms", beside=beside)


def cpu_ms(command: list[str], environment: dict[str, str]) -> float:
    """Run a command and return the processor time it took, in milliseconds."""
    files = ((os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),)
    pid = os.posix_spawn(command[0], command, environment, file_actions=files)
    _, status, usage = os.wait4(pid, 0)
    assert status == 0, command
    return (usage.ru_utime + usage.ru_stime) * 1e3


def over(times: dict[str, list[float]], name: str, base: str) -> float:
    """Return how much more one command took than another: the median over the rounds.

    The first round is left out: it compiles what is not compiled yet.
    """
    pairs = zip(times[name][1:], times[base][1:], strict=True)
    return statistics.median(ours - theirs for ours, theirs in pairs)
