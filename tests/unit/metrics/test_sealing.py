"""Sealing holds a window of the journal, not the journal, and leaves alone what it cannot read."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from random import Random

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
    done = subprocess.run(command, capture_output=True, text=True, timeout=150, check=True)

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


def _blocks_bytes(folder: str) -> int:
    files = [path for path in Path(folder).rglob("*") if path.is_file()]
    return sum(path.stat().st_blocks * 512 for path in files)


def test_small_runs_take_no_more_of_the_disk_when_they_are_sealed(tmp_path: Path) -> None:
    for _ in range(20):
        with runbus.init(home=tmp_path) as run:
            for step in range(10):
                run.log({"loss": 1 / (step + 1), "acc": 0.5}, step=step)
    before = _blocks_bytes(run.folder)

    for stored in runbus.runs(home=tmp_path):
        stored.seal()
        assert _blocks_bytes(stored.folder) <= before


def test_what_was_logged_value_by_value_takes_a_fifth_of_the_space_and_noise_takes_less() -> None:
    random = Random(0)
    sizes = []
    for way in ("log", "extend"):
        with runbus.init() as run:
            noise = [random.gauss() for _ in range(20_000)]
            if way == "extend":
                run.series("x").extend(noise)
            else:
                for value in noise:
                    run.log("x", value)
        stored = runbus.open_run(run.id)
        before = stored.journal_bytes()
        stored.seal()
        sizes.append(_blocks_bytes(f"{run.folder}/metrics") / before)
    assert sizes[0] < 0.25
    assert sizes[1] < 0.85
