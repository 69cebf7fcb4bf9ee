"""Who waits for whose end, and which of them the queue of a backend can hold back meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runbus.supervisor._standing import Standing

__all__ = ["Waiting"]


class Waiting:
    """The jobs that wait for others, by those whose ends they wait for.

    A job that depends on others can be handed over before they have ended: once a queue knows all
    of them, and none of them gets another attempt, that queue can hold it back.
    """

    __slots__ = ("_children", "_no_room")

    def __init__(self) -> None:
        self._children: dict[tuple[str, str], list[Standing]] = {}
        self._no_room: dict[Standing, None] = {}

    def add(self, child: Standing, parent: tuple[str, str], there: Standing | None) -> None:
        """Let a job wait for another.

        Args:
            child: The one that waits.
            parent: The other's experiment, empty for this one, and its name.
            there: The other, if it is led here, too.
        """
        self._children.setdefault(parent, []).append(child)
        if there is not None and there.queue is not None and not parent[0]:
            _note(there, child)

    def ended(self, parent: tuple[str, str]) -> list[Standing]:
        """Return the jobs that have waited for one; they no longer do."""
        return self._children.pop(parent, [])

    def in_queue(self, job: Standing) -> Iterator[Standing]:
        """Take in that a queue knows a job; yield those that it can hold back from now on."""
        if job.queue is not None:
            for child in self._children.get(("", job.spec.name), ()):
                if _note(job, child):
                    yield child

    def behind(self, job: Standing) -> Iterator[Standing]:
        """Yield the jobs that a queue could hold back until one has ended."""
        for child in self._children.get(("", job.spec.name), ()):
            if child.can_be_held_back and child.may_go_ahead:
                yield child

    def out_of_queue(self, job: Standing) -> None:
        """Take in that another attempt of a job follows, which no queue knows."""
        for child in self._children.get(("", job.spec.name), ()):
            child.in_queue.pop(("", job.spec.name), None)

    def keep_back(self, job: Standing) -> None:
        """There is no room for a job that a queue could hold back."""
        self._no_room[job] = None

    def let_go(self) -> list[Standing]:
        """Return the jobs that were kept back; they no longer are."""
        kept, self._no_room = self._no_room, {}
        return list(kept)

    @property
    def has_kept_back(self) -> bool:
        """Whether jobs were kept back."""
        return bool(self._no_room)


def _note(parent: Standing, child: Standing) -> bool:
    """Note that the queue of one that waits knows the other; return whether it can hold it back."""
    name = "", parent.spec.name
    if parent.queue != child.queue or not child.can_be_held_back:
        return False
    when = child.waits_for.get(name)
    if when is None or not parent.can_be_waited_for(when):
        return False
    child.in_queue[name] = parent
    return child.may_go_ahead
