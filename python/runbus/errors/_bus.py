"""The bus and the kernel."""

from __future__ import annotations

from runbus.errors._root import RunbusError


class BusError(RunbusError):
    """The bus or the kernel was used wrongly, or cannot do what was asked now."""


class StreamNotOpen(BusError):
    """A stream was read outside `async with`.

    Attributes:
        event: Name of the event class.
    """

    event: str

    def __str__(self) -> str:
        return f"the stream of {self.event} is not open: read it inside `async with`"


class WrongKind(BusError):
    """An event was given to a verb of another kind.

    Attributes:
        event: Name of the event class.
        kind: Its kind, such as `notify`; empty where the class is of no kind.
        verb: The verb that was used.
        right_verb: The verb of that kind; empty if no verb takes it.
        is_class: Whether the class itself was given instead of an event.
    """

    event: str
    kind: str
    verb: str
    right_verb: str
    is_class: bool = False

    def __str__(self) -> str:
        if self.is_class:
            return f"{self.event} is a class of events, which {self.verb}() does not take"
        what = f"is a {self.kind} event" if self.kind else "is not an event of any kind"
        return f"{self.event} {what}, which {self.verb}() does not take"

    @property
    def hint(self) -> str | None:
        if self.is_class:
            return f"pass an event of that class: {self.event}(...)"
        if self.right_verb:
            return f"use {self.right_verb}()"
        if (name := self.event.strip("'")).isidentifier() and name != self.event:
            return f"pass the class, not its name: from runbus.events import {name}"
        return None if self.kind else "pass a class of events, such as runbus.events.JobEnded"


class BusClosed(BusError):
    """The bus is not open yet, or no longer.

    Attributes:
        verb: What was asked of it.
        state: `new`, `draining`, `sealed` or `closed`.
    """

    verb: str
    state: str

    def __str__(self) -> str:
        return f"{self.verb}() was called on a bus that is {self.state}"

    @property
    def hint(self) -> str | None:
        if self.state == "new":
            return "use the bus inside `async with Kernel(...) as kernel`"
        if self.state == "draining":
            return "while the kernel stops, only publish() and emit() work"
        if self.state == "sealed":
            return "the mailboxes are read to the end: what is still to be kept needs its own place"
        return None


class WrongLoop(BusError):
    """The bus was used from another thread, another event loop or a forked child.

    Attributes:
        verb: What was asked of the bus.
        where: `thread`, `loop` or `fork`.
    """

    verb: str
    where: str

    def __str__(self) -> str:
        where = {
            "thread": "from a thread that does not run its event loop",
            "loop": "from another event loop",
            "fork": "in a forked child, which does not own the bus",
        }.get(self.where, self.where)
        return f"{self.verb}() was called {where}"

    @property
    def hint(self) -> str | None:
        if self.where == "fork":
            return "start a kernel of the child's own, or publish in the parent"
        if self.verb in {"publish", "emit", "emit_nowait"}:
            return "use publish_from_thread() from other threads and loops"
        return (
            f"call {self.verb}() in the bus's own loop, as loop.call_soon_threadsafe() and "
            "asyncio.run_coroutine_threadsafe() do"
        )


class InvalidHandler(BusError):
    """What was subscribed can never work, so it is refused at once.

    Attributes:
        plugin: Who subscribed.
        handler: Name of the handler.
        event: Name of the event class.
        problem: What is wrong, as the end of a sentence that starts with the handler.
        fix: What to write instead.
    """

    plugin: str
    handler: str
    event: str
    problem: str
    fix: str

    def __str__(self) -> str:
        return f"plugin {self.plugin!r}: {self.handler} for {self.event} {self.problem}"

    @property
    def hint(self) -> str | None:
        return self.fix or None


class InvalidOption(BusError, ValueError):
    """An option that can never work, refused where it was given.

    Attributes:
        owner: Who gave it: a plugin, the application, or the kernel.
        option: Name of the option.
        given: What was given, as it would be written.
        problem: What is wrong, as the end of a sentence that starts with the option.
        fix: What to give instead.
    """

    owner: str
    option: str
    given: str
    problem: str
    fix: str

    def __str__(self) -> str:
        return f"{self.owner}: {self.option}={self.given} {self.problem}"

    @property
    def hint(self) -> str | None:
        return self.fix or None


class Reentrant(BusError):
    """A request was made while the same request was being answered.

    Attributes:
        event: Name of the event class.
        chain: The events being dispatched, outermost first.
    """

    event: str
    chain: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.event} was asked for while it is being answered: {' > '.join(self.chain)}"


class RecursionLimit(BusError):
    """Events caused events without end.

    Attributes:
        limit: How long a causal chain may be.
        chain: The events of the chain, outermost first.
    """

    limit: int
    chain: tuple[str, ...]

    def __str__(self) -> str:
        return f"more than {self.limit} events caused one another: {' > '.join(self.chain)}"


class WouldDeadlock(BusError):
    """The wait could never end, so it was not begun.

    Attributes:
        wait: What would have been waited for, with the whole circle.
    """

    wait: str

    def __str__(self) -> str:
        return f"this would wait for ever: {self.wait}"


class MailboxFull(BusError):
    """A mailbox that loses nothing has no room now; the event was not put into it.

    Attributes:
        owner: The subscriber.
        event: Name of the event class.
        pending: How many events wait in the mailbox.
    """

    retryable = True

    owner: str
    event: str
    pending: int

    def __str__(self) -> str:
        return f"the mailbox of {self.owner} is full ({self.pending} waiting), {self.event} not put"

    @property
    def hint(self) -> str | None:
        return "use emit(), which waits for room"


class BackpressureTimeout(BusError):
    """A mailbox that loses nothing stayed full; the event was not put into it.

    Attributes:
        owner: The subscriber.
        event: Name of the event class.
        pending: How many events wait in the mailbox.
        waited_s: How long the publisher waited, in seconds.
    """

    retryable = True

    owner: str
    event: str
    pending: int
    waited_s: float

    def __str__(self) -> str:
        return (
            f"the mailbox of {self.owner} stayed full for {self.waited_s:g} s "
            f"({self.pending} waiting), {self.event} not put"
        )


class NoHandler(BusError):
    """Nobody answered a request.

    Attributes:
        event: Name of the event class.
        asked: The plugins that were asked and had no answer.
    """

    event: str
    asked: tuple[str, ...]

    def __str__(self) -> str:
        asked = f"none of {', '.join(self.asked)} did" if self.asked else "no plugin listens"
        return f"nobody answered {self.event}: {asked}"


class TraceError(BusError):
    """A trace cannot be read, or does not hold what was asked for.

    Attributes:
        path: The trace file.
        problem: What is wrong with it.
    """

    path: str
    problem: str

    def __str__(self) -> str:
        return f"{self.path}: {self.problem}"
