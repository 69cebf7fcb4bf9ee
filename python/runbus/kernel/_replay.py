"""Replay: what a kernel of today would do with the events of a trace."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from runbus import codec
from runbus.bus import TracedEvent, TracedHandler, read_trace
from runbus.events import Event, Kind

if TYPE_CHECKING:
    import os

    from runbus.bus import HandlerOutcome
    from runbus.kernel._kernel import Kernel

__all__ = ["Difference", "Replay", "replay"]

_OWN = ("kernel.", "plugin.", "handler.", "trace.")
"""What the tags of events begin with that the kernel makes itself, on both sides."""


class Difference(NamedTuple):
    """Where the replay went another way than the trace.

    Attributes:
        seq: Number of the recorded root event.
        type: The tag of its class.
        recorded: What was recorded, line by line: events it caused, handlers and verdicts.
        replayed: What the replay did, in the same form.
    """

    seq: int
    type: str
    recorded: tuple[str, ...]
    replayed: tuple[str, ...]


class Replay(NamedTuple):
    """The result of a replay.

    Attributes:
        fed: How many root events were fed to the kernel.
        skipped: Root events that could not be: their tag, and why.
        differences: Where the replay went another way.
        absent: Whose handlers were not compared, because the replaying kernel has no such plugin.
        damage: What of the trace could not be read, as offset and number of bytes.
    """

    fed: int
    skipped: tuple[tuple[int, str, str], ...]
    differences: tuple[Difference, ...]
    absent: tuple[str, ...] = ()
    damage: tuple[tuple[int, int], ...] = ()


class _Line(NamedTuple):
    """One line of a story; `ended` is how an event ended, None where that is not compared."""

    text: str
    ended: str | None = ""

    def fits(self, other: _Line) -> bool:
        same_end = None in (self.ended, other.ended) or self.ended == other.ended
        return self.text == other.text and same_end

    def __str__(self) -> str:
        return f"{self.text} {self.ended or ''}".rstrip()


class _Recorder:
    """Keeps what is dispatched, in the form in which a trace is read."""

    def __init__(self) -> None:
        self.events: dict[int, TracedEvent] = {}

    def intent(self, seq: int, parent: int, event: Event, origin: str) -> None:
        plain = codec.event_to_plain(event)
        self.events[seq] = TracedEvent(seq, parent, 0, 0, origin, plain["type"], plain, "", ())

    def outcome(self, seq: int, status: str, handlers: list[HandlerOutcome]) -> None:
        calls = tuple(TracedHandler(*handler) for handler in handlers)
        self.events[seq] = self.events[seq]._replace(status=status, handlers=calls)


async def replay(path: str | os.PathLike[str], kernel: Kernel) -> Replay:
    """Feed the root events of a trace to a running kernel and compare what comes of them.

    Root events are those that no handler caused; they are fed in the order of their numbers, each
    after the one before has been dispatched. Only notifications and requests are fed: what
    consumers of streams do depends on time. Events of the kernel itself are left out.

    Handlers of plugins that this kernel does not have are not compared, nor what they caused, nor
    how the events ended that they had a part in. The same goes for handlers of the application if
    nothing was subscribed with `bus.on`.

    Cancelled, it stops between two events or in the middle of one, as `publish` does.

    Raises:
        TraceError: The trace cannot be read.
    """
    recorded = read_trace(path)
    roots = [event for event in recorded if not event.parent and not is_own(event.type)]
    absent = absent_from(kernel, recorded)
    recorder = _Recorder()
    kernel.bus.add_tap(recorder)
    skipped: list[tuple[int, str, str]] = []
    differences: list[Difference] = []
    fed = 0
    try:
        for root in roots:
            recorder.events.clear()
            if kind_of(root) is Kind.STREAM:  # the trace holds their size and digest only
                skipped.append((root.seq, root.type, "streams are left out"))
                continue
            try:
                event = codec.event_from_plain(root.event)
            except codec.DecodeError as error:
                skipped.append((root.seq, root.type, str(error)))
                continue
            if not await feed(kernel, event):
                skipped.append((root.seq, root.type, "it is neither notification nor request"))
                continue
            fed += 1
            before = story(recorded, root.seq, absent)
            after = story(list(recorder.events.values()), 0, absent)
            if len(before) != len(after) or not all(map(_Line.fits, before, after)):
                was, now = tuple(map(str, before)), tuple(map(str, after))
                differences.append(Difference(root.seq, root.type, was, now))
    finally:
        kernel.bus.remove_tap(recorder)
    about = tuple(sorted(absent)), tuple(recorded.damage)
    return Replay(fed, tuple(skipped), tuple(differences), *about)


def is_own(tag: str) -> bool:
    """Whether a kernel makes the events of a tag itself; a plugin may have similar tags."""
    if not tag.startswith(_OWN):
        return False
    try:
        return codec.event_class(tag).__module__.startswith("runbus.events.")
    except codec.DecodeError:
        return False


def absent_from(kernel: Kernel, recorded: list[TracedEvent]) -> frozenset[str]:
    """Return the plugins whose handlers are in a trace, but which a kernel does not have."""
    events = [event for event in recorded if not is_own(event.type)]
    named = {handler.plugin for event in events for handler in event.handlers}
    application = kernel.bus.registry.application
    here = {host.name for host in kernel.hosts}
    if application.subscriptions:
        here.add(application.name)
    return frozenset(named - here)


async def feed(kernel: Kernel, event: Event) -> bool:
    """Dispatch an event by its kind; return whether that could be done. Failures are outcomes."""
    verbs = {
        Kind.PIPELINE: kernel.bus.apply,
        Kind.COLLECTOR: kernel.bus.collect,
        Kind.FIRST: kernel.bus.first,
        Kind.NOTIFY: kernel.bus.publish,
    }
    if event.kind not in verbs:
        return False
    try:
        await verbs[event.kind](event)  # type: ignore[operator]
    except Exception:
        return True
    return True


def story(events: list[TracedEvent], root: int, absent: frozenset[str]) -> list[_Line]:
    """Return what came of a root event, line by line; the smallest number if `root` is 0.

    Without the handlers of plugins that are absent, and what they caused.
    """
    if not events:
        return []
    by_seq = {event.seq: event for event in events}
    root = root or min(by_seq)
    children: dict[int, list[TracedEvent]] = defaultdict(list)
    for event in events:
        children[event.parent].append(event)
    lines: list[_Line] = []

    def tell(event: TracedEvent, depth: int) -> None:
        indent = "  " * depth
        handlers = [handler for handler in event.handlers if handler.plugin not in absent]
        is_whole = len(handlers) == len(event.handlers)
        lines.append(_Line(f"{indent}{event.type}", event.status if is_whole else None))
        lines.extend(_Line(f"{indent}- {h.plugin}: {h.handler} {h.verdict}") for h in handlers)
        for child in sorted(children[event.seq], key=lambda child: child.seq):
            if kind_of(child) is not Kind.STREAM and child.origin not in absent:
                tell(child, depth + 1)

    tell(by_seq[root], 0)
    return lines


def kind_of(event: TracedEvent) -> Kind | None:
    """Return the kind of a recorded event; None if its class is not known here."""
    try:
        return codec.event_class(event.type).kind
    except codec.DecodeError:
        return None
