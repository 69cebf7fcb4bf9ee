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
    from runbus.events.executor import ResolveExecutor as ResolveExecutor
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
    from runbus.events.launch import Image as Image
    from runbus.events.launch import ImageTransform as ImageTransform
    from runbus.events.launch import TaskStart as TaskStart
    from runbus.events.metric import MetricBatch as MetricBatch
    from runbus.events.metric import MetricPoint as MetricPoint
    from runbus.events.metric import MetricWindow as MetricWindow
    from runbus.events.metric import MetricWindows as MetricWindows
    from runbus.events.run import ArtifactLogged as ArtifactLogged
    from runbus.events.run import HistogramLogged as HistogramLogged
    from runbus.events.run import NoteAdded as NoteAdded
    from runbus.events.run import ParamsLogged as ParamsLogged
    from runbus.events.run import RunFinished as RunFinished
    from runbus.events.run import RunRecorded as RunRecorded
    from runbus.events.run import RunStarted as RunStarted
    from runbus.events.run import TagsChanged as TagsChanged
    from runbus.events.run import TextLogged as TextLogged
    from runbus.events.values import RETRY_CAUSES as RETRY_CAUSES
    from runbus.events.values import Resources as Resources
    from runbus.events.values import RetryCause as RetryCause
    from runbus.events.values import RetryPolicy as RetryPolicy
    from runbus.events.values import Timeouts as Timeouts

__all__ = [
    "RETRY_CAUSES",
    "Around",
    "ArtifactLogged",
    "Bootstrap",
    "Collector",
    "Decorate",
    "Event",
    "First",
    "HandlerFailed",
    "HistogramLogged",
    "Image",
    "ImageTransform",
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
    "KernelStarted",
    "KernelStopping",
    "Kind",
    "Lagged",
    "LogLines",
    "MetricBatch",
    "MetricPoint",
    "MetricWindow",
    "MetricWindows",
    "NoteAdded",
    "Notify",
    "ParamsLogged",
    "Pipeline",
    "PluginFailed",
    "PluginQuarantined",
    "PluginReleased",
    "PluginStarted",
    "PluginStopped",
    "ResolveExecutor",
    "Resources",
    "RetryCause",
    "RetryPolicy",
    "RunFinished",
    "RunRecorded",
    "RunStarted",
    "Sensitive",
    "Shutdown",
    "Stream",
    "TagsChanged",
    "TaskStart",
    "Teardown",
    "TextLogged",
    "Timeouts",
    "TraceStopped",
]

# A kernel needs none of them.
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        ".executor": ("ResolveExecutor",),
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
        ".launch": ("Bootstrap", "Image", "ImageTransform", "TaskStart"),
        ".metric": ("MetricBatch", "MetricPoint", "MetricWindow", "MetricWindows"),
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
        ".values": ("RETRY_CAUSES", "Resources", "RetryCause", "RetryPolicy", "Timeouts"),
    },
)


def load_all() -> None:
    """Import every event of ours, so that each is known by its tag."""
    for name in __all__:
        getattr(sys.modules[__name__], name)
