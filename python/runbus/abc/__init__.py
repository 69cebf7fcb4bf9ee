"""The ports: what executors, plugins and others must offer, and may rely on."""

from runbus.abc.executor import Executor, JobRef, JobSpec, Observation, Request
from runbus.abc.packager import Contents, Entry, Origin, Packager
from runbus.abc.plugin import Plugin, PluginInfo, PluginState, Scope

__all__ = [
    "Contents",
    "Entry",
    "Executor",
    "JobRef",
    "JobSpec",
    "Observation",
    "Origin",
    "Packager",
    "Plugin",
    "PluginInfo",
    "PluginState",
    "Request",
    "Scope",
]
