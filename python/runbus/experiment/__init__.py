"""Sets of jobs that are submitted and followed as one, and the runs that came of them."""

from runbus.experiment._asked import Asked as Asked
from runbus.experiment._catalog import RunRecord as RunRecord
from runbus.experiment._catalog import find_run as find_run
from runbus.experiment._catalog import open_run as open_run
from runbus.experiment._catalog import runs as runs
from runbus.experiment._experiment import AsyncExperiment as AsyncExperiment
from runbus.experiment._index import rebuild_index as rebuild_index
from runbus.experiment._job import Job as Job
from runbus.experiment._job import jobs_of_batch as jobs_of_batch
from runbus.experiment._job import sweep as sweep
from runbus.experiment._lookup import JobStatus as JobStatus
from runbus.experiment._lookup import find_experiment as find_experiment
from runbus.experiment._lookup import find_job as find_job
from runbus.experiment._lookup import job_statuses as job_statuses
from runbus.experiment._lookup import jobs_to_retry as jobs_to_retry
from runbus.experiment._query import query as query

__all__ = [
    "Asked",
    "AsyncExperiment",
    "Job",
    "JobStatus",
    "RunRecord",
    "find_experiment",
    "find_job",
    "find_run",
    "job_statuses",
    "jobs_of_batch",
    "jobs_to_retry",
    "open_run",
    "query",
    "rebuild_index",
    "runs",
    "sweep",
]
