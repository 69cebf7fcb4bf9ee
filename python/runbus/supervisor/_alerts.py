"""Rules by which samples of a machine become alerts."""

from __future__ import annotations

import math
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

from runbus.events import DiskNearlyFull, GpuLost, MemoryNearlyFull
from runbus.metrics import SAMPLES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runbus.abc import JobSpec
    from runbus.events import MachineAlert, MetricBatch

__all__ = ["Alerts"]

_LEAST = 0.05
"""Less of a whole than this is nearly nothing."""

_ENOUGH = 0.1
"""More of a whole than this is enough again."""

_SOON_S = 60.0
_TREND_S = 5.0
"""How long something must have become less before its pace counts."""

_LITTLE = 0.3
"""Of what has more left than this, nobody says how soon it is used up."""

_MOST_FREE = 20e9
"""A disk with more bytes than this is not nearly full, however large it is."""

_MEMORY = ("mem/available", "mem/total")
_LIMIT = ("cgroup/mem", "cgroup/mem_limit")
_DISK = ("disk/free", "disk/used")
_OF_RULES = {*_MEMORY, *_LIMIT, *_DISK}
_LOST = "/lost"


class _Trend(NamedTuple):
    since_ns: int
    left: float


class Alerts:
    """Knows what is low on the machines of one job, and says so once.

    Args:
        job: The job.
    """

    def __init__(self, job: JobSpec) -> None:
        self._job = job
        self._told: set[tuple[str, str]] = set()
        self._trends: dict[tuple[str, str], _Trend] = {}

    def of(self, batch: MetricBatch) -> Iterator[MachineAlert]:
        """Yield what the rows of a sampler mean that was not told yet."""
        if not any(_rule_of(name) for name in batch.names):
            return
        for time_ns, points in groupby(batch.points(), key=itemgetter(2)):
            rows: dict[str, dict[str, float]] = {}
            for name, _, _, value in points:
                node, rest = _parted(name)
                rows.setdefault(node, {})[rest] = float(value)
            for node, row in rows.items():
                yield from self._of_row(node, time_ns, row)

    def _of_row(self, node: str, time_ns: int, row: dict[str, float]) -> Iterator[MachineAlert]:
        job = self._job
        where = {
            "run_id": job.run_id, "experiment_id": job.experiment_id, "job": job.name,
            "node": node,
        }  # fmt: skip
        for name in row:
            gpu = name.removesuffix(_LOST)
            if gpu != name and self._note(node, name, is_low=True, is_enough=False):
                yield GpuLost(**where, time_ns=time_ns, gpu=gpu)
        for is_limit, (left, total) in _memory(row):
            what = "limit" if is_limit else "memory"
            is_low = self._follow(node, what, time_ns, left, total)
            if self._note(node, what, is_low=is_low, is_enough=left > _ENOUGH * total):
                yield MemoryNearlyFull(
                    **where, time_ns=time_ns, left=left, total=total, is_limit=is_limit
                )
        if all(name in row for name in _DISK):
            free, used = (row[name] for name in _DISK)
            is_low = used > 100 * (1 - _LEAST) and free < _MOST_FREE
            is_enough = used < 100 * (1 - _ENOUGH) or free > 2 * _MOST_FREE
            if self._note(node, "disk", is_low=is_low, is_enough=is_enough):
                yield DiskNearlyFull(**where, time_ns=time_ns, free=free, used=used)

    def _follow(self, node: str, what: str, time_ns: int, left: float, total: float) -> bool:
        """Note what is left; return whether it is nearly nothing, or will be soon at that pace."""
        if left < _LEAST * total:
            return True
        trend = self._trends.setdefault((node, what), _Trend(time_ns, left))
        elapsed_s = (time_ns - trend.since_ns) / 1e9
        if not 0 <= elapsed_s < 2 * _TREND_S:
            # A clock that was set, or a look that is over.
            self._trends[node, what] = _Trend(time_ns, left)
        if elapsed_s < _TREND_S or left > _LITTLE * total:
            return False
        pace = (trend.left - left) / elapsed_s
        return (left / pace if pace > 0 else math.inf) < _SOON_S

    def _note(self, node: str, what: str, *, is_low: bool, is_enough: bool) -> bool:
        """Note what is low; return whether it is to be told: it was not low before."""
        if (node, what) in self._told:
            if is_enough:
                self._told.remove((node, what))
            return False
        if is_low:
            self._told.add((node, what))
        return is_low


def _memory(row: dict[str, float]) -> Iterator[tuple[bool, tuple[float, float]]]:
    if all(name in row for name in _MEMORY):
        yield False, (row[_MEMORY[0]], row[_MEMORY[1]])
    if all(name in row for name in _LIMIT):
        used, limit = (row[name] for name in _LIMIT)
        yield True, (max(0.0, limit - used), limit)


def _parted(name: str) -> tuple[str, str]:
    """Return the node that a sample is of, and what is sampled."""
    rest = name.removeprefix(SAMPLES)
    node, slash, within = rest.partition("/")
    is_node = slash and node.startswith("node") and node[4:].isdecimal()
    return (node, within) if is_node else ("", rest)


def _rule_of(name: str) -> bool:
    return name.endswith(_LOST) or _parted(name)[1] in _OF_RULES
