"""What is known of a job now: its record, and what its latest attempt has left on disk since."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from msgspec.structs import replace

from runbus.attempt import observe_folder
from runbus.jobs._retry import gets_another
from runbus.jobs._state import JobState
from runbus.jobs._verdict import End, verdict

if TYPE_CHECKING:
    from runbus.jobs._state import JobRecord

__all__ = ["current_record", "unrecorded_end"]


def current_record(experiment_folder: str, job: JobRecord) -> JobRecord:
    """Return a job's record as it will be once somebody leads the experiment; changes nothing.

    The journal tells it, unless the attempt's own exit record tells more: then the attempt is over,
    and the job too unless it gets another one. A LOST job that has left a record after all was not.
    """
    end = unrecorded_end(experiment_folder, job)
    if end is None or (seen := end.seen) is None:
        return job
    if not job.state.is_terminal and gets_another(
        job, end, requeued=job.requeued, is_asked_to_end=job.cancelling
    ):
        return replace(job, state=JobState.PENDING, handle="", reason=end.reason)
    return replace(
        job,
        state=end.state,
        host=job.host or seen.host,
        started_ns=job.started_ns or seen.started_ns,
        ended_ns=seen.ended_ns,
        duration_s=seen.duration_s,
        cpu_s=seen.cpu_s,
        max_rss_bytes=seen.max_rss_bytes,
        wrapper=seen.wrapper,
        exit_code=seen.exit_code,
        signal=seen.signal,
        reason=end.reason,
        native_state=seen.native_state,
        evidence=seen.evidence,
        is_suspended=False,
    )


def unrecorded_end(experiment_folder: str, job: JobRecord) -> End | None:
    """Return how a job's latest attempt ended, by its own exit record, if the journal says less.

    None if the journal knows its end, or there is no such record. A LOST job has no known end.
    """
    if job.state.is_terminal and job.state is not JobState.LOST:
        return None
    seen = observe_folder(os.path.join(experiment_folder, job.folder))
    if seen is None or seen.phase != "ended":
        return None
    return End(*verdict(seen, "cancelled" if job.cancelling else None, job.overdue), seen)
