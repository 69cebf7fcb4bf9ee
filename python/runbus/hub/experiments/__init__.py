"""Types of experiments: what a hub trains, and what one's own type offers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runbus._lazy import lazy_names

if TYPE_CHECKING:
    from runbus.hub.experiments._fault_detection import (
        FaultDetectionExperiment as FaultDetectionExperiment,
    )
    from runbus.hub.experiments._state import load_state as load_state
    from runbus.hub.experiments._state import save_state as save_state
    from runbus.hub.experiments._time_series import TimeSeriesExperiment as TimeSeriesExperiment
    from runbus.hub.experiments._type import ExperimentType as ExperimentType

__all__ = [
    "ExperimentType",
    "FaultDetectionExperiment",
    "TimeSeriesExperiment",
    "load_state",
    "save_state",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "._fault_detection": ("FaultDetectionExperiment",),
        "._state": ("load_state", "save_state"),
        "._time_series": ("TimeSeriesExperiment",),
        "._type": ("ExperimentType",),
    },
)
