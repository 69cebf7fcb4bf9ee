"""Recording what a bus dispatches."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from runbus.bus import check_bus

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runbus.bus import Bus
    from runbus.events import Event

__all__ = ["Entry", "Recording", "record"]

E = TypeVar("E")


class Entry(NamedTuple):
    """One recorded event.

    Attributes:
        seq: Its number.
        parent: Number of the event whose handler caused it; 0 if none did.
        event: The event.
        origin: The plugin whose handler caused it; empty if none did.
        outcome: `ok`, `error`, `cancelled` or `dropped`; empty while it is being dispatched.
        handlers: `(plugin, handler, verdict)` of each call, in order.
    """

    seq: int
    parent: int
    event: Event
    origin: str
    outcome: str = ""
    handlers: tuple[tuple[str, str, str], ...] = ()


class Recording:
    """The events of a bus, in the order in which their dispatch began."""

    def __init__(self) -> None:
        self._entries: dict[int, Entry] = {}

    def intent(self, seq: int, parent: int, event: Event, origin: str) -> None:
        """Note an event that is about to be dispatched."""
        self._entries[seq] = Entry(seq, parent, event, origin)

    def outcome(self, seq: int, status: str, handlers: list[tuple[str, str, str, int]]) -> None:
        """Note what became of it."""
        entry = self._entries.get(seq)
        if entry is not None:
            calls = tuple((plugin, handler, verdict) for plugin, handler, verdict, _ in handlers)
            self._entries[seq] = entry._replace(outcome=status, handlers=calls)

    @property
    def entries(self) -> list[Entry]:
        """All of them."""
        return list(self._entries.values())

    def of(self, event: type[E]) -> list[E]:
        """Return the events of a class, subclasses included."""
        return [entry.event for entry in self._entries.values() if isinstance(entry.event, event)]

    def assert_order(self, *expected: Any) -> None:
        """Check that events came in an order; others may have come in between.

        Args:
            expected: Classes of events, or events themselves.

        Raises:
            AssertionError: They did not.
        """
        came = [entry.event for entry in self._entries.values()]
        rest = iter(came)
        for wanted in expected:
            if not any(_fits(event, wanted) for event in rest):
                names = ", ".join(type(event).__name__ for event in came)
                raise AssertionError(
                    f"{wanted!r} did not come, or not in that order; came: {names}"
                )


def _fits(event: Event, wanted: Any) -> bool:
    return isinstance(event, wanted) if isinstance(wanted, type) else event == wanted


@contextmanager
def record(bus: Bus) -> Iterator[Recording]:
    """Record every event of a bus inside the block, and what became of it.

    Raises:
        TypeError: `bus` is not one, but perhaps the kernel itself.
    """
    check_bus(bus)
    recording = Recording()
    bus.add_tap(recording)
    try:
        yield recording
    finally:
        bus.remove_tap(recording)
