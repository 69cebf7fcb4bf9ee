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
    from runbus.events.job import JobCancelRequested as JobCancelRequested
    from runbus.events.job import JobEnded as JobEnded
    from runbus.events.job import JobFact as JobFact
    from runbus.events.job import JobIntended as JobIntended
    from runbus.events.job import JobOverdue as JobOverdue
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
    from runbus.events.run import RunFinished as RunFinished
    from runbus.events.run import RunStarted as RunStarted

# A kernel needs none of them, and should not pay for them.
_HOMES = {
    "Bootstrap": "launch",
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
    "ResolveExecutor": "executor",
    "RunFinished": "run",
    "RunStarted": "run",
    "TaskStart": "launch",
}

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
