"""What the exit status of a command says."""

from __future__ import annotations

import enum

__all__ = ["ExitStatus"]


class ExitStatus(enum.IntEnum):
    """The exit statuses of `runbus`."""

    OK = 0
    FAILED = 1
    """The command could not do its work, or a job did not succeed."""
    USAGE = 2
    """The command was called wrongly; nothing was done."""
    UNEXPECTED = 70
    """A defect of runbus itself."""
    INTERRUPTED = 130
    """Ctrl-C."""
    BROKEN_PIPE = 141
    """The reader of the output went away."""
    TERMINATED = 143
    """SIGTERM."""
