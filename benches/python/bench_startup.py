"""What an import costs over a bare interpreter: wall time, medians, the commands in turn."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time

from benches.row import Row

ROUNDS = 15
HEAVY = ("asyncio", "msgspec", "asyncssh", "httpx", "rich", "numpy")
CODE = {
    "bare": "pass",
    "import runbus": "import runbus",
    "init": "import runbus; runbus.init()",
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
                start = time.perf_counter()
                subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
                times[name].append((time.perf_counter() - start) * 1e3)
        # The first round compiles what is not compiled yet.
        median = {name: statistics.median(spans[1:]) for name, spans in times.items()}
        loaded = subprocess.run(
            [sys.executable, "-c", f"{CODE['init']}; import sys; print(*sys.modules)"],
            env=environment,
            check=True,
            capture_output=True,
            text=True,
        ).stdout.split()
    bare = median["bare"]
    rival = {"import tensorboardX": median["tensorboardX"] - bare}
    heavy = [name for name in HEAVY if name in loaded]
    return [
        Row("import runbus", median["import runbus"] - bare, "ms", 15, rival),
        Row(
            "import runbus; runbus.init()",
            median["init"] - bare,
            "ms",
            40,
            rival,
            note=f"loads {', '.join(heavy) or 'none'} of {', '.join(HEAVY)}",
        ),
        Row(
            "import runbus.kernel",
            median["kernel"] - median["its libraries"],
            "ms",
            20,
            {"import anyio, msgspec, asyncio": median["its libraries"] - bare},
        ),
        Row("runbus --help", median["help"], "ms", 150, {"a bare interpreter": bare}),
    ]
