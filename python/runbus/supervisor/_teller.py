"""Says what happened to jobs: to the journal first, then to the bus."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from runbus.events import (
    JobCancelRequested,
    JobEnded,
    JobOverdue,
    JobRetrying,
    JobStarted,
    JobSubmitted,
)

if TYPE_CHECKING:
    from runbus._clock import Clock
    from runbus.abc import JobSpec, Observation
    from runbus.bus import Bus
    from runbus.events import JobFact
    from runbus.jobs import End, JobStore

    class _About(TypedDict):
        experiment_id: str
        job: str
        run_id: str
        attempt: int
        time_ns: int


__all__ = ["Teller"]


class Teller:
    """Records facts, then publishes them.

    All methods raise `JournalError` if the journal cannot be written; then nothing is published.

    Args:
        bus: Where they are published.
        store: The journal they are recorded in.
        clock: Tells when they happened.
    """

    def __init__(self, bus: Bus, store: JobStore, clock: Clock) -> None:
        self._bus = bus
        self._store = store
        self._clock = clock

    async def tell(self, fact: JobFact) -> None:
        """Record a fact, then publish it."""
        self._store.record(fact)
        await self._bus.publish(fact)

    async def submitted(self, job: JobSpec, handle: str) -> None:
        """A backend has the job."""
        await self.tell(JobSubmitted(**self._about(job), handle=handle))

    async def started(self, job: JobSpec, seen: Observation) -> None:
        """Its process runs."""
        about = self._about(job, seen.started_ns)
        await self.tell(JobStarted(**about, host=seen.host, pid=seen.pid))

    async def cancel_requested(self, job: JobSpec, attempt: int, reason: str) -> None:
        """Somebody wants its end."""
        about = self._about(job)
        about["attempt"] = attempt
        await self.tell(JobCancelRequested(**about, reason=reason))

    async def overdue(self, job: JobSpec, reason: str) -> None:
        """A time-out is over, and it will be ended for that."""
        await self.tell(JobOverdue(**self._about(job), reason=reason))

    async def retrying(self, job: JobSpec, end: End, *, folder: str, delay_s: float) -> None:
        """An attempt ended, and the next one will be in `folder`."""
        seen = end.seen
        await self.tell(
            JobRetrying(
                **self._about(job, seen.ended_ns if seen else 0),
                state=end.state,
                exit_code=seen.exit_code if seen else None,
                signal=seen.signal if seen else None,
                reason=end.reason,
                next_attempt=job.attempt + 1,
                folder=self._store.relative(folder),
                delay_s=delay_s,
            )
        )

    async def ended(self, job: JobSpec, end: End) -> None:
        """It is over."""
        seen = end.seen
        await self.tell(
            JobEnded(
                **self._about(job, seen.ended_ns if seen else 0),
                state=end.state,
                exit_code=seen.exit_code if seen else None,
                signal=seen.signal if seen else None,
                reason=end.reason,
                duration_s=seen.duration_s if seen else 0.0,
                cpu_s=seen.cpu_s if seen else 0.0,
                max_rss_bytes=seen.max_rss_bytes if seen else None,
            )
        )

    def _about(self, job: JobSpec, time_ns: int = 0) -> _About:
        return {
            "experiment_id": job.experiment_id,
            "job": job.name,
            "run_id": job.run_id,
            "attempt": job.attempt,
            "time_ns": time_ns or self._clock.time_ns(),
        }
