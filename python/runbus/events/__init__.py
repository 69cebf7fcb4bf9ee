"""Facts and requests: every event class of runbus, and the kinds to make one's own from."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
    from runbus.events.job import RETRY_CAUSES as RETRY_CAUSES
    from runbus.events.job import JobCancelRequested as JobCancelRequested
    from runbus.events.job import JobEnded as JobEnded
    from runbus.events.job import JobFact as JobFact
    from runbus.events.job import JobIntended as JobIntended
    from runbus.events.job import JobOverdue as JobOverdue
    from runbus.events.job import JobRetrying as JobRetrying
    from runbus.events.job import JobStarted as JobStarted
    from runbus.events.job import JobSubmitted as JobSubmitted
    from runbus.events.job import LogLines as LogLines
    from runbus.events.job import RetryCause as RetryCause
    from runbus.events.job import RetryPolicy as RetryPolicy
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

# A kernel needs none of them, and should not pay for them.
_HOMES = {
    "RETRY_CAUSES": "job",
    "RetryCause": "job",
    "RetryPolicy": "job",
    "ArtifactLogged": "run",
    "Bootstrap": "launch",
    "HistogramLogged": "run",
    "Image": "launch",
    "ImageTransform": "launch",
    "JobCancelRequested": "job",
    "JobEnded": "job",
    "JobFact": "job",
    "JobIntended": "job",
    "JobOverdue": "job",
    "JobRetrying": "job",
    "JobStarted": "job",
    "JobSubmitted": "job",
    "LogLines": "job",
    "MetricBatch": "metric",
    "MetricPoint": "metric",
    "MetricWindow": "metric",
    "MetricWindows": "metric",
    "NoteAdded": "run",
    "ParamsLogged": "run",
    "ResolveExecutor": "executor",
    "RunFinished": "run",
    "RunRecorded": "run",
    "RunStarted": "run",
    "TagsChanged": "run",
    "TaskStart": "launch",
    "TextLogged": "run",
}

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
    "JobOverdue",
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
    "TraceStopped",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'runbus.events' has no attribute {name!r}")
    import importlib

    value = globals()[name] = getattr(
        importlib.import_module(f"runbus.events.{_HOMES[name]}"), name
    )
    return value


def load_all() -> None:
    """Import every event of ours, so that each is known by its tag."""
    for name in _HOMES:
        __getattr__(name)
