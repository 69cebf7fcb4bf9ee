"""The ports: what executors, plugins and others must offer, and may rely on."""

from runbus.abc.executor import Executor, JobRef, JobSpec, Observation, Request
from runbus.abc.packager import (
    Contents,
    Entry,
    Origin,
    Package,
    PackagedFile,
    PackageManifest,
    Packager,
)
from runbus.abc.plugin import Plugin, PluginInfo, PluginState, Scope
from runbus.abc.tunnel import Completed, Forward, Tunnel

__all__ = [
    "Completed",
    "Contents",
    "Entry",
    "Executor",
    "Forward",
    "JobRef",
    "JobSpec",
    "Observation",
    "Origin",
    "Package",
    "PackageManifest",
    "PackagedFile",
    "Packager",
    "Plugin",
    "PluginInfo",
    "PluginState",
    "Request",
    "Scope",
    "Tunnel",
]
