"""Sets of jobs that are submitted and followed as one."""

from runbus.experiment._again import jobs_asked as jobs_asked
from runbus.experiment._again import jobs_to_rerun as jobs_to_rerun
from runbus.experiment._again import jobs_to_retry as jobs_to_retry
from runbus.experiment._again import kept_code as kept_code
from runbus.experiment._as_text import as_batch as as_batch
from runbus.experiment._as_text import as_python as as_python
from runbus.experiment._batch import jobs_of_batch as jobs_of_batch
from runbus.experiment._checks import check_name as check_name
from runbus.experiment._checks import check_title as check_title
from runbus.experiment._copies import members_by_origin as members_by_origin
from runbus.experiment._experiment import ExperimentDraft as ExperimentDraft
from runbus.experiment._handle import JobHandle as JobHandle
from runbus.experiment._job import Job as Job
from runbus.experiment._stored import StoredExperiment as StoredExperiment
from runbus.experiment._stored import find_executors as find_executors
from runbus.experiment._sweep import Started as Started
from runbus.experiment._sweep import as_points as as_points
from runbus.experiment._sweep import started_before as started_before
from runbus.experiment._sweep import sweep as sweep
from runbus.experiment._sweep import swept as swept

__all__ = [
    "ExperimentDraft",
    "Job",
    "JobHandle",
    "Started",
    "StoredExperiment",
    "as_batch",
    "as_points",
    "as_python",
    "check_name",
    "check_title",
    "find_executors",
    "jobs_asked",
    "jobs_of_batch",
    "jobs_to_rerun",
    "jobs_to_retry",
    "kept_code",
    "members_by_origin",
    "started_before",
    "sweep",
    "swept",
]
