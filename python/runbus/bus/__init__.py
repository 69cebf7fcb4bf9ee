"""Dispatch of events by kind.

Not public: applications reach it as `kernel.bus`, plugins as `scope.bus`. What the kernel and the
plugins of ours share with it is named here; everything else is its own.
"""

from typing import TYPE_CHECKING

from runbus._lazy import lazy_names
from runbus.bus._bus import Bus, check_bus
from runbus.bus._checks import (
    check_callable,
    check_choice,
    check_flag,
    check_number,
    check_type,
    name_of,
    takes,
)
from runbus.bus._event_stream import EventStream
from runbus.bus._foreign import (
    add_note,
    describe,
    exc_info,
    is_torn_down,
    plugin_of,
    shown,
    text_of,
)
from runbus.bus._mailbox import ItemStatistics, Mailbox, StreamStatistics
from runbus.bus._overflow import Overflow
from runbus.bus._receipt import Receipt
from runbus.bus._routing import APPLICATION, check_event_class, check_subscription, is_same
from runbus.bus._streams import box_for
from runbus.bus._subscription import HandlerStatistics, Owner, Subscription
from runbus.bus._taps import HandlerOutcome, Tap
from runbus.bus._timers import CutOff, LoopTimers, TimerHandle, Timers, wait_until

if TYPE_CHECKING:
    from runbus.bus._spill import SpillFile
    from runbus.bus._subscribing import Subscribe
    from runbus.bus._trace import TraceWriter
    from runbus.bus._trace_reading import (
        TracedEvent,
        TracedHandler,
        causes,
        mentions,
        read_trace,
        read_traces,
    )

__all__ = [
    "APPLICATION",
    "Bus",
    "CutOff",
    "EventStream",
    "HandlerOutcome",
    "HandlerStatistics",
    "ItemStatistics",
    "LoopTimers",
    "Mailbox",
    "Overflow",
    "Owner",
    "Receipt",
    "SpillFile",
    "StreamStatistics",
    "Subscribe",
    "Subscription",
    "Tap",
    "TimerHandle",
    "Timers",
    "TraceWriter",
    "TracedEvent",
    "TracedHandler",
    "add_note",
    "box_for",
    "causes",
    "check_bus",
    "check_callable",
    "check_choice",
    "check_event_class",
    "check_flag",
    "check_number",
    "check_subscription",
    "check_type",
    "describe",
    "exc_info",
    "is_same",
    "is_torn_down",
    "mentions",
    "name_of",
    "plugin_of",
    "read_trace",
    "read_traces",
    "shown",
    "takes",
    "text_of",
    "wait_until",
]

# Most programs do without: some load the codec.
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "._spill": ("SpillFile",),
        "._subscribing": ("Subscribe",),
        "._trace": ("TraceWriter",),
        "._trace_reading": (
            "TracedEvent",
            "TracedHandler",
            "causes",
            "mentions",
            "read_trace",
            "read_traces",
        ),
    },
)
