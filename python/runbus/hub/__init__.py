"""The hub: services, experiments and managed plugins, by name and configured by files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runbus._lazy import lazy_names

if TYPE_CHECKING:
    from runbus.abc import DataStreamPlugin as DataStreamPlugin
    from runbus.abc import Delivery as Delivery
    from runbus.abc import MLOpsPlugin as MLOpsPlugin
    from runbus.abc import ServicePlugin as ServicePlugin
    from runbus.abc import TaskQueuePlugin as TaskQueuePlugin
    from runbus.hub._async_manager import AsyncPluginManager as AsyncPluginManager
    from runbus.hub._config import HubConfig as HubConfig
    from runbus.hub._config import ServiceEntry as ServiceEntry
    from runbus.hub._config import TypeEntry as TypeEntry
    from runbus.hub._config import read_hub_config as read_hub_config
    from runbus.hub._hub import ExperimentHub as ExperimentHub
    from runbus.hub._lives import ManagedInfo as ManagedInfo
    from runbus.hub._local_queue import LocalQueue as LocalQueue
    from runbus.hub._manager import PluginManager as PluginManager
    from runbus.hub._memory import MemoryStream as MemoryStream
    from runbus.hub._mlops import RunbusMLOps as RunbusMLOps
    from runbus.hub._mlops import TrackedExperiment as TrackedExperiment

__all__ = [
    "AsyncPluginManager",
    "DataStreamPlugin",
    "Delivery",
    "ExperimentHub",
    "HubConfig",
    "LocalQueue",
    "MLOpsPlugin",
    "ManagedInfo",
    "MemoryStream",
    "PluginManager",
    "RunbusMLOps",
    "ServiceEntry",
    "ServicePlugin",
    "TaskQueuePlugin",
    "TrackedExperiment",
    "TypeEntry",
    "read_hub_config",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "..abc": (
            "DataStreamPlugin",
            "Delivery",
            "MLOpsPlugin",
            "ServicePlugin",
            "TaskQueuePlugin",
        ),
        "._config": ("HubConfig", "ServiceEntry", "TypeEntry", "read_hub_config"),
        "._hub": ("ExperimentHub",),
        "._local_queue": ("LocalQueue",),
        "._memory": ("MemoryStream",),
        "._mlops": ("RunbusMLOps", "TrackedExperiment"),
        "._async_manager": ("AsyncPluginManager",),
        "._lives": ("ManagedInfo",),
        "._manager": ("PluginManager",),
    },
)
