"""Runs as a list shows them, whatever state their files are in.

What the index has of them is listed without what reads all the rest.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from runbus._home import Home
from runbus.catalog._listings import Listings, Sweep
from runbus.catalog._order import looked_at
from runbus.catalog._rows import RunRow

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from runbus.catalog._listings import Listing
    from runbus.catalog._looks import Looks

__all__ = ["survey"]


def survey(
    project: str | None = None,
    *,
    newest: int | None = None,
    is_folded: bool = False,
    home: str | os.PathLike[str] | None = None,
) -> list[RunRow]:
    """Return a row for each run, oldest first, and for each folder of one that cannot be read.

    Args:
        project: The project; all if None.
        newest: How many at most, those of the newest experiments; all if None.
        is_folded: Whether all points of a sweep count as one of them.
        home: The home folder, instead of `$RUNBUS_HOME` or `~/.runbus`.

    Raises:
        HomeUnusable: The home folder cannot be read.
    """
    where = Home(home)
    with Listings(where) as listings:
        found = _Survey(where, listings)
        rows = list(_first(found.newest_first(project), newest, is_folded=is_folded))
        found.save()
    rows.reverse()
    return rows


def _first(rows: Iterator[RunRow], count: int | None, *, is_folded: bool) -> Iterator[RunRow]:
    """Yield the first rows, of which all those of a sweep may count as one."""
    if count is None or not is_folded:
        yield from itertools.islice(rows, count)
        return
    counted: set[object] = set()
    for row in rows:
        counted.add(row.sweep or row.folder)
        if len(counted) > count:
            return
        yield row


class _Survey:
    """Yields rows, and loads what reads folders when the first one has to be read."""

    def __init__(self, home: Home, listings: Listings) -> None:
        self._home = home
        self._listings = listings
        self._looks: Looks | None = None

    def newest_first(self, project: str | None) -> Iterator[RunRow]:
        closed: dict[str, str] = {}
        for folder in looked_at(self._home, project, self._listings, closed):
            if (listing := self._listings.of(folder)) is not None:
                yield from _listed(folder, listing)
            else:
                yield from self._looks_at_folders().rows(folder)
        for folder, problem in closed.items():
            yield self._looks_at_folders().unreadable(folder, problem)

    def _looks_at_folders(self) -> Looks:
        if self._looks is None:
            from runbus.catalog._looks import Looks

            self._looks = Looks(self._home, self._listings)
        return self._looks

    def save(self) -> None:
        if self._looks is not None:
            self._looks.save()


def _listed(folder: str, listing: Listing) -> Iterator[RunRow]:
    """Yield the rows of an experiment of which nothing need be read, the last one first."""
    runs, sweeps = listing
    for id_, name, project, state, tags, created_ns, number in reversed(runs):
        sweep = Sweep(folder, number, *sweeps[number]) if number >= 0 else None
        path = f"{folder}/runs/{id_}"
        yield RunRow(id_, name, project, state, tags, created_ns, path, "", sweep)
