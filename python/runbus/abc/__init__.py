"""The ports: what executors, plugins and others must offer, and may rely on.

Names are imported on use: a kernel needs the port of plugins only, and should not pay for the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runbus._lazy import lazy_names

if TYPE_CHECKING:
    from runbus.abc._grace import GRACE_S as GRACE_S
    from runbus.abc.executor import Capabilities as Capabilities
    from runbus.abc.executor import Executor as Executor
    from runbus.abc.executor import JobRef as JobRef
    from runbus.abc.executor import Limits as Limits
    from runbus.abc.executor import Observation as Observation
    from runbus.abc.executor import Phase as Phase
    from runbus.abc.job import JobSpec as JobSpec
    from runbus.abc.packager import Contents as Contents
    from runbus.abc.packager import Entry as Entry
    from runbus.abc.packager import Origin as Origin
    from runbus.abc.packager import Package as Package
    from runbus.abc.packager import PackagedFile as PackagedFile
    from runbus.abc.packager import PackageManifest as PackageManifest
    from runbus.abc.packager import Packager as Packager
    from runbus.abc.plugin import Plugin as Plugin
    from runbus.abc.plugin import PluginInfo as PluginInfo
    from runbus.abc.plugin import PluginState as PluginState
    from runbus.abc.plugin import Scope as Scope
    from runbus.abc.request import Body as Body
    from runbus.abc.request import JsonBody as JsonBody
    from runbus.abc.request import Request as Request
    from runbus.abc.tunnel import Completed as Completed
    from runbus.abc.tunnel import Forward as Forward
    from runbus.abc.tunnel import Tunnel as Tunnel
    from runbus.events import Resources as Resources
    from runbus.events import RetryPolicy as RetryPolicy
    from runbus.events import Timeouts as Timeouts

__all__ = [
    "GRACE_S",
    "Body",
    "Capabilities",
    "Completed",
    "Contents",
    "Entry",
    "Executor",
    "Forward",
    "JobRef",
    "JobSpec",
    "JsonBody",
    "Limits",
    "Observation",
    "Origin",
    "Package",
    "PackageManifest",
    "PackagedFile",
    "Packager",
    "Phase",
    "Plugin",
    "PluginInfo",
    "PluginState",
    "Request",
    "Resources",
    "RetryPolicy",
    "Scope",
    "Timeouts",
    "Tunnel",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "._grace": ("GRACE_S",),
        ".executor": (
            "Capabilities",
            "Executor",
            "JobRef",
            "Limits",
            "Observation",
            "Phase",
        ),
        ".job": ("JobSpec",),
        ".packager": (
            "Contents",
            "Entry",
            "Origin",
            "Package",
            "PackageManifest",
            "PackagedFile",
            "Packager",
        ),
        ".plugin": ("Plugin", "PluginInfo", "PluginState", "Scope"),
        ".request": ("Body", "JsonBody", "Request"),
        ".tunnel": ("Completed", "Forward", "Tunnel"),
        "..events": ("Resources", "RetryPolicy", "Timeouts"),
    },
)
