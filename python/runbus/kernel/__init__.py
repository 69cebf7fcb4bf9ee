"""The microkernel: owns the bus, the plugins and the shutdown; knows nothing of what they do."""

from typing import TYPE_CHECKING

from runbus.kernel._health import Health, PluginHealth
from runbus.kernel._kernel import Kernel
from runbus.kernel._plan import Plan, PlanStep
from runbus.kernel._scope import Scope

if TYPE_CHECKING:
    from runbus.bus._trace_reading import TracedEvent, causes, mentions, read_trace
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
    "replay",
]

# Most kernels are never traced, and what reads traces loads the codec.
_TRACES = {
    "Difference": "kernel._replay",
    "Replay": "kernel._replay",
    "TracedEvent": "bus._trace_reading",
    "causes": "bus._trace_reading",
    "mentions": "bus._trace_reading",
    "read_trace": "bus._trace_reading",
    "replay": "kernel._replay",
}


def __getattr__(name: str) -> object:
    if name not in _TRACES:
        raise AttributeError(f"module 'runbus.kernel' has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(f"runbus.{_TRACES[name]}"), name)
    return value
