"""Facts and requests: every event class of runbus, and the kinds to make one's own from."""

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
from runbus.events.executor import ResolveExecutor
from runbus.events.job import (
    JobCancelRequested,
    JobEnded,
    JobFact,
    JobIntended,
    JobRetrying,
    JobStarted,
    JobSubmitted,
    LogLines,
)
from runbus.events.kernel import KernelStarted, KernelStopping, Shutdown, TraceStopped
from runbus.events.launch import Bootstrap, Image, ImageTransform, TaskStart
from runbus.events.metric import MetricBatch, MetricPoint
from runbus.events.plugin import (
    HandlerFailed,
    PluginFailed,
    PluginQuarantined,
    PluginReleased,
    PluginStarted,
    PluginStopped,
)
from runbus.events.run import RunFinished, RunStarted

__all__ = [
    "Around",
    "Bootstrap",
    "Collector",
    "Decorate",
    "Event",
    "First",
    "HandlerFailed",
    "Image",
    "ImageTransform",
    "JobCancelRequested",
    "JobEnded",
    "JobFact",
    "JobIntended",
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
    "Notify",
    "Pipeline",
    "PluginFailed",
    "PluginQuarantined",
    "PluginReleased",
    "PluginStarted",
    "PluginStopped",
    "ResolveExecutor",
    "RunFinished",
    "RunStarted",
    "Sensitive",
    "Shutdown",
    "Stream",
    "TaskStart",
    "Teardown",
    "TraceStopped",
]
