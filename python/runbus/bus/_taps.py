"""Who sees every event of a bus before and after its dispatch."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol

from runbus.bus._causality import CAUSE, as_envelope

if TYPE_CHECKING:
    from runbus.bus._causality import Frame
    from runbus.bus._routing import Registry
    from runbus.events import Event

__all__ = ["HandlerOutcome", "Tap", "Taps"]

logger = logging.getLogger("runbus.bus")

HandlerOutcome = tuple[str, str, str, int]
"""Plugin, handler, `ok` or `error: …` or `timeout` or `skipped` or `cancelled`, nanoseconds."""


class Tap(Protocol):
    """Sees every event before and after its dispatch; what it raises is logged, never passed on."""

    def intent(self, seq: int, parent: int, event: Event, origin: str) -> None:
        """An event is about to be dispatched."""
        ...

    def outcome(self, seq: int, status: str, handlers: list[HandlerOutcome]) -> None:
        """An event was dispatched; `status` is `ok`, `error` or `cancelled`."""
        ...


class Taps:
    """The taps of a bus.

    Attributes:
        present: Those that see the events now.
    """

    def __init__(self, registry: Registry, watchers: list[object]) -> None:
        self._registry = registry
        self._watchers = watchers
        self.present: tuple[Tap, ...] = ()

    def add(self, tap: Tap) -> None:
        """Let a tap see every event from now on; mailboxes keep the numbers of theirs."""
        self.present = (*self.present, tap)
        self._watchers.append(tap)
        for _, box in self._registry.boxes():
            box.note_causes()

    def remove(self, tap: Tap) -> None:
        """Let a tap see no more events; does nothing if it sees none."""
        if not any(other is tap for other in self.present):
            return
        self.present = tuple(other for other in self.present if other is not tap)
        self._watchers[:] = [other for other in self._watchers if other is not tap]

    def intent(self, frame: Frame) -> None:
        """Tell of a dispatch that begins."""
        frame.outcomes = []
        place = frame.place
        self._tell_intent(frame.seq, place.parent, frame.event, place.origin)

    def end(self, frame: Frame, status: str) -> None:
        """Tell how a dispatch ended."""
        self._tell_outcome(
            frame.seq,
            status,
            [
                (sub.owner.name, sub.name, verdict, took)
                for sub, verdict, took in frame.outcomes or ()
            ],
        )

    def emitted(self, seq: int, event: Event) -> None:
        """Tell of an event that was put into mailboxes."""
        before = CAUSE.get()
        _, parent, origin = as_envelope(before) if before is not None else (None, 0, "")
        self._tell_intent(seq, parent, event, origin)
        self._tell_outcome(seq, "ok", [])

    def _tell_intent(self, seq: int, parent: int, event: Event, origin: str) -> None:
        for tap in self.present:
            try:
                tap.intent(seq, parent, event, origin)
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException:
                logger.exception("a tap of the bus failed")

    def _tell_outcome(self, seq: int, status: str, handlers: list[HandlerOutcome]) -> None:
        for tap in self.present:
            try:
                tap.outcome(seq, status, handlers)
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException:
                logger.exception("a tap of the bus failed")
