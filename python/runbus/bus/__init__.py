"""Dispatch of events by kind."""

from runbus.bus._bus import Bus
from runbus.bus._mailbox import StreamStatistics
from runbus.bus._overflow import Overflow
from runbus.bus._receipt import Receipt
from runbus.bus._state import Tap
from runbus.bus._streams import EventStream
from runbus.bus._subscription import HandlerStatistics, Subscription
from runbus.bus._timers import LoopTimers, TimerHandle, Timers

__all__ = [
    "Bus",
    "EventStream",
    "HandlerStatistics",
    "LoopTimers",
    "Overflow",
    "Receipt",
    "StreamStatistics",
    "Subscription",
    "Tap",
    "TimerHandle",
    "Timers",
]
