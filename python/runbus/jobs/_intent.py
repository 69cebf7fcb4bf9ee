"""Intents: what is recorded, durably, before anything is sent anywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runbus._clock import SYSTEM_CLOCK, Clock
from runbus.events import JobIntended

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runbus.abc import JobSpec
    from runbus.jobs._state import JobRecord
    from runbus.jobs._store import JobStore

__all__ = ["intend", "intents"]


def intents(store: JobStore, jobs: Sequence[JobSpec], clock: Clock) -> Iterator[JobIntended]:
    """Yield the intent of each job that the store does not know yet."""
    for job in jobs:
        if job.name not in store.jobs:
            yield JobIntended(
                experiment_id=job.experiment_id,
                job=job.name,
                run_id=job.run_id,
                attempt=job.attempt,
                time_ns=clock.time_ns(),
                executor=job.executor,
                folder=store.relative(job.folder),
                package=store.relative(job.package.path) if job.package else "",
                retry=job.retry,
            )


def intend(
    store: JobStore, jobs: Sequence[JobSpec], clock: Clock = SYSTEM_CLOCK
) -> list[JobRecord]:
    """Record the intents of jobs, make them survive a power failure, and return the records."""
    for fact in list(intents(store, jobs, clock)):
        store.record(fact)
    store.sync()
    return [store.jobs[job.name] for job in jobs]
