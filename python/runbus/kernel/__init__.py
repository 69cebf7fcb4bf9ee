"""The microkernel: owns the bus, the plugins and the shutdown; knows nothing of what they do."""

from typing import TYPE_CHECKING

from runbus._lazy import lazy_names
from runbus.kernel._health import Health, PluginHealth
from runbus.kernel._kernel import Kernel
from runbus.kernel._plan import Plan, PlanStep
from runbus.kernel._scope import Scope

if TYPE_CHECKING:
    from runbus.bus import TracedEvent, causes, mentions, read_trace, read_traces
    from runbus.kernel._replay import Difference, Replay, replay

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
    "read_traces",
    "replay",
]

# Most kernels are never traced, and what reads traces loads the codec.
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "._replay": ("Difference", "Replay", "replay"),
        "runbus.bus": ("TracedEvent", "causes", "mentions", "read_trace", "read_traces"),
    },
)
