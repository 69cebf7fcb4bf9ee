"""Tools to test plugins and kernels with: real parts, no mocks."""

from runbus.testing._clock import FakeClock
from runbus.testing._executor import FakeExecutor
from runbus.testing._faults import fail_next
from runbus.testing._idle import idle
from runbus.testing._leaks import assert_no_leaks, leaks
from runbus.testing._plugin import FakePlugin
from runbus.testing._record import Entry, Recording, record

__all__ = [
    "Entry",
    "FakeClock",
    "FakeExecutor",
    "FakePlugin",
    "Recording",
    "assert_no_leaks",
    "fail_next",
    "idle",
    "leaks",
    "record",
]
