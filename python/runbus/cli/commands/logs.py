"""`runbus logs`."""

from __future__ import annotations

import os
import re
import sys
import time
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

import click

from runbus.cli._named_run import named_batch, named_run, run_of_job
from runbus.cli._options import complete_runs
from runbus.errors import NoLogs, RunUnreadable
from runbus.jobs import attempt_heading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Literal, TextIO

    from runbus.catalog import RunRecord
    from runbus.jobs import JobRecord

    Source = Literal["stdout", "stderr"]
    ReadLog = Callable[[str, Source, int], bytes]

__all__ = ["command"]

_POLL_S = 0.05
_POLL_ELSEWHERE_S = 0.5
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class _Since(click.ParamType[int]):
    """A time, absolute or ago, as Unix time in nanoseconds."""

    name = "when"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if ago := re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", value):
            return time.time_ns() - int(float(ago[1]) * _SECONDS[ago[2]] * 1e9)
        try:
            return int(datetime.fromisoformat(value).timestamp() * 1e9)
        except (ValueError, OverflowError, OSError):
            self.fail(f"{value!r} is neither a time ago, such as 10m, nor a date with a time")


@click.command("logs")
@click.argument("run", shell_complete=complete_runs)
@click.argument("job", required=False)
@click.option(
    "-f", "--follow", is_flag=True, help="Go on until the job has ended, over all its attempts."
)
@click.option("--stderr", "only_stderr", is_flag=True, help="Only the standard error.")
@click.option(
    "--attempt",
    type=click.IntRange(min=1),
    metavar="N",
    help="Only the attempt with this number; all of them, one after the other, by default.",
)
@click.option(
    "--since",
    type=_Since(),
    metavar="WHEN",
    help="Only what was written since: 30s, 10m, 2h, 1d ago, or a time such as 2030-01-31T12:00.",
)
@click.option(
    "--node",
    type=click.IntRange(min=0),
    metavar="N",
    help="Only what this machine of a job on several has written, from 0.",
)
def command(
    run: str,
    job: str | None,
    follow: bool,
    only_stderr: bool,
    attempt: int | None,
    since: int | None,
    node: int | None,
) -> None:
    """Print what a run's job has written to its logs, as it is there.

    Its standard output goes to standard output, its standard error to standard error, or to
    standard output if it is all that is asked for: runbus logs RUN --stderr | less. Of a job on
    another machine that machine is asked for what has not been copied here.

    Of a job that was tried again, or begun anew after it had lost its machine, all attempts are
    printed in order. A line on standard error, ==> attempt 2 <==, comes before what each has
    written. --attempt N prints that of one.

    Logs have no times of their own. The leader of a job notes each second how far its logs have
    come, and --since begins at the last such note before WHEN: it never leaves out what was written
    since, but may show up to a second more, and more where nobody followed the job for a while.

    What the machines of a job write goes to the same two logs. With --node each is told apart,
    and read on the cluster: nothing of that is copied here.

    RUN is an id or a part of one, a name (the newest run of that name), or "latest". Of a batch,
    by its id or project, the logs of all jobs are merged, each line after the name of its job:
    they are put in order by those notes, so to a second. JOB, after it, is one of them.
    """
    sources: tuple[Source, ...] = ("stderr",) if only_stderr else ("stdout", "stderr")
    if node is not None and since is not None:
        raise click.UsageError("--since is of what all machines have written: leave --node")
    if job is None and (batch := named_batch(run)) is not None:
        from runbus.cli._merged_logs import print_merged_logs

        if attempt is not None or node is not None:
            option = "--attempt" if node is None else "--node"
            raise click.UsageError(
                f"{option} is of one job, and {run!r} is a batch: name a job of it after it"
            )
        print_merged_logs(batch, sources, since=since, follow=follow)
        return
    found = named_run(run) if job is None else run_of_job(run, job)
    if found.job is None and found.info.job is not None:
        raise RunUnreadable(found.id, f"nothing is recorded of its job {found.info.job!r}")
    if found.job is None:
        raise NoLogs(found.id, next((one for one in found.origin.argv if one.endswith(".py")), ""))
    if attempt is not None and attempt > found.job.attempt:
        had = "one attempt" if found.job.attempt == 1 else f"{found.job.attempt} attempts"
        raise click.UsageError(f"job {found.job.name!r} has had {had} so far")
    with _reading_elsewhere(found, node) as read_elsewhere:
        begun = found.begun_attempts()
        shown = attempt or max(begun, default=found.job.attempt)
        before = [] if attempt else begun[:-1]
        _tell_not_begun(found.job, shown, begun, follow=follow, is_alone=not before)
        headings = _Headings()
        reading = partial(_print_attempt, found, sources, read_elsewhere, headings, since=since)
        for one in before:
            headings.turn_to(one)
            reading(one, follow=False)
        if before:
            headings.turn_to(shown)
        while reading(shown, follow=follow) and attempt is None:
            shown += 1
            headings.turn_to(shown)


def _tell_not_begun(
    job: JobRecord, shown: int, begun: list[int], *, follow: bool, is_alone: bool
) -> None:
    """Say on standard error which attempt has not begun, and what is shown instead."""
    if shown != job.attempt and job.attempt not in begun and shown in begun:
        told = f"attempt {job.attempt} has not begun"
        told += f": this is attempt {shown}" if is_alone else ""
    elif shown in begun or follow:
        return
    else:
        told = f"attempt {shown} has not begun" if job.attempt > 1 else "it has not begun"
        told += " and has written nothing" if not job.state.is_terminal else ""
    click.echo(told, err=True)


def _print_attempt(
    run: RunRecord,
    sources: Sequence[Source],
    read_elsewhere: ReadLog | None,
    headings: _Headings,
    attempt: int,
    *,
    since: int | None,
    follow: bool,
) -> bool:
    """Print what an attempt wrote; with `follow`, until it is over.

    Returns:
        Whether it is over and another one has followed.
    """
    from runbus.attempt import log_offset_at
    from runbus.catalog import RunRecord

    folder = run.attempt_folder(attempt)
    assert folder is not None
    outputs = [
        _Output(
            folder,
            source,
            headings,
            # What alone is asked for is the result, and a pager or a filter gets it.
            sys.stdout if len(sources) == 1 else getattr(sys, source),
            0 if since is None else log_offset_at(folder, source, since),
            read_elsewhere,
        )
        for source in sources
    ]
    while True:
        # The state first: what a job wrote before it ended is then surely there to be read.
        now = RunRecord(run.folder) if follow else run
        has_next = follow and now.job is not None and now.job.attempt > attempt
        is_over = not follow or has_next or now.state.is_terminal
        for output in outputs:
            output.print_new(final=is_over)
        if is_over:
            return has_next
        time.sleep(_POLL_ELSEWHERE_S if read_elsewhere else _POLL_S)


@contextmanager
def _reading_elsewhere(run: RunRecord, node: int | None) -> Iterator[ReadLog | None]:
    """Yield what reads a job's log where it runs; None if nothing is written elsewhere."""
    job = run.job
    if node is None and (job is None or not job.handle or job.executor == "local"):
        yield None
        return
    from anyio.from_thread import start_blocking_portal

    from runbus.api import reading_elsewhere

    with (
        start_blocking_portal("asyncio") as portal,
        portal.wrap_async_context_manager(reading_elsewhere(run, node)) as read,
    ):
        yield None if read is None else partial(portal.call, read)


class _Headings:
    """Says on standard error which attempt follows: what lies there belongs to nobody's output."""

    def __init__(self) -> None:
        self._next = ""
        self._is_amid_line = False

    def turn_to(self, attempt: int) -> None:
        """Say so before the next that is printed."""
        self._next = attempt_heading(attempt)

    def before(self, data: bytes) -> None:
        """Say it, if it was not said before; these bytes are printed then."""
        if self._next:
            click.echo(("\n" if self._is_amid_line else "") + self._next, err=True)
        self._next, self._is_amid_line = "", not data.endswith(b"\n")


class _Output:
    """One output of an attempt, on its way to ours."""

    def __init__(
        self,
        folder: str,
        source: Source,
        headings: _Headings,
        target: TextIO,
        offset: int,
        read_elsewhere: ReadLog | None,
    ) -> None:
        from runbus.attempt import LogTail

        self._stream = target.buffer
        self._folder, self._source = folder, source
        self._headings = headings
        self._tail = LogTail(os.path.join(folder, f"{source}.log"), offset)
        self._read_elsewhere = read_elsewhere
        self._offset = offset

    def print_new(self, *, final: bool) -> None:
        while data := self._read(final=final):
            self._offset += len(data)
            self._headings.before(data)
            self._stream.write(data)
        self._stream.flush()

    def _read(self, *, final: bool) -> bytes:
        if self._read_elsewhere is not None:
            return self._read_elsewhere(self._folder, self._source, self._offset)
        return self._tail.poll(final=final)
