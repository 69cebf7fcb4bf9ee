"""What one `run.log` costs the training loop, net of an empty loop."""

from __future__ import annotations

import os
import tempfile
import time
from typing import TYPE_CHECKING

from benches.row import Row, ns_per_call

if TYPE_CHECKING:
    from collections.abc import Callable

CALLS = 1_000
KEYS = [f"layer{index}/grad_norm" for index in range(20)]


def looped(statement: str, names: dict[str, object]) -> Callable[[], object]:
    """Return a function that makes the statement `CALLS` times, as inline code."""
    scope = dict(names)
    exec(f"def loop():\n    for i in range({CALLS}):\n        {statement}", scope)
    loop = scope["loop"]
    assert callable(loop)
    return loop


def main() -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["RUNBUS_HOME"] = os.path.join(folder, "home")
        return measured(folder)


def measured(folder: str) -> list[Row]:
    import runbus

    run = runbus.init(project="bench")
    values = {key: float(index) for index, key in enumerate(KEYS)}
    kept: list[object] = []
    names: dict[str, object] = {
        "append": run.series("loss").append,
        "clock": time.time_ns,
        "keep": kept.append,
        "log": run.log,
        "run": run,
        "values": values,
    }
    empty = ns_per_call(looped("pass", names), CALLS)

    def net(statement: str) -> float:
        kept.clear()
        return ns_per_call(looped(statement, names), CALLS) - empty

    tuple_append = net('keep(("loss", i, clock(), 0.5))')
    kept.clear()
    dict_append = net("keep((i, clock(), dict(values)))")
    kept.clear()
    scalar_x, dict_x = tensorboardx(folder, values, empty)
    scalar = {"list.append of (name, step, time, value)": tuple_append, "tensorboardX": scalar_x}
    row = {"list.append of (step, time, copy of the dict)": dict_append, "tensorboardX": dict_x}
    return [
        Row("run.log(name, value, step)", net('run.log("loss", 0.5, i)'), "ns", 150, scalar),
        Row(
            "run.log(name, value, step=step)",
            net('run.log("loss", 0.5, step=i)'),
            "ns",
            150,
            scalar,
        ),
        Row("series.append(value, step)", net("append(0.5, i)"), "ns", 150, scalar),
        Row("run.log(dict of 20, step=step)", net("run.log(values, step=i)"), "ns", 1_000, row),
    ]


def tensorboardx(folder: str, values: dict[str, float], empty: float) -> tuple[float, float]:
    """Return what tensorboardX takes for a scalar and for twenty, which it has no one call for."""
    from tensorboardX import SummaryWriter

    writer = SummaryWriter(os.path.join(folder, "tb"))
    names: dict[str, object] = {"add": writer.add_scalar, "values": values}
    scalar = ns_per_call(looped('add("loss", 0.5, i)', names), CALLS, rounds=10) - empty
    twenty = looped("for name in values: add(name, values[name], i)", names)
    row = ns_per_call(twenty, CALLS, rounds=3) - empty
    writer.close()
    return scalar, row
