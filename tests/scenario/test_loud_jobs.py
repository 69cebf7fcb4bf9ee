"""A job that writes as fast as it can is followed whole, in bounded memory."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

from runbus import Command, Job, Kernel, LocalExecutor, Plugin
from runbus.events import LogLines
from runbus.experiment import ExperimentDraft

LINES = 1_000_000
WRITER = f"""
import os
for first in range(0, {LINES}, 1000):
    os.write(1, b"".join([b"%063d\\n" % n for n in range(first, first + 1000)]))
"""


def resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


async def test_a_loud_job_is_followed_whole_and_in_order_in_bounded_memory(tmp_path: Path) -> None:
    expected = 0
    most = before = resident()

    async def lines(event: LogLines) -> None:
        nonlocal expected, most
        assert event.offset == expected * 64
        numbers = [int(line) for line in event.data.splitlines()]
        assert numbers == list(range(expected, expected + len(numbers)))
        expected += len(numbers)
        most = max(most, resident())

    job = Job(name="loud", task=Command((sys.executable, "-c", WRITER)), cwd=str(tmp_path))
    watch = Plugin("watch").stream(LogLines, lines)
    async with Kernel(plugins=[LocalExecutor(), watch]) as kernel:
        experiment = ExperimentDraft("loud", [job])
        (record,) = await experiment.run(kernel.bus)

    log = Path(experiment.folder, record.folder, "stdout.log")
    assert log.stat().st_size == LINES * 64  # noqa: ASYNC240 - a look at a file of this machine
    assert expected == LINES
    assert most - before < 64 << 20
