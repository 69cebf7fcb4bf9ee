"""What happened to jobs, as the facts that are recorded of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from runbus.events import (
    JobCancelRequested,
    JobEnded,
    JobObserved,
    JobOverdue,
    JobRequeued,
    JobRetrying,
    JobStarted,
    JobSubmitted,
)

if TYPE_CHECKING:
    from runbus._clock import Clock
    from runbus.abc import JobSpec, Observation
    from runbus.jobs._verdict import End

    class _About(TypedDict):
        experiment_id: str
        job: str
        run_id: str
        attempt: int
        time_ns: int

    class _Told(TypedDict):
        native_state: str
        evidence: str


__all__ = ["Facts"]


class Facts:
    """Makes facts; recording and publishing them is for the caller.

    Args:
        clock: Tells when they happened, where nothing else does.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def submitted(self, job: JobSpec, handle: str) -> JobSubmitted:
        """A backend has the job."""
        return JobSubmitted(**self._about(job), handle=handle)

    def started(self, job: JobSpec, seen: Observation) -> JobStarted:
        """Its process runs."""
        return JobStarted(
            **self._about(job, seen.started_ns), host=seen.host, pid=seen.pid, **_told(seen)
        )

    def observed(self, job: JobSpec, seen: Observation) -> JobObserved:
        """The backend says something new about it."""
        return JobObserved(**self._about(job), phase=seen.phase, **_told(seen))

    def requeued(self, job: JobSpec, end: End, *, attempt: int, folder: str) -> JobRequeued:
        """Its backend begins it anew; the next attempt will be in `folder`."""
        return JobRequeued(
            **self._about(job),
            requeues=end.seen.requeues if end.seen else 0,
            reason=end.reason,
            next_attempt=attempt,
            folder=folder,
        )

    def cancel_requested(self, job: JobSpec, reason: str) -> JobCancelRequested:
        """Somebody wants its end."""
        return JobCancelRequested(**self._about(job), reason=reason)

    def overdue(self, job: JobSpec, reason: str) -> JobOverdue:
        """A time-out is over, and it will be ended for that."""
        return JobOverdue(**self._about(job), reason=reason)

    def retrying(self, job: JobSpec, end: End, *, folder: str, delay_s: float) -> JobRetrying:
        """An attempt ended, and the next one will be in `folder`, within the experiment's."""
        seen = end.seen
        return JobRetrying(
            **self._about(job, seen.ended_ns if seen else 0),
            state=end.state,
            exit_code=seen.exit_code if seen else None,
            signal=seen.signal if seen else None,
            reason=end.reason,
            next_attempt=job.attempt + 1,
            folder=folder,
            delay_s=delay_s,
        )

    def ended(self, job: JobSpec, end: End) -> JobEnded:
        """It is over."""
        seen = end.seen
        return JobEnded(
            **self._about(job, seen.ended_ns if seen else 0),
            state=end.state,
            exit_code=seen.exit_code if seen else None,
            signal=seen.signal if seen else None,
            reason=end.reason,
            duration_s=seen.duration_s if seen else 0.0,
            cpu_s=seen.cpu_s if seen else 0.0,
            max_rss_bytes=seen.max_rss_bytes if seen else None,
            wrapper=seen.wrapper if seen else "",
            **_told(seen),
        )

    def _about(self, job: JobSpec, time_ns: int = 0) -> _About:
        return {
            "experiment_id": job.experiment_id,
            "job": job.name,
            "run_id": job.run_id,
            "attempt": job.attempt,
            "time_ns": time_ns or self._clock.time_ns(),
        }


def _told(seen: Observation | None) -> _Told:
    """Return what a backend says in its own words, and what told it."""
    if seen is None:
        return {"native_state": "", "evidence": ""}
    return {"native_state": seen.native_state, "evidence": seen.evidence}
