"""What a `run.log` costs the training loop, beside C that does no more than it must, and rivals."""

from __future__ import annotations

import array
import math
import os
import statistics
import tempfile
import threading
import time
from random import Random
from typing import TYPE_CHECKING, Any

from benches import c_limit
from benches.rivals.trackers import KEYS, RIVALS, ROW, installed, measured
from benches.row import Row
from benches.timing import net_ns

if TYPE_CHECKING:
    from collections.abc import Callable

    import runbus

POINTS = 1_000_000
THREADS = 8
VALUES = ", ".join(f"v{index}" for index in range(len(KEYS)))
STATEMENTS = {
    "log": "run.log('loss', 0.5, i)",
    "log step=": "run.log('loss', 0.5, step=i)",
    "log keywords": "run.log(step=i, loss=0.5, acc=0.25)",
    "log float32": "run.log('loss', float32, i)",
    "append": "append(0.5, i)",
    "dict": "run.log(row, step=i)",
    "group": f"group.log(i, {VALUES})",
    "C log": "limit.log('loss', 0.5, i)",
    "C append": "limit.append(0.5, i)",
    "C dict": "limit.log_dict(row, step=i)",
    "C group": f"limit.log_group(i, {VALUES})",
    "tuple": "keep(('loss', i, clock(), 0.5))",
    "copy": "keep((i, clock(), dict(row)))",
}


def main() -> list[Row]:
    import runbus

    with tempfile.TemporaryDirectory() as folder:
        limit = c_limit.build(folder)
        os.environ["RUNBUS_HOME"] = os.path.join(folder, "home")
        rivals = {
            name: measured(name, "speed", os.path.join(folder, name))
            for name in RIVALS
            if installed(name)
        }
        with runbus.init(project="bench") as run:
            rows = calls(run, limit, rivals)
        return [*rows, optional(), *extended(limit), *latency(limit), *threads()]


def optional() -> Row:
    """A million rows of seventeen optional names: more sets than a journal has room for."""
    import runbus

    random = Random(0)
    names = [f"task/{index}" for index in range(17)]
    rows = [
        {name: 0.5 for name in names if random.random() < 0.5} or {names[0]: 0.5}
        for _ in range(100_000)
    ]
    values = sum(map(len, rows)) / len(rows)

    def span(log: Callable[[dict[str, float], int], object]) -> float:
        start = time.perf_counter_ns()
        for step in range(POINTS):
            log(rows[step % len(rows)], step)
        return (time.perf_counter_ns() - start) / POINTS

    with runbus.init(project="bench") as run:
        ours = span(lambda row, step: run.log(row, step=step))
        assert run.dropped == 0
    beside = {"dict(row), a copy": span(lambda row, _: dict(row))}
    note = f"{values:.3g} values a row"
    name, ratios = "run.log of some of 17 names, a million rows", dict.fromkeys(beside, 6.0)
    return Row(name, ours, "ns", None, beside, note, ratios)


def calls(run: runbus.Run, limit: Any, rivals: dict[str, dict[str, float]]) -> list[Row]:
    import numpy as np

    kept: list[object] = []
    scope: dict[str, object] = {
        "append": run.series("loss").append,
        "clock": time.time_ns,
        "float32": np.float32(0.5),
        "group": run.group(*KEYS),
        "keep": kept.append,
        "limit": limit,
        "row": ROW,
        "run": run,
    } | {f"v{index}": float(index) for index in range(len(KEYS))}
    ns = net_ns(STATEMENTS, scope, between=kept.clear)
    scalars = {name: figures["scalar"] for name, figures in rivals.items()}
    dicts = {name: figures["row"] for name, figures in rivals.items()}
    c_log = {"C": ns["C log"]}
    missing = ", ".join(name for name in (*RIVALS, "aim") if name not in rivals)
    note = f"not installed here: {missing}"
    beside = c_log | {"list.append of (name, step, time, value)": ns["tuple"]} | scalars
    beside_dict = {"C": ns["C dict"], "list.append of (step, time, copy)": ns["copy"]} | dicts

    def row(
        name: str, statement: str, beside: dict[str, float], times: float, note: str = ""
    ) -> Row:
        return Row(name, ns[statement], "ns", None, beside, note, {"C": times} if times else {})

    return [
        row("run.log(name, v, step)", "log", beside, 1.35, note),
        row("run.log(name, v, step=step)", "log step=", c_log, 1.9),
        row("run.log(step=step, loss=a, acc=b)", "log keywords", c_log, 0),
        row("run.log(name, numpy.float32, step)", "log float32", c_log, 0),
        row("series.append(v, step)", "append", {"C": ns["C append"]}, 1.35),
        row("run.log(ready dict of 20, step=step)", "dict", beside_dict, 1.6),
        row("group.log(step, 20 values)", "group", {"C": ns["C group"]}, 1.5),
    ]


def extended(limit: Any) -> list[Row]:
    """Whole arrays, at the pace of a loop that has something else to do, too."""
    import numpy as np

    import runbus

    values = np.random.default_rng(0).normal(size=POINTS)

    def spans(extend: Any, pause_s: float) -> list[float]:
        found = []
        for _ in range(16):
            time.sleep(pause_s)
            start = time.perf_counter_ns()
            extend(values)
            found.append((time.perf_counter_ns() - start) / POINTS)
        return found

    rows = []
    # The second pace is 160 MB a second: there the disk, and the syncing, set it.
    for pause_s, most in ((0.2, 1.4), (0.05, None)):
        with runbus.init(project="bench") as run:
            ours = spans(run.series("loss").extend, pause_s)
        memcpy = statistics.median(spans(limit.extend, pause_s))
        note = f"the first call, whose pages nobody has made, took {ours[0]:.2g} ns a point"
        name = f"series.extend of {POINTS:,} doubles each {pause_s} s, a point"
        beside = {"C, memcpy into a file whose pages are there": memcpy}
        ratios = dict.fromkeys(beside, most) if most else {}
        rows.append(Row(name, statistics.median(ours), "ns", None, beside, note, ratios))
    return rows


def quantile(ordered: array.array[int], share: float) -> int:
    return ordered[min(math.ceil(len(ordered) * share), len(ordered) - 1)]


def latency(limit: Any) -> list[Row]:
    """Each call timed on its own, in a loop that trains, while the disk is synced every 100 ms.

    The slowest calls are those that find little in the caches, whether the disk is synced or not.
    C that stores the same record finds as little there; a function that does nothing needs less.
    """
    import runbus

    def nothing(name: str, value: float, step: int) -> None:
        pass

    with runbus.init(project="bench", sync_ms=100) as run:
        calls: dict[str, Callable[[str, float, int], None]] = {
            "log": run.log,
            "C": limit.log,
            "a Python function that does nothing": nothing,
        }
        spans = {name: array.array("q") for name in (*calls, "timer")}
        end = time.monotonic() + 5
        step = 0
        while time.monotonic() < end:
            for name, call in calls.items():
                spans[name].append(timed_after_work(call, step))
            spans["timer"].append(timed_after_work(None, step))
            step += 1
    ordered = {name: array.array("q", sorted(found)) for name, found in spans.items()}
    timer = quantile(ordered.pop("timer"), 0.5)
    log = ordered.pop("log")

    def row(name: str, share: float, most_ns: float | None, most: float | None) -> Row:
        beside = {other: float(quantile(found, share) - timer) for other, found in ordered.items()}
        note = f"{len(log):,} calls; net of the timer's median of {timer} ns"
        took = quantile(log, share) - timer
        ratios = {"C": most} if most else {}
        name = f"one log in a loop that trains, {name}"
        return Row(name, took, "ns", most_ns, beside, note, ratios)

    return [row("p99", 0.99, None, 1.5), row("p99.9", 0.999, 10_000, None)]


WEIGHTS = [0.5] * 200


def timed_after_work(call: Callable[[str, float, int], None] | None, step: int) -> int:
    """Return the nanoseconds of one call, or of none, after work that leaves nothing warm."""
    clock = time.perf_counter_ns
    loss = sum(weight * weight for weight in WEIGHTS)
    if call is None:
        start = clock()
        return clock() - start
    start = clock()
    call("loss", loss, step)
    return clock() - start


def threads() -> list[Row]:
    """Eight threads at once against one, each record through the same journal."""
    import runbus

    records = 400_000

    def log(run: runbus.Run, count: int) -> None:
        for step in range(count):
            run.log("loss", 0.5, step)

    def span(count: int) -> float:
        with runbus.init(project="bench") as run:
            workers = [
                threading.Thread(target=log, args=(run, records // count)) for _ in range(count)
            ]
            start = time.perf_counter_ns()
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
            took = time.perf_counter_ns() - start
            assert run.accepted == records
        return took / records

    one, many = (min(span(count) for _ in range(5)) for count in (1, THREADS))
    beside = {"one thread": one}
    return [
        Row(f"a record by {THREADS} threads", many, "ns", None, beside, "", {"one thread": 1.5})
    ]
