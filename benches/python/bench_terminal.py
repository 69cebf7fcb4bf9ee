"""What a terminal costs over a pipe: many jobs, a loud job, and lists of many runs."""

from __future__ import annotations

import json
import os
import pty
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import runbus
from benches.python.bench_startup import cpu_ms
from benches.row import Row
from benches.scratch import scratch

if TYPE_CHECKING:
    from collections.abc import Sequence

JOBS, LINES, RUNS, ROUNDS = 200, 100_000, 1_000, 5
RUNBUS = os.path.join(os.path.dirname(sys.executable), "runbus")
LINE = "a line of a log that is about as long as they are: step 1234, loss 0.123456789, 3.21 s/it"
LOUD = f"import sys\nfor n in range({LINES}):\n    sys.stdout.write(f'{{n:06d}} {LINE}\\n')\n"


def main() -> list[Row]:
    with scratch() as folder:
        os.environ["RUNBUS_HOME"] = os.path.join(folder, "home")
        jobs = [{"name": f"job-{at}", "command": ["/bin/true"]} for at in range(JOBS)]
        batch = Path(folder, "batch.json")
        batch.write_text(json.dumps({"project": "bench", "jobs": jobs}))
        script = Path(folder, "loud.py")
        script.write_text(LOUD)
        silent = Path(folder, "silent.py")
        silent.write_text("pass\n")
        many, loud = [RUNBUS, "submit", str(batch)], [RUNBUS, "run", str(script)]
        quiet, cat = [RUNBUS, "run", str(silent)], ["sh", "-c", f"{sys.executable} {script} | cat"]
        pairs = [(in_terminal(many), in_pipe(many)) for _ in range(ROUNDS)]
        louds = [(in_terminal(loud), in_pipe(loud)) for _ in range(ROUNDS)]
        lines = [in_terminal(loud) - in_terminal(quiet) for _ in range(ROUNDS)]
        cats = [in_terminal(cat) for _ in range(ROUNDS)]
        lists = listed(folder)
    return [
        over_pipe(f"{JOBS} jobs, in a terminal over through a pipe", pairs),
        over_pipe(f"a job with {LINES:,} lines, in a terminal over through a pipe", louds),
        Row(
            f"what {LINES:,} lines of a job add to a run in a terminal",
            statistics.median(lines),
            "s",
            beside={"the job alone, through cat": statistics.median(cats)},
            ratios={"the job alone, through cat": 2.0},
        ),
        *lists,
    ]


def over_pipe(name: str, pairs: Sequence[tuple[float, float]]) -> Row:
    """Compare seconds in a terminal with those through a pipe, pair by pair."""
    terminal, pipe = (statistics.median(times) for times in zip(*pairs, strict=True))
    ratio = statistics.median(one / other for one, other in pairs)
    return Row(name, ratio, "x", 1.05, note=f"{terminal:.2f} s and {pipe:.2f} s")


def listed(folder: str) -> list[Row]:
    """What lists of 1,000 runs take: processor time of the whole process."""
    os.environ["RUNBUS_HOME"] = os.path.join(folder, "listed")
    for number in range(RUNS):
        with runbus.init(project="bench", name=f"run-{number}") as run:
            run.log("loss", 1.0, step=0)
    jobs = [{"name": f"job-{at}", "command": ["/bin/true"]} for at in range(RUNS)]
    batch = Path(folder, "listed.json")
    batch.write_text(json.dumps({"project": "batch", "jobs": jobs}))
    subprocess.run([RUNBUS, "submit", str(batch)], capture_output=True, check=True)
    rows = []
    asked = [
        (["ls", "--project", "bench"], 200),
        (["show", "run-0"], 200),
        (["status", "batch"], 200),
    ]
    asked.append((["query", "SELECT id, name FROM runs"], 500))
    for words, most in asked:
        times = [cpu_ms([RUNBUS, *words], dict(os.environ)) for _ in range(ROUNDS + 1)][1:]
        about = f"{' '.join(words)}, of {RUNS:,} runs"
        rows.append(Row(about, statistics.median(times), "ms", most))
    return rows


def in_terminal(command: Sequence[str]) -> float:
    """Run a command in a terminal that shows what comes at once; return the seconds it took."""
    start = time.perf_counter()
    process, file = pty.fork()
    if not process:
        os.execvp(command[0], list(command))
    read_all(file)
    os.waitpid(process, 0)
    return time.perf_counter() - start


def in_pipe(command: Sequence[str]) -> float:
    """Run a command whose output goes to a pipe; return the seconds it took."""
    start = time.perf_counter()
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0
    ) as process:
        assert process.stdout is not None
        read_all(os.dup(process.stdout.fileno()))
    return time.perf_counter() - start


def read_all(file: int) -> None:
    """Read a file to its end, and close it."""
    try:
        while os.read(file, 1 << 16):
            pass
    except OSError:
        pass  # a terminal that nobody has open any more
    os.close(file)
