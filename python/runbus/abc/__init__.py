"""The ports: what executors, plugins and others must offer, and may rely on."""

from runbus.abc.executor import Executor, JobRef, JobSpec, Observation, Request
from runbus.abc.plugin import Plugin, PluginInfo, PluginState, Scope

__all__ = [
    "Executor",
    "JobRef",
    "JobSpec",
    "Observation",
    "Plugin",
    "PluginInfo",
    "PluginState",
    "Request",
    "Scope",
]
