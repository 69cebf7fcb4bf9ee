"""The ports: what executors, plugins and others must offer, and may rely on.

Names are imported on use: a kernel needs the port of plugins only, and should not pay for the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runbus._lazy import lazy_names

if TYPE_CHECKING:
    from runbus.abc._grace import GRACE_S as GRACE_S
    from runbus.abc._made import Portable as Portable
    from runbus.abc.collector import Collector as Collector
    from runbus.abc.executor import UNMET as UNMET
    from runbus.abc.executor import Capabilities as Capabilities
    from runbus.abc.executor import Executor as Executor
    from runbus.abc.executor import JobRef as JobRef
    from runbus.abc.executor import Limits as Limits
    from runbus.abc.executor import Observation as Observation
    from runbus.abc.executor import Phase as Phase
    from runbus.abc.files import FilePatterns as FilePatterns
    from runbus.abc.files import FoundFile as FoundFile
    from runbus.abc.files import JobFiles as JobFiles
    from runbus.abc.files import pattern_problem as pattern_problem
    from runbus.abc.job import After as After
    from runbus.abc.job import Copy as Copy
    from runbus.abc.job import JobSpec as JobSpec
    from runbus.abc.packager import Contents as Contents
    from runbus.abc.packager import Entry as Entry
    from runbus.abc.packager import ImageRecipe as ImageRecipe
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
    from runbus.abc.service import DataStreamPlugin as DataStreamPlugin
    from runbus.abc.service import Delivery as Delivery
    from runbus.abc.service import MLOpsPlugin as MLOpsPlugin
    from runbus.abc.service import ServicePlugin as ServicePlugin
    from runbus.abc.service import TaskQueuePlugin as TaskQueuePlugin
    from runbus.abc.sink import MetricSink as MetricSink
    from runbus.abc.tunnel import Completed as Completed
    from runbus.abc.tunnel import Forward as Forward
    from runbus.abc.tunnel import Tunnel as Tunnel
    from runbus.events import ArtifactLimits as ArtifactLimits
    from runbus.events import Dependency as Dependency
    from runbus.events import EarlyStop as EarlyStop
    from runbus.events import Resources as Resources
    from runbus.events import RetryPolicy as RetryPolicy
    from runbus.events import Timeouts as Timeouts

__all__ = [
    "GRACE_S",
    "UNMET",
    "After",
    "ArtifactLimits",
    "Body",
    "Capabilities",
    "Collector",
    "Completed",
    "Contents",
    "Copy",
    "DataStreamPlugin",
    "Delivery",
    "Dependency",
    "EarlyStop",
    "Entry",
    "Executor",
    "FilePatterns",
    "Forward",
    "FoundFile",
    "ImageRecipe",
    "JobFiles",
    "JobRef",
    "JobSpec",
    "JsonBody",
    "Limits",
    "MLOpsPlugin",
    "MetricSink",
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
    "Portable",
    "Request",
    "Resources",
    "RetryPolicy",
    "Scope",
    "ServicePlugin",
    "TaskQueuePlugin",
    "Timeouts",
    "Tunnel",
    "pattern_problem",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "._grace": ("GRACE_S",),
        "._made": ("Portable",),
        ".collector": ("Collector",),
        ".executor": (
            "UNMET",
            "Capabilities",
            "Executor",
            "JobRef",
            "Limits",
            "Observation",
            "Phase",
        ),
        ".files": ("FilePatterns", "FoundFile", "JobFiles", "pattern_problem"),
        ".job": ("After", "Copy", "JobSpec"),
        ".packager": (
            "Contents",
            "Entry",
            "ImageRecipe",
            "Origin",
            "Package",
            "PackageManifest",
            "PackagedFile",
            "Packager",
        ),
        ".plugin": ("Plugin", "PluginInfo", "PluginState", "Scope"),
        ".request": ("Body", "JsonBody", "Request"),
        ".service": (
            "DataStreamPlugin",
            "Delivery",
            "MLOpsPlugin",
            "ServicePlugin",
            "TaskQueuePlugin",
        ),
        ".sink": ("MetricSink",),
        ".tunnel": ("Completed", "Forward", "Tunnel"),
        "..events": (
            "ArtifactLimits",
            "Dependency",
            "EarlyStop",
            "Resources",
            "RetryPolicy",
            "Timeouts",
        ),
    },
)
