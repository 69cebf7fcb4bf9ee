"""Finding experiments and runs in a home, and asking questions about them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runbus._lazy import lazy_names

if TYPE_CHECKING:
    from runbus.catalog._batches import Batch as Batch
    from runbus.catalog._batches import batches as batches
    from runbus.catalog._best import Best as Best
    from runbus.catalog._best import best as best
    from runbus.catalog._best import best_of as best_of
    from runbus.catalog._best import check_goal as check_goal
    from runbus.catalog._export import Format as Format
    from runbus.catalog._export import export as export
    from runbus.catalog._fields import Fields as Fields
    from runbus.catalog._folded import SweepRow as SweepRow
    from runbus.catalog._folded import folded as folded
    from runbus.catalog._leftovers import Leftover as Leftover
    from runbus.catalog._leftovers import leftovers as leftovers
    from runbus.catalog._leftovers import remove_leftover as remove_leftover
    from runbus.catalog._listings import Sweep as Sweep
    from runbus.catalog._looks import rebuild_index as rebuild_index
    from runbus.catalog._lookup import JobStatus as JobStatus
    from runbus.catalog._lookup import find_experiment as find_experiment
    from runbus.catalog._lookup import find_job as find_job
    from runbus.catalog._lookup import find_sweep as find_sweep
    from runbus.catalog._lookup import job_statuses as job_statuses
    from runbus.catalog._lookup import not_removed as not_removed
    from runbus.catalog._query import query as query
    from runbus.catalog._remove import Trashed as Trashed
    from runbus.catalog._remove import find_trashed as find_trashed
    from runbus.catalog._remove import purge_run as purge_run
    from runbus.catalog._remove import remove_run as remove_run
    from runbus.catalog._remove import restore_run as restore_run
    from runbus.catalog._remove import trashed as trashed
    from runbus.catalog._returned import result_of as result_of
    from runbus.catalog._rows import UNREADABLE as UNREADABLE
    from runbus.catalog._rows import RunRow as RunRow
    from runbus.catalog._runs import RunList as RunList
    from runbus.catalog._runs import RunRecord as RunRecord
    from runbus.catalog._runs import find_run as find_run
    from runbus.catalog._runs import open_run as open_run
    from runbus.catalog._runs import runs as runs
    from runbus.catalog._select import Condition as Condition
    from runbus.catalog._select import ordered as ordered
    from runbus.catalog._select import selected as selected
    from runbus.catalog._survey import survey as survey

__all__ = [
    "UNREADABLE",
    "Batch",
    "Best",
    "Condition",
    "Fields",
    "Format",
    "JobStatus",
    "RunList",
    "RunRecord",
    "RunRow",
    "Sweep",
    "SweepRow",
    "Trashed",
    "batches",
    "best",
    "best_of",
    "check_goal",
    "find_experiment",
    "find_job",
    "find_run",
    "find_sweep",
    "find_trashed",
    "folded",
    "job_statuses",
    "not_removed",
    "open_run",
    "ordered",
    "purge_run",
    "query",
    "rebuild_index",
    "remove_run",
    "restore_run",
    "result_of",
    "runs",
    "selected",
    "survey",
    "trashed",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "._batches": ("Batch", "batches"),
        "._best": ("Best", "best", "best_of", "check_goal"),
        "._export": ("Format", "export"),
        "._fields": ("Fields",),
        "._folded": ("SweepRow", "folded"),
        "._listings": ("Sweep",),
        "._looks": ("rebuild_index",),
        "._lookup": (
            "JobStatus",
            "find_experiment",
            "find_job",
            "find_sweep",
            "job_statuses",
            "not_removed",
        ),
        "._query": ("query",),
        "._leftovers": ("Leftover", "leftovers", "remove_leftover"),
        "._remove": (
            "Trashed",
            "find_trashed",
            "purge_run",
            "remove_run",
            "restore_run",
            "trashed",
        ),
        "._returned": ("result_of",),
        "._rows": ("UNREADABLE", "RunRow"),
        "._runs": ("RunList", "RunRecord", "find_run", "open_run", "runs"),
        "._select": ("Condition", "ordered", "selected"),
        "._survey": ("survey",),
    },
)
