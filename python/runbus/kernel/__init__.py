"""The microkernel: owns the bus, the plugins and the shutdown; knows nothing of what they do."""

from runbus.bus._trace_reading import TracedEvent, causes, mentions, read_trace
from runbus.kernel._health import Health, PluginHealth
from runbus.kernel._kernel import Kernel
from runbus.kernel._plan import Plan, PlanStep
from runbus.kernel._replay import Difference, Replay, replay
from runbus.kernel._scope import Scope

__all__ = [
    "Difference",
    "Health",
    "Kernel",
    "Plan",
    "PlanStep",
    "PluginHealth",
    "Replay",
    "Scope",
    "TracedEvent",
    "causes",
    "mentions",
    "read_trace",
    "replay",
]
