"""A job's state: what the facts in the journal add up to, and nothing else."""

from __future__ import annotations

import enum
from typing import Any

import msgspec
from msgspec.structs import replace

from runbus.events import (
    JobCancelRequested,
    JobEnded,
    JobFact,
    JobIntended,
    JobObserved,
    JobOverdue,
    JobRequeued,
    JobRetrying,
    JobStarted,
    JobSubmitted,
    RetryPolicy,
)

__all__ = ["FAILURES", "STOPPED_EARLY", "TERMINAL", "JobRecord", "JobState", "fold"]


STOPPED_EARLY = "stopped early: "
"""How the reason of a job begins that a rule of its own has ended."""


class JobState(enum.StrEnum):
    """Where a job stands.

    Terminal states do not change, except LOST on late evidence, and PREEMPTED into QUEUED if the
    backend begins the job anew after all.
    """

    INTENT = "INTENT"
    PENDING = "PENDING"
    QUEUED = "QUEUED"
    PROVISIONING = "PROVISIONING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    TIMEOUT = "TIMEOUT"
    PREEMPTED = "PREEMPTED"
    LOST = "LOST"
    SKIPPED = "SKIPPED"

    @property
    def is_terminal(self) -> bool:
        """Whether the job is over."""
        return self in TERMINAL


TERMINAL = frozenset(
    {
        JobState.SUCCEEDED,
        JobState.FAILED,
        JobState.CANCELLED,
        JobState.TIMEOUT,
        JobState.PREEMPTED,
        JobState.LOST,
        JobState.SKIPPED,
    }
)

FAILURES = TERMINAL - {JobState.SUCCEEDED, JobState.CANCELLED, JobState.SKIPPED}
"""The ends of jobs that were to succeed, and did not."""

_ORDER = list(JobState)
_ALIVE = frozenset(_ORDER) - TERMINAL

# To reach the state on the left, a job must be in one of those on the right. A backend may be seen
# late, so steps in between may be missing; going back is never allowed.
_FROM: dict[JobState, frozenset[JobState]] = {
    state: frozenset(_ORDER[: _ORDER.index(state)]) & _ALIVE
    for state in _ORDER
    if state not in TERMINAL
} | {state: _ALIVE | {JobState.LOST} for state in TERMINAL}
# A queue may have held it back until what it waits for had ended.
_FROM[JobState.SKIPPED] = _ALIVE - {JobState.RUNNING}


_REQUEUED = _ALIVE | {JobState.PREEMPTED}

_NEW_ATTEMPT: dict[str, Any] = {
    "host": "", "started_ns": 0, "overdue": "", "native_state": "", "evidence": "",
    "is_suspended": False, "ended_ns": 0, "duration_s": 0.0, "cpu_s": 0.0, "max_rss_bytes": None,
    "wrapper": "", "exit_code": None, "signal": None,
}  # fmt: skip
"""What is not known of an attempt that has not begun."""


class JobRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A job as the facts so far tell it.

    Attributes:
        name: The job's name.
        run_id: The run made for it.
        executor: Where it was sent.
        folder: Where the latest attempt's request, logs and records lie, within the
            experiment's folder.
        state: Where it stands.
        attempt: The latest attempt, from 1.
        handle: What the backend calls it; empty before it was accepted.
        host: The machine it runs on; empty while unknown.
        intended_ns: Unix time of the intent in nanoseconds; so are the other three, 0 if unknown.
        submitted_ns: When a backend accepted it.
        started_ns: When its process started.
        ended_ns: When it ended.
        duration_s: Seconds from start to end; 0 until then.
        cpu_s: Seconds of processor time that it took; 0 until it has ended.
        max_rss_bytes: The most memory that one of its processes ever had, in bytes; None while
            unknown.
        wrapper: Which wrapper kept its record, "program" or "script"; empty while unknown.
        exit_code: Its exit status; None if a signal ended it or it has not ended.
        signal: The signal that ended it; None otherwise.
        reason: One sentence for people; empty if there is nothing to explain.
        cancelling: Somebody asked for its end.
        overdue: Which time-out the latest attempt is being ended for; empty if for none.
        package: The file with its code, within the experiment's folder; empty if it has none.
        retry: After which ends it gets another attempt.
        native_state: The backend's own word for its state; empty if it has none.
        evidence: Which source reported that state; empty if none did.
        is_suspended: It has begun, and stands still.
        requeues: How often its backend has put the latest submission back into its queue.
        requeued: How many of its attempts are no retries: its backend has begun them by itself, or
            the one before was not to begin.
    """

    name: str
    run_id: str
    executor: str
    folder: str
    state: JobState
    attempt: int
    intended_ns: int
    handle: str = ""
    host: str = ""
    submitted_ns: int = 0
    started_ns: int = 0
    ended_ns: int = 0
    duration_s: float = 0.0
    cpu_s: float = 0.0
    max_rss_bytes: int | None = None
    wrapper: str = ""
    exit_code: int | None = None
    signal: int | None = None
    reason: str = ""
    cancelling: bool = False
    overdue: str = ""
    package: str = ""
    retry: RetryPolicy = RetryPolicy()
    native_state: str = ""
    evidence: str = ""
    is_suspended: bool = False
    requeues: int = 0
    requeued: int = 0

    @property
    def is_stopped_early(self) -> bool:
        """Whether a rule of the job has ended it: it has done what it was to do."""
        return self.state is JobState.CANCELLED and self.reason.startswith(STOPPED_EARLY)

    def __repr__(self) -> str:
        """Return what is asked for first, in one line: most fields say how it came to that."""
        shown = ("name", "run_id", "attempt", "state", "exit_code", "reason")
        told = (f"{name}={_plain(getattr(self, name))!r}" for name in shown)
        return f"{type(self).__name__}({', '.join(told)})"


def _plain(value: object) -> object:
    return str(value) if isinstance(value, JobState) else value


def fold(record: JobRecord | None, fact: JobFact) -> JobRecord | None:
    """Return the record after one more fact; the same record if the fact does not apply.

    A fact that would be an illegal step stays in the journal, where it can be read, and changes
    nothing here.
    """
    if isinstance(fact, JobIntended):
        return record or JobRecord(
            name=fact.job,
            run_id=fact.run_id,
            executor=fact.executor,
            folder=fact.folder,
            state=JobState.PENDING,
            attempt=fact.attempt,
            intended_ns=fact.time_ns,
            package=fact.package,
            retry=fact.retry,
        )
    if record is None:
        return None
    return _ended(record, fact) if isinstance(fact, JobEnded) else _moved(record, fact)


def _moved(record: JobRecord, fact: JobFact) -> JobRecord:
    """Return the record after a fact that is not the end of the job."""
    match fact:
        case JobSubmitted() if record.state in _FROM[JobState.QUEUED]:
            return replace(
                record, state=JobState.QUEUED, handle=fact.handle, submitted_ns=fact.time_ns
            )
        case JobStarted() if record.state in _FROM[JobState.RUNNING]:
            return replace(
                record,
                state=JobState.RUNNING,
                host=fact.host,
                started_ns=fact.time_ns,
                # It may have started before its acceptance was noted, but not before it was taken.
                submitted_ns=min(record.submitted_ns, fact.time_ns),
                native_state=fact.native_state,
                evidence=fact.evidence,
            )
        case JobObserved() if record.state in _ALIVE and record.attempt == fact.attempt:
            is_made = fact.phase == "provisioning" and record.state in _FROM[JobState.PROVISIONING]
            return replace(
                record,
                state=JobState.PROVISIONING if is_made else record.state,
                native_state=fact.native_state,
                evidence=fact.evidence,
                is_suspended=fact.phase == "suspended",
            )
        case JobRequeued() if record.state in _REQUEUED and record.attempt == fact.attempt:
            return replace(
                record,
                **_NEW_ATTEMPT,
                state=JobState.QUEUED,
                attempt=fact.next_attempt,
                folder=fact.folder,
                submitted_ns=fact.time_ns,
                reason=fact.reason,
                requeues=fact.requeues,
                requeued=record.requeued + fact.next_attempt - fact.attempt,
            )
        case JobRetrying() if record.state in _ALIVE:
            return replace(
                record,
                **_NEW_ATTEMPT,
                state=JobState.PENDING,
                attempt=fact.next_attempt,
                folder=fact.folder,
                handle="",
                submitted_ns=0,
                reason=fact.reason,
                requeues=0,
                # One whose attempt was not to begin has not been tried.
                requeued=record.requeued + (fact.state == JobState.SKIPPED),
            )
        case JobOverdue() if record.state in _ALIVE and record.attempt == fact.attempt:
            return replace(record, overdue=fact.reason)
        case JobCancelRequested() if record.state in _ALIVE:
            return replace(record, cancelling=True)
    return record


def _ended(record: JobRecord, fact: JobEnded) -> JobRecord:
    state = JobState(fact.state)
    if record.state not in _FROM[state]:
        return record
    return replace(
        record,
        state=state,
        ended_ns=fact.time_ns,
        duration_s=fact.duration_s,
        cpu_s=fact.cpu_s,
        max_rss_bytes=fact.max_rss_bytes,
        wrapper=fact.wrapper,
        exit_code=fact.exit_code,
        signal=fact.signal,
        reason=fact.reason,
        native_state=fact.native_state,
        evidence=fact.evidence,
        is_suspended=False,
    )
