"""Finding experiments and runs in a home, and asking questions about them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runbus._lazy import lazy_names

if TYPE_CHECKING:
    from runbus.catalog._batches import Batch as Batch
    from runbus.catalog._batches import batches as batches
    from runbus.catalog._lookup import JobStatus as JobStatus
    from runbus.catalog._lookup import find_experiment as find_experiment
    from runbus.catalog._lookup import find_job as find_job
    from runbus.catalog._lookup import job_statuses as job_statuses
    from runbus.catalog._lookup import not_removed as not_removed
    from runbus.catalog._query import query as query
    from runbus.catalog._remove import remove_run as remove_run
    from runbus.catalog._runs import UNREADABLE as UNREADABLE
    from runbus.catalog._runs import RunList as RunList
    from runbus.catalog._runs import RunRecord as RunRecord
    from runbus.catalog._runs import RunRow as RunRow
    from runbus.catalog._runs import find_run as find_run
    from runbus.catalog._runs import open_run as open_run
    from runbus.catalog._runs import rebuild_index as rebuild_index
    from runbus.catalog._runs import runs as runs
    from runbus.catalog._runs import survey as survey
    from runbus.catalog._select import Condition as Condition
    from runbus.catalog._select import check_field as check_field
    from runbus.catalog._select import field_of as field_of
    from runbus.catalog._select import ordered as ordered
    from runbus.catalog._select import selected as selected

__all__ = [
    "UNREADABLE",
    "Batch",
    "Condition",
    "JobStatus",
    "RunList",
    "RunRecord",
    "RunRow",
    "batches",
    "check_field",
    "field_of",
    "find_experiment",
    "find_job",
    "find_run",
    "job_statuses",
    "not_removed",
    "open_run",
    "ordered",
    "query",
    "rebuild_index",
    "remove_run",
    "runs",
    "selected",
    "survey",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "._batches": ("Batch", "batches"),
        "._lookup": ("JobStatus", "find_experiment", "find_job", "job_statuses", "not_removed"),
        "._query": ("query",),
        "._remove": ("remove_run",),
        "._runs": (
            "UNREADABLE",
            "RunList",
            "RunRecord",
            "RunRow",
            "find_run",
            "open_run",
            "rebuild_index",
            "runs",
            "survey",
        ),
        "._select": ("Condition", "check_field", "field_of", "ordered", "selected"),
    },
)
