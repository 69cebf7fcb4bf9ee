"""A data stream within this process: for tests, demonstrations and hubs without a broker."""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from msgspec import Meta

from runbus.abc import DataStreamPlugin, Delivery
from runbus.errors import DeliveryExpired, FieldInvalid, QueueFull, QueueNotFound, near_matches
from runbus.hub._plain import check_amount, plain_json

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["MemoryStream"]

_MOST_QUEUES = 1_000


class _Message(NamedTuple):
    """One message of a queue, as text: neither side can change what the other one has."""

    number: int
    text: str
    attempt: int


class _Queue:
    """What waits, in order, and what is held: by delivery, until when, and the message."""

    def __init__(self) -> None:
        self.waiting: deque[_Message] = deque()
        self.held: dict[str, tuple[float, _Message]] = {}

    def __len__(self) -> int:
        return len(self.waiting) + len(self.held)

    def give_back(self, ids: Iterable[str]) -> None:
        """Put messages that are held back in front, in their order."""
        messages = sorted((self.held.pop(one)[1] for one in ids), reverse=True)
        self.waiting.extendleft(messages)

    def expire(self, now: float) -> None:
        """Give back what was held for too long."""
        self.give_back([one for one, (until, _) in self.held.items() if until <= now])


class MemoryStream(DataStreamPlugin):
    """Queues in the memory of this process, bounded in messages and bytes.

    Data is kept as JSON, as a broker would: what comes out is a copy. What was taken and not
    acknowledged within `redeliver_after_s` is handed out again, before what came later. Threads may
    share it; what is in it ends with the process.

    Args:
        capacity: How many messages a queue holds, those that were taken included.
        capacity_bytes: How many bytes all queues hold together.
        redeliver_after_s: How long a consumer may take for a message, in seconds.
    """

    def __init__(
        self,
        *,
        capacity: Annotated[int, Meta(ge=1)] = 1_000,
        capacity_bytes: Annotated[int, Meta(ge=1)] = 64 << 20,
        redeliver_after_s: Annotated[float, Meta(ge=0)] = 60.0,
    ) -> None:
        for field, value, least in (
            ("capacity", capacity, 1),
            ("capacity_bytes", capacity_bytes, 1),
            ("redeliver_after_s", redeliver_after_s, 0),
        ):
            check_amount(value, field, least=least, whole=field != "redeliver_after_s")
        self._capacity = capacity
        self._capacity_bytes = capacity_bytes
        self._redeliver_after_s = redeliver_after_s
        self._lock = threading.Lock()
        self._queues: dict[str, _Queue] = {}
        self._bytes = 0
        self._number = 0

    def initialize(self) -> None:
        """Do nothing: there is nothing to connect to."""

    def shutdown(self) -> None:
        """Drop all queues."""
        with self._lock:
            self._queues.clear()
            self._bytes = 0

    def health_check(self) -> tuple[bool, dict[str, Any]]:
        """Return how full it is; it is always healthy."""
        with self._lock:
            waiting = {name: len(queue.waiting) for name, queue in self._queues.items()}
            held = {name: len(queue.held) for name, queue in self._queues.items()}
            size = self._bytes
        return True, {"status": "connected", "waiting": waiting, "held": held, "bytes": size}

    def connect(self, **kwargs: Any) -> None:
        """Do nothing; there are no other settings.

        Raises:
            FieldInvalid: Some were given.
        """
        if kwargs:
            raise FieldInvalid("connect", repr(sorted(kwargs)), "memory has no such settings")

    def disconnect(self) -> None:
        """Put back all that was taken and not acknowledged."""
        with self._lock:
            for queue in self._queues.values():
                queue.give_back([*queue.held])

    def create_queue(self, queue_name: str) -> None:
        """Make a queue; one that is there already is left as it is.

        Raises:
            FieldInvalid: The name is no text, or empty.
            QueueFull: There are 1,000 queues.
        """
        given: object = queue_name
        if not isinstance(given, str) or not given:
            raise FieldInvalid("queue_name", repr(queue_name), "expected a text")
        with self._lock:
            if queue_name not in self._queues and len(self._queues) >= _MOST_QUEUES:
                raise QueueFull("the stream", f"{_MOST_QUEUES:,} queues")
            self._queues.setdefault(queue_name, _Queue())

    def push_data(self, queue: str, data: Any) -> None:
        """Put data at the end of a queue: what JSON can hold, and arrays.

        Raises:
            QueueNotFound: There is no such queue.
            QueueFull: There is no room for it in the queue, or in the stream.
            FieldInvalid: JSON cannot hold it.
        """
        text = plain_json(data, "data")
        with self._lock:
            found = self._find(queue)
            if len(found) >= self._capacity:
                raise QueueFull(f"the queue {queue!r}", f"{self._capacity:,} messages")
            if self._bytes + len(text) > self._capacity_bytes:
                raise QueueFull("the stream", f"{self._capacity_bytes:,} bytes")
            self._bytes += len(text)
            self._number += 1
            found.waiting.append(_Message(self._number, text, 0))

    def pull_data(self, queue: str) -> Any:
        """Return the first data of a queue and forget it; None if the queue is empty.

        Raises:
            QueueNotFound: There is no such queue.
        """
        delivery = self.take(queue)
        if delivery is None:
            return None
        self._forget(delivery)
        return delivery.data

    def take(self, queue: str) -> Delivery | None:
        """Return the first data of a queue, to be acknowledged; None if the queue is empty.

        Raises:
            QueueNotFound: There is no such queue.
        """
        with self._lock:
            found = self._find(queue)
            now = time.monotonic()
            found.expire(now)
            if not found.waiting:
                return None
            message = found.waiting.popleft()
            message = message._replace(attempt=message.attempt + 1)
            # An id is of one attempt: who was too slow acknowledges nothing of the next one.
            id_ = f"{message.number}.{message.attempt}"
            found.held[id_] = (now + self._redeliver_after_s, message)
        return Delivery(queue, id_, json.loads(message.text), message.attempt)

    def acknowledge(self, delivery: Delivery) -> None:
        """Forget what was taken: it has been processed.

        Raises:
            FieldInvalid: It is no delivery.
            DeliveryExpired: It was put back or handed out again, or was acknowledged before.
            QueueNotFound: There is no such queue.
        """
        _check(delivery)
        if not self._forget(delivery):
            raise DeliveryExpired(delivery.queue, delivery.id)

    def give_back(self, delivery: Delivery) -> None:
        """Put what was taken back to where it was; nothing happens if it is not held any more.

        Raises:
            QueueNotFound: There is no such queue.
        """
        _check(delivery)
        with self._lock:
            queue = self._find(delivery.queue)
            if delivery.id in queue.held:
                queue.give_back([delivery.id])

    def flush_queue(self, queue: str) -> None:
        """Remove everything from a queue that waits in it; what was taken stays with its taker.

        Raises:
            QueueNotFound: There is no such queue.
        """
        with self._lock:
            found = self._find(queue)
            self._bytes -= sum(len(one.text) for one in found.waiting)
            found.waiting.clear()

    def _forget(self, delivery: Delivery) -> bool:
        with self._lock:
            queue = self._find(delivery.queue)
            if delivery.id not in queue.held:
                return False
            self._bytes -= len(queue.held.pop(delivery.id)[1].text)
            return True

    def _find(self, name: str) -> _Queue:
        queue = self._queues.get(name)
        if queue is None:
            raise QueueNotFound(str(name), near_matches(str(name), self._queues))
        return queue


def _check(delivery: object) -> None:
    """Refuse what `take` has not returned."""
    if not isinstance(delivery, Delivery):
        raise FieldInvalid("delivery", repr(delivery), "expected what take() has returned")
