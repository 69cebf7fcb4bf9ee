"""Finding experiments and runs in a home, and asking questions about them."""

from runbus.catalog._index import rebuild_index as rebuild_index
from runbus.catalog._lookup import JobStatus as JobStatus
from runbus.catalog._lookup import find_experiment as find_experiment
from runbus.catalog._lookup import find_job as find_job
from runbus.catalog._lookup import job_statuses as job_statuses
from runbus.catalog._query import query as query
from runbus.catalog._runs import UNREADABLE as UNREADABLE
from runbus.catalog._runs import RunRecord as RunRecord
from runbus.catalog._runs import RunRow as RunRow
from runbus.catalog._runs import find_run as find_run
from runbus.catalog._runs import open_run as open_run
from runbus.catalog._runs import runs as runs
from runbus.catalog._runs import survey as survey

__all__ = [
    "UNREADABLE",
    "JobStatus",
    "RunRecord",
    "RunRow",
    "find_experiment",
    "find_job",
    "find_run",
    "job_statuses",
    "open_run",
    "query",
    "rebuild_index",
    "runs",
    "survey",
]
