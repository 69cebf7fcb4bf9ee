"""The order of plugins: the list, bent by what they say about each other. Pure."""

from __future__ import annotations

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
    edges = [edge for wish in wishes for edge in edges_of(wish) if {edge[0], edge[1]} <= {*names}]
    places: list[Place] = []
    placed: set[str] = set()
    left = list(names)
    while left:
        ready = next(
            (n for n in left if all(e.first in placed for e in edges if e.then == n)), None
        )
        if ready is None:
            raise circle(left, edges)
        reasons = [e.reason for e in edges if e.then == ready]
        passed = left[: left.index(ready)]
        if passed:
            reasons.append(f"{', '.join(passed)} had to wait")
        places.append(Place(ready, "; ".join(reasons) or IN_THE_LIST))
        placed.add(ready)
        left.remove(ready)
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
