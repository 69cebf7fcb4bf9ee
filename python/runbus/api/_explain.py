"""Why a run stands where it stands, in words: from its journal and from what its job left."""

from __future__ import annotations

import os
import re
import time
from typing import TYPE_CHECKING, Literal, NamedTuple

import anyio.to_thread

from runbus._clock import format_duration
from runbus._secrets import redacted_text
from runbus.attempt import read_log
from runbus.catalog import open_run
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
from runbus.jobs import Asked, FactReader, JobState, leader_of, read_jobs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runbus.catalog import RunRecord
    from runbus.events import JobFact
    from runbus.jobs import JobRecord

__all__ = ["Explanation", "Happening", "explain"]

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
    run = open_run(named) if isinstance(named, str) else named
    reason = f": {run.reason}" if run.reason else ""
    state = f"{run.state}{reason}"
    made = Happening(run.info.created_ns, "made")
    if run.info.job is None:
        return Explanation(state, list(_of_process(run)), [made, *_end_told(run, state)], [])
    facts = [fact for fact in FactReader(run.experiment_folder).poll() if fact.run_id == run.id]
    job = run.job
    has_more = job is not None and job.attempt > 1
    told = ((fact, _words(fact, has_more=has_more)) for fact in facts)
    story = [made, *(Happening(fact.time_ns, text) for fact, text in told if text)]
    if job is None:
        return Explanation(state, [_unled(run) or "its job is about to be recorded"], story, [])
    failed = job.state.is_terminal and job.state is not JobState.SUCCEEDED
    because = [*(_of_end(run, job) if job.state.is_terminal else _of_wait(run, job))]
    if failed and (raised := run.error) is not None:
        because.append(redacted_text(f"its function raised {raised['type']}: {raised['text']}"))
        said = redacted_text(raised["traceback"]).splitlines()
        return Explanation(state, because, story, said, "traceback")
    for source in ("stderr", "stdout") if failed else ():
        if said := _last_lines(run, source):
            return Explanation(state, because, story, said, source)
    return Explanation(state, because, story, [])


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
            if job.exit_code is not None and job.exit_code in _EXITS:
                program = f": {_program(run)}" if job.exit_code in {126, 127} else ""
                yield f"exit code {job.exit_code} means that {_EXITS[job.exit_code]}{program}"
            elif job.signal is not None and job.signal in _SIGNALS:
                yield _SIGNALS[job.signal]
            elif job.exit_code is not None:
                yield f"its program ended with exit code {job.exit_code}"
        case JobState.LOST:
            yield "its machine stopped, or something killed the wrapper that kept its record"
        case JobState.TIMEOUT:
            yield "it was ended because of a limit that its batch gives it"
        case JobState.PREEMPTED:
            yield "its backend took the machine away"
        case JobState.CANCELLED:
            yield "somebody asked for its end"
    if job.state is not JobState.SUCCEEDED and job.attempt > 1:
        begun = len(run.begun_attempts())
        attempts = "1 attempt" if begun == 1 else f"{begun or 'no'} attempts"
        unbegun = "" if job.started_ns else f", and attempt {job.attempt} did not begin"
        yield f"it had {attempts}{unbegun}"


def _of_wait(run: RunRecord, job: JobRecord) -> Iterator[str]:
    """Say what a job that is not over waits for."""
    if job.cancelling:
        yield "its end was asked for, and is waited for"
    if job.overdue:
        yield f"it is being ended: {job.overdue}"
    if unled := _unled(run):
        yield unled
        return
    if job.is_suspended:
        yield f"it has begun, and stands still: {job.native_state or 'its processes are stopped'}"
    elif job.state is JobState.RUNNING:
        elapsed = format_duration(max(0, (time.time_ns() - job.started_ns) // 10**9))
        yield f"it has run on {job.host or 'its machine'} for {elapsed}"
    elif job.handle:
        told = f": {job.native_state}" if job.native_state else ""
        yield f"{job.executor} has taken it and not started it yet{told}"
    elif job.attempt > 1:
        yield f"attempt {job.attempt} is submitted after a pause: {job.reason}"
    else:
        yield from _of_turn(run, job)


def _of_turn(run: RunRecord, job: JobRecord) -> Iterator[str]:
    """Say how many jobs are before one that has not been submitted."""
    try:
        limit = Asked.read(run.experiment_folder).max_parallel
    except (NotFound, RunbusError):
        return
    jobs = list(read_jobs(run.experiment_folder).values())
    busy = sum(1 for one in jobs if one.handle and not one.state.is_terminal)
    names = [one.name for one in jobs if not one.handle and not one.state.is_terminal]
    before = names.index(job.name) if job.name in names else 0
    yield f"{busy} of {limit} places are taken (max_parallel), and {before} jobs are before it"


def _unled(run: RunRecord) -> str:
    """Say that no process leads the experiment; empty if somebody does."""
    if leader_of(run.experiment_folder) is not None:
        return ""
    name = os.path.basename(run.experiment_folder)
    return f"no process leads its batch: runbus attach {name} continues with it"


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
    try:
        jobs = Asked.read(run.experiment_folder).jobs
    except (NotFound, RunbusError):
        return ""
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
