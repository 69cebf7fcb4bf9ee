"""The logs of all jobs of a batch as one, each line after the name of its job.

Logs have no times of their own. The leader of a job notes each second how far its logs have come:
by these notes they are put in order.
"""

from __future__ import annotations

import heapq
import os
import sys
import time
from itertools import cycle
from typing import TYPE_CHECKING, NamedTuple

from runbus.attempt import log_offset_at, read_log, read_marks
from runbus.catalog import job_statuses
from runbus.cli._printer import colored, printable, unmoving
from runbus.cli._screen import width_of
from runbus.jobs import attempt_heading

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Literal, TextIO

    from runbus.catalog import JobStatus

    Source = Literal["stdout", "stderr"]

__all__ = ["print_merged_logs"]

_COLORS = ("cyan", "yellow", "green", "magenta", "blue", "red")
_POLL_S = 0.1
_LONGEST = 1 << 20
"""A line that is longer, in bytes, is printed in pieces."""

_WIDEST = 32
"""Labels are padded to the longest name, up to so many columns."""


class _Piece(NamedTuple):
    """Bytes of a log that were written by a time, and after the time of the piece before."""

    time_ns: int
    job: str
    attempt: int
    source: Source
    folder: str
    start: int
    end: int


def print_merged_logs(
    experiment: str, sources: Sequence[Source], *, since: int | None, follow: bool
) -> None:
    """Print what the jobs of a batch have written, over all their attempts.

    Standard output goes to standard output, standard error to standard error, or to standard output
    if it is all that is asked for.

    Args:
        experiment: The experiment's folder.
        sources: Which outputs.
        since: Only what was written since this time, Unix in nanoseconds.
        follow: Go on until all jobs have ended.
    """
    printer = _Printer(sources)
    offsets: dict[tuple[str, Source], int] = {}
    while True:
        # The states first: what a job wrote before it ended is then surely there to be read.
        jobs = job_statuses(experiment)
        printer.know(jobs)
        pieces = (
            _pieces(one.record.name, attempt, folder, source, offsets, since)
            for one in jobs
            for attempt, folder in enumerate(one.attempts, 1)
            for source in sources
        )
        for piece in heapq.merge(*pieces):
            _print_piece(piece, printer)
        is_over = not follow or all(one.record.state.is_terminal for one in jobs)
        printer.flush(final=is_over)
        if is_over:
            return
        time.sleep(_POLL_S)


def _pieces(
    job: str,
    attempt: int,
    folder: str,
    source: Source,
    offsets: dict[tuple[str, Source], int],
    since: int | None,
) -> Iterator[_Piece]:
    """Yield what is new in a log, as pieces of which the times are known; they are not read."""
    path = os.path.join(folder, f"{source}.log")
    try:
        found = os.stat(path)
    except OSError:
        return  # it has not begun, or wrote nothing
    key = folder, source
    if (start := offsets.get(key)) is None:
        start = 0 if since is None else log_offset_at(folder, source, since)
    if found.st_size <= start:
        return
    offsets[key] = found.st_size
    for mark in read_marks(folder):
        end = min(getattr(mark, source), found.st_size)
        if end > start:
            yield _Piece(mark.time_ns, job, attempt, source, folder, start, end)
            start = end
    if found.st_size > start:
        yield _Piece(found.st_mtime_ns, job, attempt, source, folder, start, found.st_size)


def _print_piece(piece: _Piece, printer: _Printer) -> None:
    printer.turn_to(piece.job, piece.attempt)
    offset = piece.start
    while offset < piece.end and (data := read_log(piece.folder, piece.source, offset)):
        data = data[: piece.end - offset]
        offset += len(data)
        printer.add(piece.job, piece.source, data)


class _Printer:
    """Puts the name of its job before each line."""

    def __init__(self, sources: Sequence[Source]) -> None:
        # What alone is asked for is the result, and a pager or a filter gets it.
        self._streams = {
            source: sys.stdout if len(sources) == 1 else getattr(sys, source) for source in sources
        }
        self._begun: dict[tuple[str, Source], bytes] = {}
        self._attempts: dict[str, int] = {}
        self._retried: set[str] = set()
        self._colors: dict[str, str] = {}
        self._next_color = cycle(_COLORS)
        self._width = 0

    def know(self, jobs: Sequence[JobStatus]) -> None:
        """Choose colors for jobs, and how wide their labels are; note which have had attempts."""
        self._retried.update(one.record.name for one in jobs if one.record.attempt > 1)
        for name in (one.record.name for one in jobs):
            if name not in self._colors:
                self._colors[name] = next(self._next_color)
                self._width = min(_WIDEST, max(self._width, width_of(printable(name))))

    def turn_to(self, job: str, attempt: int) -> None:
        """Say which attempt follows, if it is not the one before and the job has had several."""
        if self._attempts.get(job) == attempt or job not in self._retried:
            return
        self._attempts[job] = attempt
        self._end_lines(job)
        self._flush()
        start = f"{self._label(job, sys.stderr)}{attempt_heading(attempt)}\n"
        sys.stderr.buffer.write(start.encode(errors="surrogateescape"))
        sys.stderr.buffer.flush()

    def add(self, job: str, source: Source, data: bytes) -> None:
        """Print the lines that are whole."""
        key = job, source
        *lines, rest = (self._begun.pop(key, b"") + data).split(b"\n")
        if len(rest) > _LONGEST:
            lines.append(rest)
        elif rest:
            self._begun[key] = rest
        if lines:
            self._write(job, source, lines)

    def flush(self, *, final: bool) -> None:
        """Hand on what was printed; at the end also lines that have no end."""
        if final:
            for job in dict.fromkeys(job for job, _ in self._begun):
                self._end_lines(job)
        self._flush()

    def _flush(self) -> None:
        for stream in self._streams.values():
            stream.buffer.flush()

    def _end_lines(self, job: str) -> None:
        """Print what a job has begun to write in lines that have no end."""
        for source in self._streams:
            if line := self._begun.pop((job, source), b""):
                self._write(job, source, [line])

    def _label(self, job: str, stream: TextIO) -> str:
        label = printable(job)
        blank = " " * (self._width - width_of(label))
        return f"{colored(label, self._colors[job]) if stream.isatty() else label}{blank} | "

    def _write(self, job: str, source: Source, lines: Sequence[bytes]) -> None:
        stream = self._streams[source]
        label = self._label(job, stream)
        start = label.encode(errors="surrogateescape")
        data = start + (b"\n" + start).join(lines) + b"\n"
        if stream.isatty():
            text = (b"\n".join(lines) + b"\n").decode("utf-8", "replace")
            shown = unmoving(text).removesuffix("\n").split("\n")
            data = "".join(f"{label}{line}\n" for line in shown).encode()
        stream.buffer.write(data)
        if len(self._streams) > 1:
            stream.buffer.flush()  # the other output follows
