"""SIGKILL at any moment loses no point that `log` had accepted."""

from __future__ import annotations

import mmap
import os
import random
import signal
import struct
import subprocess
import sys
import textwrap
import time
from typing import TYPE_CHECKING

from runbus._core import MetricReader, summarize

if TYPE_CHECKING:
    from pathlib import Path

ROUNDS = int(os.environ.get("RUNBUS_KILL_ROUNDS", "24"))  # 200 take half a minute.
TRAINER = textwrap.dedent("""
    import mmap, sys
    from runbus._core import MetricWriter
    with open(sys.argv[2], "r+b") as file:
        # Stored in one piece: struct.pack_into would write zeros first.
        accepted = memoryview(mmap.mmap(file.fileno(), 8)).cast("q")
    writer = MetricWriter(sys.argv[1], sync_ms=5)
    log, values = writer.log, {"a": 0.5, "b": 1.5}
    group, series = writer.group("a", "c"), writer.series("loss")
    step = 0
    while True:
        match step % 5:
            case 0:
                log(values, step=step)
            case 1:
                group.log(step, 0.5, 2.5)
            case 2:
                series.extend([0.5], range(step, step + 1))
            case 3:
                log(step=step, a=0.5, d=3.5)
            case _:
                log("loss", 0.5, step)
        step += 1
        accepted[0] = step
""")


def killed_after_accepting(folder: Path, delay_s: float) -> int:
    """Start a trainer, kill it `delay_s` after its first point; return its own count of rows."""
    folder.mkdir()
    counter = folder / "counter"
    counter.write_bytes(bytes(8))
    command = [sys.executable, "-c", TRAINER, str(folder / "journal"), str(counter)]
    with counter.open("rb") as file, mmap.mmap(file.fileno(), 8, access=mmap.ACCESS_READ) as shared:
        with subprocess.Popen(command) as trainer:
            while shared[:] == bytes(8) and trainer.poll() is None:
                time.sleep(0)
            end = time.perf_counter() + delay_s
            while time.perf_counter() < end:
                pass
            trainer.kill()
        assert trainer.returncode == -signal.SIGKILL
        (accepted,) = struct.unpack("<q", shared[:])
    assert isinstance(accepted, int)
    return accepted


def test_every_accepted_point_survives_a_kill(tmp_path: Path) -> None:
    dice = random.Random(3)
    for number in range(ROUNDS):
        folder = tmp_path / str(number)
        accepted = killed_after_accepting(folder, dice.uniform(0, 0.03))
        reader = MetricReader(folder / "journal")
        found = dict(summarize([[reader.path]]))
        rows = sum(found[name][0] for name in ("loss", "a") if name in found)

        # The row may be written and the counter not yet.
        assert rows - accepted in (0, 1)
        assert (reader.check(), reader.is_live, reader.end_state) == ([], False, None)
