"""Facts about jobs. The supervisor of jobs publishes them, each one after it is in the journal."""

from __future__ import annotations

from runbus.events._event import Notify, Stream
from runbus.events.values import RetryPolicy

__all__ = [
    "JobCancelRequested",
    "JobEnded",
    "JobFact",
    "JobIntended",
    "JobObserved",
    "JobOverdue",
    "JobRequeued",
    "JobRetrying",
    "JobStarted",
    "JobSubmitted",
    "LogLines",
]


class JobFact(Notify, frozen=True, kw_only=True):
    """What every fact about a job says.

    Attributes:
        experiment_id: The experiment the job belongs to.
        job: The job's name, unique within its experiment.
        run_id: The run made for the job.
        attempt: Which attempt of the job this is about, from 1.
        time_ns: When it happened, Unix time in nanoseconds, by the clock of its observer.
    """

    experiment_id: str
    job: str
    run_id: str
    attempt: int
    time_ns: int


class JobIntended(JobFact, frozen=True, kw_only=True, tag="job.intended"):
    """A job is about to be submitted: durable before anything is sent anywhere.

    Attributes:
        executor: The executor it will be submitted to.
        folder: Where the attempt's request, logs and records lie, within the experiment's folder.
        package: The file with the code that travels with it, within the same folder; empty if none
            does. Its manifest is the `.json` of the same name beside it.
        retry: After which ends it gets another attempt, so that a reader of the journal can tell
            the end of the job from that of an attempt.
    """

    executor: str
    folder: str
    package: str = ""
    retry: RetryPolicy = RetryPolicy()


class JobSubmitted(JobFact, frozen=True, kw_only=True, tag="job.submitted"):
    """A backend accepted the job.

    Jobs that it depends on may still run: the backend's own queue may hold it back until they end.

    Attributes:
        handle: What the backend calls it.
    """

    handle: str


class JobStarted(JobFact, frozen=True, kw_only=True, tag="job.started"):
    """The job's own process runs.

    The ends of the jobs that it depends on have been told before.

    Attributes:
        host: The machine it runs on.
        pid: Its process id there; 0 where the backend does not say.
        native_state: The backend's own word for its state; empty if it has none.
        evidence: What told this, such as `pid.json` or `squeue`; empty if nothing did.
    """

    host: str
    pid: int
    native_state: str = ""
    evidence: str = ""


class JobObserved(JobFact, frozen=True, kw_only=True, tag="job.observed"):
    """The backend says something new about a job that has not ended.

    That its machine is being made, that it stands still or continues, or another word of its own.

    Attributes:
        phase: "queued", "provisioning", "running" or "suspended".
        native_state: The backend's own word for its state; empty if it has none.
        evidence: What told this, such as `squeue`; empty if nothing did.
    """

    phase: str
    native_state: str
    evidence: str


class JobRequeued(JobFact, frozen=True, kw_only=True, tag="job.requeued"):
    """The backend took the machine away, and has by itself put the job back into its queue.

    The attempt is over, and the next one waits already, under the same handle.

    Attributes:
        requeues: How often that has happened since the job was submitted.
        reason: One sentence for people.
        next_attempt: The number of the attempt that follows.
        folder: Where that attempt's request, logs and records will lie, within the experiment's.
    """

    requeues: int
    reason: str
    next_attempt: int
    folder: str


class JobCancelRequested(JobFact, frozen=True, kw_only=True, tag="job.cancel_requested"):
    """Somebody asked for the job to be cancelled; the job may still end in any way.

    Attributes:
        reason: Who asked, and why.
    """

    reason: str


class JobOverdue(JobFact, frozen=True, kw_only=True, tag="job.overdue"):
    """The job waited for its start, or wrote nothing, for too long: it is being ended for that.

    The time that it may run is its backend's to keep, and told by its end alone.

    Attributes:
        reason: Which time-out, in one sentence for people.
    """

    reason: str


class JobRetrying(JobFact, frozen=True, kw_only=True, tag="job.retrying"):
    """An attempt did not succeed, and another will follow.

    Attributes:
        state: What the attempt would have ended the job as: FAILED, TIMEOUT, PREEMPTED or LOST; or
            SKIPPED, if its turn in a queue came before the ends of what it waits for were known.
        exit_code: The status it exited with; None if a signal ended it or it is unknown.
        signal: The number of the signal that ended it; None if none did.
        reason: One sentence for people.
        next_attempt: The number of the attempt that follows.
        folder: Where that attempt's request, logs and records will lie, within the experiment's.
        delay_s: Seconds until it is submitted.
    """

    state: str
    exit_code: int | None
    signal: int | None
    reason: str
    next_attempt: int
    folder: str
    delay_s: float


class JobEnded(JobFact, frozen=True, kw_only=True, tag="job.ended"):
    """The job reached a terminal state.

    Attributes:
        state: One of SUCCEEDED, FAILED, CANCELLED, TIMEOUT, PREEMPTED, LOST, SKIPPED.
        exit_code: The status the job exited with; None if a signal ended it or it is unknown.
        signal: The number of the signal that ended it; None if none did.
        reason: One sentence for people; empty for a plain success.
        duration_s: Seconds from start to end; 0 if it never started.
        cpu_s: Seconds of processor time that it and its children took; 0 if it is unknown.
        max_rss_bytes: The most memory that one of its processes ever had, in bytes; None if nobody
            knows.
        wrapper: Which wrapper kept its record, "program" or "script"; empty if none did.
        native_state: The backend's own word for its state; empty if it has none.
        evidence: What told this, such as `exit.json` or `sacct`; empty if nothing did.
    """

    state: str
    exit_code: int | None
    signal: int | None
    reason: str
    duration_s: float
    cpu_s: float = 0.0
    max_rss_bytes: int | None = None
    wrapper: str = ""
    native_state: str = ""
    evidence: str = ""


class LogLines(Stream, frozen=True, kw_only=True, tag="job.log_lines"):
    r"""Some whole lines of a job's output, in order.

    Where another process takes the experiment over, the lines of about a second come once more.
    To take none twice, remember `offset` plus the length of `data` per log.

    Attributes:
        experiment_id: The experiment the job belongs to.
        job: The job's name.
        attempt: The attempt that wrote them, from 1.
        source: "stdout" or "stderr".
        offset: Where in the log file the first of them begins, in bytes.
        data: The bytes as the job wrote them, line ends included: `\n`, or the `\r` with which a
            progress bar overwrites itself. The last line lacks its end only at the end of the
            file, or where a line is longer than the tailer's limit and is cut.
    """

    experiment_id: str
    job: str
    attempt: int
    source: str
    offset: int
    data: bytes

    @property
    def text(self) -> str:
        """The lines as text; bytes that are not UTF-8 become U+FFFD."""
        return self.data.decode("utf-8", "replace")
