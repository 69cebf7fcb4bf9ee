"""Dispatch of events by kind."""

from typing import TYPE_CHECKING

from runbus._lazy import lazy_names
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

# Loads the codec, which most programs do without.
__getattr__, __dir__ = lazy_names(__name__, {"._spill": ("SpillFile",)})
