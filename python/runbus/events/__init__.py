"""Facts and requests: every event class of runbus, and the kinds to make one's own from."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from runbus._lazy import lazy_names
from runbus.events._event import (
    Around,
    Collector,
    Decorate,
    Event,
    First,
    Kind,
    Lagged,
    Notify,
    Pipeline,
    Sensitive,
    Stream,
    Teardown,
)
from runbus.events._event import descendants as descendants
from runbus.events.kernel import (
    KernelStarted,
    KernelStopping,
    Shutdown,
    TraceStopped,
)
from runbus.events.plugin import (
    HandlerFailed,
    PluginFailed,
    PluginQuarantined,
    PluginReleased,
    PluginStarted,
    PluginStopped,
)

if TYPE_CHECKING:
    from runbus.events.cluster import Accelerator as Accelerator
    from runbus.events.cluster import Cluster as Cluster
    from runbus.events.cluster import ClusterSpec as ClusterSpec
    from runbus.events.cluster import InstanceInfo as InstanceInfo
    from runbus.events.executor import ResolveExecutor as ResolveExecutor
    from runbus.events.image import Image as Image
    from runbus.events.image import PipIndex as PipIndex
    from runbus.events.job import JobCancelRequested as JobCancelRequested
    from runbus.events.job import JobEnded as JobEnded
    from runbus.events.job import JobFact as JobFact
    from runbus.events.job import JobIntended as JobIntended
    from runbus.events.job import JobObserved as JobObserved
    from runbus.events.job import JobOverdue as JobOverdue
    from runbus.events.job import JobRequeued as JobRequeued
    from runbus.events.job import JobRetrying as JobRetrying
    from runbus.events.job import JobStarted as JobStarted
    from runbus.events.job import JobSubmitted as JobSubmitted
    from runbus.events.job import LogLines as LogLines
    from runbus.events.launch import Bootstrap as Bootstrap
    from runbus.events.launch import ImageTransform as ImageTransform
    from runbus.events.launch import JobDraft as JobDraft
    from runbus.events.launch import JobTransform as JobTransform
    from runbus.events.launch import TaskCall as TaskCall
    from runbus.events.launch import TaskStart as TaskStart
    from runbus.events.launch import WorkerLife as WorkerLife
    from runbus.events.machine import DiskNearlyFull as DiskNearlyFull
    from runbus.events.machine import GpuLost as GpuLost
    from runbus.events.machine import MachineAlert as MachineAlert
    from runbus.events.machine import MemoryNearlyFull as MemoryNearlyFull
    from runbus.events.metric import MetricBatch as MetricBatch
    from runbus.events.metric import MetricPoint as MetricPoint
    from runbus.events.metric import MetricsProcessed as MetricsProcessed
    from runbus.events.metric import MetricWindow as MetricWindow
    from runbus.events.metric import MetricWindows as MetricWindows
    from runbus.events.metric import ResourceSample as ResourceSample
    from runbus.events.metric import SinkOpening as SinkOpening
    from runbus.events.run import ArtifactLogged as ArtifactLogged
    from runbus.events.run import HistogramLogged as HistogramLogged
    from runbus.events.run import NoteAdded as NoteAdded
    from runbus.events.run import ParamsLogged as ParamsLogged
    from runbus.events.run import RunFinished as RunFinished
    from runbus.events.run import RunRecorded as RunRecorded
    from runbus.events.run import RunStarted as RunStarted
    from runbus.events.run import TagsChanged as TagsChanged
    from runbus.events.run import TextLogged as TextLogged
    from runbus.events.values import CONDITIONS as CONDITIONS
    from runbus.events.values import RETRY_CAUSES as RETRY_CAUSES
    from runbus.events.values import ArtifactLimits as ArtifactLimits
    from runbus.events.values import Condition as Condition
    from runbus.events.values import Dependency as Dependency
    from runbus.events.values import EarlyStop as EarlyStop
    from runbus.events.values import Resources as Resources
    from runbus.events.values import RetryCause as RetryCause
    from runbus.events.values import RetryPolicy as RetryPolicy
    from runbus.events.values import Timeouts as Timeouts

__all__ = [
    "CONDITIONS",
    "RETRY_CAUSES",
    "Accelerator",
    "Around",
    "ArtifactLimits",
    "ArtifactLogged",
    "Bootstrap",
    "Cluster",
    "ClusterSpec",
    "Collector",
    "Condition",
    "Decorate",
    "Dependency",
    "DiskNearlyFull",
    "EarlyStop",
    "Event",
    "First",
    "GpuLost",
    "HandlerFailed",
    "HistogramLogged",
    "Image",
    "ImageTransform",
    "InstanceInfo",
    "JobCancelRequested",
    "JobDraft",
    "JobEnded",
    "JobFact",
    "JobIntended",
    "JobObserved",
    "JobOverdue",
    "JobRequeued",
    "JobRetrying",
    "JobStarted",
    "JobSubmitted",
    "JobTransform",
    "KernelStarted",
    "KernelStopping",
    "Kind",
    "Lagged",
    "LogLines",
    "MachineAlert",
    "MemoryNearlyFull",
    "MetricBatch",
    "MetricPoint",
    "MetricWindow",
    "MetricWindows",
    "MetricsProcessed",
    "NoteAdded",
    "Notify",
    "ParamsLogged",
    "PipIndex",
    "Pipeline",
    "PluginFailed",
    "PluginQuarantined",
    "PluginReleased",
    "PluginStarted",
    "PluginStopped",
    "ResolveExecutor",
    "ResourceSample",
    "Resources",
    "RetryCause",
    "RetryPolicy",
    "RunFinished",
    "RunRecorded",
    "RunStarted",
    "Sensitive",
    "Shutdown",
    "SinkOpening",
    "Stream",
    "TagsChanged",
    "TaskCall",
    "TaskStart",
    "Teardown",
    "TextLogged",
    "Timeouts",
    "TraceStopped",
    "WorkerLife",
]

# A kernel needs none of them.
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        ".cluster": ("Accelerator", "Cluster", "ClusterSpec", "InstanceInfo"),
        ".executor": ("ResolveExecutor",),
        ".image": ("Image", "PipIndex"),
        ".job": (
            "JobCancelRequested",
            "JobEnded",
            "JobFact",
            "JobIntended",
            "JobObserved",
            "JobOverdue",
            "JobRequeued",
            "JobRetrying",
            "JobStarted",
            "JobSubmitted",
            "LogLines",
        ),
        ".launch": (
            "Bootstrap",
            "ImageTransform",
            "JobDraft",
            "JobTransform",
            "TaskCall",
            "TaskStart",
            "WorkerLife",
        ),
        ".machine": ("DiskNearlyFull", "GpuLost", "MachineAlert", "MemoryNearlyFull"),
        ".metric": (
            "MetricBatch",
            "MetricPoint",
            "MetricWindow",
            "MetricWindows",
            "MetricsProcessed",
            "ResourceSample",
            "SinkOpening",
        ),
        ".run": (
            "ArtifactLogged",
            "HistogramLogged",
            "NoteAdded",
            "ParamsLogged",
            "RunFinished",
            "RunRecorded",
            "RunStarted",
            "TagsChanged",
            "TextLogged",
        ),
        ".values": (
            "CONDITIONS",
            "RETRY_CAUSES",
            "Condition",
            "Dependency",
            "ArtifactLimits",
            "EarlyStop",
            "Resources",
            "RetryCause",
            "RetryPolicy",
            "Timeouts",
        ),
    },
)


def load_all() -> None:
    """Import every event of ours, so that each is known by its tag."""
    for name in __all__:
        getattr(sys.modules[__name__], name)
