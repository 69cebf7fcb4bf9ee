"""Where jobs can queue, as slurmrestd tells it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from runbus.executors._slurm.partitions import Partition, Rules
from runbus.executors._slurm.rest_answers import Errors
from runbus.executors._slurm.rest_values import first, integer, text, told

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Nodes", "kinds_of_nodes"]


class Node(msgspec.Struct):
    """A machine."""

    partitions: Any = None
    cpus: Any = None
    real_memory: Any = None
    gres: Any = ""
    state: Any = ""
    state_flags: Any = None

    @property
    def is_idle(self) -> bool:
        """Whether it waits for jobs, and would take one."""
        words = self.state if isinstance(self.state, list) else [self.state]
        flags = self.state_flags if isinstance(self.state_flags, list) else []
        return [text(word).upper() for word in (*words, *flags)] == ["IDLE"]


class Nodes(Errors):
    """The machines; and in another answer, where jobs can queue."""

    nodes: list[Node] | None = None
    partitions: list[dict[str, Any]] | None = None


def kinds_of_nodes(partitions: Iterable[dict[str, Any]], nodes: Iterable[Node]) -> list[Partition]:
    """Return where jobs can queue, and the kinds of machines there."""
    kinds: dict[tuple[str, str, str, str], list[Node]] = {}
    for node in nodes:
        what = str(integer(node.cpus) or 0), str(integer(node.real_memory) or 0), text(node.gres)
        names = node.partitions if isinstance(node.partitions, list) else []
        for name in map(text, names):
            kinds.setdefault((name, *what), []).append(node)
    found = []
    for partition in partitions:
        name = text(partition.get("name"))
        state = first(_found(partition, "state", "partition/state"))
        limit = _limit(_found(partition, "max_time_limit", "maximums/time"))
        time = "infinite" if limit is None else _clock(limit)
        rules = _rules(partition, state)
        found += [
            Partition(
                name, state.lower(), time, len(alike), cpus, memory, told(gres),
                sum(node.is_idle for node in alike), rules,
            )
            for (of, cpus, memory, gres), alike in kinds.items()
            if of == name
        ]  # fmt: skip
    return found


def _rules(partition: dict[str, Any], state: str) -> Rules:
    """Return whom a partition takes. Which one is the default newer versions do not tell."""
    flags = partition.get("flags")
    return Rules(
        state=state.upper(),
        is_default=isinstance(flags, list) and "default" in flags,
        accounts=_names(_found(partition, "allowed_accounts", "accounts/allowed")),
        denied=_names(_found(partition, "denied_accounts", "accounts/deny")),
        qos=_names(_found(partition, "allowed_qos", "qos/allowed")),
        nodes=_limit(_found(partition, "maximum_nodes_per_job", "maximums/nodes")),
        min_nodes=_limit(_found(partition, "min nodes per job", "minimums/nodes")) or 0,
        cpus=_limit(_found(partition, "maximum_cpus_per_node", "maximums/cpus_per_node")),
        memory_mib=_limit(
            _found(partition, "maximum_memory_per_node", "maximums/partition_memory_per_node")
        ),
    )


def _found(partition: dict[str, Any], *paths: str) -> Any:
    """Return the value that is there, of those that versions have in different places."""
    for path in paths:
        found: Any = partition
        for key in path.split("/"):
            found = found.get(key) if isinstance(found, dict) else None
        if found is not None:
            return found
    return None


def _names(value: Any) -> tuple[str, ...]:
    listed = text(value)
    return () if listed.upper() == "ALL" else tuple(filter(None, listed.split(",")))


def _limit(value: Any) -> int | None:
    """Return a number; None for no limit, which older versions write as -1."""
    found = integer(value)
    return found if found is not None and found >= 0 else None


def _clock(minutes: int) -> str:
    days, rest = divmod(minutes, 1440)
    hours, left = divmod(rest, 60)
    if days:
        return f"{days}-{hours:02}:{left:02}:00"
    return f"{hours}:{left:02}:00" if hours else f"{left}:00"
