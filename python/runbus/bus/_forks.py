"""Notices that this process is a forked child, without asking for its id at every event."""

from __future__ import annotations

import os
import weakref
from typing import Protocol

__all__ = ["tell_of_forks"]


class Forkable(Protocol):
    """What wants to know that it was copied into a child."""

    def forked(self) -> None:
        """The process is a forked child now."""
        ...


# The interpreter keeps what is registered for ever, so there is one hook and a set of weak
# references, instead of a hook for each bus.
_open: weakref.WeakSet[Forkable] = weakref.WeakSet()


def tell_of_forks(bus: Forkable) -> None:
    """Call `bus.forked()` in every child that is forked from now on."""
    _open.add(bus)


def _in_child() -> None:
    for bus in list(_open):
        bus.forked()


os.register_at_fork(after_in_child=_in_child)
