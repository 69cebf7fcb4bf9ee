"""Which partition a job goes to that leaves it open: a pure decision from what the cluster says."""

from __future__ import annotations

import math
import re
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

from runbus.executors._slurm.partitions import seconds_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runbus.executors._slurm.partitions import Partition

__all__ = ["AUTO", "Needs", "choose", "needs_of"]

AUTO = "auto"
"""The partition of a job that leaves it open."""


class Needs(NamedTuple):
    """What a job asks of a partition; of each machine, where nothing else is said.

    Attributes:
        nodes: How many machines.
        time_s: How long it may run, in seconds; None if that is the partition's to say.
        cpus: Processors.
        memory_mib: Memory, in MiB; 0 if that is the partition's to say.
        gpus: GPUs.
        kind: Their kind; empty for any.
        account: Whom it is charged to; empty if nothing is said.
        qos: Its quality of service; empty if nothing is said.
    """

    nodes: int = 1
    time_s: float | None = None
    cpus: int = 1
    memory_mib: int = 0
    gpus: int = 0
    kind: str = ""
    account: str = ""
    qos: str = ""


def needs_of(asked: Mapping[str, str]) -> Needs:
    """Return what options of sbatch ask for, each in the form that it reads."""
    nodes, tasks = _count(asked, "nodes"), _count(asked, "ntasks-per-node")
    gpus, kind = 0, ""
    for name, times in (("gpus-per-node", 1.0), ("gpus-per-task", tasks), ("gpus", 1 / nodes)):
        if name in asked:
            kind, _, count = asked[name].rpartition(":")
            gpus = math.ceil(int(count) * times)
    if of_gres := _gpus(asked.get("gres", "")):
        gpus, kind = of_gres[0]
    cpus = max(tasks * _count(asked, "cpus-per-task"), gpus * _count(asked, "cpus-per-gpu", 0))
    memory_mib = max(
        _mib(asked.get("mem", "")),
        cpus * _mib(asked.get("mem-per-cpu", "")),
        gpus * _mib(asked.get("mem-per-gpu", "")),
    )
    time_s = seconds_of(asked["time"]) if "time" in asked else None
    if "time" in asked and time_s is None:
        time_s = math.inf
    return Needs(
        nodes, time_s, cpus, memory_mib, gpus, kind, asked.get("account", ""), asked.get("qos", "")
    )


def choose(needs: Needs, partitions: Sequence[Partition]) -> tuple[str, dict[str, str]]:
    """Return the partition that a job goes to, and why it does not go to others.

    Of those that take it, one comes first that has no GPUs if it asks for none; then one with
    enough idle machines; the one with the shortest longest time, since long ones are for who needs
    them; the cluster's default; the one with the most idle machines; by name.

    Args:
        needs: What it asks for.
        partitions: What there is, a row for each kind of machines.

    Returns:
        Its name, empty if none takes the job; by the name of each other, why that does not.
    """
    ranks: dict[tuple[object, ...], str] = {}
    reasons: dict[str, str] = {}
    for name, rows in groupby(sorted(partitions, key=attrgetter("name")), attrgetter("name")):
        kinds = list(rows)
        if reason := _against(needs, kinds):
            reasons[name] = reason
            continue
        fit = [one for one in kinds if not _lacking(needs, one)]
        idle = sum(one.idle for one in fit)
        has_spare_gpus = not needs.gpus and any(_gpus(one.gres) for one in fit)
        first = fit[0]
        rank = (has_spare_gpus, idle < needs.nodes, first.time_s, not first.rules.is_default, -idle)
        ranks[*rank, name] = name
    return (ranks[min(ranks)] if ranks else ""), reasons


def _against(needs: Needs, kinds: Sequence[Partition]) -> str:
    """Return why a partition does not take a job; empty if it does."""
    return _closed(needs, kinds[0]) or _beyond(needs, kinds[0]) or _short(needs, kinds)


def _closed(needs: Needs, one: Partition) -> str:
    """Return why a partition takes no such jobs, however little they ask for."""
    rules = one.rules
    state = rules.state or one.state
    if state.upper() != "UP":
        return f"it is {state.lower()}"
    if rules.accounts and needs.account not in rules.accounts:
        return f"it is for the accounts {', '.join(rules.accounts)}"
    if needs.account and needs.account in rules.denied:
        return f"it takes no jobs of the account {needs.account}"
    if needs.qos and rules.qos and needs.qos not in rules.qos:
        return f"it takes the qos {', '.join(rules.qos)}"
    return ""


def _beyond(needs: Needs, one: Partition) -> str:
    """Return which of a partition's limits for one job this job is beyond."""
    rules = one.rules
    if needs.time_s is not None and needs.time_s > one.time_s:
        return f"its jobs run at most {one.time}"
    if rules.nodes is not None and needs.nodes > rules.nodes:
        return f"its jobs get at most {rules.nodes} machine{'s' if rules.nodes != 1 else ''}"
    if needs.nodes < rules.min_nodes:
        return f"its jobs take at least {rules.min_nodes} machines"
    if rules.cpus is not None and needs.cpus > rules.cpus:
        return f"its jobs get at most {rules.cpus} CPUs on a machine"
    if rules.memory_mib is not None and needs.memory_mib > rules.memory_mib:
        return f"its jobs get at most {rules.memory_mib} MiB on a machine"
    return ""


def _short(needs: Needs, kinds: Sequence[Partition]) -> str:
    """Return what the machines of a partition have too little of."""
    lacking = [_lacking(needs, one) for one in kinds]
    if all(lacking):
        return f"its machines have {' or '.join(dict.fromkeys(lacking))}"
    there = sum(one.nodes for one, lacks in zip(kinds, lacking, strict=True) if not lacks)
    if there < needs.nodes:
        return f"it has {there} such machine{'s' if there != 1 else ''}"
    return ""


def _lacking(needs: Needs, kind: Partition) -> str:
    """Return what machines of a kind have too little of; empty if nothing."""
    # Of machines that are not all alike, Slurm tells the least.
    if needs.cpus > _least(kind.cpus):
        return f"{kind.cpus} CPUs"
    if needs.memory_mib > _least(kind.memory_mib):
        return f"{kind.memory_mib} MiB"
    there = sum(count for count, one in _gpus(kind.gres) if needs.kind in ("", one))
    if needs.gpus > there:
        return kind.gres or "no GPUs"
    return ""


def _least(text: str) -> int:
    text = text.rstrip("+")
    return int(text) if text.isascii() and text.isdigit() else 0


def _gpus(gres: str) -> list[tuple[int, str]]:
    """Return how many GPUs generic resources hold, of each kind: `gpu:a100:8(S:0-1),nvme:1`."""
    found = []
    for one in gres.split(","):
        name, *words = one.partition("(")[0].split(":")
        if name == "gpu":
            count = int(words.pop()) if words and _DIGITS.fullmatch(words[-1]) else 1
            found.append((count, words[0] if words else ""))
    return found


_DIGITS = re.compile(r"\d{1,9}", re.ASCII)


def _count(asked: Mapping[str, str], name: str, default: int = 1) -> int:
    text = asked.get(name, "")
    return int(text) if text.isascii() and text.isdigit() else default


_UNITS = {"K": 1 / 1024, "M": 1, "G": 1024, "T": 1 << 20}


def _mib(text: str) -> int:
    """Return memory in MiB, from `64G`, `4000M` or `4000`."""
    match = re.fullmatch(r"(\d{1,15})([KMGT]?)B?", text, re.IGNORECASE | re.ASCII)
    return math.ceil(int(match[1]) * _UNITS[match[2].upper() or "M"]) if match else 0
