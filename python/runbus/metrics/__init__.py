"""Logging, and reading what was logged.

What a training script needs is imported at once; what only readers need, on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runbus._core import BUILD_PROFILE as BUILD_PROFILE
from runbus._core import __version__ as __version__
from runbus._lazy import lazy_names
from runbus.metrics._ends import CANCELLED as CANCELLED
from runbus.metrics._ends import FAILED as FAILED
from runbus.metrics._ends import SUCCEEDED as SUCCEEDED
from runbus.metrics._ends import End as End
from runbus.metrics._environment import ENVIRONMENT as ENVIRONMENT
from runbus.metrics._environment import ENVIRONMENT_BYTES as ENVIRONMENT_BYTES
from runbus.metrics._environment import read_environment as read_environment
from runbus.metrics._folder import has_metrics as has_metrics
from runbus.metrics._folder import is_sampler as is_sampler
from runbus.metrics._folder import make_run_folder as make_run_folder
from runbus.metrics._info import RunInfo as RunInfo
from runbus.metrics._origin import Origin as Origin
from runbus.metrics._progress import DONE as DONE
from runbus.metrics._progress import PROGRESS as PROGRESS
from runbus.metrics._progress import TOTAL as TOTAL
from runbus.metrics._run import Run as Run
from runbus.metrics._run import init as init
from runbus.metrics._system import SAMPLES as SAMPLES
from runbus.metrics._system import GetterCost as GetterCost
from runbus.metrics._system import System as System
from runbus.metrics._system import getter_costs as getter_costs

if TYPE_CHECKING:
    from runbus.metrics._collected import Collected as Collected
    from runbus.metrics._collected import Collection as Collection
    from runbus.metrics._collected import StagedFile as StagedFile
    from runbus.metrics._histograms import Histogram as Histogram
    from runbus.metrics._incoming import Incoming as Incoming
    from runbus.metrics._kept import Artifact as Artifact
    from runbus.metrics._kept import Text as Text
    from runbus.metrics._machine import HeavyProcess as HeavyProcess
    from runbus.metrics._machine import LocalMachine as LocalMachine
    from runbus.metrics._params import Note as Note
    from runbus.metrics._params import ParamValue as ParamValue
    from runbus.metrics._point_stream import PointStream as PointStream
    from runbus.metrics._preempt import on_preempt as on_preempt
    from runbus.metrics._record_tail import RecordTail as RecordTail
    from runbus.metrics._series import Series as Series
    from runbus.metrics._series import SeriesSummary as SeriesSummary
    from runbus.metrics._stored import StoredRun as StoredRun
    from runbus.metrics._system_collector import SystemCollector as SystemCollector
    from runbus.metrics._table import MetricTable as MetricTable
    from runbus.metrics._tail import RunTail as RunTail
    from runbus.metrics._tail import RunTailer as RunTailer

__all__ = [
    "BUILD_PROFILE",
    "CANCELLED",
    "DONE",
    "ENVIRONMENT",
    "ENVIRONMENT_BYTES",
    "FAILED",
    "PROGRESS",
    "SAMPLES",
    "SUCCEEDED",
    "TOTAL",
    "Artifact",
    "Collected",
    "Collection",
    "End",
    "GetterCost",
    "HeavyProcess",
    "Histogram",
    "Incoming",
    "LocalMachine",
    "MetricTable",
    "Note",
    "Origin",
    "ParamValue",
    "PointStream",
    "RecordTail",
    "Run",
    "RunInfo",
    "RunTail",
    "RunTailer",
    "Series",
    "SeriesSummary",
    "StagedFile",
    "StoredRun",
    "System",
    "SystemCollector",
    "Text",
    "__version__",
    "getter_costs",
    "has_metrics",
    "init",
    "is_sampler",
    "make_run_folder",
    "on_preempt",
    "read_environment",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "._collected": ("Collected", "Collection", "StagedFile"),
        "._histograms": ("Histogram",),
        "._incoming": ("Incoming",),
        "._kept": ("Artifact", "Text"),
        "._machine": ("HeavyProcess", "LocalMachine"),
        "._params": ("Note", "ParamValue"),
        "._point_stream": ("PointStream",),
        "._preempt": ("on_preempt",),
        "._record_tail": ("RecordTail",),
        "._series": ("Series", "SeriesSummary"),
        "._stored": ("StoredRun",),
        "._system_collector": ("SystemCollector",),
        "._table": ("MetricTable",),
        "._tail": ("RunTail", "RunTailer"),
    },
)
