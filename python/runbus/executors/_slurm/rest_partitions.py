"""Where jobs can queue, as slurmrestd tells it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from runbus.executors._slurm.partitions import Partition
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


class Nodes(Errors):
    """The machines; and in another answer, where jobs can queue."""

    nodes: list[Node] | None = None
    partitions: list[dict[str, Any]] | None = None


def kinds_of_nodes(partitions: Iterable[dict[str, Any]], nodes: Iterable[Node]) -> list[Partition]:
    """Return where jobs can queue, and the kinds of machines there."""
    kinds: dict[tuple[str, str, str, str], int] = {}
    for node in nodes:
        what = str(integer(node.cpus) or 0), str(integer(node.real_memory) or 0), text(node.gres)
        names = node.partitions if isinstance(node.partitions, list) else []
        for name in map(text, names):
            kinds[(name, *what)] = kinds.get((name, *what), 0) + 1
    found = []
    for partition in partitions:
        name = text(partition.get("name"))
        state = first(_inner(partition, "state", "partition"))
        longest = partition.get("max_time_limit", _inner(partition, "time", "maximums"))
        limit = integer(longest)
        time = "infinite" if limit is None or limit < 0 else _clock(limit)
        found += [
            Partition(name, state.lower(), time, count, cpus, memory, told(gres))
            for (of, cpus, memory, gres), count in kinds.items()
            if of == name
        ]
    return found


def _inner(values: dict[str, Any], key: str, place: str) -> Any:
    """Return a value, which newer versions have one level deeper."""
    inner = values.get(place)
    return inner.get(key) if isinstance(inner, dict) else values.get(key)


def _clock(minutes: int) -> str:
    days, rest = divmod(minutes, 1440)
    hours, left = divmod(rest, 60)
    if days:
        return f"{days}-{hours:02}:{left:02}:00"
    return f"{hours}:{left:02}:00" if hours else f"{left}:00"
