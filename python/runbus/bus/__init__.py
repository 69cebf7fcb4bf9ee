"""Dispatch of events by kind."""

from typing import TYPE_CHECKING

from runbus.bus._bus import Bus
from runbus.bus._event_stream import EventStream
from runbus.bus._mailbox import ItemStatistics, StreamStatistics
from runbus.bus._overflow import Overflow
from runbus.bus._receipt import Receipt
from runbus.bus._subscription import HandlerStatistics, Subscription
from runbus.bus._taps import Tap
from runbus.bus._timers import LoopTimers, TimerHandle, Timers

if TYPE_CHECKING:
    from runbus.bus._spill import SpillFile

__all__ = [
    "Bus",
    "EventStream",
    "HandlerStatistics",
    "ItemStatistics",
    "LoopTimers",
    "Overflow",
    "Receipt",
    "SpillFile",
    "StreamStatistics",
    "Subscription",
    "Tap",
    "TimerHandle",
    "Timers",
]


def __getattr__(name: str) -> object:
    if name != "SpillFile":
        raise AttributeError(f"module 'runbus.bus' has no attribute {name!r}")
    from runbus.bus._spill import SpillFile  # loads the codec, which most programs do without

    return SpillFile
