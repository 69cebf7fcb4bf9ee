"""Sealing holds a window of the journal, not the journal, and leaves alone what it cannot read."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import runbus
from runbus.errors import RunUnreadable

_SEAL = """
import sys
import runbus

def peak_mb():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024

run = runbus.open_run(sys.argv[1])
before = peak_mb()
run.seal()
print(peak_mb() - before)
"""


def test_what_sealing_needs_does_not_grow_with_the_journal() -> None:
    steps, values = list(range(10_000)), [step / 7 for step in range(10_000)]
    with runbus.init() as run:
        series = [run.series(name) for name in ("loss", "lr", "norm")]
        for _ in range(100):
            for one in series:
                one.extend(values, steps)

    command = [sys.executable, "-c", _SEAL, run.id]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=True)

    # Three million points are 96 MB as columns, and twice that to sort them by name.
    assert float(done.stdout) < 90
    found = runbus.open_run(run.id).metrics()
    assert found.keys() == ["loss", "lr", "norm"]
    assert found["norm"].steps.tolist() == steps * 100


@pytest.mark.parametrize("harm", ["zeros", "noise"])
def test_a_journal_of_which_nothing_can_be_read_stays_and_the_others_are_sealed(harm: str) -> None:
    with runbus.init() as run:
        run.log("loss", 0.5)
    with runbus.init(id=run.id) as again:
        again.log("loss", 0.25)
    first = Path(run.path)
    spoilt = bytes(len(first.read_bytes()))
    if harm == "noise":
        spoilt = first.read_bytes()[:64] + os.urandom(len(spoilt) - 64)
    first.write_bytes(spoilt)

    with pytest.raises(RunUnreadable, match=f"{first.name}: .*; it is left as it is"):
        runbus.open_run(run.id).seal()

    assert first.read_bytes() == spoilt
    assert [path.suffix for path in sorted(first.parent.iterdir())] == [".journal", ".parquet"]
