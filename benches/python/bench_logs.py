"""Following a job that writes 100,000 lines a second: what arrives, how late, in how much memory.

Ten seconds of it; `RUNBUS_BENCH_LOG_LINES=10000000 make bench ARGS=logs` for a whole gigabyte.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from benches.rivals.trackers import resident_mb
from benches.row import Row
from runbus import Command, Job, Kernel, LocalExecutor, Plugin
from runbus.events import LogLines
from runbus.executors import SSHExecutor
from runbus.experiment import ExperimentDraft
from runbus.jobs import JobState
from runbus.testing.sshd import sshds
from runbus.transports import SSHTunnel

if TYPE_CHECKING:
    from runbus.abc import Executor

LINES = int(os.environ.get("RUNBUS_BENCH_LOG_LINES", "1000000"))
LINES_A_S, LINE = 100_000, 100
"""A line is 100 bytes: the time at which it is written, its number, and what fills it up."""

BATCH = 100
WRITER = f"""
import os, time
fill = b" " + b"x" * {LINE - 32} + b"\\n"
start = time.perf_counter()
for first in range(0, {LINES}, {BATCH}):
    late = time.perf_counter() - start - first / {LINES_A_S}
    if late < 0:
        time.sleep(-late)
    now = b"%019d " % time.time_ns()
    os.write(1, b"".join([now + b"%010d" % n + fill for n in range(first, first + {BATCH})]))
took = time.perf_counter() - start
os.write(2, b"%f" % took)
"""


class Followed(NamedTuple):
    """What came of following one job."""

    late_ms: float
    grown_mb: float
    missing: int
    lines_a_s: float


def main() -> list[Row]:
    with tempfile.TemporaryDirectory() as name:
        os.environ["RUNBUS_HOME"] = os.path.join(name, "home")
        folder = Path(name)
        rows = described("local", asyncio.run(followed(LocalExecutor(), folder)), 200)
        try:
            (folder / "sshd").mkdir()
            with sshds(folder / "sshd", 1) as (host,):
                tunnel = SSHTunnel(
                    host.address, "root", host.port, str(folder / "far"), str(host.identity),
                    known_hosts=str(host.known_hosts), config="", agent=False,
                )  # fmt: skip
                executor = SSHExecutor([tunnel], workdir="/", name="local")
                rows += described("SSH", asyncio.run(followed(executor, folder)), 1_000)
        except (FileNotFoundError, PermissionError) as error:
            note = f"not measured: {error}; needs sshd and root"
            rows.append(Row("following over SSH", 0.0, "ms", note=note))
    return rows


def described(where: str, seen: Followed, limit_ms: float) -> list[Row]:
    about = f"{where}, {LINES * LINE / 1e6:.0f} MB"
    note = f"{seen.lines_a_s:,.0f} lines/s were written"
    return [
        Row(
            f"a line until it is on the bus, p95: {about}", seen.late_ms, "ms", limit_ms, note=note
        ),
        Row(f"bytes missing in the file or on the bus: {about}", seen.missing, "B", 0),
        Row(f"memory grown while following: {about}", seen.grown_mb, "MB", 64),
    ]


async def followed(executor: Executor, folder: Path) -> Followed:
    """Follow one job to its end."""
    late: list[int] = []
    arrived = 0
    resident = [resident_mb()]

    async def lines(event: LogLines) -> None:
        nonlocal arrived
        if event.source == "stdout":
            now = time.time_ns()
            arrived += len(event.data)
            late.extend(
                now - int(event.data[at : at + 19])
                for at in range(0, len(event.data), 1_000 * LINE)
            )
            resident.append(resident_mb())

    job = Job(name="talks", task=Command((sys.executable, "-c", WRITER)), cwd=str(folder))
    watch = Plugin("watch").stream(LogLines, lines)
    async with Kernel(plugins=[executor, watch]) as kernel:
        experiment = ExperimentDraft("logs", [job])
        (record,) = await experiment.run(kernel.bus)
    assert record.state is JobState.SUCCEEDED
    log = Path(experiment.folder, record.folder)
    took = float((log / "stderr.log").read_text())
    return Followed(
        late_ms=statistics.quantiles(late, n=20)[18] / 1e6,
        grown_mb=max(resident) - resident[0],
        missing=2 * LINES * LINE - arrived - (log / "stdout.log").stat().st_size,
        lines_a_s=LINES / took,
    )
