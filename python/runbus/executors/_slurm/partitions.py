"""The partitions of a cluster, as sinfo and scontrol tell of them: what each holds and takes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from runbus.executors._slurm.words import digits, split, told, whole_lines

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["PARTITIONS_FORMAT", "RULES", "Partition", "Rules", "parse_partitions", "seconds_of"]

PARTITIONS_FORMAT = "%R|%a|%l|%F|%c|%m|%G"

RULES = "=rules="
"""What parts the answers of the two programs."""


class Rules(NamedTuple):
    """Whom a partition takes, and how much of it one job gets; empty and None for no limit.

    Attributes:
        state: Whether it takes jobs and begins them: `UP`, or why not; empty if nothing is said.
        is_default: Whether jobs go there that name none.
        accounts: The accounts that it takes jobs of.
        denied: Those that it takes none of.
        qos: The qualities of service that it takes.
        nodes: The most machines of a job.
        min_nodes: The least.
        cpus: The most processors on each machine.
        memory_mib: The most memory on each machine, in MiB.
    """

    state: str = ""
    is_default: bool = False
    accounts: tuple[str, ...] = ()
    denied: tuple[str, ...] = ()
    qos: tuple[str, ...] = ()
    nodes: int | None = None
    min_nodes: int = 0
    cpus: int | None = None
    memory_mib: int | None = None


class Partition(NamedTuple):
    """Where jobs can queue, and one kind of machines that they find there.

    Attributes:
        name: Its name.
        state: Whether it takes jobs: `up`, or why not.
        time: The longest that a job may run there, as Slurm writes it.
        nodes: How many machines there are of this kind.
        cpus: Processors of each; a `+` after it where some have more.
        memory_mib: Memory of each, in MiB, in the same way.
        gres: Generic resources of each, such as `gpu:a100:8`; empty if none.
        idle: How many of the machines are idle.
        rules: Whom the partition takes.
    """

    name: str
    state: str
    time: str
    nodes: int
    cpus: str
    memory_mib: str
    gres: str = ""
    idle: int = 0
    rules: Rules = Rules()

    @property
    def time_s(self) -> float:
        """The longest that a job may run there, in seconds; infinite for any time."""
        found = seconds_of(self.time)
        return float("inf") if found is None else found


def parse_partitions(output: bytes) -> list[Partition]:
    """Return what both programs say, one after the other, with a line `RULES` between them."""
    kinds, is_there, listed = output.partition(f"{RULES}\n".encode())
    rules = _rules(listed) if is_there else {}
    found = []
    for line in whole_lines(kinds):
        name, state, time, states, cpus, memory, gres = split(line, 6)
        # Allocated, idle, other, all.
        counts = [digits(one) or 0 for one in states.split("/")]
        if name and memory and len(counts) == 4:
            found.append(
                Partition(
                    name, state, time, counts[3], cpus, memory, told(gres), counts[1],
                    rules.get(name, Rules()),
                )
            )  # fmt: skip
    return found


def seconds_of(time: str) -> float | None:
    """Return a time as sinfo writes it and sbatch reads it; None for no limit, or no time.

    Minutes stand alone, or before seconds; days before a dash, with hours after it.
    """
    match = _TIME.fullmatch(time)
    if match is None:
        return None
    days, rest = match[1], [int(one) for one in match[2].split(":")]
    if days is not None:
        hours, minutes, seconds = (*rest, 0, 0)[:3]
    elif len(rest) == 3:
        hours, minutes, seconds = rest
    else:
        hours, minutes, seconds = (0, *rest, 0)[:3]
    return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds


_TIME = re.compile(r"(?:(\d{1,6})-)?(\d{1,9}(?::\d{1,2}){0,2})", re.ASCII)


def _rules(output: bytes) -> dict[str, Rules]:
    found = {}
    for line in whole_lines(output):
        said_of = dict(word.partition("=")[::2] for word in line.split())
        if name := said_of.get("PartitionName"):
            found[name] = Rules(
                state=said_of.get("State", ""),
                is_default=said_of.get("Default") == "YES",
                accounts=_names(said_of, "AllowAccounts"),
                denied=_names(said_of, "DenyAccounts"),
                qos=_names(said_of, "AllowQos"),
                nodes=digits(said_of.get("MaxNodes", "")),
                min_nodes=digits(said_of.get("MinNodes", "")) or 0,
                cpus=digits(said_of.get("MaxCPUsPerNode", "")),
                memory_mib=digits(said_of.get("MaxMemPerNode", "")),
            )
    return found


def _names(said_of: Mapping[str, str], key: str) -> tuple[str, ...]:
    names = said_of.get(key, "ALL")
    return () if names == "ALL" else tuple(filter(None, names.split(",")))
