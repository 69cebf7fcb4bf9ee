"""What a machine and the runs on it do, as lines for a terminal."""

from __future__ import annotations

import math
import os
import re
import time
from typing import TYPE_CHECKING, NamedTuple

from runbus._clock import format_duration
from runbus._ids import short_id
from runbus.cli._printer import printable
from runbus.cli._screen import cut, width_of
from runbus.config import format_size
from runbus.metrics import SAMPLES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from runbus.metrics import HeavyProcess

__all__ = ["SORTS", "Look", "SampledRun", "picture"]

SORTS = ("cpu", "memory", "name")
_BAR = 20
_NODE = re.compile(r"node[0-9]+\Z")
_CORE_UTIL = re.compile(r"cpu[0-9]+/util\Z")
_GPU_UTIL = re.compile(r"gpu[0-9]+/util\Z")
_GPU = re.compile(r"gpu([0-9]+)\Z")


class SampledRun(NamedTuple):
    """A run that is going on, with the last of its samples.

    Attributes:
        id: Its id.
        name: What people call it.
        values: The last value of each of its metrics under `sys/`.
    """

    id: str
    name: str
    values: Mapping[str, float]


class Look(NamedTuple):
    """What there is to see at one moment.

    Attributes:
        values: What this machine does: the names of samples, without `sys/`.
        processes: Those that use most of it.
        runs: The runs that are going on, wherever they run.
        time_ns: When, Unix time in nanoseconds.
    """

    values: Mapping[str, float]
    processes: Sequence[HeavyProcess]
    runs: Sequence[SampledRun]
    time_ns: int


def picture(look: Look, columns: int, rows: int, *, sort: str = "cpu", foot: str = "") -> list[str]:
    """Return at most so many lines of at most so many columns.

    Args:
        look: What there is to see.
        columns: How wide the terminal is.
        rows: How high it is; what there is no room for is left out, processes first.
        sort: By what processes and runs are sorted: one of `SORTS`.
        foot: The last line.
    """
    room = rows - bool(foot)
    lines = _host(look)[:room]
    gpus = _gpus(look.values)
    lines += gpus[: max(1, (room - len(lines)) // 2)] if gpus else []
    runs = _runs(look.runs, sort)
    if runs and len(lines) + 2 < room:
        shown = max(2, (room - len(lines)) // 2)
        lines += ["", *runs[:shown]]
    if look.processes and len(lines) + 2 < room:
        lines += ["", *_processes(look.processes, sort)]
    lines = lines[:room]
    if foot:
        lines += [foot]
    return [cut(line, columns) for line in lines]


def _host(look: Look) -> list[str]:
    values = look.values
    cores = sum(1 for name in values if _CORE_UTIL.match(name))
    head = [printable(os.uname().nodename)]
    head += [f"{cores} cores"] if cores else []
    head += [f"load {values['load']:.2f}"] if "load" in values else []
    up = values.get("uptime", math.nan)
    head += [f"up {format_duration(up)}"] if math.isfinite(up) else []
    head += [time.strftime("%H:%M:%S", time.localtime(look.time_ns // 10**9))]
    lines = ["  ".join(head)]
    if "cpu/util" in values:
        freq = f"{values['cpu/freq']:.0f} MHz" if "cpu/freq" in values else ""
        rest = _percents(values, "cpu", "iowait", "steal")
        lines.append(_line("cpu", values["cpu/util"], rest, freq))
    swap = f"swap {_size(values['swap/used'])}" if values.get("swap/used") else ""
    lines += _part("mem", values.get("mem/used"), values.get("mem/total"), swap)
    lines += _part("limit", values.get("cgroup/mem"), values.get("cgroup/mem_limit"))
    if "disk/used" in values:
        free = f"{_size(values.get('disk/free'))} free"
        rates = _rates(values, "disk", "read", "write")
        lines.append(_line("disk", values["disk/used"], free, rates))
    if rates := _rates(values, "net", "recv", "sent"):
        lines.append(f"{'net':<6}{rates}")
    if pressure := _percents(values, "pressure", "cpu", "memory", "io"):
        lines.append(f"{'wait':<6}{pressure}")
    return lines


def _part(name: str, used: float | None, total: float | None, *rest: str) -> list[str]:
    """Return a line of how much of something is used, if that is known."""
    if used is None or not total:
        return []
    return [_line(name, 100 * used / total, f"{_size(used)} of {_size(total)}", *rest)]


def _gpus(values: Mapping[str, float]) -> list[str]:
    names = {name.partition("/")[0] for name in values}
    numbers = sorted(int(found[1]) for name in names if (found := _GPU.match(name)))
    lines = []
    for number in numbers:
        gpu = f"gpu{number}"
        if values.get(f"{gpu}/lost"):
            lines.append(f"{gpu:<6}lost")
            continue
        used, total = (values.get(f"{gpu}/mem/{what}") for what in ("used", "total"))
        memory = f"{_size(used)} of {_size(total)}" if used is not None and total else ""
        power, heat = (values.get(f"{gpu}/{what}") for what in ("power", "temp"))
        rest = [
            memory,
            "" if power is None else f"{power:.0f} W",
            "" if heat is None else f"{heat:.0f} °C",
        ]
        lines.append(_line(gpu, values.get(f"{gpu}/util", math.nan), *rest))
    return lines


def _runs(runs: Sequence[SampledRun], sort: str) -> list[str]:
    """Return a row for each machine of each run."""
    rows: list[tuple[str, str, float, float, float]] = []
    for run in runs:
        nodes: dict[str, dict[str, float]] = {}
        for name, value in run.values.items():
            first, _, rest = name.removeprefix(SAMPLES).partition("/")
            if _NODE.match(first):
                nodes.setdefault(first, {})[rest] = value
            else:
                nodes.setdefault("", {})[name.removeprefix(SAMPLES)] = value
        for node, values in sorted(nodes.items()) or [("", {})]:
            gpus = [value for name, value in values.items() if _GPU_UTIL.match(name)]
            rows.append(
                (
                    printable(short_id(run.id)),
                    f"{printable(run.name)}{f' {node}' if node else ''}",
                    values.get("job/cpu", math.nan),
                    values.get("job/rss", math.nan),
                    sum(gpus) / len(gpus) if gpus else math.nan,
                )
            )
    orders: dict[str, Callable[[tuple[str, str, float, float, float]], float | str]] = {
        "cpu": lambda row: -_or_zero(row[2]),
        "memory": lambda row: -_or_zero(row[3]),
        "name": lambda row: row[1],
    }
    rows.sort(key=orders[sort])
    if not rows:
        return []
    width = min(40, max(width_of(row[1]) for row in rows))
    head = f"{'run':<8} {'name':<{width}} {'cpu':>8} {'memory':>10} {'gpu':>8}"
    return [head, *(
        f"{run:<8} {_padded(name, width)} {_percent(cpu):>8} {_size(memory):>10} {_percent(gpu):>8}"
        for run, name, cpu, memory, gpu in rows
    )]  # fmt: skip


def _processes(processes: Iterable[HeavyProcess], sort: str) -> list[str]:
    orders: dict[str, Callable[[HeavyProcess], tuple[float | str, int]]] = {
        "cpu": lambda one: (-one.cpu, one.pid),
        "memory": lambda one: (-one.memory, one.pid),
        "name": lambda one: (one.name, one.pid),
    }
    return [
        f"{'pid':>8} {'cpu':>8} {'memory':>10}  name",
        *(
            f"{one.pid:>8} {_percent(one.cpu):>8} {_size(one.memory):>10}  {printable(one.name)}"
            for one in sorted(processes, key=orders[sort])
        ),
    ]


def _line(name: str, percent: float, *rest: str) -> str:
    return "  ".join([f"{name:<5} {_bar(percent)} {_percent(percent):>7}", *filter(None, rest)])


def _bar(percent: float) -> str:
    share = min(1.0, max(0.0, percent / 100)) if math.isfinite(percent) else 0.0
    full = round(share * _BAR)
    return f"[{'|' * full}{' ' * (_BAR - full)}]"


def _percents(values: Mapping[str, float], group: str, *names: str) -> str:
    found = [(name, values.get(f"{group}/{name}")) for name in names]
    return "  ".join(f"{name} {value:.1f} %" for name, value in found if value is not None)


def _rates(values: Mapping[str, float], group: str, *names: str) -> str:
    found = [(name, values.get(f"{group}/{name}")) for name in names]
    return "  ".join(f"{name} {_size(value)}/s" for name, value in found if value is not None)


def _percent(value: float) -> str:
    return f"{value:.1f} %" if math.isfinite(value) else "-"


def _size(count: float | None) -> str:
    return format_size(int(count)) if count is not None and math.isfinite(count) else "-"


def _or_zero(value: float) -> float:
    return value if math.isfinite(value) else 0.0


def _padded(text: str, width: int) -> str:
    shown = cut(text, width)
    return shown + " " * (width - width_of(shown))
