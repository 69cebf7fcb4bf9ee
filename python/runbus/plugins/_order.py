"""The order of plugins: the list, bent by what they say about each other. Pure."""

from __future__ import annotations

from heapq import heappop, heappush
from typing import NamedTuple

from runbus.errors import DuplicatePlugin, MissingPlugin, OrderCycle, near_matches

__all__ = ["IN_THE_LIST", "Place", "Wish", "check_names", "place_all", "resolve_order"]


IN_THE_LIST = "place in the list"
"""The reason for a place that nobody wanted otherwise."""


class Wish(NamedTuple):
    """What a plugin says about its place."""

    name: str
    after: tuple[str, ...] = ()
    before: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()


class Place(NamedTuple):
    """Where a plugin came to stand, and why."""

    name: str
    reason: str


class Edge(NamedTuple):
    first: str
    then: str
    reason: str


def resolve_order(wishes: list[Wish]) -> list[Place]:
    """Return the plugins in the order in which they start and are called.

    Of those that may come next, it is always the earliest in the list; so the list is the order
    unless something says otherwise. `after` and `before` do not count for names that are not
    there.

    Raises:
        DuplicatePlugin: Two have one name.
        MissingPlugin: One requires a name that is not there.
        OrderCycle: They want to come before and after each other.
    """
    check_names(wishes)
    return place_all(wishes)


def place_all(wishes: list[Wish]) -> list[Place]:
    """Return the plugins in their order, as `resolve_order`, without a look at who is missing.

    Raises:
        OrderCycle: They want to come before and after each other.
    """
    names = [wish.name for wish in wishes]
    rank = {name: number for number, name in enumerate(names)}
    into: dict[str, list[Edge]] = {name: [] for name in names}
    onward: dict[str, list[str]] = {name: [] for name in names}
    for edge in (edge for wish in wishes for edge in edges_of(wish)):
        if edge.first in rank and edge.then in rank:
            into[edge.then].append(edge)
            onward[edge.first].append(edge.then)
    waits = {name: len(edges) for name, edges in into.items()}
    ready = [number for number, name in enumerate(names) if not waits[name]]
    places: list[Place] = []
    placed: set[str] = set()
    first = 0
    while ready:
        number = heappop(ready)
        name = names[number]
        reasons = [edge.reason for edge in into[name]]
        while names[first] in placed:
            first += 1
        passed = [other for other in names[first:number] if other not in placed]
        if passed:
            reasons.append(f"{', '.join(passed)} had to wait")
        places.append(Place(name, "; ".join(reasons) or IN_THE_LIST))
        placed.add(name)
        for then in onward[name]:
            waits[then] -= 1
            if not waits[then]:
                heappush(ready, rank[then])
    if len(places) < len(names):
        left = [name for name in names if name not in placed]
        raise circle(left, [edge for edges in into.values() for edge in edges])
    return places


def check_names(wishes: list[Wish]) -> None:
    """Refuse names that are there twice, or required and not there.

    Raises:
        DuplicatePlugin: Two have one name.
        MissingPlugin: One requires a name that is not there.
    """
    seen: set[str] = set()
    for wish in wishes:
        if wish.name in seen:
            raise DuplicatePlugin(wish.name)
        seen.add(wish.name)
    for wish in wishes:
        for required in wish.requires:
            if required not in seen:
                raise MissingPlugin(wish.name, required, near_matches(required, seen))


def edges_of(wish: Wish) -> list[Edge]:
    """Return what must come before what because of one plugin, and how it said so."""
    name = wish.name
    return [
        *(Edge(other, name, f"{name} says after={other!r}") for other in wish.after),
        *(Edge(other, name, f"{name} says requires={other!r}") for other in wish.requires),
        *(Edge(name, other, f"{name} says before={other!r}") for other in wish.before),
    ]


def circle(left: list[str], edges: list[Edge]) -> OrderCycle:
    """Return the error that names one circle among plugins none of which can come next."""
    inner = [edge for edge in edges if edge.first in left and edge.then in left]
    path: list[Edge] = []
    seen: list[str] = []
    name = left[0]
    while name not in seen:
        seen.append(name)
        edge = next(edge for edge in inner if edge.then == name)
        path.append(edge)
        name = edge.first
    ring = path[seen.index(name) :][::-1]
    return OrderCycle(
        (*(edge.first for edge in ring), ring[0].first), tuple(edge.reason for edge in ring)
    )
