"""Sets of jobs that are submitted and followed as one."""

from runbus.experiment._experiment import AsyncExperiment as AsyncExperiment
from runbus.experiment._job import Job as Job
from runbus.experiment._job import jobs_of_batch as jobs_of_batch
from runbus.experiment._job import sweep as sweep
from runbus.experiment._retry import jobs_to_retry as jobs_to_retry
from runbus.experiment._stored import StoredExperiment as StoredExperiment

__all__ = [
    "AsyncExperiment",
    "Job",
    "StoredExperiment",
    "jobs_of_batch",
    "jobs_to_retry",
    "sweep",
]
