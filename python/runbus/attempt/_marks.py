"""How far a job's logs had been read, and when: one small line a second, beside the logs."""

from __future__ import annotations

import os
import re
import stat
from typing import TYPE_CHECKING, NamedTuple

from runbus.attempt._files import ends_in_a_line, read_whole

if TYPE_CHECKING:
    from runbus._clock import Clock

__all__ = ["LogMarks", "Mark", "log_offset_at", "read_marks"]

_FILE = "cursor"
_EVERY_S = 1.0
_APPENDING = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW
_CLOCKS_NS = 1_000_000_000
"""The time of a file comes from another clock, which is coarser, or a server's."""

_LINE = re.compile(rb"(\d{19}) (\d{16}) (\d{16})")


class Mark(NamedTuple):
    """At a time (Unix, ns) so many bytes of each log had been handed on."""

    time_ns: int
    stdout: int
    stderr: int


class LogMarks:
    """Keeps the marks of one attempt.

    They say where to continue after a crash of the process that read the logs, and, as nothing else
    does, when a job wrote what: logs are its own bytes, without times.

    Args:
        folder: The attempt's folder.
        clock: Where the times come from.
    """

    __slots__ = ("_clock", "_last", "_next_s", "_path")

    def __init__(self, folder: str, clock: Clock) -> None:
        self._path = os.path.join(folder, _FILE)
        self._clock = clock
        marks = read_marks(folder)
        self._last = (marks[-1].stdout, marks[-1].stderr) if marks else (0, 0)
        # A job that is over within a second needs none.
        self._next_s = clock.monotonic() + _EVERY_S

    @property
    def last(self) -> tuple[int, int]:
        """How many bytes of stdout.log and stderr.log had been handed on at the last mark."""
        return self._last

    @property
    def is_due(self) -> bool:
        """Whether the last mark was made a second ago or more."""
        return self._clock.monotonic() >= self._next_s

    def note(self, stdout: int, stderr: int) -> None:
        """Make a mark, unless the last one was less than a second ago or nothing is new.

        Args:
            stdout: How many bytes of stdout.log have been handed on.
            stderr: The same of stderr.
        """
        if (stdout, stderr) == self._last or not self.is_due:
            return
        self._next_s = self._clock.monotonic() + _EVERY_S
        line = b"%019d %016d %016d\n" % (self._clock.time_ns(), stdout, stderr)
        try:
            file = os.open(self._path, _APPENDING, 0o600)
        except OSError:
            return  # a full disk, or no file at all: what is handed on twice is no loss
        try:
            if not stat.S_ISREG(os.fstat(file).st_mode):
                return
            # A power failure or a full disk may have cut the last line short.
            os.write(file, line if ends_in_a_line(file) else b"\n" + line)
            self._last = (stdout, stderr)
        except OSError:
            pass
        finally:
            os.close(file)


def read_marks(folder: str) -> list[Mark]:
    """Return the marks in an attempt's folder, oldest first; broken lines are passed over."""
    path = os.path.join(folder, _FILE)
    if not os.access(path, os.F_OK):
        return []  # as of most attempts, at their start
    lines = read_whole(path).split(b"\n")[:-1]
    found = map(_LINE.fullmatch, lines)
    return [Mark(*map(int, match.groups())) for match in found if match]


def log_offset_at(folder: str, source: str, time_ns: int) -> int:
    """Return a place in a log before which everything was written before a time.

    What follows may have been written earlier, too, by up to a second while somebody followed the
    job, and by more while nobody did.

    Args:
        folder: The attempt's folder.
        source: "stdout" or "stderr".
        time_ns: The time, Unix, in nanoseconds.
    """
    try:
        written = os.stat(os.path.join(folder, f"{source}.log"))
    except OSError:
        return 0
    if written.st_mtime_ns + _CLOCKS_NS < time_ns:
        return written.st_size
    offset = 0
    for mark in read_marks(folder):
        if mark.time_ns > time_ns:
            break
        offset = mark.stdout if source == "stdout" else mark.stderr
    return offset
