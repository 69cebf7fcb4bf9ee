"""Which plugins wait for which, because of what they need and of what flows between them. Pure.

Processors begin before sinks, which read what they make, and sinks before collectors, so that no
sample is missed. They end the other way round, in the direction in which the points go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runbus.plugins import PluginType

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runbus.hub._shelf import Entry

__all__ = ["START", "STOP", "waits"]

START: Mapping[PluginType, int] = {
    PluginType.PROCESSOR: 0,
    PluginType.BACKEND: 1,
    PluginType.COLLECTOR: 2,
}
STOP: Mapping[PluginType, int] = {
    PluginType.COLLECTOR: 0,
    PluginType.PROCESSOR: 1,
    PluginType.BACKEND: 2,
}


def waits(
    entries: Sequence[Entry], needs: Mapping[str, Sequence[str]], ranks: Mapping[PluginType, int]
) -> dict[str, set[str]]:
    """Return for each plugin those that it waits for; nobody waits for itself, however indirectly.

    What plugins need goes before what flows: where both contradict each other, that does not count.

    Args:
        entries: The plugins; processors follow each other in this order.
        needs: For each of them those that it waits for in any case.
        ranks: Which kinds come before which.
    """
    names = {entry.name for entry in entries}
    waiting = {entry.name: {*needs.get(entry.name, ())} & names for entry in entries}
    for at, entry in enumerate(entries):
        for place, other in enumerate(entries):
            mine, theirs = _rank(entry, ranks), _rank(other, ranks)
            if mine is None or theirs is None:
                continue
            follows = theirs == mine == ranks[PluginType.PROCESSOR] and place < at
            if (theirs < mine or follows) and not _reaches(waiting, other.name, entry.name):
                waiting[entry.name].add(other.name)
    return waiting


def _rank(entry: Entry, ranks: Mapping[PluginType, int]) -> int | None:
    return ranks.get(entry.metadata.type) if entry.metadata is not None else None


def _reaches(waiting: Mapping[str, set[str]], start: str, end: str) -> bool:
    """Tell whether one waits for another, directly or not."""
    seen = {start}
    left = [start]
    while left:
        name = left.pop()
        if name == end:
            return True
        left += waiting[name] - seen
        seen |= waiting[name]
    return False
