"""What Tracelet has in `tracelet.core.plugins`, over ours: see docs/concepts/managed-plugins.md."""

from __future__ import annotations

from enum import IntEnum

from runbus.abc import PluginState as _State
from runbus.hub import ManagedInfo as PluginInfo
from runbus.hub import PluginManager
from runbus.plugins import (
    BackendPlugin,
    CollectorPlugin,
    Metric,
    MetricType,
    PluginBase,
    PluginMetadata,
    PluginType,
    ProcessorPlugin,
    RoutingRule,
)

__all__ = [
    "BackendPlugin",
    "CollectorPlugin",
    "Metric",
    "MetricType",
    "PluginBase",
    "PluginInfo",
    "PluginManager",
    "PluginMetadata",
    "PluginState",
    "PluginType",
    "ProcessorPlugin",
    "RoutingRule",
]


class PluginState(IntEnum):
    """Tracelet's states, as a view of ours: `info.state == PluginState.ACTIVE` compares with them.

    Their numbers are no order: ask whether a state is one, not whether it is at least one.
    """

    DISCOVERED = 1
    LOADED = 2
    VALIDATED = 3
    INITIALIZED = 4
    ACTIVE = 5
    ERROR = 6
    STOPPED = 7

    @classmethod
    def of(cls, state: _State) -> PluginState:
        """Return Tracelet's name for a state."""
        return _VIEW[state]

    def __eq__(self, other: object) -> bool:
        if isinstance(other, _State):
            return self is _VIEW[other]
        return int.__eq__(self, other) if isinstance(other, int) else NotImplemented

    def __ne__(self, other: object) -> bool:  # int has one of its own
        return not self == other

    def __hash__(self) -> int:
        return int.__hash__(self)


_VIEW = {
    _State.DISCOVERED: PluginState.DISCOVERED,
    _State.LOADED: PluginState.LOADED,
    _State.VALIDATED: PluginState.VALIDATED,
    _State.INITIALIZED: PluginState.INITIALIZED,
    _State.STARTING: PluginState.INITIALIZED,
    _State.STARTED: PluginState.ACTIVE,
    _State.DEGRADED: PluginState.ACTIVE,
    _State.QUARANTINED: PluginState.ERROR,
    _State.FAILED: PluginState.ERROR,
    _State.STOPPED: PluginState.STOPPED,
}
