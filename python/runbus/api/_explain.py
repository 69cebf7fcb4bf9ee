"""Why a run stands where it stands, in words: from its journal and from what its job left."""

from __future__ import annotations

import os
import re
import signal
import time
from typing import TYPE_CHECKING, Literal, NamedTuple

import anyio.to_thread

from runbus._clock import format_duration
from runbus._home import Home
from runbus._secrets import redacted_text
from runbus.abc import GRACE_S
from runbus.attempt import read_log
from runbus.catalog import RunRecord, open_run
from runbus.errors import NotFound, RunbusError
from runbus.events import (
    JobCancelRequested,
    JobEnded,
    JobIntended,
    JobObserved,
    JobOverdue,
    JobRequeued,
    JobRetrying,
    JobStarted,
    JobSubmitted,
)
from runbus.jobs import (
    RAN_TOO_LONG,
    Asked,
    FactReader,
    JobState,
    is_left,
    leader_of,
    read_jobs,
    why_unled,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runbus.abc import Dependency
    from runbus.events import JobFact
    from runbus.jobs import JobRecord

__all__ = ["Explanation", "Happening", "explain", "last_words"]

_SOURCES: tuple[Literal["stderr"], Literal["stdout"]] = ("stderr", "stdout")
_LAST_LINES = 5
_LAST_BYTES = 4_000

_EXIT = re.compile(r"exit code \d+")
"""The reason of a run whose process ended without an exception that anybody was told of."""

_EXITS = {
    126: "the program cannot be executed: it is not a program, or may not be run",
    127: "the command was not found",
    130: "Ctrl-C (SIGINT) ended it",
    134: "it aborted (SIGABRT)",
    137: "something killed it (SIGKILL): often a machine that is out of memory",
    139: "it accessed memory that is not its own (SIGSEGV)",
    143: "something asked it to end (SIGTERM)",
}
_SIGNALS = {6: _EXITS[134], 9: _EXITS[137], 11: _EXITS[139], 15: _EXITS[143], 2: _EXITS[130]}


class Happening(NamedTuple):
    """One thing that happened to a run.

    Attributes:
        time_ns: When, Unix time in nanoseconds.
        text: What, in words.
    """

    time_ns: int
    text: str


class Explanation(NamedTuple):
    """Why a run stands where it stands.

    Attributes:
        state: Where it stands, and the reason as it is on record.
        because: What that means, one sentence each; empty if there is nothing to explain.
        story: What happened, in order.
        said: The last lines that a job that failed wrote: of its standard error, or of its standard
            output if that is empty.
        source: Which of the two, `stderr` or `stdout`; `traceback` if it is that of the exception
            that its function raised.
    """

    state: str
    because: list[str]
    story: list[Happening]
    said: list[str]
    source: Literal["stdout", "stderr", "traceback"] = "stderr"


async def explain(run: RunRecord | str) -> Explanation:
    """Return why a run stands where it stands; changes nothing.

    Args:
        run: The run, or what `open_run` takes: its id or a part of it, its name, or "latest".

    Raises:
        RunNotFound: It does not exist; names those that read almost the same.
        AmbiguousId: It is a part of several ids.
        JournalError: The journal of its experiment cannot be read.
    """
    return await anyio.to_thread.run_sync(_explain, run)


def _explain(named: RunRecord | str) -> Explanation:
    found = open_run(named) if isinstance(named, str) else named
    # Who leads is asked first, and where the run stands is read again: what a leader recorded
    # before it went is seen.
    unled = _unled(found.experiment_folder)
    run = RunRecord(found.folder, info=found.info)
    reason = f": {run.reason}" if run.reason else ""
    state = f"{run.state}{reason}"
    made = Happening(run.info.created_ns, "made")
    if run.info.job is None:
        return Explanation(state, list(_of_process(run)), [made, *_end_told(run, state)], [])
    of_batch = list(FactReader(run.experiment_folder).poll())
    facts = [fact for fact in of_batch if fact.run_id == run.id]
    job = run.job
    has_more = job is not None and job.attempt > 1
    story = [made, *_in_order(facts, made.time_ns, has_more=has_more)]
    if job is None:
        return Explanation(state, [unled or "its job is about to be recorded"], story, [])
    failed = job.state.is_terminal and job.state not in (JobState.SUCCEEDED, JobState.SKIPPED)
    is_over = job.state.is_terminal
    because = [*(_of_end(run, job) if is_over else _of_wait(run, job, of_batch, unled))]
    if not failed:
        return Explanation(state, because, story, [])
    if (raised := run.error) is not None:
        because.append(redacted_text(f"its function raised {raised['type']}: {raised['text']}"))
    return Explanation(state, because, story, *last_words(run))


def last_words(run: RunRecord) -> tuple[list[str], Literal["stdout", "stderr", "traceback"]]:
    """Return the last lines that a job wrote, and where: `said` and `source` of an `Explanation`.

    Raises:
        FileUnreadable: What its function raised is on record, and cannot be read.
    """
    if (raised := run.error) is not None:
        return redacted_text(raised["traceback"]).splitlines(), "traceback"
    for source in _SOURCES:
        if said := _last_lines(run, source):
            return said, source
    return [], "stderr"


def _in_order(facts: list[JobFact], begin_ns: int, *, has_more: bool) -> Iterator[Happening]:
    """Yield what facts tell, at times that never run backwards.

    A job's start is told by the clock of its machine, and may come before its submission was noted,
    but not before it was sent.
    """
    starts = {fact.attempt: fact.time_ns for fact in facts if isinstance(fact, JobStarted)}
    for fact in facts:
        time_ns = fact.time_ns
        if isinstance(fact, JobSubmitted):
            time_ns = min(time_ns, starts.get(fact.attempt, time_ns))
        begin_ns = max(begin_ns, time_ns)
        if text := _words(fact, has_more=has_more):
            yield Happening(begin_ns, text)


def _of_process(run: RunRecord) -> Iterator[str]:
    """Say why a run without a job is in its state."""
    match run.state:
        case JobState.RUNNING:
            yield "a process that logs to it is still there"
        case JobState.LOST:
            yield (
                "its process ended without a word: something killed it, or its machine stopped; "
                "what it had logged until then is there"
            )
        case JobState.FAILED:
            is_exit = _EXIT.fullmatch(run.reason)
            yield f"its process ended with {'that exit code' if is_exit else 'that exception'}"
        case JobState.CANCELLED:
            yield "its process was interrupted"


def _end_told(run: RunRecord, state: str) -> Iterator[Happening]:
    """Return the end of a run without a job; of one that is lost, the last sign of it."""
    if run.state.is_terminal and (ended_ns := run.last_written_ns()) is not None:
        yield Happening(max(ended_ns, run.info.created_ns), state)


def _of_end(run: RunRecord, job: JobRecord) -> Iterator[str]:
    """Say why a job that is over ended as it did."""
    match job.state:
        case JobState.FAILED:
            yield from _of_failure(run, job)
        case JobState.LOST:
            yield "its machine stopped, or something killed the wrapper that kept its record"
        case JobState.TIMEOUT | JobState.CANCELLED:
            yield from _of_asked_end(run, job)
        case JobState.PREEMPTED:
            yield "its backend took the machine away"
        case JobState.SKIPPED:
            yield job.reason
    if job.state is not JobState.SUCCEEDED and job.attempt > 1:
        begun = len(run.begun_attempts())
        attempts = "1 attempt" if begun == 1 else f"{begun or 'no'} attempts"
        unbegun = "" if job.started_ns else f", and attempt {job.attempt} did not begin"
        yield f"it had {attempts}{unbegun}"


def _of_failure(run: RunRecord, job: JobRecord) -> Iterator[str]:
    if job.exit_code is not None and job.exit_code in _EXITS:
        program = f": {_program(run)}" if job.exit_code in {126, 127} else ""
        yield f"exit code {job.exit_code} means that {_EXITS[job.exit_code]}{program}"
    elif job.signal is not None and job.signal in _SIGNALS:
        yield _SIGNALS[job.signal]
    elif job.exit_code is not None:
        yield f"its program ended with exit code {job.exit_code}"


def _of_asked_end(run: RunRecord, job: JobRecord) -> Iterator[str]:
    """Say why a job was asked to end, and whether it did."""
    if job.state is JobState.CANCELLED:
        when = "" if job.started_ns else " before it had begun"
        yield f"its end was asked for{when}" + (f": {job.reason}" if job.reason else "")
    elif job.reason.startswith(RAN_TOO_LONG):
        yield f"it reached its time limit{_limit_of(run)}, and was asked to end (SIGTERM)"
    else:
        yield "it was ended because of a limit that its batch gives it"
    if job.signal == signal.SIGKILL:
        yield "it was still there after its grace period, so it was killed (SIGKILL)"


def _of_wait(run: RunRecord, job: JobRecord, of_batch: list[JobFact], unled: str) -> Iterator[str]:
    """Say what a job that is not over waits for.

    Args:
        run: Its run.
        job: The job.
        of_batch: What is on record of all jobs of its batch.
        unled: That no process leads it; empty if one does.
    """
    if job.cancelling:
        yield "its end was asked for, and is waited for"
    if job.overdue:
        yield f"it is being ended: {job.overdue}"
    if unled:
        yield unled
        return
    if job.is_suspended:
        yield f"it has begun, and stands still: {job.native_state or 'its processes are stopped'}"
    elif job.state is JobState.RUNNING:
        elapsed_s = max(0, (time.time_ns() - job.started_ns) // 10**9)
        yield f"it has run on {job.host or 'its machine'} for {format_duration(elapsed_s)}"
        limit_s = _limit_s(run)
        if limit_s is not None and elapsed_s > limit_s:
            yield (
                f"it reached its time limit{_limit_of(run)}, and is asked to end; "
                f"what does not is killed {GRACE_S} s later"
            )
    elif job.handle:
        yield from _of_parents(run, read_jobs(run.experiment_folder))
        told = f": {job.native_state}" if job.native_state else ""
        yield f"{job.executor} has taken it and not started it yet{told}"
    else:
        yield from _of_turn(run, job, _pauses(of_batch))


def _of_turn(run: RunRecord, job: JobRecord, pauses: dict[str, int]) -> Iterator[str]:
    """Say how many jobs are before one that has not been submitted, or that its pause is not over.

    Args:
        run: Its run.
        job: The job.
        pauses: When the pauses before further attempts end, by the names of their jobs.
    """
    now_ns = time.time_ns()
    left_ns = pauses.get(job.name, 0) - now_ns
    if job.attempt > 1 and left_ns > 0:
        left = format_duration(left_ns / 10**9)
        yield f"attempt {job.attempt} is submitted after a pause, in {left}: {job.reason}"
        return
    asked = _asked(run)
    if asked is None:
        return
    jobs_by_name = read_jobs(run.experiment_folder)
    if held_by := list(_of_parents(run, jobs_by_name)):
        yield from held_by
        return
    if group := next((one.group for one in asked.jobs if one.run_id == run.id), ""):
        yield f"it starts together with the other jobs of group {group!r}, once all of them can"
    jobs = list(jobs_by_name.values())
    busy = sum(1 for one in jobs if one.handle and not one.state.is_terminal)
    waiting = [one for one in jobs if not one.handle and not one.state.is_terminal]
    # What has begun before goes first, in the order in which the pauses ended.
    ends = [pauses.get(one.name, 0) if one.attempt > 1 else now_ns for one in waiting]
    in_line = sorted(zip(ends, waiting, strict=True), key=_end)
    line = [one.name for end, one in in_line if end <= now_ns]
    before = line.index(job.name) if job.name in line else 0
    jobs_are = "job is" if before == 1 else "jobs are"
    # Which of those that run are counted, only their executors know.
    places = (
        f"{asked.max_parallel} jobs run at a time"
        if asked.only_here
        else f"{busy} of {asked.max_parallel} places are taken"
    )
    yield f"{places} (max_parallel), and {before} {jobs_are} before it"


def _of_parents(run: RunRecord, jobs: dict[str, JobRecord]) -> Iterator[str]:
    """Say which jobs have not ended that one depends on, if there are such."""
    asked = _asked(run)
    of_all = asked.jobs if asked is not None else ()
    parents = next((one.depends_on for one in of_all if one.run_id == run.id), ())
    if held_by := [one for one in parents if not _has_ended(run, one, jobs)]:
        more = f" and of {len(held_by) - 1:,} more" if len(held_by) > 1 else ""
        of = f" of {held_by[0].experiment}" if held_by[0].experiment else ""
        yield f"it waits for the end of job {held_by[0].job!r}{of}{more}, on which it depends"


def _has_ended(run: RunRecord, one: Dependency, jobs: dict[str, JobRecord]) -> bool:
    if one.experiment:
        folder = Home.of(run.experiment_folder).find_experiment(one.experiment)
        jobs = read_jobs(folder) if folder else {}
    job = jobs.get(one.job)
    return job is not None and job.state.is_terminal


def _end(waiting: tuple[int, JobRecord]) -> int:
    return waiting[0]


def _pauses(facts: list[JobFact]) -> dict[str, int]:
    """Return when the pause before the latest attempt of each job ends, in Unix nanoseconds."""
    return {
        fact.job: fact.time_ns + int(fact.delay_s * 10**9)
        for fact in facts
        if isinstance(fact, JobRetrying)
    }


def _limit_s(run: RunRecord) -> int | None:
    """Return how long an attempt of a run's job may take; None if there is no limit."""
    asked = _asked(run)
    jobs = asked.jobs if asked is not None else ()
    return next((one.timeouts.run_s for one in jobs if one.run_id == run.id), None)


def _limit_of(run: RunRecord) -> str:
    limit_s = _limit_s(run)
    return f" of {format_duration(limit_s)}" if limit_s is not None else ""


def _asked(run: RunRecord) -> Asked | None:
    """Return what was asked of a run's experiment; None if that cannot be read."""
    try:
        return Asked.read(run.experiment_folder)
    except (NotFound, RunbusError):
        return None


def _unled(experiment: str) -> str:
    """Say that no process leads an experiment; empty if somebody does."""
    if not is_left(experiment):
        about = "its batch was handed over a moment ago, and no process leads it yet"
        return about if leader_of(experiment) is None else ""
    name = os.path.basename(experiment)
    why = f" ({why})" if (why := why_unled(experiment)) else ""
    return f"no process leads its batch{why}: runbus attach {name} continues with it"


def _words(fact: JobFact, *, has_more: bool) -> str:
    """Return a fact in words, with its attempt if there were several; empty for nothing new."""
    words = _of_fact(fact)
    return f"attempt {fact.attempt}: {words}" if words and has_more else words


def _of_fact(fact: JobFact) -> str:
    match fact:
        case JobIntended():
            return f"recorded, for {fact.executor}"
        case JobSubmitted():
            return "submitted"
        case JobStarted():
            return f"started on {fact.host}" + (f", pid {fact.pid}" if fact.pid else "")
        case JobObserved():
            return f"{fact.phase}" + (f" ({fact.native_state})" if fact.native_state else "")
        case JobRequeued():
            return f"queued again: {fact.reason}"
        case JobRetrying():
            again = f"again in {format_duration(fact.delay_s)}" if fact.delay_s else "again now"
            return f"{fact.state}: {fact.reason}; {again}"
        case JobOverdue():
            return f"overdue: {fact.reason}"
        case JobCancelRequested():
            return f"its end was asked for: {fact.reason}"
        case JobEnded():
            return f"{fact.state}" + (f": {fact.reason}" if fact.reason else "")
    return ""


def _program(run: RunRecord) -> str:
    """Return what a job was to run, as far as one line holds it."""
    asked = _asked(run)
    jobs = asked.jobs if asked is not None else ()
    words = next((one.argv for one in jobs if one.run_id == run.id), ())
    return redacted_text(" ".join(words))[:100]


def _last_lines(run: RunRecord, source: Literal["stdout", "stderr"]) -> list[str]:
    folder = run.job_folder
    if folder is None:
        return []
    try:
        size = os.path.getsize(os.path.join(folder, f"{source}.log"))
    except OSError:
        return []
    text = read_log(folder, source, max(0, size - _LAST_BYTES)).decode("utf-8", "replace")
    lines = [line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n")]
    # A shell names the words that it cannot run, and a token may be among them.
    return [redacted_text(line) for line in lines if line.strip()][-_LAST_LINES:]
