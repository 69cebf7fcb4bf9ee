"""Where the values of a configuration were said: a tree along their paths."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from runbus.config._document import Document
    from runbus.config._node import Path

    Place = tuple[Document, Path]

__all__ = ["Origin", "Places"]


class Origin(NamedTuple):
    """Where a value was said.

    Attributes:
        source: A file, a variable of the environment, or an argument.
        line: The line of the file; 0 for others.
    """

    source: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.source}:{self.line}" if self.line else self.source


class Places:
    """Where each value was said, as an `Origin`, or as a file and the path in it.

    What is within a value and has no place of its own comes from where that one does. To set or to
    find one costs the depth of its path, however many there are.
    """

    __slots__ = ("_own", "_within")

    def __init__(self, own: Origin | Place | None = None) -> None:
        self._own = own
        self._within: dict[str | int, Places] = {}

    def set(self, path: Path, place: Origin | Place) -> None:
        """Note where a value was said; what was known of anything within it no longer counts."""
        at = self
        for step in path:
            below = at._within.get(step)
            if below is None:
                below = at._within[step] = Places()
            at = below
        at._own = place
        at._within = {}

    def find(self, path: Path) -> Origin | Place | None:
        """Return where the value at a path was said; None if nothing is known."""
        at, place, depth = self, self._own, 0
        for number, step in enumerate(path, start=1):
            below = at._within.get(step)
            if below is None:
                break
            at = below
            if at._own is not None:
                place, depth = at._own, number
        if place is None or isinstance(place, Origin):
            return place
        document, above = place
        return document, (*above, *path[depth:])

    def part(self, path: Path) -> Places:
        """Return the places of what is within the value at a path."""
        found = Places(self.find(path))
        at: Places | None = self
        for step in path:
            at = at._within.get(step) if at is not None else None
        if at is not None:
            found._within = dict(at._within)
        return found
