"""Where the data of a training or a prediction comes from, and what becomes of its message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from runbus._revealed import unrevealed
from runbus._secrets import redacted_text
from runbus.errors import NotOffered, ServiceMissing, UsageError
from runbus.hub._train import same_form

if TYPE_CHECKING:
    from logging import Logger

    from runbus.abc import Delivery
    from runbus.hub._services import HubServices

__all__ = ["Given", "take"]


class Given(NamedTuple):
    """Data, and the message that brought it.

    Attributes:
        data: The data.
        delivery: What is to be acknowledged; None if nothing is.
    """

    data: Any
    delivery: Delivery | None = None

    def settle(self, services: HubServices, log: Logger, *, is_done: bool) -> None:
        """Acknowledge the message, or put it back.

        That it cannot be done is no failure of the work: the message is handed out again.
        """
        delivery, method = self.delivery, "acknowledge" if is_done else "give_back"
        if delivery is None:
            return
        try:
            services.call("datastream", method, lambda stream: getattr(stream, method)(delivery))
        except Exception as error:
            told = redacted_text(unrevealed(f"{type(error).__name__}: {error}"))
            log.warning("the message %s of %s: %s", delivery.id, delivery.queue, told)


def take(services: HubServices, what: str, data: Any, queue: str | None) -> Given:
    """Return the data that was given, or that of the next message of a queue.

    Args:
        services: What has the data stream.
        what: What the data is for.
        data: The data; None if it is in a queue.
        queue: The queue; None if the data was given.

    Raises:
        UsageError: There is no data, or it comes from two places.
        ServiceMissing: There is no data stream.
        FieldInvalid: JSON cannot hold the data.
    """
    if (data is None) == (queue is None):
        raise UsageError(f"{what} needs either data or a queue")
    if queue is None:
        return Given(same_form(data))
    if services.get("datastream") is None:
        raise ServiceMissing("datastream", what)
    try:
        delivery: Delivery | None = services.call("datastream", "take", lambda one: one.take(queue))
    except NotOffered:  # it can only forget at once
        pulled = services.call("datastream", "pull_data", lambda one: one.pull_data(queue))
        given = Given(None if pulled == "" else pulled)
    else:
        given = Given(None if delivery is None else delivery.data, delivery)
    if given.data is None:
        raise UsageError(f"{what} needs data, and the queue {queue!r} is empty")
    return given
