"""ExperimentHub's names: `from runbus.compat.experimenthub import ExperimentHub`.

What is different, and why, is said in docs/concepts/hub.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runbus.errors import UsageError
from runbus.hub import ExperimentHub as _ExperimentHub

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runbus.hub import DataStreamPlugin, MLOpsPlugin, TaskQueuePlugin

__all__ = ["ExperimentHub"]

_MOVED = {
    "framework.TimeSeriesAnalysis:TimeSeriesExperiment": (
        "runbus.hub.experiments:TimeSeriesExperiment"
    ),
    "framework.FaultDetection:FaultDetectionExperiment": (
        "runbus.hub.experiments:FaultDetectionExperiment"
    ),
}
"""The types that its file names, where there is no package `framework`."""


class ExperimentHub(_ExperimentHub):
    """`runbus.hub.ExperimentHub`, which takes its services by the names of their kinds.

    Args:
        mlops_plugin: Tracks runs; none if None.
        datastream_plugin: Where data comes from; none if None.
        taskqueue_plugin: Runs tasks; none if None.
        **settings: See `runbus.hub.ExperimentHub`.

    Raises:
        UsageError: The address of a server is given instead of the service that talks to it.
    """

    def __init__(
        self,
        *,
        mlops_plugin: MLOpsPlugin | None = None,
        datastream_plugin: DataStreamPlugin | None = None,
        taskqueue_plugin: TaskQueuePlugin | None = None,
        **settings: Any,
    ) -> None:
        for name in settings:
            if name.startswith(("mlflow_", "rabbit_", "celery_")):
                told = "make the service that talks to it, and give that"
                raise UsageError(f"{name} is a setting of a service: {told}")
        given = (mlops_plugin, datastream_plugin, taskqueue_plugin)
        services = [*settings.pop("services", ()), *(one for one in given if one is not None)]
        super().__init__(services, **settings)

    @classmethod
    def _moved(cls) -> Mapping[str, str]:
        return _MOVED
