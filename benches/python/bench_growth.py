"""What a call costs and what memory is held as a run grows: points, and names.

Up to 10^7 points; `RUNBUS_BENCH_POINTS=100000000 make bench ARGS=growth` goes on to 10^8, which
takes five gigabytes of disk for as long as it runs. Draws benches/results/growth.svg.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from benches.row import Row

POINTS = int(os.environ.get("RUNBUS_BENCH_POINTS", "10000000"))
FIRST = 10_000
PICTURE = Path(__file__).parents[1] / "results" / "growth.svg"

# Timed without what measures it; the memory of the interpreter itself is there before.
PRELUDE = """
import json, os, statistics, sys, time
import runbus
def resident_mb():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
def told(size, ns):
    print(json.dumps([size, ns, resident_mb() - start_mb]), flush=True)
start_mb = resident_mb()
run = runbus.init(project="growth")
clock = time.perf_counter_ns
"""
ONE_NAME = """
append = run.series("loss").append
def block(first, count):
    begin = clock()
    for step in range(first, first + count):
        append(0.5, step)
    return (clock() - begin) / count
logged, size = 0, FIRST
while size <= POINTS:
    # The last blocks before each size are timed one by one.
    for first in range(logged, size - 9_000, 1_000):
        block(first, 1_000)
    told(size, statistics.median(block(size - 9_000 + n, 1_000) for n in range(0, 9_000, 1_000)))
    logged, size = size, size * 10
run.finish()
"""
MANY_NAMES = """
names = [f"layer{n}/grad_norm" for n in range(10_000)]
for step in range(20):
    begin = clock()
    for name in names:
        run.log(name, 0.5, step)
    told(step + 1, (clock() - begin) / len(names))
run.finish()
"""


class Size(NamedTuple):
    """How it was at one size: points of the run, ns a call, MB above the start."""

    size: int
    ns: float
    mb: float


def main() -> list[Row]:
    points, steps = measured(ONE_NAME), measured(MANY_NAMES)
    # A step takes milliseconds, of which a page fault or a sync may be one.
    early = statistics.median(one.ns for one in steps[1:10])
    late = statistics.median(one.ns for one in steps[10:])
    draw(points)
    costs = ", ".join(f"{one.size:.0e}: {one.ns:.0f} ns, {one.mb:.1f} MB" for one in points)
    last = points[-1]
    return [
        Row(f"append at {last.size:.0e} points of one name", last.ns, "ns",
            beside={f"at {FIRST:.0e} points": points[0].ns}, note=costs,
            ratios={f"at {FIRST:.0e} points": 1.25}),
        Row("memory above the start, most of these", max(one.mb for one in points), "MB", 50,
            note=f"drawn in {PICTURE}"),
        Row("log at steps 11 to 20 of 10,000 names", late, "ns",
            beside={"at steps 2 to 10": early, "at step 1, which meets them": steps[0].ns},
            ratios={"at steps 2 to 10": 1.25}),
        Row("memory above the start, 10,000 names", max(one.mb for one in steps), "MB", 50),
    ]  # fmt: skip


def measured(workload: str) -> list[Size]:
    """Return what a process of its own says of itself at each size."""
    with tempfile.TemporaryDirectory() as home:
        sizes = f"FIRST, POINTS = {FIRST}, {POINTS}\n"
        done = subprocess.run(
            [sys.executable, "-c", PRELUDE + sizes + workload],
            env={**os.environ, "RUNBUS_HOME": home},
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
    return [Size(*json.loads(line)) for line in done.stdout.splitlines()]


def draw(points: list[Size]) -> None:
    """Draw both curves over the size, each from 0 on."""
    curves = (
        ("ns a call", "#0a7", [one.ns for one in points]),
        ("MB above the start", "#a50", [one.mb for one in points]),
    )
    parts = ['<svg xmlns="http://www.w3.org/2000/svg" width="640" height="460"',
             ' font-family="sans-serif" font-size="12">']  # fmt: skip
    for row, (label, colour, values) in enumerate(curves):
        bottom, most = 200 + row * 220, max(*values, 1e-9)
        places = [
            (60 + 540 * index / max(1, len(values) - 1), bottom - 150 * value / most)
            for index, value in enumerate(values)
        ]
        line = " ".join(f"{x:.0f},{y:.0f}" for x, y in places)
        parts += [
            f'<text x="60" y="{bottom - 170}">{label}</text>',
            f'<path d="M60 {bottom}h540" stroke="#999"/>',
            f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>',
        ]
        for (x, y), one, value in zip(places, points, values, strict=True):
            parts += [
                f'<text x="{x - 12:.0f}" y="{bottom + 16}">{one.size:.0e}</text>',
                f'<text x="{x - 12:.0f}" y="{y - 6:.0f}" fill="{colour}">{value:.3g}</text>',
            ]
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text("\n".join([*parts, "</svg>", ""]))


if __name__ == "__main__":
    print(*main(), sep="\n")
